"""The future that `submit` gives out: a `concurrent.futures.Future` whose callbacks may use the group.

Its state goes from pending straight to its end; whether it runs is asked of the scheduler, who knows.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import logging
import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeVar, cast

from typing_extensions import override

from procorch._callbacks import Callbacks
from procorch._errors import Task
from procorch._events import Dropped, Outcome, Outcomes
from procorch._job import Job, Sink
from procorch._messages import Plain
from procorch._supervisor import Supervisor
from procorch._verdict import Ending, Place, settle
from procorch._waits import SafeFuture

R = TypeVar("R")


class TaskFuture(SafeFuture[R]):
    """The result of one `submit`, now or later."""

    def __init__(self, supervisor: Supervisor) -> None:
        """Begin as pending.

        Args:
            supervisor (Supervisor): Of its group.
        """
        super().__init__()
        self._supervisor = supervisor
        self._canceller: int | None = None  # the thread that is about it
        self._job: Job | None = None  # None as long as, and if ever, there is nothing to run

    def bind(self, job: Job) -> None:
        """Take in which job it is the result of.

        Args:
            job (Job): Opened.
        """
        self._job = job

    @override
    def cancel(self) -> bool:
        """Give the work up. If it runs, its process is stopped: SIGTERM, and SIGKILL a moment later.

        Returns:
            bool: Whether it is cancelled now; False if it was done, or its outcome on the way. The process may end a
            moment later.
        """
        job = self._job
        if not self.done() and job is not None:
            self._canceller = threading.get_ident()
            try:
                self._supervisor.cancel(job)
            finally:
                self._canceller = None
        return self.cancelled()

    def is_cancelled_here(self) -> bool:
        """Tell whether the calling thread is inside `cancel`.

        Returns:
            bool: Of this moment.
        """
        return self._canceller == threading.get_ident()

    @override
    def result(self, timeout: float | None = None) -> R:
        """Wait for the result.

        Args:
            timeout (float | None): Seconds to wait at most; None for no limit. The work goes on if they are over.

        Returns:
            R: What the function returned.

        Raises:
            BaseException: What the function raised, or a `TaskError`; ``CancelledError``; ``TimeoutError`` if the time
                is up.
        """
        try:
            return super().result(self._help(timeout))
        finally:
            del self  # or the exception's traceback would keep this future, and this future the exception

    @override
    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Wait for the result, and tell only what went wrong.

        Args:
            timeout (float | None): As of `result`.

        Returns:
            BaseException | None: What `result` would raise; None if it gives a value.

        Raises:
            BaseException: ``CancelledError``; ``TimeoutError`` if the time is up.
        """
        return super().exception(self._help(timeout))

    def _help(self, timeout: float | None) -> float | None:
        """Wait for workers, where that helps; tell how long is left to wait otherwise."""
        if self._job is None or self.done():
            return timeout
        return self._supervisor.help(self.done, timeout)

    @override
    def running(self) -> bool:
        """Tell whether the work runs in a worker, at this moment.

        Returns:
            bool: False before it has begun, between two tries, and once it is done.
        """
        job = self._job
        return not self.done() and job is not None and self._supervisor.is_running(job)

    @override
    def add_done_callback(self, fn: Callable[[concurrent.futures.Future[R]], object]) -> None:
        """Call ``fn`` with this future when it is done.

        Args:
            fn (Callable[[concurrent.futures.Future[R]], object]): Called at once, in this thread, if the future is
                done already; else later, in a thread that the group keeps for callbacks. It may use the group, wait
                for it too. What it raises is logged and ignored.
        """
        callback = _Callback(fn, self._supervisor.callbacks)
        super().add_done_callback(callback)
        callback.is_added = True
        self._supervisor.come_back()

    def call_left(self) -> None:
        """Call back whoever was not, if an interrupt may have come between its being done and that."""
        if self._supervisor.was_interrupted:
            cast("Any", self)._invoke_callbacks()  # noqa: SLF001 - typeshed does not show it

    def begin(self) -> None:
        """Take in that the work goes to a worker. Called under the group's lock."""

    def drop(self) -> None:
        """Become cancelled, or get the error that ended the group: the work was dropped."""
        cause = self._supervisor.ending.cause
        if cause is not None:
            self.set_exception(cause())
            return
        # False, or an error: the user has set its result by hand, and so taken it over.
        with contextlib.suppress(RuntimeError):
            if super().cancel():
                self.set_running_or_notify_cancel()

    def release(self) -> None:
        """Let go of the work, its arguments among it: the outcome is here."""
        self._job = None


class _Callback:
    def __init__(self, fn: Callable[[concurrent.futures.Future[Any]], object], callbacks: Callbacks) -> None:
        self._fn = fn
        self._callbacks = callbacks
        self._added_by = threading.get_ident()
        self.is_added = False
        self._is_called = False

    def __call__(self, future: concurrent.futures.Future[Any]) -> None:
        # The thread that adds it calls it itself if the future is done by then, and inside `cancel`, where to call it
        # at once is the standard behaviour. Not while it waits for the workers, see `_loop`: then it finishes futures
        # in the place of the group's own thread, and other callers' too.
        at_once = not self.is_added or (isinstance(future, TaskFuture) and future.is_cancelled_here())
        if at_once and threading.get_ident() == self._added_by:
            self._is_called = True
            self._fn(future)
        else:
            self._callbacks.run(partial(self._call, future))

    def _call(self, future: concurrent.futures.Future[Any]) -> None:
        if self._is_called:
            return  # told twice, since a call was interrupted
        self._is_called = True
        try:
            self._fn(future)
        except BaseException:
            logging.getLogger("concurrent.futures").exception("exception calling callback for %r", future)


class FutureSink(Sink):
    """Brings one outcome to one future."""

    def __init__(self, future: TaskFuture[Any], task: Callable[[], Task], ending: Ending) -> None:
        """Wait for the outcome.

        Args:
            future (TaskFuture[Any]): Where it goes.
            task (Callable[[], Task]): Names the work.
            ending (Ending): Of the group.
        """
        self._future = future
        self._task = task
        self._ending = ending

    @override
    def deliver(self, items: Sequence[int], outcomes: Outcomes, place: Place | None) -> None:
        try:
            self._deliver(outcomes if isinstance(outcomes, Plain) else outcomes[0], place)
        except concurrent.futures.InvalidStateError:
            # A user who set the future's result by hand has taken it over; or this is told twice.
            self._future.call_left()
        self._future.release()

    @override
    def sent(self) -> None:
        self._future.begin()

    def _deliver(self, outcome: Outcome | Plain, place: Place | None) -> None:
        if isinstance(outcome, Dropped):
            self._future.drop()
        else:
            settle(self._future, outcome, self._task, place, self._ending)
