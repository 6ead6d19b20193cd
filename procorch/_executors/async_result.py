"""What the asynchronous calls of a pool give: a future in the shape of a `multiprocessing.pool.AsyncResult`."""

from __future__ import annotations

import contextlib
import multiprocessing
from collections.abc import Callable, Iterable
from concurrent.futures import CancelledError, Future
from functools import partial
from typing import Any, Generic, TypeVar

from procorch._callbacks import Callbacks
from procorch._public import public
from procorch._waits import SafeFuture

R = TypeVar("R")


@public
class AsyncResult(Generic[R]):
    """What the asynchronous calls of a `GroupPool` give: as `multiprocessing.pool.AsyncResult`."""

    def __init__(self, future: Future[R], callbacks: Callbacks, told: Future[None] | None = None) -> None:
        """Not for users: a pool's calls make these.

        Args:
            future (Future[R]): The result, now or later.
            callbacks (Callbacks): Of the group.
            told (Future[None] | None): Done when the user's callback has run; None if there is none.
        """
        self._future = future
        self._callbacks = callbacks
        self._told = told

    def get(self, timeout: float | None = None) -> R:
        """Wait for the result.

        Args:
            timeout (float | None): Seconds to wait at most; None for no limit. The work goes on if they are over.

        Returns:
            R: What the function returned, or the list of it.

        Raises:
            BaseException: What the function raised, or a `TaskError`; ``CancelledError`` if the pool was terminated.
            multiprocessing.TimeoutError: The time is up.
        """
        if timeout is not None or self._told is not None:
            self.wait(timeout)
            if not self.ready():
                raise multiprocessing.TimeoutError
        return self._future.result()

    def wait(self, timeout: float | None = None) -> None:
        """Wait until it is there, and its callback has run; in a callback, only until it is there.

        Args:
            timeout (float | None): Seconds to wait at most; None for no limit.
        """
        # Not by `concurrent.futures.wait`, whose wait a signal can be overlooked by, see `_condition`.
        with contextlib.suppress(CancelledError, TimeoutError):
            self._last.exception(timeout)

    def ready(self) -> bool:
        """Tell whether it is there.

        Returns:
            bool: Also True for an error.
        """
        return self._last.done()

    @property
    def _last(self) -> Future[Any]:
        """What is done last. Callbacks do not wait for each other: they have one thread."""
        return self._future if self._told is None or self._callbacks.is_here() else self._told

    def successful(self) -> bool:
        """Tell whether it is a result.

        Returns:
            bool: False for an error.

        Raises:
            ValueError: It is not there yet.
        """
        if not self.ready():
            raise ValueError(f"{self!r} not ready")
        return not self._future.cancelled() and self._future.exception() is None


def watched(
    future: Future[R],
    callback: Callable[[R], object] | None,
    error_callback: Callable[[BaseException], object] | None,
    callbacks: Callbacks,
) -> AsyncResult[R]:
    """Give a future as the asynchronous calls of a pool do.

    Args:
        future (Future[R]): The result, now or later.
        callback (Callable[[R], object] | None): Called with the result.
        error_callback (Callable[[BaseException], object] | None): Called with the error.
        callbacks (Callbacks): Of the group.

    Returns:
        AsyncResult[R]: Of that future.
    """
    if callback is None and error_callback is None:
        return AsyncResult(future, callbacks)
    # As with a pool of multiprocessing, who has waited for the result finds done what its callback does.
    told = SafeFuture[None]()
    future.add_done_callback(partial(_tell, partial(_report, callback, error_callback), told))
    return AsyncResult(future, callbacks, told)


def _tell(report: Callable[[Future[R]], None], told: Future[None], future: Future[R]) -> None:
    try:
        report(future)
    finally:
        told.set_result(None)


def _report(
    callback: Callable[[R], object] | None, error_callback: Callable[[BaseException], object] | None, future: Future[R]
) -> None:
    error = CancelledError() if future.cancelled() else future.exception()
    if error is None and callback is not None:
        callback(future.result())
    elif error is not None and error_callback is not None:
        error_callback(error)


def settle(future: Future[list[R]], results: Iterable[R]) -> None:
    """Bring results, or the error that ends them, to a future.

    Args:
        future (Future[list[R]]): Left as it is if it is done: this is told twice where an interrupt came in between.
        results (Iterable[R]): All of them have arrived.
    """
    if future.done():
        return
    try:
        collected = list(results)
    except BaseException as error:  # noqa: BLE001 - what an item raised, of any kind
        future.set_exception(error.with_traceback(None))  # or the two would keep each other
    else:
        future.set_result(collected)
