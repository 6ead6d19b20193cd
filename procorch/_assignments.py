"""A chunk as it crosses to a process of somebody else's, and what comes back: values, and nothing that acts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

from procorch import _messages as m
from procorch._crates import Carried
from procorch._events import Lost, TimedOut


class Sent(NamedTuple):
    """A function as it crosses."""

    key: int
    payload: m.Bytes
    by_reference: bool
    """Whether its pickle is no more than its name."""
    name: str
    """For messages."""


class Given(NamedTuple):
    """Something shared as it crosses."""

    key: int
    group: str
    payload: Carried


class Preparation(NamedTuple):
    """How a process of ours gets ready, and how long it serves, beside a worker of an engine."""

    setup: m.Setup
    max_tasks: int | None = None
    """Items that it runs before it is replaced; None for no such number."""


class Assignment(NamedTuple):
    """A chunk as it crosses. Plain types and crates only, so that any process on the way can open it."""

    engine: str
    """Unique among all engines of all processes."""
    number: int
    """The chunk's, unique for the engine."""
    function: Sent
    style: m.Style
    stop_on_error: bool
    items: Sequence[Carried] | m.Pack
    limit: float | None
    """Seconds that each item may run; None for any time."""
    seconds: float | None
    """Work after which to begin no further item; None for no such limit."""
    preparation: Preparation | None = None
    """How a process of ours gets ready; None: there is nothing to do."""
    process: str = ""
    """The one process that may run it, by the engine's name for it; empty for any."""
    shared: tuple[Given, ...] = ()
    """What items may refer to."""
    closed: tuple[int, ...] = ()
    """Numbers of what they cannot any more."""

    @property
    def size(self) -> int:
        """How many items it has."""
        return self.items.items if isinstance(self.items, m.Pack) else len(self.items)


class Returned(NamedTuple):
    """The item's function returned; as `_messages.Value`."""

    payload: Carried


class Gone(NamedTuple):
    """The item's process is gone, one of ours in the engine's."""

    pid: int
    outcome: Lost | TimedOut
    """The slot in it says nothing here."""


Crossed: TypeAlias = Returned | m.Failure | m.Retriable | Gone | list[object]
"""The outcome of an item, or the plain results of several."""


class Answer(NamedTuple):
    """What became of a chunk."""

    pid: int
    """Of the process that ran the last item."""
    host: str
    outcomes: list[Crossed]
    """Of its first items, in their order; the others were not begun."""
    busy: float
    """Seconds of work."""
    exitcode: int | None
    """What its last item would have made, or has made, of a process of its own."""
    refused: str = ""
    """Why nothing was begun, though it may have been before, elsewhere; empty if it was not refused."""
    broken: str = ""
    """Why nothing more can be begun there; empty if it can."""
    unprepared: m.Failure | None = None
    """What the initializer raised, so that nothing was begun."""


class Progress(NamedTuple):
    """How far a chunk has come."""

    begun: int
    """Items that have begun."""
    running: float | None
    """For how many seconds the last of these has been running; None if it does not, or nobody watches its time."""
