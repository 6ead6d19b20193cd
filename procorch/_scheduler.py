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
from itertools import chain
from typing import TypeVar, assert_never

import attrs

from procorch import _events as e
from procorch._backlog import Backlog, Job
from procorch._messages import Failure, Plain, Retriable, Value
from procorch._pace import Pace
from procorch._policy import Limits
from procorch._recall import Recalls
from procorch._roster import Roster
from procorch._services import Services
from procorch._slot import Phase, Slot
from procorch._way import Way
from procorch.events import Reason

L = TypeVar("L", bound=Value | Failure | e.Lost | e.TimedOut | Plain)


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
        self._backlog = Backlog(limits)
        self._jobs = self._backlog.jobs
        self._services = Services()
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
        if self._elastic:
            return self._pace.hungry
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
        busy = any(job.active or not (job.sealed or job.spec.streaming) for job in self._jobs.values())
        return not busy and all(slot.dedicated is None or slot.phase is Phase.IDLE for slot in self.slots.values())

    @property
    def waiting(self) -> int:
        """Items that are with no worker: they wait for one, or rest before another try."""
        return sum(job.waiting + len(job.resting) for job in self._jobs.values())

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
                self._offered(self._jobs[job], count, begun)
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
                self._sealed(job)
            case e.JobStopped(job):
                self._close_stream(job, now)
                self._stopped(job)
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
                self._process_stopped(job, kill=kill)
            case e.StopAsked(job, grace):
                if self._dedicated_to(job):
                    self._stop_asked(job, grace, now)
            case e.Unheard(slot):
                self._unheard(slot, now)
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
                self._wake(now)
            case _:
                assert_never(event)
        if self._elastic:
            self._pace.begin(event)
            self._heard_at = now
        self._stop_services(now)
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

    @property
    def _refusing(self) -> bool:
        return self._terminated or self._broken

    def _opened(self, opened: e.JobOpened) -> None:
        number, spec = opened.job, opened.spec
        job = self._backlog.open(number, spec, only=opened.sealed and opened.items == 1)
        self._roster.reset()
        if spec.dedicated and self._refusing:
            self._order(e.ProcessOver(number, None))
        elif spec.dedicated:
            if spec.restart is not None:
                self._services.open(number, spec.restart)
            self._roster.start(self._roster.add(spec.name, number))
        if opened.items:
            self._offered(job, opened.items, opened.begun)
        if opened.sealed:
            self._sealed(number)

    def _offered(self, job: Job, count: int, begun: Mapping[int, int]) -> None:
        items = range(job.offered, job.offered + count)
        job.tries.update(begun)
        job.offered += count
        if job.sealed or self._refusing:
            self._drop(job, items)
        else:
            self._backlog.enqueue(job, items, front=False)

    def _give_back(self, job: Job, items: Sequence[int]) -> None:
        """Put items that have no outcome in front of those that wait, or drop them if nobody wants them."""
        if items and (job.stopped or self._refusing):
            self._drop(job, items)
        elif items:
            self._backlog.enqueue(job, items, front=True)

    def _drop(self, job: Job, items: Sequence[int]) -> None:
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
        items = self._backlog.clear(job)
        if items:
            self._drop(job, items)
        for slot in self.slots.values():
            # One item has begun, unless its chunk waits far away.
            if slot.job == number and slot.phase is Phase.BUSY and (len(slot.items) > 1 or self._limits.distant):
                self._order(e.Withdraw(slot.number))
        self._forget_if_done(job)

    def _cancelled(self, number: int, now: float) -> None:
        self._stopped(number)
        for slot in self.slots.values():
            if slot.job == number:
                # What it tells from now on is of no interest: the items have their outcome.
                slot.busy += now - slot.sent
                self._release(slot, self._jobs[number], slot.items[slot.done :])
                self._roster.stop(slot, now)

    def _forget_if_done(self, job: Job) -> None:
        if job.sealed and not job.active and self._jobs.pop(job.number, None) is not None:
            for slot in self._dedicated_to(job.number) if job.makes_rows else ():
                if slot.phase is Phase.IDLE:
                    self._roster.set_idle(slot)  # it stands by for nothing
            self._order(e.JobDone(job.number))

    def _wake(self, now: float) -> None:
        for job in self._backlog.wake(now):
            for slot in self._gone_of(job.number):
                self._roster.start(slot)

    def _dedicated_to(self, number: int) -> list[Slot]:
        return [slot for slot in self.slots.values() if slot.dedicated == number]

    def _gone_of(self, number: int) -> list[Slot]:
        """Give the slot of a dedicated job if its process has ended; one that still lives is settled when it has."""
        return [slot for slot in self._dedicated_to(number) if slot.phase is Phase.GONE]

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
        if slot.job is None:
            return  # its job was cancelled
        job = self._jobs[slot.job]
        items = slot.items[slot.done : slot.done + len(outcomes)]
        slot.done += len(outcomes)
        slot.finished += len(outcomes)
        if job.spec.restart is not None and self._has_returned(outcomes):
            self._returned(slot, job, items, outcomes, now)
            return
        if isinstance(outcomes, Plain):
            self._order(e.Resolve(job.number, items, outcomes, slot.number))
            return
        final: Sequence[e.Outcome] = outcomes  # type: ignore[assignment]  # without retries, nothing is retriable
        lost = isinstance(outcomes[0], e.Lost | e.TimedOut)
        judged = bool(job.spec.retries) or job.spec.restart is not None
        if judged or self._is_unwanted(job) or slot.expired is not None or lost:
            items, final = self._judge(slot, job, items, outcomes, now)
        if items:
            self._order(e.Resolve(job.number, items, final, slot.number))
        if job.spec.stop_on_failure and not job.stopped and any(type(one) is not Value for one in final):
            self._stopped(job.number)

    def _judge(
        self, slot: Slot, job: Job, items: Sequence[int], outcomes: Sequence[e.ItemOutcome], now: float
    ) -> tuple[list[int], list[e.Outcome]]:
        """Decide what the outcomes of items mean; those that are to be tried again have none yet."""
        final: dict[int, e.Outcome] = {}
        for item, outcome in zip(items, outcomes, strict=True):
            if isinstance(outcome, Value):
                final[item] = outcome
            elif self._is_unwanted(job):
                final[item] = e.Dropped()  # whatever it failed with, it failed because it was told to end
            elif isinstance(outcome, e.Lost | e.TimedOut):
                reason: Reason = "crashed" if isinstance(outcome, e.Lost) else "timed out"
                if not outcome.attempts or not self._try_again(slot, job, item, reason, now):
                    attempts = job.tries.get(item, 0)
                    final[item] = attrs.evolve(outcome, slot=slot.number, attempts=attempts)
            elif item == slot.expired:
                self._tried(slot, job, item, e.Remains(failure=Failure(outcome.payload)), None, now)
            else:
                failure = Failure(outcome.payload)
                again = isinstance(outcome, Retriable) or job.spec.restart is not None
                if not (again and self._try_again(slot, job, item, "raised", now, failure)):
                    final[item] = self._last(slot, job, "raised", failure)
        return list(final), list(final.values())

    def _try_again(
        self,
        slot: Slot,
        job: Job,
        item: int,
        reason: Reason,
        now: float,
        failure: Failure | None = None,
        exitcode: int | None = None,
    ) -> bool:
        """Count a try that was in vain. If there is another, let the item wait for it."""
        attempts = job.tries[item] = job.tries.get(item, 0) + 1
        if job.stopped or self._refusing or slot.stopped_by_user:
            return False
        restart = job.spec.restart
        if restart is not None:
            decided = self._services.restart(job.number, restart, now)
            if decided is None:
                return False
            restarts, seconds = decided
            self._order(e.Restarted(slot.number, slot.name, job.number, restarts, seconds, reason, failure, exitcode))
        elif attempts > job.spec.retries:
            return False
        else:
            self._order(e.CountRetry(slot.number, job.number, item, attempts, reason))
            seconds = job.spec.backoff.seconds(attempts)
        if seconds:
            self._backlog.rest(job, item, now + seconds)
        else:
            self._backlog.enqueue(job, (item,), front=True)
        return True

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
        elif self._replaces(job) or (slot.dedicated is None and self._is_used_up(slot, worn=worn)):
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
        self._give_back(job, rest)
        self._forget_if_done(job)

    def _looked(self, looked: e.Looked, now: float) -> None:
        slot = self.slots.get(looked.slot)
        if slot is None:
            return
        if slot.phase is Phase.ENDING:
            self._roster.stack_looked(slot, now, there=looked.stack)
        if slot.phase is Phase.BUSY and slot.job is not None:
            job = self._jobs[slot.job]
            wanted = self._wanted(job)
            self._give_back(job, self._recalls.looked(slot, job, looked.begun, now, wanted=wanted))
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
            self._blame(slot, self._jobs[slot.job], died, now)
        if was is Phase.STARTING and self._roster.failed_to_start(died.exitcode):
            self._break(e.Broken(slot.number, None, died.exitcode, died.remains.cause))
        if slot.dedicated is not None:
            self._settle_dedicated(slot, slot.dedicated, died.exitcode)

    def _blame(self, slot: Slot, job: Job, died: e.WorkerDied, now: float) -> None:
        """Decide what the death of a worker with a chunk costs."""
        slot.busy += now - slot.sent
        culprits = slot.items[slot.done : died.begun]
        rest = list(slot.items[max(slot.done, died.begun) :])
        if job.makes_rows and rest and rest[0] and not (culprits or job.stopped):
            self._lose(slot, job, rest.pop(0), died.remains, died.exitcode)  # no other process can make that row
        elif not died.begun and not job.stopped:
            # What kills workers may be the item's way to them: it is too large, or loading its function crashes.
            deaths = job.unbegun[rest[0]] = job.unbegun.get(rest[0], 0) + 1
            if deaths >= self._limits.max_unbegun_deaths:
                self._services.fail(job.number)
                self._lose(slot, job, rest.pop(0), died.remains, died.exitcode)
        self._give_back(job, rest)
        for item in reversed(culprits):
            self._tried(slot, job, item, died.remains, died.exitcode, now)
        self._release(slot, job, ())

    def _tried(self, slot: Slot, job: Job, item: int, remains: e.Remains, exitcode: int | None, now: float) -> None:
        """Try an item again that was begun in vain, or lose it."""
        reason: Reason = "timed out" if item == slot.expired else "crashed"
        if not self._try_again(slot, job, item, reason, now, remains.failure, exitcode):
            self._lose(slot, job, item, remains, exitcode)

    def _lose(self, slot: Slot, job: Job, item: int, remains: e.Remains, exitcode: int | None) -> None:
        attempts = job.tries.get(item, 0)
        outcome: e.Outcome
        if self._is_unwanted(job):
            outcome = e.Dropped()
        elif item == slot.expired and slot.limit is not None:
            outcome = self._last(slot, job, "timed out", e.TimedOut(slot.number, slot.limit, attempts, remains))
        else:
            outcome = self._last(slot, job, "crashed", e.Lost(slot.number, exitcode, attempts, remains))
        self._order(e.Resolve(job.number, (item,), (outcome,), slot.number))
        if job.spec.stop_on_failure and not job.stopped:
            self._stopped(job.number)

    # --- services: processes that are to stay up ----------------------------------------------------------------------

    @staticmethod
    def _replaces(job: Job) -> bool:
        """Whether another process is to take the place of a job's, whose function has ended."""
        return job.spec.restart is not None and job.active

    @staticmethod
    def _has_returned(outcomes: Sequence[e.ItemOutcome] | Plain) -> bool:
        return isinstance(outcomes, Plain) or isinstance(outcomes[0], Value)

    def _returned(
        self, slot: Slot, job: Job, items: Sequence[int], outcomes: Sequence[e.ItemOutcome] | Plain, now: float
    ) -> None:
        """Decide what becomes of a service whose function has returned."""
        assert job.spec.restart is not None
        if job.spec.restart.on == "always" and self._try_again(slot, job, items[0], "returned", now):
            return
        value = outcomes if isinstance(outcomes, Plain) else outcomes[0]
        assert isinstance(value, Plain | Value)
        outcome = self._last(slot, job, "returned", value)
        self._order(e.Resolve(job.number, items, outcome if isinstance(outcome, Plain) else [outcome], slot.number))

    def _last(self, slot: Slot, job: Job, reason: Reason, outcome: L) -> L | e.GivenUp:
        """Give what becomes of an item that is not tried again: of a service's, that it has failed for good."""
        restart = job.spec.restart
        if restart is None or not self._services.has_given_up(job.number):
            return outcome
        return e.GivenUp(slot.number, restart, self._services.restarts(job.number), reason, outcome)

    def _stop_asked(self, number: int, grace: float | None, now: float) -> None:
        job = self._jobs.get(number)
        self._order(e.Stopping(number, job is not None and bool(job.waiting or job.resting)))
        for slot in self._dedicated_to(number):
            if slot.stop_asked:
                continue
            slot.stop_asked = slot.stopped_by_user = True
            if slot.phase is Phase.BUSY and slot.done < len(slot.items):
                self._roster.cease(slot, self._limits.stop_grace if grace is None else grace, now)
            elif slot.phase is Phase.STARTING:
                self._roster.stop(slot, now)  # the function has not begun
            elif slot.phase is Phase.GONE:
                self._settle_dedicated(slot, number, slot.exitcode)  # it rests
            elif slot.finalized or not self._limits.finalizes:
                self._roster.ends_by_itself(slot, now)

    def _unheard(self, number: int, now: float) -> None:
        slot = self.slots.get(number)
        if slot is not None and slot.done < len(slot.items):  # else its function has ended meanwhile
            self._roster.stop(slot, now)

    def _stop_services(self, now: float) -> None:
        """Stop those that are up one after the other, the one that was started last first, once it is time for that."""
        services = self._services
        while (number := services.last) is not None and not self._terminated:
            if not (services.failed or self._broken or (self._closing and self._only_services_are_left)):
                return
            if any(slot.stop_asked for slot in self._dedicated_to(number)):
                return  # the next one's turn comes when it has ended
            self._stop_asked(number, None, now)

    @property
    def _only_services_are_left(self) -> bool:
        processes = (slot.dedicated for slot in self.slots.values() if slot.dedicated is not None)
        return all(number in self._services for number in chain(self._jobs, processes))

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
            self._services.fail(slot.dedicated)
            self._forget_dedicated(slot, slot.dedicated, e.NotStarted(slot.number, detail), None)
        elif not can_go_on:
            self._break(e.Broken(slot.number, None, None, detail))

    def _break(self, order: e.Broken) -> None:
        """Give up on starting workers. What runs may finish; what waits is dropped."""
        if not self._refusing:
            self._broken = True
            self._order(order)
            self._stop_all_jobs()

    # --- workers that end ---------------------------------------------------------------------------------------------

    def _finalized(self, slot: Slot, failure: Failure | None, now: float) -> None:
        job = self._jobs.get(slot.dedicated) if slot.dedicated is not None else None
        slot.finalized = True
        if slot.dedicated is None or slot.stop_asked or (job is not None and self._replaces(job)):
            self._roster.ends_by_itself(slot, now)  # else it may live on, see `Roster.set_idle`
        if failure is not None:
            self._order(e.FinalizerFailed(slot.number, failure))

    def _process_stopped(self, number: int, *, kill: bool) -> None:
        for slot in self._dedicated_to(number):
            self._roster.stop_dedicated(slot, kill=kill)
            if slot.phase is Phase.GONE:
                self._settle_dedicated(slot, number, slot.exitcode)  # its item rests, and will not be tried again
            elif slot.phase is Phase.IDLE:
                self._roster.set_idle(slot)  # it stands by, and is to make no more rows if it takes no notice

    def _settle_dedicated(self, slot: Slot, number: int, exitcode: int | None) -> None:
        """Start the process of a dedicated job again if its item still waits, else forget the slot."""
        slot.exitcode = exitcode
        job = self._jobs.get(number)
        if job is not None and job.waiting and job.can_restart and not slot.stopped_by_user:
            self._roster.start(slot)
        elif job is None or not job.resting or slot.stopped_by_user:
            attempts = job.tries.get(0, 0) if job is not None else 0
            self._forget_dedicated(slot, number, e.Lost(slot.number, exitcode, attempts), exitcode)

    def _forget_dedicated(self, slot: Slot, number: int, unbegun: e.Outcome, exitcode: int | None) -> None:
        """Let a dedicated job's process be over. If its item still waits or rests, ``unbegun`` becomes of it."""
        del self._roster.slots[slot.number]
        job = self._jobs.get(number)
        items = self._backlog.clear(job) if job is not None else ()
        if job is not None and items:
            self._order(e.Resolve(number, items, [unbegun] * len(items), slot.number))
        if job is not None:
            job.sealed = True  # if it is a stream, nobody will ever make another row
            self._forget_if_done(job)
        self._services.over(number)
        # Last, so that whoever learns that the process is over finds its result.
        self._order(e.ProcessOver(number, exitcode))

    def _close(self, now: float) -> None:
        self._closing = True
        for job in list(self._jobs.values()):
            if job.makes_rows:
                self._close_stream(job.number, now)
                self._stopped(job.number)
            elif job.spec.streaming:
                self._sealed(job.number)

    def _is_unwanted(self, job: Job) -> bool:
        """Whether what runs of a job was told to end: its failures are nobody's fault."""
        return self._terminated or (job.makes_rows and job.stopped)

    # --- streams of processes -----------------------------------------------------------------------------------------

    def _go_on(self, job: Job, now: float) -> None:
        """Let the process of a stream make the rows that are wanted, if it stands by."""
        if job.makes_rows and job.waiting:
            for slot in self._dedicated_to(job.number):
                if slot.phase is Phase.IDLE:
                    self._send(slot, job, now)

    def _close_stream(self, number: int, now: float) -> None:
        """End the process of a stream, if the job is one; then it is to be stopped."""
        job = self._jobs.get(number)
        if job is not None and job.makes_rows:
            for slot in self._dedicated_to(number):
                if slot.phase is Phase.BUSY and len(slot.items) > 1:
                    self._order(e.Withdraw(slot.number))
                self._roster.close_stream(slot, now)

    def _terminate(self, now: float) -> None:
        if self._terminated:
            return
        self._terminated = True
        self._stop_all_jobs()
        self._roster.stop_all(now)

    def _stop_all_jobs(self) -> None:
        for job in list(self._jobs.values()):
            rests = job.spec.dedicated and bool(job.resting)
            self._stopped(job.number)
            for slot in self._gone_of(job.number) if rests else ():
                self._settle_dedicated(slot, job.number, slot.exitcode)

    # --- who gets what ------------------------------------------------------------------------------------------------

    def _dispatch(self, now: float) -> None:
        """Give every worker that can work something to do, start those that are wanted, end those that are not."""
        idle, elastic = self._roster.idle, self._elastic
        while idle and (job := self._backlog.next_job()) is not None and not (elastic and not self._pace.takes(job)):
            self._send(idle.pop(), job, now)
        if self._backlog.waiting and self._roster.alive < self._roster.most and not self._refusing:
            self._roster.start_for(self._backlog.waiting)
        divisible = self._recalls.divisible
        if idle and divisible and not self._refusing:
            if not elastic or (self._pace.has_free and not self._backlog.waiting):
                self._recalls.share(self._jobs, self._roster.workers, now)
        elif idle and (self._refusing or self._has_ended):
            self._roster.retire_idle(now)
        if self._closing and not self._jobs:
            self._roster.drop_starting()

    @property
    def _has_ended(self) -> bool:
        """Whether what runs is all that there will be. What waits, waits for room."""
        return self._closing and not self._backlog.waiting and all(job.sealed for job in self._jobs.values())
