"""The parent's end of one worker's socket and page. To wait for news on it is the engine's business."""

from __future__ import annotations

import contextlib
import itertools
import mmap
import os
import socket
import tempfile
from collections import deque

from procorch import _process
from procorch._messages import FromWorker, ToWorker
from procorch._passing import NO_ROOM, receive, rights
from procorch._queue import PAGE_BYTES, Reader
from procorch._wire import FrameReader, WithDescriptor, encode

_STACK_BYTES = 1 << 16
"""Most of a stack that is read: as it comes by the hundred frames of each thread, the thread in question is there."""

_MOST_PIECES = 512
"""Buffers handed to the kernel in one call; Linux takes no more than 1024."""


class Channel:
    """The parent's end of one worker's socket and page. Sending never waits: what does not fit is kept and sent later.

    Bytes that were not read when the process died are read afterwards: the kernel keeps them.
    """

    def __init__(self) -> None:
        """Make both ends. The worker's are `worker_fds` until `drop_worker_fds`."""
        self._socket, worker_socket = socket.socketpair()
        self._socket.setblocking(False)
        self._worker_socket = worker_socket
        try:
            self._reader = FrameReader()
            self._page_fd, self.page = _make_page()
        except BaseException:
            self._socket.close()
            worker_socket.close()
            raise
        self.unsent: deque[memoryview | WithDescriptor] = deque()
        """What the socket did not take yet."""
        self.listening = False
        """Whether the engine waits for news on it."""
        self.writing = False
        """Whether the engine waits for room to send."""
        self._open = True
        _process.ends.add(self)

    @property
    def worker_fds(self) -> tuple[int, int]:
        """The descriptors for the worker: socket and page."""
        return self._worker_socket.fileno(), self._page_fd

    def drop_worker_fds(self) -> None:
        """Close the worker's end of the socket in this process. The page's descriptor stays, for the stack."""
        self._worker_socket.close()

    @property
    def has_stack(self) -> bool:
        """Whether the worker has written down its stack, behind the page."""
        return os.fstat(self._page_fd).st_size > PAGE_BYTES

    def stack(self) -> str:
        """Read the stack that the worker has written down.

        Returns:
            str: Its first part if there is very much; empty if there is none.
        """
        return os.pread(self._page_fd, _STACK_BYTES, PAGE_BYTES).decode(errors="replace")

    def fileno(self) -> int:
        """Give the socket's descriptor, for selectors.

        Returns:
            int: -1 once closed.
        """
        return self._socket.fileno()

    def send(self, message: ToWorker) -> bool:
        """Send a message as far as the socket takes it, and keep the rest.

        Args:
            message (ToWorker): To the worker.

        Returns:
            bool: Whether all of it is out.
        """
        self.unsent.extend(
            piece if isinstance(piece, WithDescriptor) else memoryview(piece) for piece in encode(message) if len(piece)
        )
        return self.flush()

    def flush(self) -> bool:
        """Send what was kept, as far as the socket takes it.

        Returns:
            bool: Whether nothing is kept any more.
        """
        unsent = self.unsent
        try:
            while unsent:
                sent = self._send_next()
                while sent:
                    first = unsent[0]
                    assert not isinstance(first, WithDescriptor)  # such is replaced when it is sent
                    if sent < len(first):
                        unsent[0] = first[sent:]
                        break
                    sent -= len(first)
                    unsent.popleft()
        except BlockingIOError:
            return False
        except OSError as error:
            if error.errno in NO_ROOM:
                return False
            unsent.clear()
            with contextlib.suppress(OSError):
                # The worker is gone; its death is found by other means. If it is not, this ends it, which must not wait
                # for ever for what it was to hear.
                self._socket.shutdown(socket.SHUT_WR)
        return True

    def _send_next(self) -> int:
        """Send once, as far as to the next piece with a descriptor."""
        unsent = self.unsent
        first = unsent[0]
        if isinstance(first, WithDescriptor):
            sent = self._socket.sendmsg([first.data], rights(first))
            unsent[0] = memoryview(first.data)  # without the descriptor, which went with the first byte
            return sent
        views = itertools.takewhile(_is_plain, itertools.islice(unsent, _MOST_PIECES))
        return self._socket.sendmsg(list(views))  # type: ignore[arg-type]

    def receive(self) -> list[FromWorker] | None:
        """Read once.

        Returns:
            list[FromWorker] | None: The messages that became whole, if any; None if there was nothing to read.

        Raises:
            EOFError: The worker's end is closed, and all that was sent has been read.
        """
        try:
            count = receive(self._socket, self._reader)
        except BlockingIOError:
            return None
        except ConnectionResetError:
            count = 0
        if not count:
            raise EOFError
        return list(self._reader.filled(count))  # type: ignore[arg-type]  # what comes this way is FromWorker

    def close(self) -> None:
        """Close everything in this process."""
        if self._open:
            self._open = False
            self.unsent.clear()
            self._socket.close()
            self.drop_worker_fds()
            self.page.close()
            os.close(self._page_fd)


def _is_plain(piece: memoryview | WithDescriptor) -> bool:
    return type(piece) is memoryview


def _make_page() -> tuple[int, Reader]:
    """Make a page, as a file without a name, so that no death can leave one behind.

    Returns:
        tuple[int, Reader]: Its descriptor, and the page; memory is taken only as it is written.
    """
    if hasattr(os, "memfd_create"):
        fd = os.memfd_create("procorch", os.MFD_CLOEXEC)
    else:
        with tempfile.TemporaryFile() as file:  # unlinked from the start where there is no memfd
            fd = os.dup(file.fileno())
    try:
        os.ftruncate(fd, PAGE_BYTES)
        return fd, Reader(mmap.mmap(fd, PAGE_BYTES))  # which takes a descriptor of its own
    except BaseException:
        os.close(fd)
        raise
