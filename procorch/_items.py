"""The items of a job by number: what is kept of each, and numbers in ranges, so that a million cost no more than one.

Pure arithmetic on numbers; what an item is does not matter here.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import compress, islice
from typing import Any

_SMALL = 64
"""Values that come together from which on they make a part of their own."""
_LARGE = 1024
"""Values from which on a part of several that came together grows no more."""


def ranges(numbers: Sequence[int]) -> list[range]:
    """Put neighbours together.

    Args:
        numbers (Sequence[int]): A range, or any numbers.

    Returns:
        list[range]: The same, in the same order.
    """
    if isinstance(numbers, range):
        return [numbers] if numbers else []
    found: list[range] = []
    for number in numbers:
        if found and found[-1].stop == number:
            found[-1] = range(found[-1].start, number + 1)
        else:
            found.append(range(number, number + 1))
    return found


class _Part:
    """Values of consecutive numbers."""

    __slots__ = ("grows", "left", "plain", "start", "there", "values")

    def __init__(self, start: int, values: list[Any], *, plain: bool, grows: bool) -> None:
        self.start = start
        self.values = values
        self.plain = plain
        self.grows = grows
        self.there = bytearray(b"\1") * len(values)  # for each, whether it is there
        self.left = len(values)

    @property
    def stop(self) -> int:
        return self.start + len(self.values)

    def append(self, values: list[Any], *, plain: bool) -> None:
        self.values += values
        self.there += b"\1" * len(values)
        self.left += len(values)
        self.plain &= plain
        self.grows = len(self.values) < _LARGE

    def drop(self, where: slice) -> None:
        count = where.stop - where.start
        self.there[where] = bytes(count)
        if not self.plain:
            self.values[where] = [None] * count  # plain data takes little memory
        self.left -= count


class Items:
    """What is kept of items until it is dropped. They get their numbers as they come, from 0."""

    def __init__(self) -> None:
        """Begin empty."""
        self._parts: list[_Part] = []
        self._starts: list[int] = []  # of the parts
        self.count: int = 0
        """How many have come."""

    def add(self, values: list[Any], *, plain: bool) -> range:
        """Keep what is kept of the next items.

        Args:
            values (list[Any]): At least one. Of plain data, the list may be kept by others too, who do not change it.
            plain (bool): Whether they are plain data.

        Returns:
            range: Their numbers.
        """
        start = self.count
        self.count += len(values)
        last = self._parts[-1] if self._parts else None
        small = len(values) < _SMALL
        if small and last is not None and last.grows and last.stop == start:
            last.append(values, plain=plain)
        else:
            kept = values.copy() if small or not plain else values
            self._parts.append(_Part(start, kept, plain=plain, grows=small))
            self._starts.append(start)
        return range(start, self.count)

    def __contains__(self, number: int) -> bool:
        """Tell whether an item is there."""
        part = self._part(number)
        return part is not None and bool(part.there[number - part.start])

    def __getitem__(self, number: int) -> Any:
        """Give one that is there."""
        part = self._part(number)
        assert part is not None
        return part.values[number - part.start]

    def __iter__(self) -> Iterator[int]:
        """Give the numbers of those that are there."""
        for part in self._parts:
            yield from compress(range(part.start, part.stop), part.there)

    def _part(self, number: int) -> _Part | None:
        at = bisect_right(self._starts, number) - 1
        part = self._parts[at] if at >= 0 else None
        return part if part is not None and number < part.stop else None

    def get(self, numbers: Sequence[int]) -> tuple[list[Any], bool]:
        """Give several.

        Args:
            numbers (Sequence[int]): Some that are there.

        Returns:
            tuple[list[Any], bool]: What is kept of them, in this order; and whether they are certainly plain data.
        """
        found = [(part.values[where], part.plain) for part, where in self._slices(numbers)]
        if len(found) == 1:
            return found[0]
        return [value for values, _ in found for value in values], all(plain for _, plain in found)

    def drop(self, numbers: Sequence[int]) -> None:
        """Let several go.

        Args:
            numbers (Sequence[int]): Some that are there.
        """
        emptied = False
        for part, where in self._slices(numbers):
            part.drop(where)
            emptied |= not part.left
        if emptied:
            self._parts = [part for part in self._parts if part.left]
            self._starts = [part.start for part in self._parts]

    def _slices(self, numbers: Sequence[int]) -> Iterator[tuple[_Part, slice]]:
        """Find where numbers are."""
        for one in ranges(numbers):
            at = max(0, bisect_right(self._starts, one.start) - 1)
            for part in islice(self._parts, at, None):
                if part.start >= one.stop:
                    break
                first, last = max(one.start, part.start), min(one.stop, part.stop)
                if first < last:
                    yield part, slice(first - part.start, last - part.start)
