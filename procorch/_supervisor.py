"""The one loop of a group: wait, tell the scheduler, carry out its orders. Keeps no opinion of its own.

    callers' threads --(under the lock)--> scheduler --orders--> workers        an idle worker gets its work at once
    supervisor's thread: engine.wait --> worker.read --(under the lock)--> scheduler --orders--> workers
                                                                              |
                                         after the lock is released: outcomes --> sinks (futures, streams)

Processes are started only by the supervisor's thread. Whatever may run at an odd moment (a finalizer, a signal handler)
does not take the lock but leaves its event in the mailbox.
"""

from __future__ import annotations

import itertools
import os
import threading
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from multiprocessing import util
from typing import assert_never

import attrs

from procorch import _events as e
from procorch._callbacks import Callbacks
from procorch._engine import Chunk, Engine, Function, Worker
from procorch._errors import WorkerStartError
from procorch._messages import Bytes, Style
from procorch._outcome import read_report
from procorch._policy import Limits
from procorch._scheduler import Phase, Scheduler
from procorch._verdict import Ending, Place, rebuild_setup_error


class Sink:
    """Where the outcomes of a job go. Called without the lock, by whichever thread learnt of them."""

    def deliver(self, items: Sequence[int], outcomes: Sequence[e.Outcome], place: Place | None) -> None:
        """Take outcomes in, quickly.

        Args:
            items (Sequence[int]): Numbers of items.
            outcomes (Sequence[e.Outcome]): Theirs, in the same order.
            place (Place | None): Where they ran; None if nowhere.

        Raises:
            NotImplementedError: The subclass forgot it.
        """
        raise NotImplementedError

    def started(self, pid: int | None) -> None:
        """Take in that a process of the job's own has been started.

        Args:
            pid (int | None): Its process id, if it has one.
        """

    def ended(self, exitcode: int | None) -> None:
        """Take in that the process of the job's own is gone for good, or that there never will be one.

        Args:
            exitcode (int | None): As of `multiprocessing.Process`; None is not known.
        """


@attrs.define(eq=False)
class Job:
    """One call of `map`, `imap`, `submit` or `start`, as the hands know it."""

    function: Function
    style: Style
    spec: e.JobSpec
    sink: Sink
    number: int = 0
    """Given by `Supervisor.open`."""
    taken: int = 0
    """Items it has had so far."""
    payloads: dict[int, Bytes] = attrs.field(factory=lambda: dict[int, Bytes]())
    """The pickled arguments of the items without an outcome."""


@attrs.frozen
class Snapshot:
    """What the supervisor knows of one process."""

    slot: int
    name: str
    pid: int | None
    phase: Phase
    function: str | None
    finished: int
    restarts: int
    busy: float


_Delivery = Callable[[], None]
"""Something to be done once the lock is released."""


