"""A thread whose start fails where the interpreter's waits for ever.

`threading.Thread.start` waits until the new thread says that it has begun. One that finds no memory to say so has ended
by then, and whoever started it waits for ever (https://github.com/python/cpython/issues/140746): that happens in a
process at its limit of memory. One that says so and then finds none ends without having run, and nobody knows.
"""

from __future__ import annotations

import _thread
import threading
from collections.abc import Callable, Iterable

from typing_extensions import override

LOOK_SECONDS = 0.05
MOST_LOOKS = 200
"""How often whoever starts a thread looks whether it has begun, before taking it that it never will. Counted, so that
the time does not run while the whole process is stopped."""


class Daemon(threading.Thread):
    """A thread that keeps no process from exiting.

    Where it cannot be started, `start` raises a `RuntimeError`, and it does not run later either.
    """

    @override
    def __init__(self, target: Callable[..., object], name: str, args: Iterable[object] = ()) -> None:
        super().__init__(target=target, name=name, args=args, daemon=True)
        self._right = _thread.allocate_lock()  # to begin, or to say that this never will: whoever takes it has it
        self._started = _Started(self._right)  # in the place of the interpreter's own

    @override
    def start(self) -> None:
        """Start it.

        Raises:
            RuntimeError: The system has no room for it, or it has been started before.
        """
        try:
            super().start()
        except MemoryError:
            raise RuntimeError("can't start new thread: there is no memory for it") from None

    @override
    def run(self) -> None:
        """Do what it is for, if it is still wanted."""
        if self._right.acquire(False):
            self._started.begun.release()
            super().run()


class _Started(threading.Event):
    """What `threading.Thread.start` waits for."""

    @override
    def __init__(self, right: _thread.LockType) -> None:
        super().__init__()
        self._right = right
        self.begun = _thread.allocate_lock()  # released once it has
        self.begun.acquire()

    @override
    def wait(self, timeout: float | None = None) -> bool:
        for _ in range(MOST_LOOKS):
            if self.begun.acquire(True, LOOK_SECONDS):
                return True
        if self._right.acquire(False):
            raise RuntimeError("can't start new thread: it did not begin, as if it found no memory")
        return True
