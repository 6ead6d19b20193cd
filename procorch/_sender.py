"""The worker's way to its parent: messages go out whole, whoever sends them and whatever interrupts it.

Several threads of an item may log while the main thread sends a result, and a signal handler may log, or raise, while
its own thread is in the middle of sending. Loaded in every worker.
"""

from __future__ import annotations

import os
import socket
import threading
from collections import deque

from procorch._messages import FromWorker
from procorch._passing import NO_ROOM, rights, wait_for_room
from procorch._wire import Piece, WithDescriptor, encode

_JOINED_BYTES = 1 << 15
"""Up to this size the pieces of a message are copied together: one system call more costs more than the copy."""


class _Piece:
    """Some bytes, and how much of them is out."""

    __slots__ = ("_sent", "_view", "_with_descriptor")

    def __init__(self, piece: Piece) -> None:
        self._with_descriptor = piece if isinstance(piece, WithDescriptor) else None
        self._view = memoryview(piece.data if isinstance(piece, WithDescriptor) else piece)
        self._sent: list[int] = []

    def write(self, fd: int, connection: socket.socket) -> bool:
        """Write once, if anything is left.

        Args:
            fd (int): Blocking.
            connection (socket.socket): The same, for what is sent with a descriptor.

        Returns:
            bool: Whether nothing is left.
        """
        done = sum(self._sent)
        if not done and self._with_descriptor is not None:
            self._write_with_descriptor(connection, self._with_descriptor)
        elif done < len(self._view):
            # No Python code runs between the system call and the note of what it wrote, so no signal handler either.
            # One that raises in between would leave half a frame behind, and nobody would know how much of it.
            self._sent.extend(map(os.write, (fd,), (self._view[done:],)))
        return sum(self._sent) == len(self._view)

    def _write_with_descriptor(self, connection: socket.socket, piece: WithDescriptor) -> None:
        try:
            # As above.
            self._sent.extend(map(connection.sendmsg, ((self._view,),), (rights(piece),)))
        except OSError as error:
            if error.errno not in NO_ROOM:
                raise
            wait_for_room()


class Sender:
    """Sends messages; any thread, also a signal handler in the middle of `send`."""

    def __init__(self, connection: socket.socket) -> None:
        """Send over a socket.

        Args:
            connection (socket.socket): Blocking; stays the caller's. If it is detached, only what comes without
                descriptors is sent.
        """
        self._connection = connection
        self._fd = connection.fileno()
        self._lock = threading.RLock()
        self._unsent: deque[_Piece] = deque()  # whole messages, but for the first, which may be out in part

    def send(self, message: FromWorker) -> None:
        """Send a message.

        When it returns, the message is with the kernel, whatever becomes of this process. Only in a signal handler that
        interrupted another `send` it goes out when that goes on, or, if the handler raises, before the next message.

        Args:
            message (FromWorker): To the parent.

        Raises:
            ConnectionError: The parent is gone.
        """
        pieces = encode(message)
        if WithDescriptor not in map(type, pieces) and sum(map(len, pieces)) <= _JOINED_BYTES:
            pieces = [b"".join(pieces)]  # type: ignore[arg-type]  # there are only bytes
        # From a list, the deque takes them in one go, so that no other thread's come in between.
        self._unsent.extend([_Piece(piece) for piece in pieces])
        self._flush()

    def _flush(self) -> None:
        # Asked anew each time: what a handler leaves here between the last look and the lock's release must go, too.
        while self._unsent and not self._is_sending():
            with self._lock:
                while self._unsent:
                    try:
                        if self._unsent[0].write(self._fd, self._connection):
                            self._unsent.popleft()
                    except (BrokenPipeError, ConnectionResetError):
                        self._unsent.clear()  # or it would grow as long as somebody logs
                        raise

    def _is_sending(self) -> bool:
        """Whether this very thread holds the lock: a signal handler runs, and what it interrupted goes on later."""
        # A method of the C class that `threading.Condition` relies on. To note the owner in Python would leave a moment
        # between the locking and the note in which a handler waits for its own thread for ever.
        return self._lock._is_owned()  # type: ignore[attr-defined, no-any-return]  # noqa: SLF001 - see above
