"""The future of an executor: by the rules of the standard library, of which one is stricter than `TaskFuture`'s.

What runs cannot be cancelled, and says so: its state goes from pending to running to its end, and never back. So code
that cancels what it no longer needs, and relies on what had begun being finished, does no harm to half-done work.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, CancelledError, InvalidStateError
from typing import TypeVar

from typing_extensions import override

from procorch._errors import GroupClosed
from procorch._executors.pending import Pending
from procorch._future import TaskFuture
from procorch._supervisor import Supervisor
from procorch._verdict import Ending

R = TypeVar("R")


class ExecutorFuture(TaskFuture[R]):
    """The result of one `GroupExecutor.submit`, now or later."""

    def __init__(self, supervisor: Supervisor, pending: Pending) -> None:
        """Begin as pending.

        Args:
            supervisor (Supervisor): Of the group.
            pending (Pending): Of the executor; left when the outcome is here.
        """
        super().__init__(supervisor)
        self._pending = pending
        self._is_given_up = False
        self._ended: Callable[[], object] | None = None  # how others did

    @override
    def running(self) -> bool:
        """Tell whether the work has gone to a worker and has no outcome yet.

        Returns:
            bool: Also True between two tries.
        """
        return super(TaskFuture, self).running()

    @override
    def cancel(self) -> bool:
        """Give the work up, unless it has gone to a worker.

        Returns:
            bool: Whether it is cancelled now; False if it runs or is done.
        """
        job = self._job
        if job is not None and not self.running() and not self.done():
            self._canceller = threading.get_ident()
            try:
                self._supervisor.drop(job, unless=self._stays)
            finally:
                self._canceller = None
        # Another thread may have done it just now, and not have come to tell.
        return (self._is_given_up and not self.done()) or self.cancelled()

    def _stays(self) -> bool:
        self._is_given_up = not self.running()
        return not self._is_given_up

    def give_up(self) -> None:
        """See `cancel`."""
        self._end(self.cancel)

    def stop(self) -> None:
        """Give the work up, and stop it if it runs."""
        self._end(super().cancel)

    def _end(self, how: Callable[[], object]) -> None:
        if not self.done():
            self._ended = how
            how()

    def tell_again(self) -> None:
        """Tell the group what others may have told before the work came to it."""
        ended = self._ended
        if ended is not None:
            ended()

    @override
    def begin(self) -> None:
        if not self.running() and not self.done():
            # An error: the user has changed its state by hand, a moment ago.
            with contextlib.suppress(RuntimeError):
                self.set_running_or_notify_cancel()

    @override
    def drop(self) -> None:
        ending = self._supervisor.ending
        if ending.cause is not None:
            self.set_exception(broken(ending))
            return
        super().drop()
        if not self.done():  # it was stopped, and what runs does not become cancelled
            is_open = self._supervisor.state == "open"
            with contextlib.suppress(InvalidStateError):
                self.set_exception(CancelledError() if is_open else ending.closed())

    @override
    def release(self) -> None:
        super().release()
        self._ended = None
        self._pending.leave(self)


def broken(ending: Ending) -> BrokenExecutor:
    """Make the error of an executor whose group cannot start workers.

    Args:
        ending (Ending): Of that group; with a cause.

    Returns:
        BrokenExecutor: Its cause is what an initializer raised, or a `WorkerStartError`.
    """
    error = BrokenExecutor(str(ending.plain()))
    error.__cause__ = ending.closed().__cause__
    return error


def refusal(ending: Ending, closed: GroupClosed) -> RuntimeError:
    """Make the error for who gives work to an executor whose group takes none.

    Args:
        ending (Ending): Of that group.
        closed (GroupClosed): What it says itself.

    Returns:
        RuntimeError: A `BrokenExecutor` if the group cannot start workers.
    """
    if ending.cause is not None:
        return broken(ending)
    return RuntimeError(f"cannot schedule new futures: {closed}")
