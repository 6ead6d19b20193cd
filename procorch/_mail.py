"""What the parent sends to a worker, one message after the other, and who reads it. Loaded in every worker.

socket --> main thread ........................... between items
socket --> listener's thread --> main thread ..... once an item wants to hear what is said to it while it runs
"""

from __future__ import annotations

import select
import socket
import threading
from collections import deque
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, NamedTuple

from procorch import _messages as m
from procorch import _spares
from procorch._passing import receive
from procorch._spin import Spin
from procorch._wire import FrameReader
from procorch._writer import Writer

if TYPE_CHECKING:
    from queue import SimpleQueue


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
        self._pending: deque[m.ToWorker] = deque()  # read, and not given yet
        self._lock = threading.Lock()
        self._waits = True  # whether the main thread reads, or does nothing at all any more
        self._passed_on: SimpleQueue[m.ToWorker | None] | None = None  # what another thread has read
        _spares.keep(self._reader)

    def __iter__(self) -> Iterator[m.ToWorker]:
        """Give each message when it has come.

        Yields:
            m.ToWorker: From the parent. Whoever gets one asks for the next when he is through with it.
        """
        try:
            while (message := self._wait()) is not None:
                self._waits = False
                yield message
        finally:
            self._waits = True  # nothing runs here any more

    def _wait(self) -> m.ToWorker | None:
        with self._lock:
            self._waits = True
            passed_on = self._passed_on
        return self._next() if passed_on is None else passed_on.get()

    def _next(self) -> m.ToWorker | None:
        """Wait for the next message; None if the parent is gone."""
        while not self._pending:
            self._spin.wait(self._look, self._sleep)
            count = receive(self._connection, self._reader)
            if not count:
                return None
            self._pending.extend(self._reader.filled(count))  # type: ignore[arg-type]  # what comes this way is ToWorker
        return self._pending.popleft()

    def _look(self) -> object:
        return select.select([self._connection], [], [], 0)[0]

    def _sleep(self) -> object:
        if _spares.are_there() and not select.select([self._connection], [], [], _spares.IDLE_SECONDS)[0]:
            _spares.drop()
        return select.select([self._connection], [], [])[0]

    def take_over(self, hear: Callable[[m.ToWorker | None], bool]) -> bool:
        """Let a thread of its own read from now on.

        Args:
            hear (Callable[[m.ToWorker | None], bool]): Called there with each message, and with None when the parent is
                gone. What it does not want (False) is for the main thread.

        Returns:
            bool: False if that cannot be: the main thread waits for messages, so no item runs.
        """
        from queue import SimpleQueue  # here: few workers need it

        with self._lock:
            if self._waits:
                return False
            passed_on = self._passed_on = SimpleQueue()
        thread = threading.Thread(target=self._listen, args=(hear, passed_on), name="procorch-listener", daemon=True)
        thread.start()
        return True

    def _listen(self, hear: Callable[[m.ToWorker | None], bool], passed_on: SimpleQueue[m.ToWorker | None]) -> None:
        try:
            while (message := self._next()) is not None:
                if not hear(message):
                    passed_on.put(message)
        finally:
            hear(None)
            passed_on.put(None)


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
