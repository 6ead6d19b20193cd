"""The place of one worker, what its process is at, and when to look at it or to go one step further in ending it.

A part of the scheduler, and as pure.
"""

from __future__ import annotations

import enum
import heapq
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeAlias

import attrs

from procorch import _events as e


class Phase(enum.Enum):
    """Where a slot's process is in its life."""

    GONE = "gone"
    """There is none; the slot can get one."""
    STARTING = "starting"
    """Ordered, but not ready for work."""
    IDLE = "idle"
    BUSY = "busy"
    ENDING = "ending"
    """Asked or told to end."""


NEVER = float("inf")

Step: TypeAlias = Callable[[int], e.Order]


@attrs.define(eq=False)
class Slot:
    """The place of one worker. Read by the supervisor for its snapshots, changed only here."""

    number: int
    name: str
    dedicated: int | None
    """The one job it serves; None serves all others."""
    phase: Phase = Phase.GONE
    job: int | None = None
    """The job whose chunk it has; None when it has none."""
    items: Sequence[int] = ()
    """The chunk."""
    done: int = 0
    """How many of them have finished, always a first part of the chunk."""
    finished: int = 0
    """Items finished over all."""
    busy: float = 0.0
    """Seconds of work over all."""
    tasks: int = 0
    """Items that its present process has finished."""
    starts: int = 0
    """Processes it has had."""
    deadline: float | None = None
    """When to look at it, or to go one step further in ending it; monotonic seconds."""
    next_step: Step | None = None
    """That step: `Look`, `Terminate` or `Kill`."""
    alarm: float | None = None
    """When `Steps` looks at the deadline; not later than that."""
    stopped_by_user: bool = False
    """Whether a dedicated job's item is not to be tried again: its process was told to end, or its function to stop."""
    stop_asked: bool = False
    """Whether its function was asked to come to its end, which is done once."""
    finalized: bool = False
    """Whether the finalizer of its present process has come to its end."""
    exitcode: int | None = None
    """Of the last process of a dedicated job; None if it is not known."""

    # While it is busy.
    sent: float = 0.0
    """When it got its chunk."""
    patience: float = NEVER
    """Seconds between looks for items that it did not announce."""
    patient_until: float = NEVER
    """When to look for them next."""
    limit: float | None = None
    """Seconds that an item of the chunk may run; None for any time."""
    limit_at: float = NEVER
    """The earliest time at which one may have run that long."""
    withdrawn: bool = False
    """Whether it was told, for an item that has run too long, to begin no other."""
    overdue: float = NEVER
    """When its chunk will have taken so much longer than planned that it is asked back if anybody can do its items."""
    overrun: float = NEVER
    """When it is asked back in any case: its cost is to be known, and that is within a hundredth of its time."""
    recalled: float | None = None
    """When its chunk was asked back; None for not at all."""
    recall_at: float = NEVER
    """When to look how far the chunk has come, to ask it back or to take back what has not begun."""
    era: int = 0
    """`ChunkSizer.era` when it got its chunk."""

    # While it is busy far away.
    company: int = 0
    """Chunks of the pool that were out when it got its own, with that one."""
    seconds: float | None = None
    """Work after which it begins no further item by itself; None for no such limit."""

    # While it is ending because of that item.
    expired: int | None = None
    """The item."""
    stack_until: float | None = None
    """Until when its stack is waited for; None once it is not any more."""


class Steps:
    """The deadlines of slots, and which is next."""

    def __init__(self, slots: Mapping[int, Slot]) -> None:
        """Begin with no deadline.

        Args:
            slots (Mapping[int, Slot]): By number; a slot that is not there any more has no deadline.
        """
        self._slots = slots
        # (when, slot), one for each slot and a few that hold no longer. A deadline that moves to a later time leaves
        # its alarm where it is, so that a slot which is given a new one with each chunk does not fill the heap.
        self._alarms: list[tuple[float, int]] = []

    def set(self, slot: Slot, when: float, step: Step) -> None:
        """Give a slot a deadline in the place of the one that it has.

        Args:
            slot (Slot): Which one.
            when (float): Monotonic seconds.
            step (Step): What is due then.
        """
        slot.deadline, slot.next_step = when, step
        if slot.alarm is None or when < slot.alarm:
            self._set_alarm(slot, when)

    def _set_alarm(self, slot: Slot, when: float) -> None:
        slot.alarm = when
        heapq.heappush(self._alarms, (when, slot.number))
        if len(self._alarms) > 2 * len(self._slots) + 16:
            # Most hold no longer: of slots that are not there any more, or of limits that were given up for a sooner
            # look. Their time may be hours away.
            self._alarms[:] = [(one.alarm, one.number) for one in self._slots.values() if one.alarm is not None]
            heapq.heapify(self._alarms)

    def next_deadline(self) -> float | None:
        """Tell when the next step is due.

        Returns:
            float | None: Monotonic seconds; None if none is.
        """
        alarms = self._alarms
        while alarms:
            when, number = alarms[0]
            slot = self._slots.get(number)
            if slot is not None and slot.alarm == slot.deadline == when:
                return when
            heapq.heappop(alarms)
            if slot is not None and slot.alarm == when:
                slot.alarm = None
                if slot.deadline is not None:
                    self._set_alarm(slot, slot.deadline)  # it has moved to a later time
        return None

    def due(self, now: float) -> Iterator[tuple[Slot, Step]]:
        """Take the steps that are due.

        Args:
            now (float): Monotonic seconds.

        Yields:
            tuple[Slot, Step]: A slot, without a deadline now, and what is due.
        """
        while (deadline := self.next_deadline()) is not None and deadline <= now:
            slot = self._slots[heapq.heappop(self._alarms)[1]]
            step = slot.next_step
            slot.deadline = slot.next_step = slot.alarm = None
            if step is not None:
                yield slot, step
