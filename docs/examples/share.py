"""A large table that all workers use, and results that are large themselves."""

from __future__ import annotations

from procorch import ProcessGroup, Shared


def count(table: Shared[bytes], value: int) -> int:
    """Count a value in the table.

    Args:
        table (Shared[bytes]): What crosses with each item is its number.
        value (int): From 0 to 255.

    Returns:
        int: How often it is there.
    """
    return table.value.count(value)


def repeat(value: int) -> bytearray:
    """Make a result of 8 MB.

    Args:
        value (int): From 0 to 255.

    Returns:
        bytearray: It goes to the parent without a pipe.
    """
    return bytearray([value]) * (8 << 20)


if __name__ == "__main__":
    data = bytes(number % 7 for number in range(1_000_000))
    with ProcessGroup(2) as group:
        with group.share(data) as table:
            print(group.map(count, [table] * 7, range(7)))
        print([len(block) for block in group.imap(repeat, range(3))])
