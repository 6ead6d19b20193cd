"""What the parent sends to a worker, one message after the other, and who reads it. Loaded in every worker.

Between items that is the main thread. An item that wants to hear what is said to it while it runs lets all threads wait
in the same way: one of those that wait reads, and the others hear of it. So nothing of this needs a thread of its own.
"""

from __future__ import annotations

import select
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import NamedTuple

from procorch import _messages as m
from procorch import _spares
from procorch._passing import receive
from procorch._spin import Spin
from procorch._wire import FrameReader
from procorch._writer import Writer


class Mail:
    """The messages of one worker. Iterated over by its main thread, to the parent's end."""

    def __init__(self, connection: socket.socket) -> None:
        """Begin.

        Args:
            connection (socket.socket): The worker's end; blocking.
        """
        self._connection = connection
        self._reader = FrameReader()
        self._spin = Spin()
        self._pending: deque[m.ToWorker] = deque()  # read, and for the main thread
        self._is_over = False  # the parent is gone
        self._hear: Callable[[m.ToWorker], bool] | None = None
        self._change = threading.Condition()
        # Under the lock of `_change`.
        self._waits = True  # whether the main thread reads alone, or has come to its end
        self._reads = False  # whether one of several threads waits at the socket for all
        _spares.keep(self._reader)

    def __iter__(self) -> Iterator[m.ToWorker]:
        """Give each message when it has come.

        Yields:
            m.ToWorker: From the parent. Whoever gets one asks for the next when he is through with it.
        """
        try:
            while (message := self._next()) is not None:
                self._waits = False
                yield message
        finally:
            self._waits = True

    def _next(self) -> m.ToWorker | None:
        """Wait for the next message; None if the parent is gone."""
        with self._change:
            alone = self._waits = self._hear is None
        if not alone:
            self.wait_for(lambda: bool(self._pending), None)
        while alone and not self._pending and not self._is_over:
            self._spin.wait(self._look, self._sleep)
            self._take()
        return self._pending.popleft() if self._pending else None

    def _look(self) -> object:
        return self._may_read(0)

    def _sleep(self) -> object:
        if _spares.are_there() and not self._may_read(_spares.IDLE_SECONDS):
            _spares.drop()
        return self._may_read(None)

    def _may_read(self, timeout: float | None) -> bool:
        return bool(select.select([self._connection], [], [], timeout)[0])

    def _take(self) -> None:
        """Read once. In one thread at a time."""
        count = receive(self._connection, self._reader)
        self._is_over = not count
        if count:
            self._pending.extend(self._reader.filled(count))  # type: ignore[arg-type]  # what comes this way is ToWorker

    # --- while an item listens ----------------------------------------------------------------------------------------

    def listen(self, hear: Callable[[m.ToWorker], bool]) -> bool:
        """Hear messages while an item runs.

        Args:
            hear (Callable[[m.ToWorker], bool]): Called with each, in whichever thread has read it, under the lock of
                `wait_for`. What it does not want (False) is for the main thread.

        Returns:
            bool: False if that cannot be: no item runs.
        """
        with self._change:
            if self._waits:
                return False
            self._hear = hear
            self._hear_pending()  # what has come together with the item
            return True

    def wait_for(self, attempt: Callable[[], bool], timeout: float | None) -> bool:
        """Wait until something can be had, in any thread. After `listen`.

        Args:
            attempt (Callable[[], bool]): Called under a lock, until it is true.
            timeout (float | None): Seconds at most, 0 for a look; None for no limit.

        Returns:
            bool: Whether it was; False also if the parent is gone.
        """
        until = None if timeout is None else time.monotonic() + timeout
        looked = False
        with self._change:
            while not (done := attempt()) and not self._is_over:
                left = None if until is None else max(0.0, until - time.monotonic())
                if left == 0 and (looked or self._reads):
                    break
                if self._reads:
                    self._change.wait(left)
                else:
                    looked = True
                    self._read_for_all(left)
            return done

    def _read_for_all(self, timeout: float | None) -> None:
        """Let go of the lock, wait, and hear what has come."""
        self._reads = True
        self._change.release()
        try:
            if self._may_read(timeout):
                self._take()
        finally:
            self._change.acquire()
            self._reads = False
            self._hear_pending()
            self._change.notify_all()

    def _hear_pending(self) -> None:
        assert self._hear is not None
        for _ in range(len(self._pending)):
            message = self._pending.popleft()
            if not self._hear(message):
                self._pending.append(message)

    @property
    def is_over(self) -> bool:
        """Whether the parent is gone."""
        return self._is_over

    def fileno(self) -> int:
        """Give the socket's descriptor, for event loops: there is something to be looked at when it is readable.

        Returns:
            int: Of the connection.
        """
        return self._connection.fileno()


class Line(NamedTuple):
    """What it takes to talk with the parent."""

    mail: Mail
    """What it says."""
    send: Callable[[m.FromWorker], None]
    """Says something to it."""
    page: Writer
    """Where it is noted how much of it has been heard."""


line: Line | None = None
"""Set once a function runs that `ProcessGroup.start` was given; None in any other process."""
