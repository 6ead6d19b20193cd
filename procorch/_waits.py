"""Waits for futures and threads that a signal can neither break nor be overlooked by, see `_condition`."""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future
from typing import TypeVar

from typing_extensions import override

from procorch._condition import SLICE_SECONDS, Condition

R = TypeVar("R")


class SafeFuture(Future[R]):
    """A future with such a condition in the place of the standard library's."""

    def __init__(self) -> None:
        """Begin as pending."""
        super().__init__()
        self._condition = Condition()  # type: ignore[assignment]  # has all of it that futures use

    @override
    def result(self, timeout: float | None = None) -> R:
        """Wait for the result.

        Args:
            timeout (float | None): Seconds to wait at most; None for no limit.

        Returns:
            R: The result.

        Raises:
            BaseException: What was set in its place.
        """
        try:
            result = super().result(timeout)
            # One that is false, by its own __bool__ or __len__, older Pythons take for none.
            if self._exception is not None:
                raise self._exception
            return result
        finally:
            del self  # or the exception's traceback would keep this future, and this future the exception


def join_thread(thread: threading.Thread, timeout: float | None = None) -> bool:
    """Wait for a thread's end.

    Args:
        thread (threading.Thread): Another one.
        timeout (float | None): Seconds at most; None for no limit.

    Returns:
        bool: Whether it has ended.
    """
    until = float("inf") if timeout is None else time.monotonic() + timeout
    while thread.is_alive() and (left := until - time.monotonic()) > 0:
        thread.join(min(left, SLICE_SECONDS))
    return not thread.is_alive()
