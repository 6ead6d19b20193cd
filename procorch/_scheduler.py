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

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from typing import assert_never

import attrs

from procorch import _events as e
from procorch._chunks import ChunkSizer
from procorch._messages import Failure, Value
from procorch._policy import Limits
from procorch._roster import Phase, Roster, Slot


@attrs.define(eq=False)
class _Job:
    number: int
    spec: e.JobSpec
    sizer: ChunkSizer
    offered: int = 0
    waiting: deque[int] = attrs.field(factory=deque[int])
    chunks: int = 0
    """Chunks with workers. Until the last has ended, the job is not done: that end is still to be heard."""
    tries: dict[int, int] = attrs.field(factory=dict[int, int])
    """How often an item's process has died under it, for those where it has."""
    unbegun: dict[int, int] = attrs.field(factory=dict[int, int])
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
        self._orders: list[e.Order] = []
        self._roster = Roster(limits, names, self._order)
        self._jobs: dict[int, _Job] = {}
        self._ready: deque[_Job] = deque()  # jobs with waiting items, in turn; dedicated ones are not among them
        self._waiting = 0  # the items of all of these
        self._closing = False
        self._terminated = False
        self._broken = False

    # --- what the owner may ask -------------------------------------------------------------------------------------

    @property
    def slots(self) -> Mapping[int, Slot]:
        """The slots, by number; those of dedicated jobs only as long as they are needed."""
        return self._roster.slots

    @property
    def hungry(self) -> bool:
        """Whether one more item would be begun at once, or a worker started for it."""
        return bool(self._roster.idle) or self._roster.alive < self._roster.most

    @property
    def finished(self) -> bool:
        """Whether the group is closed, and no process and no item without an outcome is left."""
        return (self._closing or self._terminated) and not self._jobs and self.unoccupied and not self._roster.alive

    @property
    def unoccupied(self) -> bool:
        """Whether every item has its outcome, and every dedicated process has ended.

        A stream whose consumer may ask for more, or never, does not count as long as nothing of it is on its way.
        """
        busy = any(job.waiting or job.chunks or not (job.sealed or job.spec.streaming) for job in self._jobs.values())
        return not busy and all(slot.dedicated is None for slot in self.slots.values())

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
        return self._roster.next_deadline()

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
                self._roster.stop_dedicated(job, kill=kill)
            case e.CloseAsked():
                self._close()
            case e.TerminateAsked():
                self._terminate(now)
            case e.TimePassed():
                self._roster.time_passed(now)
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
        self._roster.most = self._limits.max_workers  # what the system refused once it may give now
        if spec.dedicated and self._refusing:
            self._order(e.ProcessOver(number, None))
        elif spec.dedicated:
            self._roster.start(self._roster.add(spec.name, number))

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
        size = job.spec.chunksize or job.sizer.size(len(job.waiting), self._roster.most)
        count = min(size, len(job.waiting))
        take = job.waiting.popleft
        slot.job, slot.items, slot.done = job.number, [take() for _ in range(count)], 0
        job.chunks += 1
        if not job.spec.dedicated:
            self._waiting -= count
        self._order(e.Send(slot.number, job.number, slot.items))
        self._roster.set_busy(slot, count, now)

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
            self._roster.set_idle(slot)

    def _release(self, slot: Slot, job: _Job, rest: Sequence[int]) -> None:
        """Take the chunk from the slot; ``rest`` of it has no outcome and may run elsewhere."""
        slot.job, slot.items, slot.done = None, (), 0
        job.chunks -= 1
        self._give_back(job, rest)
        self._forget_if_done(job)

    def _worker_died(self, slot: Slot, exitcode: int | None, begun: int) -> None:
        was = slot.phase
        self._roster.set_gone(slot)
        if slot.job is not None:
            self._blame(slot, self._jobs[slot.job], exitcode, begun)
        if was is Phase.STARTING and self._roster.failed_to_start(exitcode):
            self._break(e.Broken(slot.number, None, exitcode, ""))
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

    def _worker_ready(self, slot: Slot, now: float) -> None:
        job = self._jobs.get(slot.dedicated) if slot.dedicated is not None else None
        if not self._roster.ready(slot):
            return
        if job is not None and job.waiting:
            self._send(slot, job, now)
        else:
            self._roster.set_idle(slot)

    def _setup_failed(self, slot: Slot, failure: Failure, now: float) -> None:
        self._roster.ends_by_itself(slot, now)
        self._break(e.Broken(slot.number, failure, None, ""))

    def _launch_failed(self, slot: Slot, detail: str) -> None:
        can_go_on = self._roster.refused(slot)
        if slot.dedicated is not None:
            self._forget_dedicated(slot, slot.dedicated, e.NotStarted(slot.number, detail), None)
        elif not can_go_on:
            self._break(e.Broken(slot.number, None, None, detail))

    def _break(self, order: e.Broken) -> None:
        """Give up on starting workers. What runs may finish; what waits is dropped."""
        if not self._refusing:
            self._broken = True
            self._order(order)
            for job in list(self._jobs.values()):
                self._stopped(job.number)

    # --- workers that end ---------------------------------------------------------------------------------------------

    def _settle_dedicated(self, slot: Slot, number: int, exitcode: int | None) -> None:
        """Start the process of a dedicated job again if its item still waits, else forget the slot."""
        job = self._jobs.get(number)
        if job is not None and job.waiting and not slot.stopped_by_user:
            self._roster.start(slot)
        else:
            attempts = job.tries.get(0, 0) if job is not None else 0
            self._forget_dedicated(slot, number, e.Lost(slot.number, exitcode, attempts), exitcode)

    def _forget_dedicated(self, slot: Slot, number: int, unbegun: e.Outcome, exitcode: int | None) -> None:
        """Let a dedicated job's process be over. If its item still waits, ``unbegun`` is what becomes of it."""
        del self._roster.slots[slot.number]
        job = self._jobs.get(number)
        if job is not None and job.waiting:
            items = tuple(job.waiting)
            job.waiting.clear()
            self._order(e.Resolve(number, items, [unbegun] * len(items), slot.number))
            self._forget_if_done(job)
        # Last, so that whoever learns that the process is over finds its result.
        self._order(e.ProcessOver(number, exitcode))

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
        self._roster.terminate_all(now)

    # --- who gets what ------------------------------------------------------------------------------------------------

    def _dispatch(self, now: float) -> None:
        """Give every worker that can work something to do, start those that are wanted, end those that are not."""
        idle = self._roster.idle
        while idle and self._ready:
            job = self._ready[0]
            self._send(idle.pop(), job, now)
            if job.waiting:
                self._ready.rotate(-1)  # the next worker serves the next job
            else:
                self._ready.popleft()
        if self._waiting and self._roster.alive < self._roster.most and not self._refusing:
            self._roster.start_for(self._waiting)
        if idle and (self._refusing or (self._closing and all(job.sealed for job in self._jobs.values()))):
            self._roster.ask_idle(now)
