"""Who lives: the slots of a group's workers, from the order to start a process to the news that it is gone.

A part of the scheduler, and as pure: it knows nothing of items. What it wants done it gives to ``order``.
"""

from __future__ import annotations

import enum
import heapq
import itertools
from collections.abc import Callable, Iterator, Sequence

import attrs

from procorch import _events as e
from procorch._policy import Limits


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
    starts: int = 0
    """Processes it has had."""
    patience: float = 0.0
    """Seconds until the next look at it while it is busy."""
    deadline: float | None = None
    """When to look at it, or to go one step further in ending it; monotonic seconds."""
    next_step: Callable[[int], e.Order] | None = None
    """That step: `Look`, `Terminate` or `Kill`."""
    stopped_by_user: bool = False


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
        self.most = limits.max_workers
        """Workers that the pool may have now; fewer than wanted while the system refuses more."""
        self._failed_starts = 0
        self._killed_starts = 0
        self._timers: list[tuple[float, int]] = []  # (deadline, slot), also of deadlines that hold no longer

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
        slot.starts += 1
        self.alive += slot.dedicated is None
        self._order(e.StartWorker(slot.number, slot.name))

    def start_for(self, waiting: int) -> None:
        """Start as many workers as there are items that wait beyond those already starting, up to the limit.

        Args:
            waiting (int): Items that wait for a worker of the pool.
        """
        pool = [slot for slot in self.slots.values() if slot.dedicated is None]
        starting = sum(slot.phase is Phase.STARTING for slot in pool)
        gone = [slot for slot in pool if slot.phase is Phase.GONE]
        for _ in range(min(self.most - self.alive, waiting - starting)):
            self.start(gone.pop(0) if gone else self.add(None, None))

    def ready(self, slot: Slot) -> bool:
        """Take in that a slot's process is ready.

        Args:
            slot (Slot): Which one.

        Returns:
            bool: Whether it may be given work.
        """
        self._failed_starts = self._killed_starts = 0
        if slot.phase is Phase.STARTING:
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
            self.most = self.alive
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

    # --- working ------------------------------------------------------------------------------------------------------

    def set_busy(self, slot: Slot, items: int, now: float) -> None:
        """Take in that a slot gets a chunk.

        Args:
            slot (Slot): Which one.
            items (int): How many items it has.
            now (float): Monotonic seconds.
        """
        slot.phase = Phase.BUSY
        if items > 1:
            slot.patience = self._limits.look_after
            self._set_step(slot, now + slot.patience, e.Look)

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
            slot.phase = Phase.ENDING
            self._order(e.Ask(slot.number))

    # --- ending -------------------------------------------------------------------------------------------------------

    def set_gone(self, slot: Slot) -> None:
        """Take in that a slot has no process any more.

        Args:
            slot (Slot): Which one.
        """
        if slot.phase is Phase.IDLE:
            self.idle.remove(slot)
        slot.phase = Phase.GONE
        slot.deadline = slot.next_step = None
        self.alive -= slot.dedicated is None

    def ends_by_itself(self, slot: Slot, now: float) -> None:
        """Take in that a process is about to end, and see to it that nothing it left running keeps it.

        Args:
            slot (Slot): Which one.
            now (float): Monotonic seconds.
        """
        slot.phase = Phase.ENDING
        if slot.deadline is None:
            self._set_step(slot, now + self._limits.stop_grace, e.Terminate)

    def ask_idle(self, now: float) -> None:
        """Ask all idle workers to end.

        Args:
            now (float): Monotonic seconds.
        """
        for slot in self.idle:
            self._order(e.Ask(slot.number))
            self.ends_by_itself(slot, now)
        self.idle.clear()

    def terminate_all(self, now: float) -> None:
        """Send every process SIGTERM, and SIGKILL later.

        Args:
            now (float): Monotonic seconds.
        """
        self.idle.clear()
        for slot in self.slots.values():
            if slot.phase is not Phase.GONE:
                slot.phase = Phase.ENDING
                self._order(e.Terminate(slot.number))
                self._set_step(slot, now + self._limits.kill_grace, e.Kill)

    def stop_dedicated(self, job: int, *, kill: bool) -> None:
        """End the process of a job, because the user said so.

        Args:
            job (int): Its number.
            kill (bool): SIGKILL instead of SIGTERM.
        """
        for slot in self.slots.values():
            if slot.dedicated == job:
                slot.stopped_by_user = True
                if slot.phase is Phase.STARTING:
                    slot.phase = Phase.ENDING  # so that its death is not counted as a failed start
                self._order(e.Kill(slot.number) if kill else e.Terminate(slot.number))

    # --- time ---------------------------------------------------------------------------------------------------------

    def _set_step(self, slot: Slot, when: float, step: Callable[[int], e.Order]) -> None:
        slot.deadline, slot.next_step = when, step
        heapq.heappush(self._timers, (when, slot.number))

    def next_deadline(self) -> float | None:
        """Tell when `time_passed` must be called at the latest.

        Returns:
            float | None: Monotonic seconds; None if nothing depends on time.
        """
        timers = self._timers
        while timers:
            when, number = timers[0]
            slot = self.slots.get(number)
            if slot is not None and slot.deadline == when:
                return when
            heapq.heappop(timers)
        return None

    def time_passed(self, now: float) -> None:
        """Take the steps that are due.

        Args:
            now (float): Monotonic seconds.
        """
        while (deadline := self.next_deadline()) is not None and deadline <= now:
            slot = self.slots[heapq.heappop(self._timers)[1]]
            step = slot.next_step
            slot.deadline = slot.next_step = None
            if step is None:
                continue
            self._order(step(slot.number))
            if step is e.Look:
                # Ever longer: a heavy item is not to be looked at a thousand times.
                slot.patience *= 2
                self._set_step(slot, now + slot.patience, e.Look)
            elif step is e.Terminate:
                self._set_step(slot, now + self._limits.kill_grace, e.Kill)
