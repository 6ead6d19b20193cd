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

from procorch._daemon import Daemon
from procorch._waits import SafeFuture, join_thread

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
            late = self._closed or not self._has_thread()
            if not late:
                self._queue.put(call)
        if late:
            call()  # the thread is gone: who finishes a future so late has to call by himself

    def run_with(self, hook: Callable[[T], object], value: T) -> None:
        """Call something of the user's soon, or never if the thread has come to its end.

        Where there is no room for that thread, it is called by the next that there is room for, or at the end.

        Args:
            hook (Callable[[T], object]): What to call. What it raises is logged and ignored.
            value (T): With what.
        """
        with self._lock:
            if not self._closed:
                self._queue.put(partial(_call, hook, value))
                self._has_thread()

    def _has_thread(self) -> bool:
        if self._thread is None:
            thread = Daemon(self._work, self._name)
            try:
                thread.start()
            except RuntimeError:
                return False  # the interpreter is about to exit, or the system has no room for it
            self._thread = thread
        return True

    def _work(self) -> None:
        with self._lock:
            if self._thread is not threading.current_thread():
                return  # an interrupt came to who started it: whoever comes next gets another
        self._work_off()

    def _work_off(self) -> None:
        while (call := self._queue.get()) is not None:
            call()
            del call  # or what it refers to would stay alive until the next comes

    def close(self) -> None:
        """Let the thread end after what it was given so far."""
        with self._lock:
            self._closed = True
            if not self._queue.empty():
                self._has_thread()
            self._queue.put(None)

    def call_left(self) -> None:
        """Call what `run_with` was given where there was no room for a thread. After `close`; may take long."""
        if self._thread is None:
            self._work_off()

    def is_here(self) -> bool:
        """Tell whether this is called from there.

        Returns:
            bool: Of the calling thread.
        """
        return self._thread is threading.current_thread()

    def flush(self) -> None:
        """Wait until what was given so far has been run, unless called from there."""
        thread = self._thread
        if thread is None or self.is_here() or not thread.is_alive():
            return  # it is not alive after its end, nor in a forked copy of the process
        done = SafeFuture[None]()
        self.run(lambda: done.set_result(None))
        done.result()
        if self._closed:
            self.join(None)

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
    except BaseException:  # a SystemExit, too: it would end this thread, and with it the callbacks of all others
        logging.getLogger("procorch").exception("exception calling %r for %r", hook, value)
