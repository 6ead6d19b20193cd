"""What has arrived of a stream's results and is still to be given, in runs of neighbours, and whose turn it is.

Knows numbers and indexes: an item's index is its place in the user's input, its number that in the job; they differ
once an item before it could not be handed over. Not safe for several threads: its owner holds a lock.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

from procorch._errors import TaskError
from procorch._events import Dropped, Outcome, Outcomes
from procorch._gaps import Gaps
from procorch._items import Items, ranges
from procorch._messages import Plain, Value
from procorch._verdict import Place


class InputFailed(NamedTuple):
    """In the place of the item that the user's iterable raised instead of giving."""

    error: Exception


Arrival: TypeAlias = Outcome | TaskError | InputFailed


class Segment(NamedTuple):
    """What became of neighbours."""

    start: int
    """Index of the first."""
    arrivals: Sequence[Arrival] | Plain
    """One for each."""
    place: Place | None
    """Where they ran; None if nowhere."""


class Arrivals:
    """See the module's text."""

    def __init__(self, *, ordered: bool) -> None:
        """Begin with nothing.

        Args:
            ordered (bool): Whether they are given in the order of the input, or as they arrive.
        """
        self._ordered = ordered
        self._segments: dict[int, Segment] = {}  # by the index of the first
        self._order: deque[int] = deque()  # the same, as they came; kept only if that is asked for
        self._gaps = Gaps()  # indexes that have no number
        self._next = 0  # the index whose turn it is
        self._closed = False
        self.held = 0
        """How many items have arrived and are not given."""
        self.failed: int | None = None
        """The lowest index that is known to have failed."""
        self.finished = 0
        """How many items have come to an end, in vain or not, those included that are given already."""
        self.failures = 0
        """How many of these failed."""

    # --- indexes ------------------------------------------------------------------------------------------------------

    def skip(self, number: int, count: int = 1) -> None:
        """Take in that the next indexes have no number.

        Args:
            number (int): What the first would have been; the index after them gets that.
            count (int): How many.
        """
        self._gaps.skip(number, count)

    def index_of(self, number: int) -> int:
        """Tell an item's index. Needs no lock.

        Args:
            number (int): Its number.

        Returns:
            int: From 0.
        """
        return self._gaps.index_of(number)

    # --- what arrives -------------------------------------------------------------------------------------------------

    def take_in(self, numbers: Sequence[int], outcomes: Outcomes, place: Place | None, wanted: Items) -> None:
        """Take in what became of items.

        Args:
            numbers (Sequence[int]): Their numbers.
            outcomes (Outcomes): One for each.
            place (Place | None): Where they ran.
            wanted (Items): The indexes whose results are not given yet: what is told twice counts once. Those that were
                put where workers found them a moment ago are added to it soon.
        """
        if isinstance(numbers, range) and not self._gaps:
            self._take_in(Segment(numbers.start, outcomes, place), wanted)
            return
        indexes = [self.index_of(number) for number in numbers] if self._gaps else numbers
        at = 0
        for run in ranges(indexes):
            where = slice(at, at + len(run))
            part = Plain(outcomes.values[where]) if isinstance(outcomes, Plain) else outcomes[where]
            self._take_in(Segment(run.start, part, place), wanted)
            at = where.stop

    def _take_in(self, segment: Segment, wanted: Items) -> None:
        start, arrivals, _ = segment
        if self._closed or start in self._segments or (start < wanted.count and start not in wanted):
            return  # told twice, since a call was interrupted; or nobody wants it any more
        self.finished += len(arrivals)
        if not isinstance(arrivals, Plain):
            for index, one in enumerate(arrivals, start):
                if type(one) is Value:
                    continue
                if type(one) is Dropped:
                    self.finished -= 1
                    continue
                self.failed = index if self.failed is None else min(index, self.failed)
                if type(one) is InputFailed:
                    self.finished -= 1  # there is no such item
                else:
                    self.failures += 1
        if not self._ordered:
            self._order.append(start)
        self._segments[start] = segment
        self.held += len(arrivals)

    def settle(self, index: int, arrivals: Sequence[Arrival] | Plain, wanted: Items) -> None:
        """Take in outcomes of neighbours that were not handed over.

        Args:
            index (int): Index of the first.
            arrivals (Sequence[Arrival] | Plain): One for each.
            wanted (Items): As for `take_in`.
        """
        self._take_in(Segment(index, arrivals, None), wanted)

    # --- what is given ------------------------------------------------------------------------------------------------

    @property
    def ready(self) -> bool:
        """Whether there is something whose turn it is."""
        return self._next in self._segments if self._ordered else bool(self._order)

    def pop(self) -> Segment:
        """Give that.

        Returns:
            Segment: One that is there.
        """
        segment = self._segments.pop(self._next if self._ordered else self._order.popleft())
        self._next = segment.start + len(segment.arrivals)
        self.held -= len(segment.arrivals)
        return segment

    def clear(self) -> None:
        """Forget what is there, and what is still to come: nobody wants it any more."""
        self._closed = True
        self._segments.clear()
        self._order.clear()
        self.held = 0
