"""Who lives: the slots of a group's workers, from the order to start a process to the news that it is gone.

A part of the scheduler, and as pure: it knows nothing of items. What it wants done it gives to ``order``.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Iterator

from procorch import _events as e
from procorch._policy import Limits
from procorch._slot import NEVER, Phase, Slot, Steps


class Roster:
    """All slots and what their processes are up to. The scheduler decides who works, this class who starts and ends."""

    def __init__(self, limits: Limits, names: Iterator[str], order: Callable[[e.Order], None]) -> None:
        """Begin with no slot.

        Args:
            limits (Limits): The numbers to decide by.
            names (Iterator[str]): Gives each new slot of the pool its name.
            order (Callable[[e.Order], None]): Takes what is to be done.
        """
        self._limits = limits
        self._names = names
        self._order = order
        self._numbered = itertools.count(1)
        self.slots: dict[int, Slot] = {}
        """By number; those of dedicated jobs only as long as they are needed."""
        self.idle: list[Slot] = []
        """Of the pool. The one that was busy last is at the end, to be taken first: its caches are warm."""
        self.alive = 0
        """Slots of the pool that are not GONE."""
        self.starting = 0
        """Those of them that are STARTING."""
        self.ending = 0
        """Those of them that are ENDING."""
        self.most = limits.max_workers
        """Slots that the pool may have now; fewer than there is room for while the system refuses more."""
        self.workers = limits.max_workers
        """Chunks of the pool that run at once; fewer than slots where chunks wait for their turn far away."""
        self._room = self.workers, self.most  # both, as long as the system refuses nothing
        self._gone: list[int] = []  # slots of the pool that are GONE, by number: a heap
        self._failed_starts = 0
        self._killed_starts = 0
        self._steps = Steps(self.slots)

    # --- beginning ----------------------------------------------------------------------------------------------------

    def add(self, name: str | None, dedicated: int | None) -> Slot:
        """Make a slot.

        Args:
            name (str | None): Its name; None takes the next of the pool's.
            dedicated (int | None): The one job it serves; None for the pool.

        Returns:
            Slot: Without a process.
        """
        slot = Slot(next(self._numbered), next(self._names) if name is None else name, dedicated)
        self.slots[slot.number] = slot
        return slot

    def start(self, slot: Slot) -> None:
        """Order a process for a slot.

        Args:
            slot (Slot): One that is GONE.
        """
        slot.phase = Phase.STARTING
        slot.tasks, slot.expired, slot.finalized = 0, None, False
        slot.starts += 1
        self.alive += slot.dedicated is None
        self.starting += slot.dedicated is None
        self._order(e.StartWorker(slot.number, slot.name))

    def start_for(self, waiting: int) -> None:
        """Start as many workers as there are items that wait beyond those already starting, up to the limit.

        Args:
            waiting (int): Items that wait for a worker of the pool.
        """
        gone = self._gone
        for _ in range(min(self.most - self.alive, waiting - self.starting)):
            self.start(self.slots[heapq.heappop(gone)] if gone else self.add(None, None))

    def resize(self, workers: int, window: int, now: float) -> None:
        """Take in how much room there is. Idle slots that have none end; those that are busy do when they are through.

        Args:
            workers (int): Chunks that run at once.
            window (int): Slots that the pool may have; none if nothing runs at all.
            now (float): Monotonic seconds.
        """
        self._room = workers, window if workers else 0
        self.reset()
        while self.idle and self.crowded:
            self.retire(self.idle.pop(0), now)

    def reset(self) -> None:
        """Believe again that there is all the room that was told of: what the system refused once it may give now."""
        self.workers, self.most = self._room

    @property
    def crowded(self) -> bool:
        """Whether the pool has more slots than there is room for, without those that are ending."""
        return self.alive - self.ending > self._room[1]

    @property
    def out(self) -> int:
        """Slots of the pool that have a chunk, without those that are ending."""
        return self.alive - self.starting - self.ending - len(self.idle)

    def ready(self, slot: Slot) -> bool:
        """Take in that a slot's process is ready.

        Args:
            slot (Slot): Which one.

        Returns:
            bool: Whether it may be given work.
        """
        self._failed_starts = self._killed_starts = 0
        if slot.phase is Phase.STARTING:
            self.starting -= slot.dedicated is None
            slot.phase = Phase.BUSY  # until it is given work, or is set idle
            return True
        self._order(e.Ask(slot.number))  # it was told to end meanwhile, but by a signal that it may ignore
        return False

    def refused(self, slot: Slot) -> bool:
        """Take in that the system refused a slot its process.

        Args:
            slot (Slot): Which one; GONE again.

        Returns:
            bool: Whether the pool can go on: the slot is no part of it, or others of it live.
        """
        self.set_gone(slot)
        slot.starts -= 1
        if slot.dedicated is None and self.alive:
            self.most = min(self.most, self.alive)
            self.workers = min(self.workers, self.most)
        return slot.dedicated is not None or self.alive > 0

    def failed_to_start(self, exitcode: int | None) -> bool:
        """Take in that a process ended before it was ready.

        Args:
            exitcode (int | None): As of `multiprocessing.Process`.

        Returns:
            bool: Whether it is time to give up on starting any.
        """
        if exitcode is not None and exitcode < 0:
            self._killed_starts += 1
        else:
            self._failed_starts += 1
        limits = self._limits
        return self._failed_starts >= limits.max_failed_starts or self._killed_starts >= limits.max_killed_starts

    def forget_all(self) -> None:
        """Take in that there are no processes any more, whatever was known of them."""
        self.idle.clear()
        self._gone.clear()
        self.alive = self.starting = self.ending = 0
        for slot in list(self.slots.values()):
            slot.phase, slot.job = Phase.GONE, None
            slot.deadline = slot.next_step = slot.stack_until = None
            if slot.dedicated is not None:
                del self.slots[slot.number]

    def dedicated_to(self, job: int) -> list[Slot]:
        """Give the slot of a job that has a process of its own.

        Args:
            job (int): Its number, or that of any other job.

        Returns:
            list[Slot]: One at most; none once the process is over.
        """
        return [slot for slot in self.slots.values() if slot.dedicated == job]

    # --- working ------------------------------------------------------------------------------------------------------

    def set_busy(self, slot: Slot, items: int, limit: float | None, now: float) -> None:
        """Take in that a slot gets a chunk.

        Args:
            slot (Slot): Which one.
            items (int): How many items it has.
            limit (float | None): Seconds that each may run; None for any time.
            now (float): Monotonic seconds.
        """
        slot.phase, slot.sent, slot.withdrawn = Phase.BUSY, now, False
        # Who is far away tells of what has finished when it can, and a look would be a message.
        slot.patience = self._limits.look_after if items > 1 and not self._limits.distant else NEVER
        slot.patient_until = now + slot.patience
        slot.limit = limit
        slot.limit_at = NEVER if limit is None else now + limit
        self.look_later(slot)

    def look_later(self, slot: Slot) -> None:
        """Look at a slot's process when it is time to.

        Args:
            slot (Slot): One that is busy.
        """
        when = min(slot.patient_until, slot.limit_at, slot.recall_at)
        if when != NEVER:
            self._steps.set(slot, when, e.Look)

    def runs_since(self, slot: Slot, since: float) -> None:
        """Take in since when a slot's item runs.

        Args:
            slot (Slot): One that is busy, with a limit.
            since (float): Monotonic seconds.
        """
        assert slot.limit is not None
        slot.limit_at = since + slot.limit
        self.look_later(slot)

    def set_idle(self, slot: Slot) -> None:
        """Take in that a slot has nothing to do.

        Args:
            slot (Slot): Which one.
        """
        slot.deadline = slot.next_step = None
        if slot.dedicated is None:
            slot.phase = Phase.IDLE
            self.idle.append(slot)
        else:
            # It has done its one item. It may live on as long as threads do that its function left behind, as with
            # multiprocessing.Process; so no deadline is set.
            self._set_ending(slot)
            self._order(e.Ask(slot.number))

    def stand_by(self, slot: Slot) -> None:
        """Take in that a slot's process has made all the rows of its stream that are wanted so far.

        Args:
            slot (Slot): Of a job with a process of its own.
        """
        slot.deadline = slot.next_step = None
        slot.phase = Phase.IDLE

    # --- ending -------------------------------------------------------------------------------------------------------

    def set_gone(self, slot: Slot) -> None:
        """Take in that a slot has no process any more.

        Args:
            slot (Slot): Which one.
        """
        if slot.phase is Phase.IDLE and slot.dedicated is None:
            self.idle.remove(slot)
        if slot.dedicated is None:
            self.alive -= 1
            self.starting -= slot.phase is Phase.STARTING
            self.ending -= slot.phase is Phase.ENDING
            heapq.heappush(self._gone, slot.number)
        slot.phase = Phase.GONE
        slot.deadline = slot.next_step = slot.stack_until = None

    def _set_ending(self, slot: Slot) -> None:
        if slot.dedicated is None:
            self.starting -= slot.phase is Phase.STARTING
            self.ending += slot.phase is not Phase.ENDING
        slot.phase = Phase.ENDING

    def ends_by_itself(self, slot: Slot, now: float) -> None:
        """Take in that a process is about to end, and see to it that nothing it left running keeps it.

        Args:
            slot (Slot): Which one.
            now (float): Monotonic seconds.
        """
        hurried = slot.deadline is not None and slot.phase is not Phase.BUSY  # a busy one is only to be looked at then
        self._set_ending(slot)
        if not hurried:
            self._steps.set(slot, now + self._limits.stop_grace, e.Terminate)

    def retire(self, slot: Slot, now: float) -> None:
        """Ask a worker that has nothing to do to end.

        Args:
            slot (Slot): Which one; not among the idle.
            now (float): Monotonic seconds.
        """
        self._set_ending(slot)
        slot.deadline = slot.next_step = None
        self._order(e.Ask(slot.number))
        if not self._limits.finalizes:  # else the time runs from the finalizer's end
            self.ends_by_itself(slot, now)

    def retire_idle(self, now: float) -> None:
        """Ask all idle workers to end.

        Args:
            now (float): Monotonic seconds.
        """
        for slot in self.idle:
            self.retire(slot, now)
        self.idle.clear()

    def drop_starting(self) -> None:
        """End the processes of the pool that are about to start: there is nothing left to do for them.

        None of the user's code has run in them, so that nobody can miss anything that they would do at their end.
        """
        if not (self._limits.initializes or self._limits.finalizes):
            for slot in self.slots.values():
                if slot.phase is Phase.STARTING and slot.dedicated is None:
                    self._set_ending(slot)
                    self._order(e.Kill(slot.number))

    def stop(self, slot: Slot, now: float) -> None:
        """Send a process SIGTERM, and SIGKILL later; a SIGKILL that is due already is not put off.

        Args:
            slot (Slot): One with a process; not among the idle.
            now (float): Monotonic seconds.
        """
        self._set_ending(slot)
        slot.stack_until = None
        self._order(e.Terminate(slot.number))
        if slot.next_step is not e.Kill:
            self._steps.set(slot, now + self._limits.kill_grace, e.Kill)

    def stop_all(self, now: float) -> None:
        """Send every process SIGTERM, and SIGKILL later.

        Args:
            now (float): Monotonic seconds.
        """
        self.idle.clear()
        for slot in self.slots.values():
            if slot.phase is not Phase.GONE:
                self.stop(slot, now)

    def expire(self, slot: Slot, item: int, now: float) -> None:
        """End a process whose item has run too long: first it is to write down its stack.

        Args:
            slot (Slot): Which one.
            item (int): The item.
            now (float): Monotonic seconds.
        """
        self._set_ending(slot)
        slot.expired = item
        slot.stack_until = now + self._limits.stack_grace
        self._order(e.ShowStack(slot.number))
        self._steps.set(slot, now + self._limits.stack_look, e.Look)

    def stack_looked(self, slot: Slot, now: float, *, there: bool) -> None:
        """Take in whether a process has written down its stack; if so, or if it does not get to it, go on ending it.

        Args:
            slot (Slot): Which one.
            now (float): Monotonic seconds.
            there (bool): Whether it has.
        """
        if slot.stack_until is None:
            return
        if there or now >= slot.stack_until:
            self.stop(slot, now)
        else:
            self._steps.set(slot, now + self._limits.stack_look, e.Look)

    def stop_dedicated(self, slot: Slot, *, kill: bool) -> None:
        """End the process of a dedicated job, because the user said so.

        Args:
            slot (Slot): Its slot.
            kill (bool): SIGKILL instead of SIGTERM.
        """
        slot.stopped_by_user = True
        if slot.phase is Phase.STARTING:
            self._set_ending(slot)  # so that its death is not counted as a failed start
        if slot.phase is not Phase.GONE:
            self._order(e.Kill(slot.number) if kill else e.Terminate(slot.number))

    def cease(self, slot: Slot, seconds: float, now: float) -> None:
        """Let the function of a dedicated job come to its end, and end its process if that takes too long.

        Args:
            slot (Slot): Its slot, which has it.
            seconds (float): How long it may take.
            now (float): Monotonic seconds.
        """
        self._set_ending(slot)
        self._order(e.Cease(slot.number))
        self._steps.set(slot, now + seconds, e.Terminate)

    def close_stream(self, slot: Slot, now: float) -> None:
        """End the process of a stream that nobody wants any more: it is asked, and has to hurry if it makes a row.

        Args:
            slot (Slot): Its slot.
            now (float): Monotonic seconds.
        """
        if slot.phase is Phase.STARTING:
            self.stop(slot, now)  # it has nothing to close
        elif slot.phase is Phase.IDLE:
            self.retire(slot, now)
        elif slot.phase is Phase.BUSY:
            self._set_ending(slot)
            self._order(e.Ask(slot.number))
            self._steps.set(slot, now + self._limits.stop_grace, e.Terminate)

    # --- time ---------------------------------------------------------------------------------------------------------

    def next_deadline(self) -> float | None:
        """Tell when `time_passed` must be called at the latest.

        Returns:
            float | None: Monotonic seconds; None if nothing depends on time.
        """
        return self._steps.next_deadline()

    def time_passed(self, now: float) -> list[Slot]:
        """Take the steps that are due.

        Args:
            now (float): Monotonic seconds.

        Returns:
            list[Slot]: Those that are far away and whose chunk is overdue: to be asked back before they are looked at.
        """
        overdue: list[Slot] = []
        for slot, step in self._steps.due(now):
            if self._limits.distant and slot.phase is Phase.BUSY and slot.recall_at <= now:
                overdue.append(slot)
            else:
                self._order(step(slot.number))
            if step is e.Look and slot.phase is Phase.BUSY:
                self._looking(slot, now)
            elif step is e.Terminate:
                self._steps.set(slot, now + self._limits.kill_grace, e.Kill)
        return overdue

    def _looking(self, slot: Slot, now: float) -> None:
        if slot.patient_until <= now:
            # Ever longer: a heavy item is not to be looked at a thousand times.
            slot.patience *= 2
            slot.patient_until = now + slot.patience
        if slot.limit is not None:
            # If none runs now; else `runs_since` comes next.
            slot.limit_at = now + max(slot.limit, self._limits.limit_look)
        if slot.recall_at <= now:
            slot.recall_at = NEVER  # `Recalls.looked` decides what comes next
        self.look_later(slot)
