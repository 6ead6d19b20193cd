"""What a group consists of, and the way its scheduler is told something: under one lock, orders first, outcomes after.

    event --(under the lock)--> scheduler --orders--> hands --> workers
                                                        |
                   after the lock is released: outcomes --> sinks (futures, streams)

Keeps no opinion of its own. Who calls: `_loop`, the threads that wait for workers, and `_supervisor`, other callers.
"""

from __future__ import annotations

import _thread
import contextlib
import itertools
import os
from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from typing import TypeVar

from procorch import _events as e
from procorch._callbacks import Callbacks
from procorch._condition import Condition
from procorch._engine import ALL, Capabilities, Engine, Room
from procorch._errors import GroupClosed, NotSupported
from procorch._hands import Deliveries, Hands
from procorch._job import Job
from procorch._observer import Observer
from procorch._policy import Limits
from procorch._scheduler import Scheduler
from procorch._tally import Tally
from procorch._verdict import Ending
from procorch.events import Event

R = TypeVar("R")


class Core:
    """A group's lock, scheduler, workers and engine."""

    def __init__(
        self,
        name: str,
        make_engine: Callable[[], Engine],
        limits: Limits,
        *,
        capabilities: Capabilities = ALL,
        engine_name: str = "",
        on_event: Callable[[Event], object] | None = None,
    ) -> None:
        """Begin; no engine, no thread and no process before the first job.

        Args:
            name (str): The group's name.
            make_engine (Callable[[], Engine]): Gives the place where workers run.
            limits (Limits): For the scheduler.
            capabilities (Capabilities): What that place keeps.
            engine_name (str): Names it, for messages; empty for processes of our own on this machine.
            on_event (Callable[[Event], object] | None): Told what happens, in the thread for callbacks; None for
                nobody.
        """
        self.name = name
        self.ending: Ending = Ending(name)
        self.callbacks: Callbacks = Callbacks(name)
        self._make_engine = make_engine
        self.capabilities: Capabilities = capabilities
        self._engine_name = engine_name
        self.is_here: bool = not engine_name
        """Whether its workers are processes of our own, on this machine."""
        self._engine: Engine | None = None
        self.names: Iterator[str] = map(f"{name}-".__add__, map(str, itertools.count(1)))
        """Gives the next numbered name; made of C parts, so that threads need no lock for it."""
        self._limits = limits
        self._room: Room | None = None  # as the scheduler knows it
        self._scheduler = Scheduler(limits, self.names)
        self._lock = Condition()  # notified whenever one who joins may want to look again
        self._pid = os.getpid()
        self._roused = False
        self._numbers = itertools.count(1)
        self._mailbox: deque[e.Event] = deque()
        self._hands = Hands(self.ending, self._mailbox, self._signalled)
        self._tally = Tally()
        self._observer: Observer | None = None
        if on_event is not None:
            tell = partial(self.callbacks.run_with, on_event)
            self._observer = Observer(name, tell, lambda job: self._hands.jobs[job].function.name)
        self._closing = False
        self._terminated = False
        self._over = False  # whether the thread has done its last
        self._sleeps_until: float | None = None
        self._napping = False  # whether the supervisor's thread sleeps on this lock instead of waiting for workers
        self._nap = _thread.allocate_lock()
        self._nap.acquire()
        self._helper: int | None = None  # the caller's thread that waits for workers in its place
        self._was_interrupted = False  # a caller's thread, in the middle of its doings
        self._left_over: Deliveries = deque()  # what it had still to do
        self._undelivered = 0  # outcomes on their way to their sinks, in any thread
        # What is being delivered of what workers have told: nobody reads on before, or one would overtake the other.
        self._telling: Deliveries | None = None

    def unsupported(self, option: str, why: str) -> NotSupported:
        """Make the error for what the engine cannot do.

        Args:
            option (str): What was asked for.
            why (str): As the end of the sentence "the engine ...".

        Returns:
            NotSupported: To be raised.
        """
        return NotSupported(option, self._engine_name, why)

    @property
    def _place(self) -> Engine:
        assert self._engine is not None
        return self._engine

    def _nudge(self) -> None:
        """Wake the supervisor's thread if it has something to do earlier than it believes."""
        deadline = self._scheduler.next_deadline()
        if (
            self._mailbox
            or self._hands.to_start
            or (deadline is not None and (self._sleeps_until is None or deadline < self._sleeps_until))
        ):
            self._wake()

    def _wake(self) -> None:
        """Wake whoever waits for workers. Takes no lock: for any moment."""
        engine = self._engine
        if engine is not None:
            engine.wake()
        if self._napping:
            with contextlib.suppress(RuntimeError):  # it is woken already
                self._nap.release()

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
            self._has_told(deliveries)
            self._was_interrupted = True
            self._closing = True
            over = self._over
        if over:
            self._deliver_left_over()  # its thread has ended already
        else:
            self._wake()

    def _has_told(self, deliveries: Deliveries) -> None:
        """Let others read what workers tell. Called under the lock."""
        if self._telling is deliveries:
            self._telling = None

    def _deliver_left_over(self) -> None:
        while self._left_over:
            with contextlib.suppress(Exception):
                self._left_over[0]()
            self._left_over.popleft()

    def _take(self, job: Job, deliveries: Deliveries) -> None:
        """Take what is in a job's deck."""
        count = job.take()
        if count:
            self._tell(e.ItemsOffered(job.number, count, job.take_begun()), deliveries)

    def _look_at_room(self, deliveries: Deliveries) -> None:
        """Tell how much the engine can take, if that has changed."""
        room = self._place.room
        if room is not self._room and room is not None:
            self._room = room
            workers = min(room.workers, self._limits.max_workers)
            # A number that the user has chosen is one of items at once.
            window = room.window if workers == room.workers else workers
            self._tell(e.RoomChanged(workers, min(window, self._limits.max_workers)), deliveries)

    def _tell(self, event: e.Event, deliveries: Deliveries) -> None:
        """Tell the scheduler and carry out its orders.

        Args:
            event (e.Event): What happened.
            deliveries (Deliveries): Gets what is left to do once the lock is released.
        """
        before = len(deliveries)
        now = self._place.clock()
        self._tally.hear(event, self._scheduler.slots, now)
        orders = self._scheduler.handle(event, now)
        self._tally.see(orders, now)
        if self._observer is not None:
            self._observer.saw(event, orders, now)
        for order in orders:
            self._hands.carry_out(order, deliveries)
        self._undelivered += len(deliveries) - before
        if orders:
            self._lock.notify_all()

    def _signalled(self, order: e.Terminate | e.Kill) -> None:
        """Count and tell a signal. Here, as many are ordered for processes that are never started."""
        self._tally.signals += 1
        if self._observer is not None:
            self._observer.signalled(order, self._place.clock())

    def _deliver(self, deliveries: Deliveries) -> None:
        """Do what was put off. Called without the lock; what is left if one of them fails is still in the queue."""
        count = len(deliveries)
        while deliveries:
            deliveries[0]()
            deliveries.popleft()  # only now: an interrupt before this leaves it there, to be done once more
        if count:
            with self._lock:
                self._undelivered -= count
                self._has_told(deliveries)
                self._lock.notify_all()
                helper = self._helper
            if helper is not None and helper != _thread.get_ident():
                self._place.wake()  # it may have been its outcome
