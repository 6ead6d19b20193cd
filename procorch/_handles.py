"""The handles of a group, and who waits for their processes to end."""

from __future__ import annotations

import threading
import weakref
from collections import deque
from collections.abc import Iterator
from typing import Any

from procorch._condition import Condition
from procorch._handle import ProcessHandle


class _Watcher:
    """One iteration over the handles of a group, in the order in which their processes end."""

    def __init__(self) -> None:
        self._change = Condition()
        self._ended: deque[ProcessHandle[Any]] = deque()
        self._before: weakref.WeakSet[ProcessHandle[Any]] = weakref.WeakSet()  # given, by the thread that iterates
        # Two counts, since each is changed by other threads than the other.
        self._watched = 0  # under the lock of the handles
        self._given = 0  # by the thread that iterates

    def watch(self, handle: ProcessHandle[Any]) -> None:
        """Give this handle too, when its process has ended. Called once for each, under the lock of the handles."""
        self._watched += 1
        handle._call_when_over(self._add)

    def leave(self, handle: ProcessHandle[Any]) -> None:
        """Give this handle no more."""
        handle._forget_call(self._add)

    def _add(self, handle: ProcessHandle[Any]) -> None:
        with self._change:
            self._ended.append(handle)
            self._change.notify_all()

    @property
    def waits(self) -> bool:
        """Whether handles are watched that have not been given yet."""
        return self._given < self._watched

    def next(self) -> ProcessHandle[Any]:
        """Wait for the next."""
        with self._change:
            self._change.wait_for(self._has_next)
            self._given += 1
            handle = self._ended.popleft()
            self._before.add(handle)
            return handle

    def _has_next(self) -> bool:
        while self._ended and self._ended[0] in self._before:
            self._ended.popleft()  # told twice, since a call was interrupted
        return bool(self._ended)


class Handles:
    """The handles of one group. Those that are over and collected are kept only as long as somebody else does."""

    def __init__(self) -> None:
        """Begin empty."""
        self._lock = threading.Lock()
        self._kept: list[ProcessHandle[Any]] = []
        self._settled: weakref.WeakSet[ProcessHandle[Any]] = weakref.WeakSet()
        self._watchers: list[_Watcher] = []

    def add(self, handle: ProcessHandle[Any]) -> None:
        """Keep a handle.

        Args:
            handle (ProcessHandle[Any]): A new one.
        """
        with self._lock:
            before = self._kept  # let go of only after the lock is released: what a result does then is its own affair
            kept: list[ProcessHandle[Any]] = []
            for one in before:
                if one._is_settled:  # asked once: it may become so at any moment
                    self._settled.add(one)
                else:
                    kept.append(one)
            self._kept = [*kept, handle]
            for watcher in self._watchers:
                watcher.watch(handle)

    def as_completed(self) -> Iterator[ProcessHandle[Any]]:
        """Wait for each.

        Yields:
            ProcessHandle[Any]: Each once its process has ended; those started meanwhile too.
        """
        watcher = _Watcher()
        with self._lock:
            self._watchers.append(watcher)
            for handle in (*self._kept, *self._settled):
                watcher.watch(handle)
        try:
            while watcher.waits:
                yield watcher.next()
        finally:
            with self._lock:
                self._watchers.remove(watcher)
                for handle in (*self._kept, *self._settled):
                    watcher.leave(handle)

    def uncollected_failures(self) -> list[BaseException]:
        """Collect what nobody has asked for.

        Returns:
            list[BaseException]: In the order of the starts.
        """
        with self._lock:
            found = [one._uncollected_failure() for one in self._kept]
        return [error for error in found if error is not None]
