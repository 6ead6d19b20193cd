"""What is different where workers are far away: how large chunks are for it, and how many of them may be out at once.

A part of the scheduler, and as pure. A slot is a lane there: one chunk at a time is with it, and the engine places each
chunk on one of its workers. There may be more lanes than workers. Then chunks wait at the engine, so that the next is
there when one ends. That is worth it only where chunks are short beside the way: behind one that takes long, a chunk
may wait in vain while another worker becomes free.
"""

from __future__ import annotations

from procorch import _events as e
from procorch._backlog import Job
from procorch._policy import Limits
from procorch._roster import Roster
from procorch._slot import Slot
from procorch._way import Way

_MANY = 32
"""Chunks that are sent before what has come back is heard. To send ten thousand takes a second or more, and the first
of them tell how large the others should be."""
_FEW = 2
"""The same where something else has been heard meanwhile, as that a chunk has come back: others may have, too."""


class Pace:
    """The pool of a group whose workers are far away, or come and go."""

    def __init__(self, limits: Limits, roster: Roster, way: Way) -> None:
        """Begin with nothing known.

        Args:
            limits (Limits): The numbers to decide by.
            roster (Roster): The pool.
            way (Way): Learns how long the way is.
        """
        self._limits = limits
        self._roster = roster
        self._way = way
        self._crowd = 0  # chunks that might be out when this was last asked
        self._left = _MANY  # chunks that may still be sent before something else is heard
        self.halted = False
        """Whether more might be sent at once: to be gone on with when everything that is known by then was heard."""
        self._lone: float | None = None  # seconds of work in calls of one item; None before any has come back

    @property
    def hungry(self) -> bool:
        """Whether one more item would be begun at once, or sent so that it is there when a worker is free."""
        roster = self._roster
        return roster.out < max(roster.workers, self._crowd) and (bool(roster.idle) or roster.alive < roster.most)

    @property
    def has_free(self) -> bool:
        """Whether a worker has nothing to do."""
        return self._roster.out < self._roster.workers

    def begin(self, event: e.Event) -> None:
        """Begin to give out chunks, as many at once as `takes` allows.

        Args:
            event (e.Event): What gave rise to it.
        """
        if isinstance(event, e.TimePassed):  # everything that was known has been heard
            self._left = _MANY
        elif not isinstance(event, e.WorkerReady):  # of these come as many as there are lanes
            self._left = max(self._left, _FEW)
        self.halted = False

    def takes(self, job: Job) -> bool:
        """Tell whether one more chunk may be sent, by a lane that is free.

        Args:
            job (Job): Whose turn it is.

        Returns:
            bool: Whether to send it now.
        """
        roster = self._roster  # with at least one worker: where there is none, no lane is free
        self._aim(job)
        self._crowd = self._way.crowd(self._planned(job), roster.workers)
        if roster.out >= self._crowd:
            return False
        self.halted = not self._left
        return not self.halted

    def _aim(self, job: Job) -> None:
        """Make chunks worth the way: more so where no other waits at the engine meanwhile."""
        if job.only or job.spec.chunksize is not None:
            return
        limits, roster, sizer = self._limits, self._roster, job.sizer
        ahead = (roster.most - roster.workers) / roster.workers  # chunks that may wait for each worker
        ways = limits.chunk_ways / ahead if ahead else limits.chunk_ways_alone
        sizer.far_seconds = self._way.seconds * min(max(ways, limits.chunk_ways), limits.chunk_ways_alone)
        sizer.least_far_seconds = self._way.seconds * limits.least_chunk_ways

    def _planned(self, job: Job) -> float | None:
        """Estimate the work in a job's next chunk, in seconds."""
        if job.only:
            return self._lone
        workers, sizer = self._roster.workers, job.sizer
        if sizer.cost is None:
            return None
        if job.spec.chunksize is not None:
            return sizer.cost * job.spec.chunksize
        return sizer.cost * sizer.size(job.waiting, workers)

    def sent(self, slot: Slot, job: Job) -> None:
        """Take in that a slot gets a chunk; before the order is made.

        Args:
            slot (Slot): Which one, with its chunk.
            job (Job): Whose items they are.
        """
        limits, workers = self._limits, self._roster.workers
        self._left = max(self._left - 1, 0)
        slot.company, slot.seconds = self._roster.out, None
        if limits.distant and len(slot.items) > 1 and job.spec.chunksize is None:
            expected = job.sizer.expected(len(slot.items), workers)
            slot.seconds = limits.overrun * expected + limits.overrun_slack

    def ended(self, slot: Slot, job: Job, busy: float, now: float) -> None:
        """Take in that a chunk has come back; before its slot is free.

        Args:
            slot (Slot): Which one.
            job (Job): Whose items they are.
            busy (float): Seconds of work.
            now (float): Monotonic seconds.
        """
        if self._limits.distant and slot.dedicated is None and slot.done:
            self._way.learn(now - slot.sent, busy, slot.company, max(self._roster.workers, 1))
        if job.only:
            self._lone = busy if self._lone is None else (self._lone + busy) / 2
        early = slot.done < len(slot.items) or slot.recalled is not None
        if early and slot.seconds is not None and busy >= slot.seconds and slot.era == job.sizer.era:
            job.sizer.surprised(slot.done)
