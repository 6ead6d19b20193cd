"""One thread for the callbacks of a group's futures, made when the first is due.

In the supervisor's thread, a callback that waits for the group would wait for itself.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable
from functools import partial
from typing import TypeVar

from procorch._waits import join_thread

T = TypeVar("T")


class Callbacks:
    """Runs what it is given, in order, in a thread of its own."""

    def __init__(self, name: str) -> None:
        """Begin without a thread.

        Args:
            name (str): The group's name.
        """
        self._name = f"procorch-{name}-callbacks"
        self._lock = threading.Lock()
        self._queue: queue.SimpleQueue[Callable[[], object] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._closed = False

    def run(self, call: Callable[[], object]) -> None:
        """Run something soon.

        Args:
            call (Callable[[], object]): Raises nothing.
        """
        with self._lock:
            late = self._closed
            if not late:
                self._queue.put(call)
            if not late and self._thread is None:
                thread = threading.Thread(target=self._work, name=self._name, daemon=True)
                thread.start()
                self._thread = thread
        if late:
            call()  # the thread is gone: who finishes a future so late has to call by himself

    def run_with(self, hook: Callable[[T], object], value: T) -> None:
        """Call something of the user's soon. What it raises is logged and ignored.

        Args:
            hook (Callable[[T], object]): What to call.
            value (T): With what.
        """
        self.run(partial(_call, hook, value))

    def _work(self) -> None:
        while (call := self._queue.get()) is not None:
            call()

    def close(self) -> None:
        """Let the thread end after what it was given so far."""
        with self._lock:
            self._closed = True
            self._queue.put(None)

    def join(self, timeout: float | None) -> bool:
        """Wait for the thread's end, unless called from it.

        Args:
            timeout (float | None): Seconds to wait at most; None for no limit.

        Returns:
            bool: Whether it has ended, or is this one.
        """
        thread = self._thread
        if thread is None or thread is threading.current_thread():
            return True
        return join_thread(thread, timeout)


def _call(hook: Callable[[T], object], value: T) -> None:
    try:
        hook(value)
    except Exception:
        logging.getLogger("procorch").exception("exception calling %r for %r", hook, value)
