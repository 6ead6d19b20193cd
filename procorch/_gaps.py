"""Numbers and indexes that part where an index gets no number.

One thread adds, any reads, without a lock: what is added concerns no number that is in use.
"""

from __future__ import annotations

from bisect import bisect_right


class Gaps:
    """Tells the index of a number."""

    def __init__(self) -> None:
        """Begin with none: each number is its index."""
        self._numbers: list[int] = []  # that the first index after each gap got
        self._skipped: list[int] = []  # indexes without a number, up to there

    def __bool__(self) -> bool:
        """Tell whether there are any."""
        return bool(self._numbers)

    def skip(self, number: int, count: int = 1) -> None:
        """Take in that the next indexes have no number.

        Args:
            number (int): What the first would have been; the index after them gets that. Never less than before.
            count (int): How many.
        """
        if self._numbers and self._numbers[-1] == number:
            self._skipped[-1] += count
        else:
            self._skipped.append((self._skipped[-1] if self._skipped else 0) + count)
            self._numbers.append(number)  # last: who finds it here finds the other

    def index_of(self, number: int) -> int:
        """Tell an item's index.

        Args:
            number (int): Its number.

        Returns:
            int: From 0.
        """
        at = bisect_right(self._numbers, number)
        return number + (self._skipped[at - 1] if at else 0)
