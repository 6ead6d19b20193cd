"""The one loop of a group: wait, tell the scheduler, carry out its orders. Keeps no opinion of its own.

    callers' threads --(under the lock)--> scheduler --orders--> workers        an idle worker gets its work at once
    supervisor's thread: engine.wait --> worker.read --(under the lock)--> scheduler --orders--> workers
                                                                              |
                                         after the lock is released: outcomes --> sinks (futures, streams)

Processes are started only by the supervisor's thread. Whatever may run at an odd moment (a finalizer, a signal handler)
does not take the lock but leaves its event in the mailbox.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from typing import TypeVar

from procorch import _events as e
from procorch._callbacks import Callbacks
from procorch._engine import Engine, Worker
from procorch._errors import GroupClosed
from procorch._exit import watch_for_exit
from procorch._hands import Deliveries, Hands
from procorch._info import ProcessInfo
from procorch._job import Job
from procorch._policy import Limits
from procorch._records import replay
from procorch._scheduler import Scheduler
from procorch._verdict import Ending
from procorch._waits import Condition, join_thread

R = TypeVar("R")


class Supervisor:
    """Owns a group's lock, scheduler, workers and thread."""

    def __init__(self, name: str, make_engine: Callable[[], Engine], limits: Limits, *, own_engine: bool) -> None:
        """Begin; no engine, no thread and no process before the first job.

        Args:
            name (str): The group's name.
            make_engine (Callable[[], Engine]): Gives the place where workers run.
            limits (Limits): For the scheduler.
            own_engine (bool): Whether to close that place at the end.
        """
        self.name = name
        self.ending: Ending = Ending(name)
        self.callbacks: Callbacks = Callbacks(name)
        self._make_engine = make_engine
        self._own_engine = own_engine
        self._engine: Engine | None = None
        self.names: Iterator[str] = map(f"{name}-".__add__, map(str, itertools.count(1)))
        """Gives the next numbered name; made of C parts, so that threads need no lock for it."""
        self._scheduler = Scheduler(limits, self.names)
        self._lock = Condition()  # notified whenever one who joins may want to look again
        self._pid = os.getpid()
        self._roused = False
        self._numbers = itertools.count(1)
        self._mailbox: deque[e.Event] = deque()
        self._hands = Hands(self.ending, self._mailbox)
        self._closing = False
        self._over = False  # whether the thread has done its last
        self._thread: threading.Thread | None = None
        self._sleeps_until: float | None = None
        self._deliveries: Deliveries = deque()  # of the supervisor's thread
        self._was_interrupted = False  # a caller's thread, in the middle of its doings
        self._left_over: Deliveries = deque()  # what it had still to do
        self._undelivered = 0  # outcomes on their way to their sinks, in any thread
        watch_for_exit(self)

    # --- for callers' threads -----------------------------------------------------------------------------------------

    def check_open(self) -> None:
        """Refuse a group that takes no work.

        Raises:
            GroupClosed: It was closed, terminated, cannot start workers, or belongs to the process that this one is a
                forked copy of.
        """
        if os.getpid() != self._pid:
            raise self._foreign().closed()
        if self._closing or self.ending.cause is not None:
            raise self.ending.closed()

    def _foreign(self) -> Ending:
        """Why this copy of the group is of no use: another process has the original."""
        return Ending(self.name, f"belongs to process {self._pid}; make another in this one")

    def open(self, job: Job, *, sealed: bool) -> None:
        """Begin a job with the items in its deck.

        Args:
            job (Job): Gets its number here.
            sealed (bool): Whether these are all.

        Raises:
            GroupClosed: See `check_open`.
        """
        with self._lock:  # always, since another caller's attempt at a thread may just be failing
            self.check_open()
            self._ensure_thread()
        self._act(partial(self._open, job, sealed))

    def _open(self, job: Job, sealed: bool, deliveries: Deliveries) -> None:
        self.check_open()
        job.number = next(self._numbers)
        self._hands.add(job, sealed=sealed)
        self._tell(e.JobOpened(job.number, job.spec), deliveries)
        self._take(job, deliveries)
        if sealed:
            self._tell(e.JobSealed(job.number), deliveries)

    def offer(self, job: Job) -> bool:
        """Take all that is in a job's deck.

        Args:
            job (Job): Opened, and not sealed by its owner.

        Returns:
            bool: False if the job is over; then the deck is left as it is.
        """
        if os.getpid() != self._pid:
            raise self._foreign().closed()
        return self._act(partial(self._offer, job))

    def _offer(self, job: Job, deliveries: Deliveries) -> bool:
        known = job.number in self._hands.jobs
        if known:
            self._take(job, deliveries)
        return known

    def discard(self, job: Job) -> int:
        """Throw away all that is in a job's deck.

        Args:
            job (Job): Opened or not.

        Returns:
            int: How many items that were.
        """
        with self._lock:
            count = sum(len(batch.values) for batch in job.deck)
            job.deck.clear()
        return count

    def rouse(self) -> None:
        """Let the supervisor's thread look into the decks, soon. Costs next to nothing while that is still to come."""
        if not self._roused:
            self._roused = True
            self._place.wake()

    def seal(self, job: Job) -> None:
        """Tell that a job has got all its items.

        Args:
            job (Job): Opened, and its deck is empty.
        """
        self._act(partial(self._seal, job))

    def _seal(self, job: Job, deliveries: Deliveries) -> None:
        if self._hands.streams.pop(job.number, None) is not None:
            self._tell(e.JobSealed(job.number), deliveries)

    def stop(self, job: Job) -> None:
        """Tell that nobody wants the rest of a job. For any moment, a finalizer's too.

        Args:
            job (Job): Opened.
        """
        self.post(e.JobStopped(job.number))

    def cancel(self, job: Job) -> None:
        """Drop a job's only item, and stop the process that runs it. Nothing happens if it has its outcome.

        Args:
            job (Job): Opened. Its sink has been told when this returns; not in a forked copy of the process.
        """
        if os.getpid() == self._pid:
            self._act(partial(self._cancel, job))

    def _cancel(self, job: Job, deliveries: Deliveries) -> None:
        if job.number in self._hands.jobs and self._scheduler.knows(job.number):
            self._tell(e.JobCancelled(job.number), deliveries)

    def is_running(self, job: Job) -> bool:
        """Tell whether the only item of a job has begun.

        Args:
            job (Job): Opened.

        Returns:
            bool: False also once it has its outcome, and in a forked copy of the process.
        """
        if os.getpid() != self._pid:
            return False
        with self._lock:
            slot = self._scheduler.slot_of(job.number)
            return slot is not None and self._hands.workers[slot.number].has_begun()

    def now(self) -> float:
        """Tell the time by the engine's clock, once there is work.

        Returns:
            float: Monotonic seconds.
        """
        return self._place.clock()

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

    def processes(self) -> tuple[ProcessInfo, ...]:
        """Tell what processes there are.

        Returns:
            tuple[ProcessInfo, ...]: In the order of their slots.
        """
        with self._lock:
            return self._hands.describe(self._scheduler.slots.values())

    def post(self, event: e.Event) -> None:
        """Tell the scheduler something, soon. Takes no lock: for finalizers, signal handlers, any thread.

        Args:
            event (e.Event): What happened.
        """
        if os.getpid() == self._pid:
            self._mailbox.append(event)
            engine = self._engine
            if engine is not None:
                engine.wake()

    def close(self) -> None:
        """Take no further job; end the processes when the work is done. Returns at once; for any moment."""
        self._closing = True
        self.post(e.CloseAsked())  # again, if it is called again: the first call may have been interrupted before this

    def terminate(self) -> None:
        """End everything now. Returns at once; for any moment."""
        self._closing = True
        if self.ending.cause is None:
            self.ending.reason = "was terminated"
        self.post(e.TerminateAsked())

    def join(self, timeout: float | None) -> bool:
        """Wait until all work is done, its outcomes delivered and, once closed, all processes gone.

        Args:
            timeout (float | None): Seconds; None for no limit.

        Returns:
            bool: False if the time was up first.
        """
        if os.getpid() != self._pid or self._thread is None:
            return True
        until = None if timeout is None else time.monotonic() + timeout
        with self._lock:
            over = self._lock.wait_for(self._is_over, timeout)
            closed = self._closing
        if not over or not closed:
            return over
        join_thread(self._thread)  # it has done its last already
        return self.callbacks.join(None if until is None else max(0.0, until - time.monotonic()))

    def _is_over(self) -> bool:
        if self._undelivered > 0:
            return False
        return self._over if self._closing else self._scheduler.unoccupied

    # --- under the lock -----------------------------------------------------------------------------------------------

    def _ensure_thread(self) -> None:
        if self._thread is not None:
            return
        try:
            self._engine = self._make_engine()
            # A daemon, so that a group that was never closed keeps nobody from exiting; see _exit.
            self._thread = threading.Thread(target=self._run, name=f"procorch-{self.name}", daemon=True)
            self._thread.start()
        except BaseException:
            # The system has no room for a thread; or an interrupt came. If it runs after all, it sees that it is not
            # wanted: see `_run`. Whoever comes next gets another.
            self._thread = None
            if self._engine is not None:
                self._close_engine()
                self._engine = None
            raise

    def _close_engine(self) -> None:
        if self._own_engine:
            self._place.close()

    @property
    def _place(self) -> Engine:
        assert self._engine is not None
        return self._engine

    def _nudge(self) -> None:
        """Wake the supervisor's thread if it has something to do earlier than it believes."""
        deadline = self._scheduler.next_deadline()
        if self._hands.to_start or (
            deadline is not None and (self._sleeps_until is None or deadline < self._sleeps_until)
        ):
            self._place.wake()

    def _act(self, do: Callable[[Deliveries], R]) -> R:
        """Do something under the lock, in a caller's thread; then wake whom it concerns and do what was put off."""
        # Not a context manager: while one of Python code is entered, an interrupt may come after the lock is taken and
        # before the block begins that would release it.
        if self._lock.is_mine():
            raise RuntimeError(
                f"the group {self.name!r} was called in the middle of another call of the same thread: "
                "finalizers and handlers of signals may only call terminate() and close()"
            )
        deliveries: Deliveries = deque()
        try:
            with self._lock:
                try:
                    done = do(deliveries)
                    self._nudge()
                except GroupClosed:
                    raise
                except BaseException:
                    self._interrupted(deliveries)  # before anybody else sees what is half done
                    raise
            self._deliver(deliveries)
        except GroupClosed:
            raise  # before anything was changed
        except BaseException:
            self._interrupted(deliveries)
            raise
        return done

    def _interrupted(self, deliveries: Deliveries) -> None:
        """Let the supervisor's thread end everything: nothing here fails by itself, so this caller was interrupted.

        A Ctrl-C, or what else a signal's handler raises, may come between any two steps, and leave half of them undone.
        """
        with self._lock:
            self._left_over.extend(deliveries)
            deliveries.clear()
            self._was_interrupted = True
            self._closing = True
            over = self._over
        if over:
            self._deliver_left_over()  # its thread has ended already
        elif self._engine is not None:
            self._engine.wake()

    def _deliver_left_over(self) -> None:
        while self._left_over:
            with contextlib.suppress(Exception):
                self._left_over[0]()
            self._left_over.popleft()

    def _take(self, job: Job, deliveries: Deliveries) -> None:
        """Take what is in a job's deck."""
        count = 0
        while job.deck:
            batch = job.deck.popleft()
            count += len(job.items.add(batch.values, plain=batch.plain))
        if count:
            self._tell(e.ItemsOffered(job.number, count), deliveries)

    def _tell(self, event: e.Event, deliveries: Deliveries) -> None:
        """Tell the scheduler and carry out its orders.

        Args:
            event (e.Event): What happened.
            deliveries (Deliveries): Gets what is left to do once the lock is released.
        """
        before = len(deliveries)
        orders = self._scheduler.handle(event, self._place.clock())
        for order in orders:
            self._hands.carry_out(order, deliveries)
        self._undelivered += len(deliveries) - before
        if orders:
            self._lock.notify_all()

    def _deliver(self, deliveries: Deliveries) -> None:
        """Do what was put off. Called without the lock; what is left if one of them fails is still in the queue."""
        count = len(deliveries)
        while deliveries:
            deliveries[0]()
            deliveries.popleft()  # only now: an interrupt before this leaves it there, to be done once more
        if count:
            with self._lock:
                self._undelivered -= count
                self._lock.notify_all()

    # --- the supervisor's thread --------------------------------------------------------------------------------------

    def _run(self) -> None:
        with self._lock:
            if self._thread is not threading.current_thread():
                return
        try:
            while not self._was_interrupted and self._step():
                pass
            if self._was_interrupted:
                self._give_up("was interrupted in the middle of a call")
        except BaseException:
            self._give_up("failed inside; please report the traceback that its thread printed")
            raise
        finally:
            self._close_engine()
            self.callbacks.close()
            with self._lock:
                self._over = True
                self._lock.notify_all()
            self._deliver_left_over()

    def _step(self) -> bool:
        """Wait for something and deal with it.

        Returns:
            bool: False once there is nothing left to wait for.
        """
        with self._lock:
            if self._was_interrupted:
                return True
            self._sleeps_until = self._scheduler.next_deadline()
            sleeps_until = self._sleeps_until
            if self._scheduler.finished and not self._mailbox:
                return False
        busy = self._mailbox or self._hands.to_start
        timeout = None if sleeps_until is None else max(0.0, sleeps_until - self._place.clock())
        ready = self._place.wait(0.0 if busy else timeout)
        deliveries = self._deliveries
        with self._lock:
            if self._was_interrupted:
                return True
            self._roused = False
            # First, so that a worker that has come to an end finds what has been put there meanwhile.
            self._look_into_decks(deliveries)
            for worker in ready:
                for event in worker.read():
                    self._pass_on_logged(worker, deliveries)
                    self._tell(event, deliveries)
                    if isinstance(event, e.WorkerDied):
                        self._hands.bury(event.slot)
                        self._lock.notify_all()
                self._pass_on_logged(worker, deliveries)
            deadline = self._scheduler.next_deadline()
            if deadline is not None and deadline <= self._place.clock():
                self._tell(e.TimePassed(), deliveries)
            while self._mailbox:
                self._tell(self._mailbox.popleft(), deliveries)
            if self._scheduler.hungry:
                # Once more: whoever puts an item there looks for a free worker afterwards, and has seen this one, or
                # had not yet when it became free just now.
                self._look_into_decks(deliveries)
            starts = len(self._hands.to_start)
        self._deliver(deliveries)
        for _ in range(starts):
            self._start_next(deliveries)
        return True

    def _pass_on_logged(self, worker: Worker, deliveries: Deliveries) -> None:
        """Put the handling of what a worker logged before the deliveries of what it tells next."""
        logged = worker.take_logged()
        if logged:
            slot = self._scheduler.slots[worker.slot]
            job = self._hands.jobs.get(slot.job) if slot.job is not None else None
            deliveries.append(partial(replay, logged, job, slot.items))
            self._undelivered += 1

    def _look_into_decks(self, deliveries: Deliveries) -> None:
        for job in tuple(self._hands.streams.values()):
            self._take(job, deliveries)

    def _start_next(self, deliveries: Deliveries) -> None:
        """Start the next process that is ordered. That takes a while, and is done without the lock."""
        with self._lock:
            if self._was_interrupted:
                return
            order = self._hands.next_start()
        if order is None:
            return
        worker, refusal = None, ""
        try:
            worker = self._place.start(order.slot, order.name)
        except Exception as error:  # noqa: BLE001 - the system, or multiprocessing, has many ways to refuse
            refusal = f"{type(error).__name__}: {error}"
        with self._lock:
            if self._was_interrupted and worker is not None:
                self._hands.workers[order.slot] = worker  # to be killed with the others
            elif worker is None:
                self._hands.refused()
                self._tell(e.LaunchFailed(order.slot, refusal), deliveries)
                self._hands.bury(order.slot)
            else:
                before = len(deliveries)
                self._hands.started(order, worker, self._scheduler.slots[order.slot].dedicated, deliveries)
                self._undelivered += len(deliveries) - before
        self._deliver(deliveries)

    def _give_up(self, reason: str) -> None:
        """Leave nobody waiting and no process alive, when what is known of the group cannot be relied on."""
        with self._lock:
            self._closing = True
            self.ending.reason = reason
            self.ending.cause = self.ending.plain
            self._left_over.extendleft(reversed(self._deliveries))
            self._deliveries.clear()
            self._left_over.extend(self._hands.drop_all())
            workers = dict(self._hands.workers)
        for worker in workers.values():
            worker.kill()
        while workers:
            for worker in self._place.wait(None):
                if self._is_gone(worker):
                    workers.pop(worker.slot, None)
        self._deliver_left_over()
        with self._lock:
            self._undelivered = 0

    @staticmethod
    def _is_gone(worker: Worker) -> bool:
        """Read what a killed worker has to tell, to its end, whatever that is."""
        gone = False
        try:
            for event in worker.read():
                gone |= isinstance(event, e.WorkerDied)
        except Exception:  # noqa: BLE001 - what it tells may be just what this group has failed of
            gone = True
        return gone
