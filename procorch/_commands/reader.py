"""Lines of a file, a pipe or a terminal, read in a thread of their own as far ahead as is good.

The thread also watches where the results go. When nobody reads them any more, as behind ``| head -1``, it says so at
once, and not when the next result is there.
"""

from __future__ import annotations

import contextlib
import io
import os
import select
from collections.abc import Callable, Sequence
from typing import Any, Self

from typing_extensions import override

from procorch._commands.lines import Line
from procorch._daemon import Daemon
from procorch._feed import Feed

_CHUNK = 1 << 16
"""Bytes read at once; a pipe holds no more."""

_MOST_LINES = 8192
"""Lines read ahead beyond which no more are read. Trivial items come to a few million in a second, so that a thread
must have some thousands ready while another runs."""

_MOST_CHARACTERS = 1 << 20
"""The same in characters."""

_END_SECONDS = 0.4
"""Longest wait for the thread's end. It may be stuck: where another process reads from the same pipe and was faster."""

_GONE = select.POLLERR | select.POLLHUP


def text_of_line(line: bytes) -> str:
    """Take the end off a line, a newline that may have a carriage return before it.

    Args:
        line (bytes): The last may have no end.

    Returns:
        str: As UTF-8; other bytes become what `os.fsencode` turns into the same bytes again.
    """
    return line.removesuffix(b"\n").removesuffix(b"\r").decode("utf-8", "surrogateescape")


class PatientFile(io.FileIO):
    """Waits for more where somebody has made it so that a read does not."""

    @override
    def readinto(self, buffer: Any, /) -> int:
        while (count := super().readinto(buffer)) is None:
            select.select([self], [], [])
        return count


class Reader(Feed):
    """Numbered lines. Used in a ``with`` block, it ends its thread on leaving."""

    def __init__(self, source: int, out: int, unwanted: Callable[[], None]) -> None:
        """Begin; nothing is read before the block is entered.

        Args:
            source (int): Descriptor of what is read; the caller's to close.
            out (int): Descriptor of what is written to, likewise.
            unwanted (Callable[[], None]): Called once, in the thread, when nobody reads what is written there.
        """
        super().__init__()
        self._source = source
        self._out = out
        self._unwanted = unwanted
        self._count = 0
        self._put_characters = 0  # those that are there are what has been put and not taken
        self._taken_characters = 0
        self._tail: list[bytes] = []  # of a line whose end has not come yet
        self._news, self._wake = os.pipe()
        os.set_blocking(self._wake, False)
        self._is_full = False
        self._leaving = False
        self._thread = Daemon(self._run, "procorch-reader")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._leaving = True
        self._rouse()
        self._thread.join(_END_SECONDS)
        if self._thread.is_alive():
            return
        os.close(self._news)
        os.close(self._wake)

    @override
    def taken(self, rows: Sequence[Line]) -> None:
        self._taken_characters += sum(len(text) for _, text in rows)
        if self._is_full and self._has_room(2):
            self._is_full = False
            self._rouse()

    def _has_room(self, part: int = 1) -> bool:
        """Whether less than that part of what may be there is."""
        characters = self._put_characters - self._taken_characters
        return len(self.rows) * part < _MOST_LINES and characters * part < _MOST_CHARACTERS

    def _rouse(self) -> None:
        with contextlib.suppress(BlockingIOError):  # it has news enough
            os.write(self._wake, b"\0")

    # --- in the thread ------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            self._read_on()
        except BaseException as error:  # noqa: BLE001 - of a line for which there is no memory; else it is awaited for ever
            self._tail = []
            self.end(error)

    def _read_on(self) -> None:
        poll = select.poll()
        poll.register(self._news, select.POLLIN)
        poll.register(self._out, 0)
        while not self._leaving:
            if self._wants_more():
                poll.register(self._source, select.POLLIN)
            else:
                with contextlib.suppress(KeyError):
                    poll.unregister(self._source)
            for fd, event in poll.poll():
                if fd == self._source:
                    self._read()
                elif fd == self._news:
                    os.read(fd, _CHUNK)
                elif event & _GONE:
                    poll.unregister(fd)
                    self._unwanted()

    def _wants_more(self) -> bool:
        if self.ended:
            return False
        self._is_full = True  # first, so that one of the two threads sees what the other has done
        if self._has_room():
            self._is_full = False
        return not self._is_full

    def _read(self) -> None:
        try:
            data = os.read(self._source, _CHUNK)
        except BlockingIOError:
            return  # somebody who has the same pipe was faster
        except OSError as error:
            self.end(error)
            return
        if not data and not self._tail:
            self.end()
        elif not data:
            self._put_lines([b"".join(self._tail)])
            self.end()
        else:
            self._split(data)

    def _split(self, data: bytes) -> None:
        first, *others = data.split(b"\n")
        self._tail.append(first)
        if not others:
            return
        *whole, rest = [b"".join(self._tail), *others]
        self._tail = [rest] if rest else []
        self._put_lines(whole)

    def _put_lines(self, lines: list[bytes]) -> None:
        texts = list(map(text_of_line, lines))
        self._put_characters += sum(map(len, texts))
        self.put(enumerate(texts, self._count + 1))
        self._count += len(texts)
