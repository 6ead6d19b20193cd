"""Rows of a process of its own: they come while it makes further ones, and no further than there is room for them."""

from __future__ import annotations

from collections.abc import Generator

from procorch import ProcessGroup


def parse(lines: int) -> Generator[tuple[int, str], None, int]:
    """Make rows; stands for a reader of a large file.

    Args:
        lines (int): How many rows there are.

    Yields:
        tuple[int, str]: One row.

    Returns:
        int: How many there were.
    """
    try:
        for number in range(lines):
            yield number, f"row {number}"
    finally:
        print("the reader is closed", flush=True)
    return lines


if __name__ == "__main__":
    with ProcessGroup(name="reader") as group:
        stream = group.start(parse, 1000)
        print(sum(len(text) for _, text in stream), "characters in", stream.result(), "rows")

        for number, text in group.start(parse, 1_000_000, buffersize=10):
            if number == 3:
                print(text, "is the last that is wanted")
                break  # closes the generator, and ends its process
