"""What a run looked like: rows of spans and marks, and what can be said of them. Pure; drawn elsewhere.

All times are seconds since the beginning of the trace.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Literal, TypeAlias

import attrs

MarkKind: TypeAlias = Literal["crash", "timeout", "kill", "failure", "retry"]

MARKS: tuple[MarkKind, ...] = ("crash", "timeout", "kill", "failure", "retry")
"""All kinds, the gravest first."""

STARTING = "starting"
"""Stands for a task while a process starts. No function's name is like it: those have a dot."""


@attrs.frozen
class Span:
    """Something that took time in a slot."""

    begin: float
    end: float
    task: str
    """What was run, or `STARTING`."""
    items: int = 0
    failed: int = 0
    open: bool = False
    """Whether it was still going on when the trace ended."""

    @property
    def seconds(self) -> float:
        """How long it took."""
        return self.end - self.begin


@attrs.frozen
class Mark:
    """Something that happened in a slot."""

    at: float
    kind: MarkKind
    text: str


@attrs.frozen
class Row:
    """A slot, with all that it has seen, in order."""

    group: str
    name: str
    starts: int
    """How many processes were started in it."""
    again: int
    """How many of the items that spans have counted ran once more."""
    spans: tuple[Span, ...]
    marks: tuple[Mark, ...]

    @property
    def chunks(self) -> list[Span]:
        """The spans in which it had items."""
        return [span for span in self.spans if span.task != STARTING]

    @property
    def restarts(self) -> int:
        """How often its process was replaced."""
        return max(0, self.starts - 1)

    @property
    def items(self) -> int:
        """How many items finished in it, and did not have to be run once more."""
        return sum(span.items for span in self.spans) - self.again

    @property
    def failed(self) -> int:
        """How many of its items failed for good: raised, or took their process along."""
        return sum(1 for mark in self.marks if mark.kind == "failure")

    @property
    def busy(self) -> float:
        """Seconds in which it had items."""
        return math.fsum(span.seconds for span in self.chunks)


@attrs.frozen
class Group:
    """One of the groups whose rows are shown."""

    name: str
    pid: int
    wall: float
    """When it began, in seconds since the epoch."""


@attrs.frozen
class Timeline:
    """A whole run."""

    groups: tuple[Group, ...]
    rows: tuple[Row, ...]
    seconds: float
    """How long it took, up to the last thing that happened."""
    whole: bool = True
    """Whether the trace has an end: else the program was killed, or is still running."""

    @property
    def tasks(self) -> list[str]:
        """What was run, that which took longest first."""
        seconds: dict[str, float] = {}
        for row in self.rows:
            for span in row.chunks:
                seconds[span.task] = seconds.get(span.task, 0.0) + span.seconds
        return sorted(seconds, key=seconds.__getitem__, reverse=True)

    def count(self, kind: MarkKind) -> int:
        """Count marks.

        Args:
            kind (MarkKind): Which.

        Returns:
            int: How many there are in all rows.
        """
        return sum(1 for row in self.rows for mark in row.marks if mark.kind == kind)


def quantile(times: Iterable[float], part: float) -> float:
    """Tell what a part of some times does not exceed.

    Args:
        times (Iterable[float]): At least one.
        part (float): 0.5 for the median, 0.95 for what one in twenty exceeds.

    Returns:
        float: One of the times.
    """
    ordered = sorted(times)
    return ordered[max(0, math.ceil(part * len(ordered)) - 1)]


# --- what fits a picture ----------------------------------------------------------------------------------------------


@attrs.frozen
class Cell:
    """A piece of a row's time that is drawn in one."""

    task: str
    """What took most of it."""
    share: float
    """How much of it was taken by anything, over 0 and at most 1."""


def cells(spans: Iterable[Span], count: int, seconds: float) -> list[Cell | None]:
    """Cut a row's time into pieces of the same length.

    Args:
        spans (Iterable[Span]): What the row has; any number, they cost a microsecond each.
        count (int): How many pieces.
        seconds (float): How long they are together.

    Returns:
        list[Cell | None]: What is to be seen in each; None for nothing.
    """
    taken: list[dict[str, float]] = [{} for _ in range(count)]
    width = max(seconds, 1e-9) / count
    for span in spans:
        first = min(count - 1, int(span.begin / width))
        last = min(count - 1, max(first, math.ceil(span.end / width) - 1))
        for number in range(first, last + 1):
            inside = min(span.end, (number + 1) * width) - max(span.begin, number * width)
            # What took no time that could be measured was there all the same.
            tasks = taken[number]
            tasks[span.task] = tasks.get(span.task, 0.0) + max(inside / width, 1e-6)
    return [
        Cell(max(tasks, key=tasks.__getitem__), min(1.0, sum(tasks.values()))) if tasks else None for tasks in taken
    ]


def marks_in_cells(marks: Sequence[Mark], count: int, seconds: float) -> dict[tuple[int, MarkKind], int]:
    """Count the marks in each piece of a row's time.

    Args:
        marks (Sequence[Mark]): The row's.
        count (int): How many pieces.
        seconds (float): How long they are together.

    Returns:
        dict[tuple[int, MarkKind], int]: How many of each kind, where there are any.
    """
    width = max(seconds, 1e-9) / count
    return dict(Counter((min(count - 1, int(mark.at / width)), mark.kind) for mark in marks))
