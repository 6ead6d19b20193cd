"""The parent's side of the file that tells what has begun (see `_noting`): made, locked, grown, read, removed."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from procorch._checkpoints.digests import BYTES
from procorch._noting import HEADER, MAGIC, MOST, NONCE, START, place_of
from procorch._parcel import Descriptor

_ROOM = 1 << 16
"""Bytes that are made room for at once."""

_PAUSE_SECONDS = 0.02
"""Between two looks whether an earlier run's processes are gone."""


class InUse(Exception):
    """Another process has the file, or processes of one that was killed still run."""

    def __init__(self, pid: int) -> None:
        """Say whose it is.

        Args:
            pid (int): Of the process that has it, or had; 0 if that is not known.
        """
        super().__init__(pid)
        self.pid = pid


class Ledger:
    """The file of one run, open and locked."""

    def __init__(self, path: str, seconds: float) -> None:
        """Open it for this process alone, made anew if there is none.

        Args:
            path (str): The file, from the root.
            seconds (float): How long to wait for an earlier run's processes.

        Raises:
            InUse: It is.
            OSError: It cannot be opened.
        """
        self.path = path
        self.stride = 1
        self._file = _locked(path, time.monotonic() + seconds)
        self.is_new: bool = not os.fstat(self._file.fd).st_size
        """Whether there is nothing in it of an earlier run."""
        self._room = 0
        self._lock = threading.Lock()  # any thread may ask for counts, and any may close

    # --- what an earlier run left -------------------------------------------------------------------------------------

    def begun(self, nonce: bytes, keyed: bool) -> Iterator[tuple[int | bytes, int]] | None:
        """Tell what an earlier run had begun.

        Args:
            nonce (bytes): Of that run.
            keyed (bool): Whether its items were known by keys.

        Returns:
            Iterator[tuple[int | bytes, int]] | None: Position or key's fingerprint of each item, and how often it had
            begun. None if the file is not that run's.
        """
        data = _read(self._file.fd)
        stride = BYTES + 1 if keyed else 1
        if len(data) < START or data[:16] != MAGIC or data[NONCE] != nonce or HEADER.unpack_from(data)[3] != stride:
            return None
        counts = data[START + stride - 1 :: stride]
        return (
            (data[START + slot * stride : START + slot * stride + BYTES] if keyed else slot, count)
            for slot, count in enumerate(counts)
            if count
        )

    # --- this run -----------------------------------------------------------------------------------------------------

    def begin(self, nonce: bytes, keyed: bool) -> None:
        """Begin a run's notes.

        Args:
            nonce (bytes): Of the run.
            keyed (bool): Whether its items are known by keys.

        Raises:
            OSError: There is no room.
        """
        fd, self.stride = self._file.fd, BYTES + 1 if keyed else 1
        os.ftruncate(fd, 0)
        self._room = 0
        self._make_room(_ROOM)
        os.pwrite(fd, HEADER.pack(MAGIC, nonce, os.getpid(), self.stride), 0)

    def share(self) -> bool:
        """Let workers have it too, and no other run.

        Returns:
            bool: False if another run has got it in between: then this one does not have it any more.
        """
        try:
            fcntl.flock(self._file.fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            self.close()
            return False
        return True

    def prepare(self, start: int, marks: Sequence[bytes | None], begun: int = 0) -> None:
        """Make room for the next items' notes, before any of them may begin.

        Args:
            start (int): Position of the first.
            marks (Sequence[bytes | None]): Fingerprints of their keys; None where they are known by position.
            begun (int): How often each has begun already.

        Raises:
            OSError: There is no room.
        """
        end = place_of(start + len(marks) - 1, self.stride) + 1
        if end > self._room:
            self._make_room(end - self._room + _ROOM)
        if self.stride > 1 or begun:
            last = bytes((min(begun, MOST),))
            data = b"".join((mark or b"") + last for mark in marks)
            os.pwrite(self._file.fd, data, place_of(start - 1, self.stride) + 1)

    def _make_room(self, more: int) -> None:
        fd, start = self._file.fd, self._room
        try:
            getattr(os, "posix_fallocate", _write_zeros)(fd, start, more)  # macOS has none
        except OSError as error:
            if error.errno not in {errno.EINVAL, errno.EOPNOTSUPP}:
                raise
            _write_zeros(fd, start, more)  # the file system knows no other way
        self._room += more

    def counts(self, positions: range) -> list[int]:
        """Tell how often items have begun.

        Args:
            positions (range): Theirs, at least one; neighbours.

        Returns:
            list[int]: For each.
        """
        with self._lock:
            return self._counts(positions)

    def _counts(self, positions: range) -> list[int]:
        if self._file.fd < 0:
            return [0] * len(positions)  # it is closed, and nobody records any more
        at = place_of(positions.start, self.stride)
        data = os.pread(self._file.fd, (len(positions) - 1) * self.stride + 1, at)
        return list(data[:: self.stride])

    def note(self, positions: Iterable[int]) -> None:
        """Note that items may begin now: they go to where nobody can note it.

        Args:
            positions (Iterable[int]): Theirs.
        """
        with self._lock:
            for position in positions if self._file.fd >= 0 else ():
                (count,) = self._counts(range(position, position + 1))
                os.pwrite(self._file.fd, bytes((min(count + 1, MOST),)), place_of(position, self.stride))

    def remove(self) -> None:
        """Remove the file: everything that is in it has been recorded."""
        with contextlib.suppress(OSError):
            Path(self.path).unlink()
        self.close()

    def close(self) -> None:
        """Leave the file to who comes next."""
        with self._lock:
            if self._file.fd >= 0:
                with contextlib.suppress(OSError):
                    fcntl.flock(self._file.fd, fcntl.LOCK_UN)  # a forked copy of this process may have it open, too
                self._file.close()


def _write_zeros(fd: int, start: int, count: int) -> None:
    while count:
        written = os.pwrite(fd, bytes(count), start)  # on a disk that is almost full not all of it, and no error yet
        start, count = start + written, count - written


def _locked(path: str, until: float) -> Descriptor:
    while True:
        file = Descriptor(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600))
        try:
            fcntl.flock(file.fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pid = _pid_in(file.fd)
            file.close()
            if time.monotonic() > until:
                raise InUse(pid) from None
            time.sleep(_PAUSE_SECONDS)  # nobody would wake who waits for a lock when the time is up
            continue
        if _is_at(path, file.fd):
            return file
        file.close()  # the run that had it has ended and removed it


def _is_at(path: str, fd: int) -> bool:
    try:
        return os.path.samestat(Path(path).lstat(), os.fstat(fd))
    except FileNotFoundError:
        return False


def _pid_in(fd: int) -> int:
    data = os.pread(fd, HEADER.size, 0)
    return int(HEADER.unpack(data)[2]) if len(data) == HEADER.size and data.startswith(MAGIC) else 0


def _read(fd: int) -> bytes:
    size = os.fstat(fd).st_size
    data = b""
    while len(data) < size and (piece := os.pread(fd, size - len(data), len(data))):
        data += piece
    return data
