"""Which chunks are asked back, and when: those that take far longer than planned, and at the end those worth sharing.

A part of the scheduler, and as pure. A worker that was asked begins no further item. Mostly it tells soon that its
chunk is over. If it does not, it is within an item: then a look shows how far it has come, and what is behind that item
goes to others at once, however long the item takes. So a wrong guess costs an item and some milliseconds.

A chunk of a given size stays with its worker.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from procorch import _events as e
from procorch._backlog import Job
from procorch._policy import Limits
from procorch._slot import NEVER, Phase, Slot
from procorch._way import Way

_WAYS = 2.0
"""Ways there and back until an item that is asked back from far away is somewhere else."""

_SEARCHED = 32
"""Slots that can be searched for work to share in less than a tenth of `Limits.recall_look`."""


class Recalls:
    """The chunks that may be asked back. The scheduler tells it of each, and deals what comes back anew."""

    def __init__(
        self, limits: Limits, way: Way, look_later: Callable[[Slot], None], order: Callable[[e.Order], None]
    ) -> None:
        """Begin with no chunk.

        Args:
            limits (Limits): The numbers to decide by.
            way (Way): Tells how long the way to distant workers is.
            look_later (Callable[[Slot], None]): Sees to it that a slot is looked at when it is time to.
            order (Callable[[e.Order], None]): Takes what is to be done.
        """
        self._limits = limits
        self._way = way
        self._look_later = look_later
        self._order = order
        self.divisible: dict[int, Slot] = {}
        """Slots with such chunks, by number."""
        self._sharing: Slot | None = None  # whose chunk was asked back last, to be shared
        self._search_at = 0.0  # when to search for work to share, at the earliest

    def sent(self, slot: Slot, job: Job, workers: int, now: float) -> None:
        """Take in that a slot gets a chunk; before `Roster.set_busy`.

        Args:
            slot (Slot): Which one.
            job (Job): Whose items they are.
            workers (int): Workers that share them.
            now (float): Monotonic seconds.
        """
        slot.recalled, slot.recall_at = None, NEVER
        if job.only:
            return
        sizer, limits = job.sizer, self._limits
        slot.era = sizer.era
        if len(slot.items) > 1 and job.spec.chunksize is None:
            budget = sizer.budget(workers)
            far = self._far(slot, budget, workers) if limits.distant else 0.0
            expected = sizer.expected(len(slot.items), workers)
            slot.overdue = now + limits.overrun * (expected + far) + limits.overrun_slack
            slot.overrun = max(slot.overdue, now + limits.overrun * (budget + far))
            slot.recall_at = slot.overdue
            self.divisible[slot.number] = slot

    def over(self, slot: Slot) -> None:
        """Take in that a slot has its chunk no more, or nothing that others could do.

        Args:
            slot (Slot): Which one.
        """
        self.divisible.pop(slot.number, None)
        slot.recall_at = NEVER

    def looked(self, slot: Slot, job: Job, begun: int, now: float, *, wanted: bool) -> Sequence[int]:
        """Take in how far a chunk has come. If it has taken too long, ask it back; if that was done, take it back.

        Args:
            slot (Slot): Whose chunk.
            job (Job): Whose items.
            begun (int): Items that have begun.
            now (float): Monotonic seconds.
            wanted (bool): Whether anybody could do something with the others at once.

        Returns:
            Sequence[int]: What will never begin there; the slot has it no more.
        """
        if slot.number not in self.divisible:
            return ()
        if self._limits.distant:
            # What is told after the chunk was asked back was seen after the worker knew of it, however long that takes.
            return self._take_back_far(slot, job, begun, now) if slot.recalled is not None else ()
        if slot.recalled is not None:
            return self._take_back(slot, begun) if now >= slot.recalled + self._limits.recall_look else ()
        if now < slot.overdue:
            return ()
        if begun >= len(slot.items):
            self.over(slot)
        elif wanted or now >= slot.overrun:
            self._ask_back(slot, job, now)
        else:
            slot.recall_at = slot.overrun
            self._look_later(slot)
        return ()

    def _take_back(self, slot: Slot, begun: int) -> Sequence[int]:
        # One at least remains: what a process dies with before it begins must be known.
        keep = max(begun, slot.done, 1)
        rest = slot.items[keep:]
        slot.items = slot.items[:keep]
        self.over(slot)
        return rest

    # --- far away -----------------------------------------------------------------------------------------------------

    def overdue(self, slot: Slot, job: Job, now: float, *, wanted: bool) -> None:
        """Ask back a chunk that is far away and takes too long, and look at it; an answer may never come.

        Args:
            slot (Slot): Whose chunk.
            job (Job): Whose items.
            now (float): Monotonic seconds.
            wanted (bool): Whether anybody could do something with the others at once.
        """
        if wanted or now >= slot.overrun:
            self._ask_back_far(slot, now)
        else:
            slot.recall_at = slot.overrun
            self._look_later(slot)
            self._order(e.Look(slot.number))

    def _far(self, slot: Slot, budget: float, workers: int) -> float:
        """Estimate how long a chunk takes beyond its work: it may wait for others at the engine."""
        before = max(slot.company - 1, 0) // max(workers, 1)
        return max(self._way.seconds + before * budget, self._way.usual)

    def _ask_back_far(self, slot: Slot, now: float) -> None:
        # No surprise yet: it may be the way that takes longer this time, or who is before it at the engine.
        slot.recalled, slot.recall_at = now, NEVER
        self._order(e.Withdraw(slot.number))
        self._order(e.Look(slot.number))

    def _take_back_far(self, slot: Slot, job: Job, begun: int, now: float) -> Sequence[int]:
        if begun and now >= slot.overdue and slot.era == job.sizer.era:
            job.sizer.surprised(begun)
        return self._take_back(slot, begun)

    # --- near ---------------------------------------------------------------------------------------------------------

    def _ask_back(self, slot: Slot, job: Job, now: float) -> None:
        if self._limits.distant:
            self._ask_back_far(slot, now)
            return
        if now >= slot.overdue:
            job.sizer.surprised()
        slot.recalled = now
        slot.recall_at = now + self._limits.recall_look
        self._order(e.Withdraw(slot.number))
        self._look_later(slot)

    # --- sharing at the end -------------------------------------------------------------------------------------------

    def share(self, jobs: Mapping[int, Job], workers: int, now: float) -> None:
        """Ask back the chunk with most work to do, if that is worth it: for when workers are idle and nothing waits.

        Args:
            jobs (Mapping[int, Job]): By number.
            workers (int): Workers that share the items.
            now (float): Monotonic seconds.
        """
        if now < self._search_at or self._still_shares(now):
            return  # nothing was worth it a moment ago; or one at a time: what comes back is for all who are idle
        best, most = None, 0.0
        for slot in self.divisible.values():
            # Without this condition, items might go from one to another for ever: what is overdue is dealt one by one.
            moves = slot.done or now >= slot.overdue
            if (
                slot.dedicated is None
                and moves
                and slot.phase is Phase.BUSY
                and slot.recalled is None
                and slot.job is not None
            ):
                job = jobs[slot.job]
                work = self._work_left(slot, job, now)
                worth = max(self._limits.steal_seconds, 2 * job.sizer.least(workers)) + _WAYS * self._way.seconds
                if work > most and work >= worth:
                    best, most = slot, work
        self._sharing = best
        if best is not None and best.job is not None:
            self._ask_back(best, jobs[best.job], now)
        else:
            # The more there are, the longer this took.
            self._search_at = now + self._limits.recall_look * (1 + len(self.divisible) / _SEARCHED)

    def _still_shares(self, now: float) -> bool:
        slot = self._sharing
        if slot is None or slot.phase is not Phase.BUSY or slot.recalled is None:
            return False
        if self._limits.distant:  # the answer may never come
            return now < slot.recalled + _WAYS * self._way.seconds
        return slot.recall_at != NEVER

    def _work_left(self, slot: Slot, job: Job, now: float) -> float:
        """Estimate the work in a slot's items that have not begun, in seconds: by their cost, or by how slow it is."""
        cost = job.sizer.cost or 0.0
        taken = now - slot.sent - self._way.seconds
        left = len(slot.items) - slot.done - 1
        by_cost = min(left * cost, len(slot.items) * cost - taken)
        # More may have finished than was told: then it is shared a little sooner than would be best.
        by_pace = left * (taken - self._limits.overrun_slack) / (slot.done + 1)
        return max(by_cost, by_pace)
