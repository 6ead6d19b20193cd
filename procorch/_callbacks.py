"""One thread for the callbacks of a group's futures, made when the first is due.

In the supervisor's thread, a callback that waits for the group would wait for itself.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable


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

    def run(self, call: Callable[[], object]) -> None:
        """Run something soon.

        Args:
            call (Callable[[], object]): Raises nothing.
        """
        self._queue.put(call)
        with self._lock:
            if self._thread is None:
                thread = threading.Thread(target=self._work, name=self._name, daemon=True)
                thread.start()
                self._thread = thread

    def _work(self) -> None:
        while (call := self._queue.get()) is not None:
            call()

    def close(self) -> None:
        """Let the thread end after what it was given so far. Nothing is given to it after this."""
        self._queue.put(None)

    def join(self) -> None:
        """Wait for the thread's end, unless called from it."""
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()
