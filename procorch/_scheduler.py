"""The mind of a group: which item goes to which worker, what a death costs, who starts and who ends.

Pure: no process, no clock, no pickle. `Scheduler.handle` takes an event and the time and returns orders; the supervisor
carries them out in their order. A worker is busy from the moment that `Send` is ordered, nobody asks it whether it is.

What becomes of an item:

    offered -> waiting -> with a worker -> finished ----------------------> Resolve(Value | Failure)
                 ^  ^         |--------- failed, and is to be tried again --> retry, or Resolve(Failure)
                 |  |         |--------- its process died under it ---------> retry, or Resolve(Lost | TimedOut)
                 |  +- moved -|--------- never begun
                 +-- rested --+--------- nobody wants it any more ----------> Resolve(Dropped)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import assert_never

from procorch import _events as e
from procorch._agenda import Agenda
from procorch._backlog import Job
from procorch._dedicated import Dedicated
from procorch._judge import Judge
from procorch._messages import Failure, Plain
from procorch._pace import Pace
from procorch._policy import Limits
from procorch._recall import Recalls
from procorch._roster import Roster
from procorch._services import Services
from procorch._slot import Phase, Slot
from procorch._way import Way


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
        way = Way(limits)
        self._pace = Pace(limits, self._roster, way)
        self._heard_at = 0.0  # when the last event was
        self._elastic = limits.distant  # whether the pool is more than one worker for each slot, all there
        self._recalls = Recalls(limits, way, self._roster.look_later, self._order)
        self._agenda = Agenda(limits, self._roster, self._order)
        self._jobs, self._backlog = self._agenda.jobs, self._agenda.backlog
        services = Services()
        self._judge = Judge(limits, self._agenda, services, self._order)
        self._dedicated = Dedicated(limits, self._agenda, self._roster, services, self._order)

    # --- what the owner may ask -------------------------------------------------------------------------------------

    @property
    def slots(self) -> Mapping[int, Slot]:
        """The slots, by number; those of dedicated jobs only as long as they are needed."""
        return self._roster.slots

    @property
    def hungry(self) -> bool:
        """Whether one more item would be begun at once, or a worker started for it."""
        if self._elastic:
            return self._pace.hungry
        return bool(self._roster.idle) or self._roster.alive < self._roster.most

    @property
    def finished(self) -> bool:
        """Whether the group is closed, and no process and no item without an outcome is left."""
        agenda = self._agenda
        return (agenda.closing or agenda.terminated) and not self._jobs and self.unoccupied and not self._roster.alive

    @property
    def unoccupied(self) -> bool:
        """Whether every item has its outcome, and every dedicated process has ended; but for streams that stand by."""
        return not self._agenda.busy and self._dedicated.at_rest

    @property
    def unfinished(self) -> bool:
        """Whether an item has no outcome, but for those of streams: their consumers may never ask for it."""
        chunks = ((slot.job, len(slot.items) - slot.done) for slot in self.slots.values())
        running = {number for number, left in chunks if left}
        return any(
            not job.spec.streaming and (job.number in running or job.waiting or job.resting)
            for job in self._jobs.values()
        )

    @property
    def waiting(self) -> int:
        """Items that are with no worker: they wait for one, or rest before another try."""
        return self._agenda.waiting

    def knows(self, job: int) -> bool:
        """Tell whether a job is not over.

        Args:
            job (int): Its number.

        Returns:
            bool: False also for a job that never was.
        """
        return job in self._jobs

    def slot_of(self, job: int) -> Slot | None:
        """Tell where the only item of a job is.

        Args:
            job (int): Its number.

        Returns:
            Slot | None: Where its chunk was sent; None if it waits, or has its outcome.
        """
        return next((slot for slot in self.slots.values() if slot.job == job), None)

    def next_deadline(self) -> float | None:
        """Tell when `TimePassed` must be heard at the latest.

        Returns:
            float | None: Monotonic seconds; None if nothing depends on time.
        """
        if self._pace.halted:
            return self._heard_at
        first, second = self._roster.next_deadline(), self._backlog.next_wake()
        return first if second is None or (first is not None and first < second) else second

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
            case e.ItemsOffered(job, count, begun):
                self._agenda.offer(self._jobs[job], count, begun)
                self._go_on(self._jobs[job], now)
            case e.Recorded(slot, outcomes):
                self._recorded(self.slots[slot], outcomes, now)
            case e.ChunkEnded(slot, busy, worn):
                self._chunk_ended(self.slots[slot], busy, now, worn=worn)
            case e.Looked():
                self._looked(event, now)
            case e.JobOpened():
                self._opened(event)
            case e.JobSealed(job):
                self._agenda.seal(job)
            case e.JobStopped(job):
                self._stop(job, now)
            case e.JobCancelled(job):
                self._cancelled(job, now)
            case e.WorkerReady(slot):
                self._worker_ready(self.slots[slot], now)
            case e.WorkerDied(slot):
                self._worker_died(self.slots[slot], event, now)
            case e.SetupFailed(slot, failure):
                self._setup_failed(self.slots[slot], failure, now)
            case e.LaunchFailed(slot, detail):
                self._launch_failed(self.slots[slot], detail)
            case e.Finalized(slot, failure):
                self._finalized(self.slots[slot], failure, now)
            case e.ProcessStopped(job, kill):
                self._dedicated.process_stopped(job, kill=kill)
            case e.StopAsked(job, grace):
                if self._roster.dedicated_to(job):
                    self._dedicated.stop_asked(job, grace, now)
            case e.Unheard(slot):
                self._dedicated.unheard(slot, now)
            case e.CloseAsked():
                self._close(now)
            case e.RoomChanged(workers, window):
                self._elastic = True
                self._roster.resize(workers, window, now)
            case e.TerminateAsked():
                self._terminate(now)
            case e.TimePassed():
                for late in self._roster.time_passed(now):
                    self._overdue(late, now)
                self._dedicated.woken(self._backlog.wake(now))
            case _:
                assert_never(event)
        if self._elastic:
            self._pace.begin(event)
            self._heard_at = now
        self._dedicated.stop_services(now)
        self._dispatch(now)
        orders, self._orders = self._orders, []
        return orders

    def forget_all(self) -> None:
        """Forget all jobs and processes, without orders: the owner ends them himself, and handles nothing any more."""
        self._jobs.clear()
        self._roster.forget_all()

    def _order(self, order: e.Order) -> None:
        self._orders.append(order)

    # --- jobs ---------------------------------------------------------------------------------------------------------

    def _opened(self, opened: e.JobOpened) -> None:
        number, spec = opened.job, opened.spec
        job = self._backlog.open(number, spec, only=opened.sealed and opened.items == 1)
        self._roster.reset()
        if spec.dedicated:
            self._dedicated.open(number, spec)
        if opened.items:
            self._agenda.offer(job, opened.items, opened.begun)
        if opened.sealed:
            self._agenda.seal(number)

    def _go_on(self, job: Job, now: float) -> None:
        """Let the process of a stream make the rows that are wanted, if it stands by."""
        if job.makes_rows and job.waiting:
            for slot in self._roster.dedicated_to(job.number):
                if slot.phase is Phase.IDLE:
                    self._send(slot, job, now)

    def _stop(self, number: int, now: float) -> None:
        job = self._jobs.get(number)
        if job is not None and job.makes_rows:
            self._dedicated.close_stream(job, now)
        self._agenda.stop(number)

    def _cancelled(self, number: int, now: float) -> None:
        self._agenda.stop(number)
        for slot in self.slots.values():
            if slot.job == number:
                # What it tells from now on is of no interest: the items have their outcome.
                slot.busy += now - slot.sent
                self._release(slot, self._jobs[number], slot.items[slot.done :])
                self._roster.stop(slot, now)

    # --- workers at work ----------------------------------------------------------------------------------------------

    def _send(self, slot: Slot, job: Job, now: float) -> None:
        workers = 1 if job.spec.dedicated else self._roster.workers
        alone = job.only or (self._limits.timed_alone and job.spec.timeout is not None)
        size = 1 if alone else job.spec.chunksize or job.sizer.size(job.waiting, workers)
        if self._limits.max_tasks is not None and not job.spec.dedicated:
            size = min(size, self._limits.max_tasks - slot.tasks)
        count = min(size, job.waiting)
        slot.job, slot.items, slot.done = job.number, self._backlog.take(job, count), 0
        job.chunks += 1
        if self._elastic:
            self._pace.sent(slot, job)
        self._order(e.Send(slot.number, job.number, slot.items, slot.seconds))
        self._recalls.sent(slot, job, workers, now)
        self._roster.set_busy(slot, count, None if self._limits.limits_elsewhere else job.spec.timeout, now)

    def _recorded(self, slot: Slot, outcomes: Sequence[e.ItemOutcome] | Plain, now: float) -> None:
        if slot.job is not None:  # else its job was cancelled
            self._judge.recorded(slot, self._jobs[slot.job], outcomes, now)

    def _chunk_ended(self, slot: Slot, busy: float, now: float, *, worn: bool) -> None:
        if slot.job is None:
            # Its job was cancelled, but by a signal that it made something else of.
            self._order(e.Ask(slot.number))
            return
        job = self._jobs[slot.job]
        slot.busy += busy
        slot.tasks += slot.done
        if slot.done and not job.only:
            job.sizer.learn(slot.done, busy, slot.era)
        if self._elastic:
            self._pace.ended(slot, job, busy, now)
        self._release(slot, job, slot.items[slot.done :])
        has_time = job.makes_rows or (slot.stop_asked and self._limits.finalizes)
        if slot.phase is not Phase.BUSY and has_time and slot.next_step is e.Terminate:
            self._roster.retire(slot, now)  # it was in a row when it was asked to end, or its finalizer comes next
        elif slot.phase is not Phase.BUSY:
            self._order(e.Ask(slot.number))  # it was told to end, but by a signal that it made something else of
        elif job.to_be_replaced or (slot.dedicated is None and self._is_used_up(slot, worn=worn)):
            self._roster.retire(slot, now)
        elif job.makes_rows and job.number in self._jobs and not slot.stopped_by_user:
            self._roster.stand_by(slot)
            self._go_on(job, now)
        else:
            self._roster.set_idle(slot)

    def _is_used_up(self, slot: Slot, *, worn: bool) -> bool:
        return worn or slot.tasks == self._limits.max_tasks or (self._elastic and self._roster.crowded)

    def _release(self, slot: Slot, job: Job, rest: Sequence[int]) -> None:
        """Take the chunk from the slot; ``rest`` of it has no outcome and may run elsewhere."""
        self._recalls.over(slot)
        slot.job, slot.items, slot.done = None, (), 0
        job.chunks -= 1
        self._agenda.give_back(job, rest)
        self._agenda.forget_if_done(job)

    def _looked(self, looked: e.Looked, now: float) -> None:
        slot = self.slots.get(looked.slot)
        if slot is None:
            return
        if slot.phase is Phase.ENDING:
            self._roster.stack_looked(slot, now, there=looked.stack)
        if slot.phase is Phase.BUSY and slot.job is not None:
            job = self._jobs[slot.job]
            wanted = self._wanted(job)
            self._agenda.give_back(job, self._recalls.looked(slot, job, looked.begun, now, wanted=wanted))
        if slot.phase is not Phase.BUSY or slot.limit is None or looked.since is None or looked.begun <= slot.done:
            return
        if looked.since + slot.limit > now:
            self._roster.runs_since(slot, looked.since)
        elif not slot.withdrawn:
            # First see to it that none of its neighbours begins, then look once more whether it is still running.
            slot.withdrawn = True
            self._order(e.Withdraw(slot.number))
            self._order(e.Look(slot.number))
        else:
            self._roster.expire(slot, slot.items[looked.begun - 1], now)

    def _wanted(self, job: Job) -> bool:
        """Whether anybody could do something with the items of a chunk at once."""
        free = self._pace.has_free if self._elastic else bool(self._roster.idle)
        return free or self._backlog.others_wait(job)

    def _overdue(self, slot: Slot, now: float) -> None:
        if slot.job is not None:
            job = self._jobs[slot.job]
            self._recalls.overdue(slot, job, now, wanted=self._wanted(job))

    def _worker_died(self, slot: Slot, died: e.WorkerDied, now: float) -> None:
        was = slot.phase
        self._roster.set_gone(slot)
        if slot.job is not None:
            job = self._jobs[slot.job]
            slot.busy += now - slot.sent
            self._judge.blame(slot, job, died, now)
            self._release(slot, job, ())
        if was is Phase.STARTING and self._roster.failed_to_start(died.exitcode):
            self._break(e.Broken(slot.number, None, died.exitcode, died.remains.cause))
        if slot.dedicated is not None:
            self._dedicated.settle(slot, slot.dedicated, died.exitcode)

    # --- workers that begin -------------------------------------------------------------------------------------------

    def _worker_ready(self, slot: Slot, now: float) -> None:
        job = self._jobs.get(slot.dedicated) if slot.dedicated is not None else None
        if not self._roster.ready(slot):
            return
        if job is not None and job.waiting:
            self._send(slot, job, now)
        elif self._elastic and slot.dedicated is None and self._roster.crowded:
            self._roster.retire(slot, now)
        else:
            self._roster.set_idle(slot)

    def _setup_failed(self, slot: Slot, failure: Failure, now: float) -> None:
        self._roster.ends_by_itself(slot, now)
        self._break(e.Broken(slot.number, failure, None, ""))

    def _launch_failed(self, slot: Slot, detail: str) -> None:
        can_go_on = self._roster.refused(slot)
        if slot.dedicated is not None:
            self._dedicated.not_launched(slot, slot.dedicated, detail)
        elif not can_go_on:
            self._break(e.Broken(slot.number, None, None, detail))

    def _break(self, order: e.Broken) -> None:
        """Give up on starting workers. What runs may finish; what waits is dropped."""
        if not self._agenda.refusing:
            self._agenda.broken = True
            self._order(order)
            self._stop_all_jobs()

    # --- workers that end ---------------------------------------------------------------------------------------------

    def _finalized(self, slot: Slot, failure: Failure | None, now: float) -> None:
        job = self._jobs.get(slot.dedicated) if slot.dedicated is not None else None
        slot.finalized = True
        if slot.dedicated is None or slot.stop_asked or (job is not None and job.to_be_replaced):
            self._roster.ends_by_itself(slot, now)  # else it may live on, see `Roster.set_idle`
        if failure is not None:
            self._order(e.FinalizerFailed(slot.number, failure))

    # --- the end ------------------------------------------------------------------------------------------------------

    def _close(self, now: float) -> None:
        self._agenda.closing = True
        for job in list(self._jobs.values()):
            if job.makes_rows:
                self._stop(job.number, now)
            elif job.spec.streaming:
                self._agenda.seal(job.number)

    def _terminate(self, now: float) -> None:
        if self._agenda.terminated:
            return
        self._agenda.terminated = True
        self._stop_all_jobs()
        self._roster.stop_all(now)

    def _stop_all_jobs(self) -> None:
        for job in list(self._jobs.values()):
            self._dedicated.stop_resting(job)

    # --- who gets what ------------------------------------------------------------------------------------------------

    def _dispatch(self, now: float) -> None:
        """Give every worker that can work something to do, start those that are wanted, end those that are not."""
        idle, elastic = self._roster.idle, self._elastic
        while idle and (job := self._backlog.next_job()) is not None and not (elastic and not self._pace.takes(job)):
            self._send(idle.pop(), job, now)
        if self._backlog.waiting and self._roster.alive < self._roster.most and not self._agenda.refusing:
            self._roster.start_for(self._backlog.waiting)
        divisible = self._recalls.divisible
        if idle and divisible and not self._agenda.refusing:
            if not elastic or (self._pace.has_free and not self._backlog.waiting):
                self._recalls.share(self._jobs, self._roster.workers, now)
        elif idle and (self._agenda.refusing or self._agenda.complete):
            self._roster.retire_idle(now)
        if self._agenda.closing and not self._jobs:
            self._roster.drop_starting()
