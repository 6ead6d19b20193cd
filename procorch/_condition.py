"""A condition that a Ctrl-C, or what else the handler of a signal raises, can neither break nor be overlooked by.

Two gaps of `threading.Condition`: it takes its lock in Python code, so an exception may come when the lock is taken and
nobody knows of it yet, and then it is never released; and a signal that comes after the interpreter's last look for
one and before the wait begins is noticed by neither, so that the main thread, the only one that handles signals, sleeps
on with it. On a loaded machine both are met. Loaded in every worker.
"""

from __future__ import annotations

import _thread
import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, cast

SLICE_SECONDS = 0.5
"""Longest wait of the main thread until it looks for signals again."""


class Condition(_thread.RLock):  # type: ignore[misc]  # final only to typeshed
    """A condition that is its own lock, so that ``with`` takes and releases it in one step of the interpreter."""

    take_back = cast("Any", _thread.RLock)._acquire_restore  # noqa: SLF001 - as `threading.Condition` does it
    """Takes it when it is free, as often as the first of a pair says, for the thread that the second names. Other than
    `acquire` and any function in Python it cannot be interrupted: it is taken afterwards, whatever comes."""

    def __init__(self) -> None:
        """Begin free, with nobody waiting."""
        super().__init__()
        self._waiters: deque[_thread.LockType] = deque()

    def is_mine(self) -> bool:
        """Tell whether the calling thread holds it.

        Returns:
            bool: Of this moment.
        """
        owned: bool = cast("Any", self)._is_owned()  # noqa: SLF001 - typeshed does not show it
        return owned

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for a notification. Called by who holds it, once; it is released meanwhile.

        Args:
            timeout (float | None): Seconds at most; None for no limit.

        Returns:
            bool: False if the time was up first.
        """
        waiter = _thread.allocate_lock()
        waiter.acquire()
        held = (1, _thread.get_ident())
        self._waiters.append(waiter)
        woken = False
        try:
            self.release()  # in here: once it is released, whatever comes, it is taken again
            woken = _acquire(waiter, timeout)
        finally:
            self.take_back(held)
            if not woken:
                with contextlib.suppress(ValueError):  # it was woken just now
                    self._waiters.remove(waiter)
        return woken

    def wait_for(self, ready: Callable[[], bool], timeout: float | None = None) -> bool:
        """Wait until something is so.

        Args:
            ready (Callable[[], bool]): Looked at under the lock.
            timeout (float | None): Seconds at most; None for no limit.

        Returns:
            bool: What it is at last.
        """
        until = None if timeout is None else time.monotonic() + timeout
        while not ready():
            left = None if until is None else until - time.monotonic()
            if left is not None and left <= 0:
                return False
            self.wait(left)
        return True

    def notify_all(self) -> None:
        """Wake all who wait. Called by who holds it."""
        waiters = self._waiters
        while waiters:
            waiters.popleft().release()

    def __repr__(self) -> str:
        """Say how many wait.

        Returns:
            str: Such as ``<Condition, 2 waiting>``.
        """
        return f"<{type(self).__name__}, {len(self._waiters)} waiting>"


def _acquire(lock: _thread.LockType, timeout: float | None) -> bool:
    if threading.current_thread() is not threading.main_thread():
        return lock.acquire(True, -1 if timeout is None else min(max(timeout, 0.0), threading.TIMEOUT_MAX))
    until = float("inf") if timeout is None else time.monotonic() + timeout
    while True:
        left = max(0.0, until - time.monotonic())
        if lock.acquire(True, min(left, SLICE_SECONDS)):
            return True
        if left <= SLICE_SECONDS:
            return False