class Supervisor:
    """Owns a group's lock, scheduler, workers and thread."""

    def __init__(self, name: str, make_engine: Callable[[], Engine], limits: Limits) -> None:
        """Begin; no engine, no thread and no process before the first job.

        Args:
            name (str): The group's name.
            make_engine (Callable[[], Engine]): Makes the place where workers run; closed by this supervisor.
            limits (Limits): For the scheduler.
        """
        self.name = name
        self.ending = Ending(name)
        self.callbacks = Callbacks(name)
        self._make_engine = make_engine
        self._engine: Engine | None = None
        self.names = map(f"{name}-{{}}".format, itertools.count(1))
        """Gives the next numbered name; made of C parts, so that threads need no lock for it."""
        self._scheduler = Scheduler(limits, self.names)
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)  # notified when a job is done or a process has ended
        self._pid = os.getpid()
        self._jobs: dict[int, Job] = {}
        self._numbers = itertools.count(1)
        self._workers: dict[int, Worker] = {}
        self._places: dict[int, Place] = {}
        self._owners: dict[int, Sink] = {}  # of dedicated processes, by job
        self._to_start: deque[e.StartWorker] = deque()
        self._mailbox: deque[e.Event] = deque()
        self._closing = False
        self._over = False  # whether the thread has done its last
        self._thread: threading.Thread | None = None
        self._sleeps_until: float | None = None
        self._deliveries: list[_Delivery] = []  # of the supervisor's thread
        _watch_for_exit(self)

    # --- for callers' threads -----------------------------------------------------------------------------------------

    def check_open(self) -> None:
        """Refuse a group that takes no work.

        Raises:
            GroupClosed: It was closed, terminated, cannot start workers, or belongs to the process that this one is a
                forked copy of.
        """
        if os.getpid() != self._pid:
            raise Ending(self.name, f"belongs to process {self._pid}; make another in this one").closed()
        if self._closing or self.ending.cause is not None:
            raise self.ending.closed()

    def open(self, job: Job, payloads: Sequence[Bytes], *, sealed: bool) -> None:
        """Begin a job.

        Args:
            job (Job): Gets its number here.
            payloads (Sequence[Bytes]): Pickled arguments of its first items.
            sealed (bool): Whether these are all.

        Raises:
            GroupClosed: See `check_open`.
        """
        self.check_open()
        with self._lock:
            self._ensure_thread()
            job.number = next(self._numbers)
            self._jobs[job.number] = job
            if job.spec.dedicated:
                self._owners[job.number] = job.sink
            deliveries: list[_Delivery] = []
            self._tell(e.JobOpened(job.number, job.spec), deliveries)
            self._offer(job, payloads, deliveries)
            if sealed:
                self._tell(e.JobSealed(job.number), deliveries)
            self._nudge()
        self._deliver(deliveries)

    def offer(self, job: Job, payloads: Sequence[Bytes]) -> bool:
        """Give a job further items.

        Args:
            job (Job): Opened, and not sealed by its owner.
            payloads (Sequence[Bytes]): Pickled arguments, in the order of the items.

        Returns:
            bool: False if the job is over; then the items go nowhere.
        """
        with self._lock:
            if job.number not in self._jobs:
                return False
            deliveries: list[_Delivery] = []
            self._offer(job, payloads, deliveries)
            self._nudge()
        self._deliver(deliveries)
        return True

    def seal(self, job: Job) -> None:
        """Tell that a job has got all its items.

        Args:
            job (Job): Opened.
        """
        deliveries: list[_Delivery] = []
        with self._lock:
            self._tell(e.JobSealed(job.number), deliveries)
        self._deliver(deliveries)

    def stop(self, job: Job) -> None:
        """Tell that nobody wants the rest of a job. For any moment, a finalizer's too.

        Args:
            job (Job): Opened.
        """
        self.post(e.JobStopped(job.number))

    def cancel(self, job: Job) -> bool:
        """Drop a job's only item unless a worker has it.

        Args:
            job (Job): Opened.

        Returns:
            bool: Whether it was dropped; its sink has been told.
        """
        deliveries: list[_Delivery] = []
        with self._lock:
            if not self._scheduler.waits(job.number):
                return False
            self._tell(e.JobStopped(job.number), deliveries)
        self._deliver(deliveries)
        return True

    def is_running(self, job: Job) -> bool:
        """Tell whether items of a job are with workers.

        Args:
            job (Job): Opened.

        Returns:
            bool: True from the moment they are sent.
        """
        with self._lock:
            return self._scheduler.runs(job.number)

    @property
    def hungry(self) -> bool:
        """Whether one more item would be begun at once. Read without the lock: a hint."""
        return self._scheduler.hungry

    @property
    def used(self) -> bool:
        """Whether it has ever had work."""
        return self._thread is not None

    @property
    def state(self) -> str:
        """In a word or two: ``"open"``, or why it takes no work."""
        return self.ending.reason if self._closing or self.ending.cause is not None else "open"

    def snapshots(self) -> list[Snapshot]:
        """Tell what processes there are.

        Returns:
            list[Snapshot]: In the order of their slots.
        """
        with self._lock:
            return [
                Snapshot(
                    slot.number,
                    slot.name,
                    worker.pid,
                    slot.phase,
                    self._jobs[slot.job].function.name if slot.job is not None else None,
                    slot.finished,
                    slot.starts - 1,
                    slot.busy,
                )
                for slot in self._scheduler.slots.values()
                if (worker := self._workers.get(slot.number)) is not None
            ]

    def post(self, event: e.Event) -> None:
        """Tell the scheduler something, soon. Takes no lock: for finalizers, signal handlers, any thread.

        Args:
            event (e.Event): What happened.
        """
        if os.getpid() == self._pid:
            self._mailbox.append(event)
            if self._engine is not None:
                self._engine.wake()

    def close(self) -> None:
        """Take no further job; end the processes when the work is done. Returns at once; for any moment."""
        if not self._closing:
            self._closing = True
            self.post(e.CloseAsked())

    def terminate(self) -> None:
        """End everything now. Returns at once; for any moment."""
        self._closing = True
        self.ending.reason = "was terminated"
        self.post(e.TerminateAsked())

    def join(self, timeout: float | None) -> bool:
        """Wait until all work is done and, once closed, all processes are gone.

        Args:
            timeout (float | None): Seconds; None for no limit.

        Returns:
            bool: False if the time was up first.
        """
        if os.getpid() != self._pid or self._thread is None:
            return True
        with self._changed:
            over = self._changed.wait_for(self._is_over, timeout)
        if over and self._closing and threading.current_thread() is not self._thread:
            self._thread.join()  # it only has to close the engine
            self.callbacks.join()
        return over

    def _is_over(self) -> bool:
        if self._closing:
            return self._over
        return self._scheduler.unoccupied and not self._mailbox

    # --- under the lock -----------------------------------------------------------------------------------------------

    def _ensure_thread(self) -> None:
        if self._engine is None:
            self._engine = self._make_engine()
        if self._thread is None:
            # A daemon, so that a group that was never closed keeps nobody from exiting; see _watch_for_exit.
            self._thread = threading.Thread(target=self._run, name=f"procorch-{self.name}", daemon=True)
            self._thread.start()

    @property
    def _place(self) -> Engine:
        assert self._engine is not None
        return self._engine

    def _nudge(self) -> None:
        """Wake the supervisor's thread if it has something to do earlier than it believes."""
        deadline = self._scheduler.next_deadline()
        if self._to_start or (
            deadline is not None and (self._sleeps_until is None or deadline < self._sleeps_until)
        ):
            self._place.wake()

    def _offer(self, job: Job, payloads: Sequence[Bytes], deliveries: list[_Delivery]) -> None:
        if payloads:
            job.payloads.update(enumerate(payloads, job.taken))
            job.taken += len(payloads)
            self._tell(e.ItemsOffered(job.number, len(payloads)), deliveries)

    def _tell(self, event: e.Event, deliveries: list[_Delivery]) -> None:
        """Tell the scheduler and carry out its orders.

        Args:
            event (e.Event): What happened.
            deliveries (list[_Delivery]): Gets what is left to do once the lock is released.
        """
        for order in self._scheduler.handle(event, self._place.clock()):
            self._carry_out(order, deliveries)

    def _carry_out(self, order: e.Order, deliveries: list[_Delivery]) -> None:
        match order:
            case e.Resolve(number, items, outcomes, slot):
                job = self._jobs[number]
                for item in items:
                    job.payloads.pop(item, None)
                place = self._places.get(slot) if slot is not None else None
                deliveries.append(partial(job.sink.deliver, items, outcomes, place))
            case e.Send(slot, number, items):
                job = self._jobs[number]
                payloads = [job.payloads[item] for item in items]
                chunk = Chunk(job.function, job.style, job.spec.stop_on_failure, payloads)
                self._workers[slot].send(chunk)
            case e.JobDone(number):
                del self._jobs[number]
                self._changed.notify_all()
            case e.StartWorker():
                self._to_start.append(order)
            case e.Withdraw(slot):
                self._workers[slot].withdraw()
            case e.Look(slot):
                self._mailbox.extend(self._workers[slot].look())
            case e.Ask(slot):
                self._workers[slot].ask()
            case e.Terminate(slot):
                self._signal(slot, kill=False)
            case e.Kill(slot):
                self._signal(slot, kill=True)
            case e.ProcessOver(number, exitcode):
                deliveries.append(partial(self._owners.pop(number).ended, exitcode))
            case e.Broken():
                self._set_broken(order)
            case _:
                assert_never(order)

    def _signal(self, slot: int, *, kill: bool) -> None:
        worker = self._workers.get(slot)
        if worker is None:
            # Ordered but not started yet: it never will be.
            for order in [one for one in self._to_start if one.slot == slot]:
                self._to_start.remove(order)
                self._mailbox.append(e.WorkerDied(slot, None, 0))
        elif kill:
            worker.kill()
        else:
            worker.terminate()

    def _set_broken(self, order: e.Broken) -> None:
        name = self._scheduler.slots[order.slot].name
        self.ending.reason = "cannot start its workers"
        if order.failure is not None:
            report = read_report(order.failure)
            self.ending.cause = lambda: rebuild_setup_error(report, name)
        else:
            self.ending.cause = lambda: WorkerStartError(name, order.exitcode, order.detail)

    # --- the supervisor's thread --------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            while self._step():
                pass
        except BaseException:
            self._give_up()
            raise
        finally:
            self._place.close()
            self.callbacks.close()
            with self._lock:
                self._over = True
                self._changed.notify_all()

    def _step(self) -> bool:
        """Wait for something and deal with it.

        Returns:
            bool: False once there is nothing left to wait for.
        """
        with self._lock:
            self._sleeps_until = self._scheduler.next_deadline()
            sleeps_until = self._sleeps_until
            if self._scheduler.finished and not self._mailbox:
                return False
        busy = self._mailbox or self._to_start
        timeout = None if sleeps_until is None else max(0.0, sleeps_until - self._place.clock())
        ready = self._place.wait(0.0 if busy else timeout)
        deliveries = self._deliveries
        with self._lock:
            for worker in ready:
                for event in worker.read():
                    self._tell(event, deliveries)
                    if isinstance(event, e.WorkerDied):
                        self._bury(event.slot)
            deadline = self._scheduler.next_deadline()
            if deadline is not None and deadline <= self._place.clock():
                self._tell(e.TimePassed(), deliveries)
            while self._mailbox:
                self._tell(self._mailbox.popleft(), deliveries)
            while self._to_start:
                self._start(self._to_start.popleft(), deliveries)
        self._deliver(deliveries)
        return True

    def _start(self, order: e.StartWorker, deliveries: list[_Delivery]) -> None:
        self._places[order.slot] = Place(order.name, None)
        owner = self._owners.get(self._scheduler.slots[order.slot].dedicated or 0)
        try:
            worker = self._place.start(order.slot, order.name)
        except OSError as error:
            self._tell(e.LaunchFailed(order.slot, f"{type(error).__name__}: {error}"), deliveries)
            del self._places[order.slot]
            return
        self._workers[order.slot] = worker
        self._places[order.slot] = Place(order.name, worker.pid)
        if owner is not None:
            deliveries.append(partial(owner.started, worker.pid))

    def _bury(self, slot: int) -> None:
        self._workers.pop(slot, None)
        self._places.pop(slot, None)
        self._changed.notify_all()

    @staticmethod
    def _deliver(deliveries: list[_Delivery]) -> None:
        """Carry out what was left to do, and empty the list."""
        pending = iter(tuple(deliveries))
        deliveries.clear()
        for delivery in pending:
            delivery()

    def _give_up(self) -> None:
        """Leave nobody waiting and no process alive, when this loop itself has failed: a bug of ours."""
        self._closing = True
        self.ending.reason = "failed inside; please report the traceback that its thread printed"
        self._deliver(self._deliveries)
        for job in list(self._jobs.values()):
            items = list(job.payloads)
            job.sink.deliver(items, [e.Dropped()] * len(items), None)
        for worker in self._workers.values():
            worker.kill()
        while self._workers:
            for worker in self._place.wait(None):
                if any([isinstance(event, e.WorkerDied) for event in worker.read()]):  # noqa: C419 - read to its end
                    del self._workers[worker.slot]
        for owner in self._owners.values():
            owner.ended(None)


_groups: weakref.WeakSet[Supervisor] = weakref.WeakSet()
_watching_pid: int | None = None

_EXIT_SECONDS = 10.0
"""Longest wait at the interpreter's exit for the processes of groups that were never closed."""


def _watch_for_exit(supervisor: Supervisor) -> None:
    """End the group at the interpreter's exit if nobody else does, before multiprocessing waits for its children."""
    global _watching_pid
    _groups.add(supervisor)
    if _watching_pid != os.getpid():
        # In a worker, multiprocessing has dropped what its parent had registered.
        _watching_pid = os.getpid()
        util.Finalize(None, _terminate_all, exitpriority=20)


def _terminate_all() -> None:
    groups = list(_groups)
    for supervisor in groups:
        supervisor.terminate()
    for supervisor in groups:
        supervisor.join(_EXIT_SECONDS)
