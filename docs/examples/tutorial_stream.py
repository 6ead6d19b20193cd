"""Results as they come, from an input that has no end."""

from __future__ import annotations

from itertools import count

from procorch import ProcessGroup


def collatz(number: int) -> int:
    """Count the steps of the Collatz sequence until 1."""
    steps = 0
    while number > 1:
        number = number // 2 if number % 2 == 0 else 3 * number + 1
        steps += 1
    return steps


if __name__ == "__main__":
    with ProcessGroup() as group:
        for number, steps in enumerate(group.imap(collatz, count(1)), 1):
            if steps > 200:
                print(f"{number} takes {steps} steps")
                break
