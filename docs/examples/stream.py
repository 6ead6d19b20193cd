"""A stream over an infinite input: results come as they are asked for, and the input is read no further than needed."""

from __future__ import annotations

from itertools import count

from procorch import ProcessGroup


def smallest_factor(number: int) -> int:
    """Find the smallest factor of a number.

    Args:
        number (int): At least 2.

    Returns:
        int: The number itself if it is prime.
    """
    return next((factor for factor in range(2, int(number**0.5) + 1) if number % factor == 0), number)


if __name__ == "__main__":
    with ProcessGroup() as group:
        primes = []
        for number, factor in zip(count(2), group.imap(smallest_factor, count(2)), strict=False):
            if factor == number:
                primes.append(number)
            if len(primes) == 20:
                break
    print(primes)
