"""The hands of a group: its jobs and workers by number, and the orders of the scheduler carried out on them.

Decides nothing and waits for nothing. Everything here is called under the group's lock.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from functools import partial
from typing import TypeAlias, assert_never

from procorch import _events as e
from procorch._engine import Chunk, Worker
from procorch._errors import WorkerStartError
from procorch._info import ProcessInfo, State
from procorch._job import Job, Sink
from procorch._messages import Cease, Failure
from procorch._outcome import read_report
from procorch._revived import rebuild_setup_error
from procorch._slot import Phase, Slot
from procorch._talk import Talk
from procorch._verdict import Ending, Place

_STATES: dict[Phase, State] = {
    Phase.STARTING: "starting",
    Phase.IDLE: "idle",
    Phase.BUSY: "busy",
    Phase.ENDING: "ending",
}
"""What users are told of a process; of `Phase.GONE` there is none to tell of."""

Deliveries: TypeAlias = deque[Callable[[], None]]
"""What is to be done once the lock is released, in this order: it may run the user's code."""


class Hands:
    """What a group has, and how orders are carried out."""

    def __init__(
        self, ending: Ending, mailbox: deque[e.Event], signalled: Callable[[e.Terminate | e.Kill], object]
    ) -> None:
        """Begin with nothing.

        Args:
            ending (Ending): Of the group; told if the group is broken.
            mailbox (deque[e.Event]): Takes what the scheduler is to hear next.
            signalled (Callable[[e.Terminate | e.Kill], object]): Told before a process is sent a signal.
        """
        self._signalled = signalled
        self._ending = ending
        self._mailbox = mailbox
        self.jobs: dict[int, Job] = {}
        self.streams: dict[int, Job] = {}
        """Those of the jobs whose owners may still put something into their decks."""
        self.workers: dict[int, Worker] = {}
        """By slot."""
        self.to_start: deque[e.StartWorker] = deque()
        """Processes that are ordered; the supervisor's thread starts them."""
        self._places: dict[int, Place] = {}
        self._owners: dict[int, Sink] = {}  # of dedicated processes, by job
        self.talks: dict[int, Talk] = {}
        """With dedicated processes, by job."""
        self._starting: e.StartWorker | None = None  # the one that the supervisor's thread is about
        self._end_at_once: e.Terminate | e.Kill | None = None  # how to end that process as soon as it is there

    def add(self, job: Job, *, sealed: bool) -> None:
        """Take a job on.

        Args:
            job (Job): With its number.
            sealed (bool): Whether its deck gets nothing any more.
        """
        self.jobs[job.number] = job
        if job.spec.dedicated:
            self._owners[job.number] = job.sink
        if job.talk is not None:
            self.talks[job.number] = job.talk
        if not sealed:
            self.streams[job.number] = job

    def drop_all(self) -> Deliveries:
        """Forget all jobs.

        Returns:
            Deliveries: What tells their sinks.
        """
        deliveries: Deliveries = deque()
        for job in self.jobs.values():
            items = job.left()
            deliveries.append(partial(job.sink.deliver, items, [e.Dropped()] * len(items), None))
            deliveries.append(job.sink.over)
        deliveries.extend(partial(owner.ended, None) for owner in self._owners.values())
        jobs, self.jobs = self.jobs, {}
        for job in jobs.values():
            if job.closed:
                job.deck.clear()
        self.streams.clear()
        self._owners.clear()
        for talk in self.talks.values():
            talk.lost()  # now: soon there will be nothing left to say it to
        self.talks.clear()
        return deliveries

    # --- starting and burying -----------------------------------------------------------------------------------------

    def next_start(self) -> e.StartWorker | None:
        """Give the next process to start; `started` or `refused` follows.

        Returns:
            e.StartWorker | None: None if there is none.
        """
        if not self.to_start:
            return None
        order = self._starting = self.to_start.popleft()
        self._places[order.slot] = Place(order.name, None)
        return order

    def started(self, order: e.StartWorker, worker: Worker, job: int | None, deliveries: Deliveries) -> None:
        """Take in that a process is there.

        Args:
            order (e.StartWorker): By which it was started.
            worker (Worker): The worker.
            job (int | None): The job that it is for; None for the pool.
            deliveries (Deliveries): Gets what is to be done once the lock is released.
        """
        self._starting = None
        self.workers[order.slot] = worker
        self._places[order.slot] = Place(order.name, worker.pid)
        end, self._end_at_once = self._end_at_once, None
        if end is not None:
            self._signal(end)
        if job in self._owners:
            deliveries.append(partial(self._owners[job].started, worker.pid))

    def refused(self) -> None:
        """Take in that the process could not be started; the scheduler is told next, and `bury` follows."""
        self._starting = self._end_at_once = None

    def bury(self, slot: int) -> None:
        """Forget the worker of a slot.

        Args:
            slot (int): Its number.
        """
        self.workers.pop(slot, None)
        self._places.pop(slot, None)

    def describe(self, slots: Iterable[Slot]) -> tuple[ProcessInfo, ...]:
        """Tell what processes there are.

        Args:
            slots (Iterable[Slot]): All slots.

        Returns:
            tuple[ProcessInfo, ...]: Of those with a process, in the same order.
        """
        return tuple(
            ProcessInfo(
                slot=slot.number,
                name=slot.name,
                pid=worker.pid,
                state=_STATES[slot.phase],
                task=self.jobs[slot.job].function.name if slot.job is not None else None,
                tasks_done=slot.finished,
                restarts=slot.starts - 1,
                busy_seconds=slot.busy,
                address=worker.address,
            )
            for slot in slots
            if (worker := self.workers.get(slot.number)) is not None
        )

    # --- orders -------------------------------------------------------------------------------------------------------

    def carry_out(self, order: e.Order, deliveries: Deliveries) -> None:
        """Do what the scheduler wants.

        Args:
            order (e.Order): Any order.
            deliveries (Deliveries): Gets what is to be done once the lock is released.
        """
        match order:
            case e.Resolve(number, items, outcomes, slot):
                job = self.jobs[number]
                place = self._place_of(slot) if slot is not None else None
                # First: what is interrupted in between is delivered twice rather than never.
                deliveries.append(partial(job.sink.deliver, items, outcomes, place))
                job.drop(items)
            case e.Send(slot, number, items, seconds):
                job = self.jobs[number]
                spec, worker, talk = job.spec, self.workers[slot], self.talks.get(number)
                load, talks = job.load(items), talk is not None
                chunk = Chunk(job.function, job.style, spec.stop_on_failure, load, spec.timeout, seconds, talks)
                worker.send(chunk)
                if talk is not None:
                    talk.begin(worker)
            case e.CountRetry(_, number):
                self.jobs[number].retried += 1
            case e.Restarted(job=number):
                deliveries.append(self._owners[number].restarted)
            case e.JobDone(number):
                job = self.jobs.pop(number)
                self.streams.pop(number, None)
                if job.closed:
                    job.deck.clear()
                if job.sink.tells_end:
                    deliveries.append(job.sink.over)
            case e.StartWorker():
                self.to_start.append(order)
            case e.Withdraw(slot):
                self.workers[slot].withdraw()
            case e.Look(slot):
                self._mailbox.extend(self.workers[slot].look())
            case e.ShowStack(slot):
                self.workers[slot].show_stack()
            case e.Ask(slot):
                self.workers[slot].ask()
            case e.Stopping(number, rests):
                self._owners[number].stopping(rests=rests)
            case e.Cease(slot):
                self._let_cease(slot)
            case e.Terminate() | e.Kill():
                self._signal(order)
            case e.ProcessOver(number, exitcode):
                self.talks.pop(number, None)
                deliveries.append(partial(self._owners.pop(number).ended, exitcode))
            case e.FinalizerFailed(slot, failure):
                self._finalizer_failed(self._places[slot].name, failure)
            case e.Broken():
                self._set_broken(order)
            case _:
                assert_never(order)

    def _place_of(self, slot: int) -> Place | None:
        place, worker = self._places.get(slot), self.workers.get(slot)
        if place is not None and worker is not None and worker.pid != place.pid:
            # Elsewhere than on this machine, a worker may do each chunk in another process.
            place = self._places[slot] = Place(place.name, worker.pid)
        return place

    def _let_cease(self, slot: int) -> None:
        worker = self.workers[slot]
        if worker.listens():
            worker.say(Cease())
        else:
            self._mailbox.append(e.Unheard(slot))

    def _signal(self, order: e.Terminate | e.Kill) -> None:
        worker = self.workers.get(order.slot)
        if worker is not None:
            self._signalled(order)
            if isinstance(order, e.Kill):
                worker.kill()
            else:
                worker.terminate()
        elif self._starting is not None and self._starting.slot == order.slot:
            self._end_at_once = order
        else:
            # Ordered but not started yet: it never will be.
            for start in [one for one in self.to_start if one.slot == order.slot]:
                self.to_start.remove(start)
                self._mailbox.append(e.WorkerDied(order.slot, None, 0))

    def _finalizer_failed(self, name: str, failure: Failure) -> None:
        ending = self._ending
        ending.finalizers_failed += 1
        if ending.finalizer_error is None:
            report = read_report(failure)
            ending.finalizer_error = lambda: rebuild_setup_error(report, name, "finalizer")

    def _set_broken(self, order: e.Broken) -> None:
        name = self._places[order.slot].name
        self._ending.reason = "cannot start its workers"
        if order.failure is not None:
            report = read_report(order.failure)
            self._ending.cause = lambda: rebuild_setup_error(report, name, "initializer")
        else:
            self._ending.cause = lambda: WorkerStartError(name, order.exitcode, order.detail)
