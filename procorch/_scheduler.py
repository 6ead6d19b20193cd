"""The mind of a group: which item goes to which worker, what a death costs, who starts and who ends.

Pure: no process, no clock, no pickle. `Scheduler.handle` takes an event and the time and returns orders; the supervisor
carries them out in their order. A worker is busy from the moment that `Send` is ordered, nobody asks it whether it is.

What becomes of an item:

    offered -> waiting -> with a worker -> finished ----------------------> Resolve(Value | Failure)
                 ^              |--------- its process died under it -----> retry, or Resolve(Lost)
                 |---- moved ---|--------- never begun
                 +--------------+--------- nobody wants it any more ------> Resolve(Dropped)
"""

from __future__ import annotations

import enum
import heapq
import itertools
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import assert_never

import attrs

from procorch import _events as e
from procorch._chunks import ChunkSizer
from procorch._messages import Failure, Value
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


@attrs.define(eq=False)
class _Job:
    number: int
    spec: e.JobSpec
    sizer: ChunkSizer
    offered: int = 0
    waiting: deque[int] = attrs.field(factory=lambda: deque[int]())
    chunks: int = 0
    """Chunks with workers. Until the last has ended, the job is not done: that end is still to be heard."""
    tries: dict[int, int] = attrs.field(factory=lambda: dict[int, int]())
    """How often an item's process has died under it, for those where it has."""
    unbegun: dict[int, int] = attrs.field(factory=lambda: dict[int, int]())
    """How often a process has died with an item before it, as the next one, began; for those where one has."""
    sealed: bool = False
    stopped: bool = False


