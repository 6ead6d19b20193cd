"""What the parent sends to a worker, one message after the other, and who reads it. Loaded in every worker.

Between items that is the main thread. An item that wants to hear what is said to it while it runs lets all threads wait
in the same way: one of those that wait reads, and the others hear of it. So nothing of this needs a thread of its own.

The handler of a signal may raise in the middle of reading. Then it is not known where the next message begins, nobody
hears anything any more, and the process ends after its item: what was not taken is still with the parent.
"""

from __future__ import annotations

import _thread
import os
import select
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import NamedTuple

from procorch import _messages as m
from procorch import _spares
from procorch._condition import SLICE_SECONDS, Condition
from procorch._passing import receive
from procorch._spin import Spin
from procorch._wire import FrameReader
from procorch._writer import Writer

_LONG_SECONDS = 3600.0
"""Longest wait of another thread than the main one; the system takes no number that is too large."""


class Mail:
    """The messages of one worker. Iterated over by its main thread, to the parent's end."""

    def __init__(self, connection: socket.socket) -> None:
        """Begin.

        Args:
            connection (socket.socket): The worker's end; blocking.
        """
        self._connection = connection
        self._poll = select.poll()  # not select, to which descriptors beyond the first 1024 are none
        self._poll.register(connection, select.POLLIN)
        self._frames = FrameReader()
        self._spin = Spin()
        self._pending: deque[m.ToWorker] = deque()  # read, and for the main thread
        self._is_over = False  # the parent is gone
        self._hear: Callable[[m.ToWorker], bool] | None = None
        self._pid = os.getpid()
        self._change = Condition()
        # Under the lock of `_change`.
        self._waits = True  # whether the main thread reads alone, or has come to its end
        self._reader = 0  # the one of several threads that waits at the socket for all
        self._is_torn = False  # whether what was read is not yet where it belongs; for good if nobody reads

    def __iter__(self) -> Iterator[m.ToWorker]:
        """Give each message when it has come.

        Yields:
            m.ToWorker: From the parent. Whoever gets one asks for the next when he is through with it.
        """
        _spares.keep(self._frames)
        try:
            while (message := self._next()) is not None:
                self._waits = False
                yield message
        finally:
            self._waits = True
            _spares.leave(self._frames)

    def _next(self) -> m.ToWorker | None:
        """Wait for the next message; None if the parent is gone."""
        with self._change:
            alone = self._waits = self._hear is None
        if not alone:
            return self._next_of_all()
        while not self._pending and not self._is_over:
            self._spin.wait(self._look, self._sleep)
            self._take()
        return self._pending.popleft() if self._pending else None

    def _next_of_all(self) -> m.ToWorker | None:
        if self._is_broken or not self.wait_for(lambda: bool(self._pending), None):
            return None
        return self._pending.popleft()

    def _look(self) -> object:
        return self._may_read(0)

    def _sleep(self) -> object:
        return self._may_read(None)

    def _may_read(self, timeout: float | None) -> bool:
        if _spares.are_there() and (timeout is None or timeout > _spares.IDLE_SECONDS):
            if self._may_read(_spares.IDLE_SECONDS):
                return True
            _spares.drop()
            timeout = None if timeout is None else timeout - _spares.IDLE_SECONDS
        return bool(self._poll.poll(None if timeout is None else timeout * 1000))

    def _take(self) -> None:
        """Read once. In one thread at a time."""
        count = receive(self._connection, self._frames)
        self._is_over = not count
        if count:
            self._pending.extend(self._frames.filled(count))  # type: ignore[arg-type]  # what comes this way is ToWorker

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

        Raises:
            RuntimeError: This is a copy of the process, or the handler of a signal has broken the conversation, or is
                to wait in the middle of another wait of its own thread.
        """
        self.check_own()
        if self._change.is_mine() or self._reader == _thread.get_ident():
            return self._attempt_within(attempt, timeout)
        until = float("inf") if timeout is None else time.monotonic() + timeout
        looked = False
        with self._change:
            while not (done := attempt()) and not self._is_over:
                if self._is_broken:
                    raise RuntimeError("the handler of a signal has raised in the middle of reading a message")
                left = max(0.0, until - time.monotonic())
                if not left and (looked or self._reader):
                    break
                left = min(left, self._slice)
                if self._reader:
                    self._change.wait(left)
                else:
                    looked = True
                    self._read_for_all(left)
            return done

    @staticmethod
    def _attempt_within(attempt: Callable[[], bool], timeout: float | None) -> bool:
        """Look, in the handler of a signal that has come while its thread waited here."""
        done = attempt()
        if not done and timeout != 0:
            raise RuntimeError("the handler of a signal cannot wait for messages in the middle of such a wait")
        return done

    @property
    def _slice(self) -> float:
        """Longest wait in one go: signals are for the main thread, see `_condition`."""
        return SLICE_SECONDS if threading.current_thread() is threading.main_thread() else _LONG_SECONDS

    def _read_for_all(self, timeout: float) -> None:
        """Let go of the lock, wait, and hear what has come."""
        has_come = False
        reader = _thread.get_ident()
        held = (1, reader)
        try:
            self._reader = reader
            self._change.release()  # in here: once it is released, whatever comes, it is taken again
            has_come = self._may_read(timeout)
            self._is_torn = has_come
            if has_come:
                self._take()
        finally:
            self._change.take_back(held)
            self._reader = 0
            self._change.notify_all()
        if has_come:
            self._hear_pending()

    def _hear_pending(self) -> None:
        assert self._hear is not None
        self._is_torn = True
        for _ in range(len(self._pending)):
            message = self._pending.popleft()
            if not self._hear(message):
                self._pending.append(message)
        self._is_torn = False

    def check_own(self) -> None:
        """Refuse to serve another process.

        Raises:
            RuntimeError: This is a copy of the process.
        """
        if os.getpid() != self._pid:
            raise RuntimeError(
                "this process is a copy of the one that ProcessGroup.start runs: it cannot talk for that"
            )

    @property
    def _is_broken(self) -> bool:
        """Whether it is not known where the next message begins."""
        return self._is_torn and not self._reader

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


def keep_shared(message: m.Share | m.Unshare) -> None:
    """Take in what is shared with this worker, or is not any more.

    Args:
        message (m.Share | m.Unshare): From the parent.
    """
    from procorch import _share  # here: few workers have something shared with them

    _share.keep(message)


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