class Scheduler:
    """See the module's text. Not safe for several threads: its owner holds a lock."""

    def __init__(self, limits: Limits, names: Iterator[str]) -> None:
        """Begin with no slot and no job.

        Args:
            limits (Limits): The numbers to decide by.
            names (Iterator[str]): Gives each new slot of the pool its name.
        """
        self._limits = limits
        self._names = names
        self._numbered = itertools.count(1)
        self.slots: dict[int, Slot] = {}
        """By number; those of dedicated jobs only as long as they are needed."""
        self._jobs: dict[int, _Job] = {}
        self._ready: deque[_Job] = deque()  # jobs with waiting items, in turn; dedicated ones are not among them
        self._waiting = 0  # the items of all of these
        self._idle: list[Slot] = []  # the one that was busy last is at the end, and is taken first: its caches are warm
        self._alive = 0  # pool slots that are not GONE
        self._most = limits.max_workers
        self._timers: list[tuple[float, int]] = []  # (deadline, slot), also of deadlines that hold no longer
        self._closing = False
        self._terminated = False
        self._broken = False
        self._failed_starts = 0
        self._killed_starts = 0
        self._orders: list[e.Order] = []

    # --- what the owner may ask -------------------------------------------------------------------------------------

    @property
    def hungry(self) -> bool:
        """Whether one more item would be begun at once, or a worker started for it."""
        return bool(self._idle) or self._alive < self._most

    @property
    def finished(self) -> bool:
        """Whether the group is closed, and no process and no item without an outcome is left."""
        return (self._closing or self._terminated) and self.unoccupied and not self._alive

    @property
    def unoccupied(self) -> bool:
        """Whether every item has its outcome, and every dedicated process has ended."""
        return not self._jobs and all(slot.dedicated is None for slot in self.slots.values())

    def waits(self, job: int) -> bool:
        """Tell whether a job's only item has not been given to a worker.

        Args:
            job (int): Its number.

        Returns:
            bool: False also for a job that is over.
        """
        known = self._jobs.get(job)
        return known is not None and bool(known.waiting)

    def runs(self, job: int) -> bool:
        """Tell whether items of the job are with workers.

        Args:
            job (int): Its number.

        Returns:
            bool: False also for a job that is over.
        """
        known = self._jobs.get(job)
        return known is not None and bool(known.chunks)

    def next_deadline(self) -> float | None:
        """Tell when `TimePassed` must be heard at the latest.

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

    # --- the only way in --------------------------------------------------------------------------------------------

    def handle(self, event: e.Event, now: float) -> list[e.Order]:
        """Take in what happened and decide what to do.

        Args:
            event (e.Event): What happened.
            now (float): When; monotonic seconds, never less than before.

        Returns:
            list[e.Order]: To be carried out in this order.
        """
        match event:
            case e.ItemsOffered(job, count):
                self._offered(self._jobs[job], count)
            case e.Recorded(slot, outcomes):
                self._recorded(self.slots[slot], outcomes)
            case e.ChunkEnded(slot, busy):
                self._chunk_ended(self.slots[slot], busy)
            case e.JobOpened(job, spec):
                self._opened(job, spec)
            case e.JobSealed(job):
                self._sealed(job)
            case e.JobStopped(job):
                self._stopped(job)
            case e.WorkerReady(slot):
                self._worker_ready(self.slots[slot], now)
            case e.WorkerDied(slot, exitcode, begun):
                self._worker_died(self.slots[slot], exitcode, begun)
            case e.SetupFailed(slot, failure):
                self._setup_failed(self.slots[slot], failure, now)
            case e.LaunchFailed(slot, detail):
                self._launch_failed(self.slots[slot], detail)
            case e.ProcessStopped(job, kill):
                self._process_stopped(job, kill)
            case e.CloseAsked():
                self._close()
            case e.TerminateAsked():
                self._terminate(now)
            case e.TimePassed():
                self._time_passed(now)
            case _:
                assert_never(event)
        self._dispatch(now)
        orders, self._orders = self._orders, []
        return orders

    def _order(self, order: e.Order) -> None:
        self._orders.append(order)

    # --- jobs ---------------------------------------------------------------------------------------------------------

    @property
    def _refusing(self) -> bool:
        return self._terminated or self._broken

    def _opened(self, number: int, spec: e.JobSpec) -> None:
        sizer = ChunkSizer(self._limits.chunk_seconds, self._limits.max_chunk_items)
        self._jobs[number] = _Job(number, spec, sizer)
        if spec.dedicated and self._refusing:
            self._order(e.ProcessOver(number, None))
        elif spec.dedicated:
            self._start(self._new_slot(spec.name, number))

    def _offered(self, job: _Job, count: int) -> None:
        items = range(job.offered, job.offered + count)
        job.offered += count
        if job.sealed or self._refusing:
            self._drop(job, items)
        else:
            self._enqueue(job, items, front=False)

    def _enqueue(self, job: _Job, items: Sequence[int], *, front: bool) -> None:
        if not job.spec.dedicated:
            self._waiting += len(items)
            if not job.waiting and front:
                self._ready.appendleft(job)
            elif not job.waiting:
                self._ready.append(job)
        if front:
            job.waiting.extendleft(reversed(items))
        else:
            job.waiting.extend(items)

    def _give_back(self, job: _Job, items: Sequence[int]) -> None:
        """Put items that have no outcome in front of those that wait, or drop them if nobody wants them."""
        if items and (job.stopped or self._refusing):
            self._drop(job, items)
        elif items:
            self._enqueue(job, items, front=True)

    def _drop(self, job: _Job, items: Sequence[int]) -> None:
        self._order(e.Resolve(job.number, items, [e.Dropped()] * len(items), None))

    def _sealed(self, number: int) -> None:
        job = self._jobs.get(number)
        if job is not None:
            job.sealed = True
            self._forget_if_done(job)

    def _stopped(self, number: int) -> None:
        job = self._jobs.get(number)
        if job is None:
            return
        job.stopped = job.sealed = True
        if job.waiting:
            items = tuple(job.waiting)
            job.waiting.clear()
            if not job.spec.dedicated:
                self._ready.remove(job)
                self._waiting -= len(items)
            self._drop(job, items)
        for slot in self.slots.values():
            if slot.job == number and slot.phase is Phase.BUSY and len(slot.items) > 1:
                self._order(e.Withdraw(slot.number))
        self._forget_if_done(job)

    def _forget_if_done(self, job: _Job) -> None:
        over = job.sealed and not job.waiting and not job.chunks
        if over and self._jobs.pop(job.number, None) is not None:
            self._order(e.JobDone(job.number))

    # --- workers at work ----------------------------------------------------------------------------------------------

    def _send(self, slot: Slot, job: _Job, now: float) -> None:
        size = job.spec.chunksize or job.sizer.size(len(job.waiting), self._most)
        count = min(size, len(job.waiting))
        take = job.waiting.popleft
        slot.job, slot.items, slot.done = job.number, [take() for _ in range(count)], 0
        slot.phase = Phase.BUSY
        job.chunks += 1
        if not job.spec.dedicated:
            self._waiting -= count
        self._order(e.Send(slot.number, job.number, slot.items))
        if count > 1:
            slot.patience = self._limits.look_after
            self._set_step(slot, now + slot.patience, e.Look)

    def _recorded(self, slot: Slot, outcomes: Sequence[Value | Failure]) -> None:
        job = self._jobs[slot.job]  # type: ignore[index]  # only a slot with a chunk records anything
        items = slot.items[slot.done : slot.done + len(outcomes)]
        slot.done += len(outcomes)
        slot.finished += len(outcomes)
        self._order(e.Resolve(job.number, items, outcomes, slot.number))
        if job.spec.stop_on_failure and not job.stopped and any(type(one) is Failure for one in outcomes):
            self._stopped(job.number)

    def _chunk_ended(self, slot: Slot, busy: float) -> None:
        job = self._jobs[slot.job]  # type: ignore[index]  # only a slot with a chunk can end one
        slot.busy += busy
        if slot.done:
            job.sizer.learn(slot.done, busy)
        self._release(slot, job, slot.items[slot.done :])
        if slot.phase is Phase.BUSY:
            self._set_idle(slot)

    def _release(self, slot: Slot, job: _Job, rest: Sequence[int]) -> None:
        """Take the chunk from the slot; ``rest`` of it has no outcome and may run elsewhere."""
        slot.job, slot.items, slot.done = None, (), 0
        job.chunks -= 1
        self._give_back(job, rest)
        self._forget_if_done(job)

    def _set_idle(self, slot: Slot) -> None:
        slot.deadline = slot.next_step = None
        if slot.dedicated is None:
            slot.phase = Phase.IDLE
            self._idle.append(slot)
        else:
            # It has done its one item. It may live on as long as threads do that its function left behind, as with
            # multiprocessing.Process; so no deadline is set.
            slot.phase = Phase.ENDING
            self._order(e.Ask(slot.number))

    def _worker_died(self, slot: Slot, exitcode: int | None, begun: int) -> None:
        was = slot.phase
        self._set_gone(slot)
        if was is Phase.IDLE:
            self._idle.remove(slot)
        if slot.job is not None:
            self._blame(slot, self._jobs[slot.job], exitcode, begun)
        if was is Phase.STARTING:
            self._start_failed(slot, exitcode)
        if slot.dedicated is not None:
            self._settle_dedicated(slot, slot.dedicated, exitcode)

    def _blame(self, slot: Slot, job: _Job, exitcode: int | None, begun: int) -> None:
        """Decide what the death of a worker with a chunk costs."""
        culprits = slot.items[slot.done : begun]
        rest = list(slot.items[max(slot.done, begun) :])
        again: list[int] = []
        for item in culprits:
            attempts = job.tries[item] = job.tries.get(item, 0) + 1
            if attempts <= job.spec.retries and not slot.stopped_by_user and not job.stopped:
                again.append(item)
            else:
                self._lose(slot, job, item, exitcode)
        if not begun and not job.stopped:
            # What kills workers may be the item's way to them: it is too large, or loading its function crashes.
            deaths = job.unbegun[rest[0]] = job.unbegun.get(rest[0], 0) + 1
            if deaths >= self._limits.max_unbegun_deaths:
                self._lose(slot, job, rest.pop(0), exitcode)
        self._release(slot, job, [*again, *rest])

    def _lose(self, slot: Slot, job: _Job, item: int, exitcode: int | None) -> None:
        lost = e.Dropped() if self._terminated else e.Lost(slot.number, exitcode, job.tries.get(item, 0))
        self._order(e.Resolve(job.number, (item,), (lost,), slot.number))
        if job.spec.stop_on_failure and not job.stopped:
            self._stopped(job.number)

    # --- workers that begin -------------------------------------------------------------------------------------------

    def _new_slot(self, name: str | None, dedicated: int | None) -> Slot:
        slot = Slot(next(self._numbered), next(self._names) if name is None else name, dedicated)
        self.slots[slot.number] = slot
        return slot

    def _start(self, slot: Slot) -> None:
        slot.phase = Phase.STARTING
        slot.starts += 1
        self._alive += slot.dedicated is None
        self._order(e.StartWorker(slot.number, slot.name))

    def _start_wanted(self) -> None:
        """Start as many workers as there are items that wait beyond those already starting, up to the limit."""
        pool = [slot for slot in self.slots.values() if slot.dedicated is None]
        starting = sum(slot.phase is Phase.STARTING for slot in pool)
        gone = [slot for slot in pool if slot.phase is Phase.GONE]
        for _ in range(min(self._most - self._alive, self._waiting - starting)):
            self._start(gone.pop(0) if gone else self._new_slot(None, None))

    def _worker_ready(self, slot: Slot, now: float) -> None:
        self._failed_starts = self._killed_starts = 0
        job = self._jobs.get(slot.dedicated) if slot.dedicated is not None else None
        if slot.phase is not Phase.STARTING:
            self._order(e.Ask(slot.number))  # it was told to end meanwhile, but by a signal that it may ignore
        elif job is not None and job.waiting:
            self._send(slot, job, now)
        else:
            self._set_idle(slot)

    def _setup_failed(self, slot: Slot, failure: Failure, now: float) -> None:
        slot.phase = Phase.ENDING  # by itself; but nothing that the initializer left running may keep it
        if slot.deadline is None:
            self._set_step(slot, now + self._limits.stop_grace, e.Terminate)
        self._break(e.Broken(slot.number, failure, None, ""))

    def _launch_failed(self, slot: Slot, detail: str) -> None:
        self._set_gone(slot)
        if slot.dedicated is not None:
            self._forget_dedicated(slot, slot.dedicated, e.NotStarted(slot.number, detail), None)
        elif self._alive:
            self._most = self._alive  # the system has no room for more; go on with those that live
        else:
            self._break(e.Broken(slot.number, None, None, detail))

    def _start_failed(self, slot: Slot, exitcode: int | None) -> None:
        if exitcode is not None and exitcode < 0:
            self._killed_starts += 1
        else:
            self._failed_starts += 1
        limits = self._limits
        if self._failed_starts >= limits.max_failed_starts or self._killed_starts >= limits.max_killed_starts:
            self._break(e.Broken(slot.number, None, exitcode, ""))

    def _break(self, order: e.Broken) -> None:
        """Give up on starting workers. What runs may finish; what waits is dropped."""
        if not self._refusing:
            self._broken = True
            self._order(order)
            for job in list(self._jobs.values()):
                self._stopped(job.number)

    # --- workers that end ---------------------------------------------------------------------------------------------

    def _set_gone(self, slot: Slot) -> None:
        slot.phase = Phase.GONE
        slot.deadline = slot.next_step = None
        self._alive -= slot.dedicated is None

    def _settle_dedicated(self, slot: Slot, number: int, exitcode: int | None) -> None:
        """Start the process of a dedicated job again if its item still waits, else forget the slot."""
        job = self._jobs.get(number)
        if job is not None and job.waiting and not slot.stopped_by_user:
            self._start(slot)
        else:
            attempts = job.tries.get(0, 0) if job is not None else 0
            self._forget_dedicated(slot, number, e.Lost(slot.number, exitcode, attempts), exitcode)

    def _forget_dedicated(self, slot: Slot, number: int, unbegun: e.Outcome, exitcode: int | None) -> None:
        """Let a dedicated job's process be over. If its item still waits, ``unbegun`` is what becomes of it."""
        del self.slots[slot.number]
        job = self._jobs.get(number)
        if job is not None and job.waiting:
            items = tuple(job.waiting)
            job.waiting.clear()
            self._order(e.Resolve(number, items, [unbegun] * len(items), slot.number))
            self._forget_if_done(job)
        # Last, so that whoever learns that the process is over finds its result.
        self._order(e.ProcessOver(number, exitcode))

    def _set_step(self, slot: Slot, when: float, step: Callable[[int], e.Order]) -> None:
        slot.deadline, slot.next_step = when, step
        heapq.heappush(self._timers, (when, slot.number))

    def _end(self, slot: Slot, now: float) -> None:
        slot.phase = Phase.ENDING
        self._order(e.Terminate(slot.number))
        self._set_step(slot, now + self._limits.kill_grace, e.Kill)

    def _close(self) -> None:
        self._closing = True
        for job in list(self._jobs.values()):
            if job.spec.streaming:
                self._sealed(job.number)

    def _terminate(self, now: float) -> None:
        if self._terminated:
            return
        self._terminated = True
        for job in list(self._jobs.values()):
            self._stopped(job.number)
        self._idle.clear()
        for slot in self.slots.values():
            if slot.phase is not Phase.GONE:
                self._end(slot, now)

    def _process_stopped(self, number: int, kill: bool) -> None:
        for slot in self.slots.values():
            if slot.dedicated == number:
                slot.stopped_by_user = True
                if slot.phase is Phase.STARTING:
                    slot.phase = Phase.ENDING  # so that its death is not counted as a failed start
                self._order(e.Kill(slot.number) if kill else e.Terminate(slot.number))

    def _time_passed(self, now: float) -> None:
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

    # --- who gets what ------------------------------------------------------------------------------------------------

    def _dispatch(self, now: float) -> None:
        """Give every worker that can work something to do, start those that are wanted, end those that are not."""
        while self._idle and self._ready:
            job = self._ready[0]
            self._send(self._idle.pop(), job, now)
            if job.waiting:
                self._ready.rotate(-1)  # the next worker serves the next job
            else:
                self._ready.popleft()
        if self._waiting and self._alive < self._most and not self._refusing:
            self._start_wanted()
        over = self._closing and all(job.sealed for job in self._jobs.values())
        if self._idle and (over or self._refusing):
            for slot in self._idle:
                slot.phase = Phase.ENDING
                self._order(e.Ask(slot.number))
                self._set_step(slot, now + self._limits.stop_grace, e.Terminate)
            self._idle.clear()
