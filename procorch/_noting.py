"""What has begun, noted by the process that begins it: a byte for each item, in a file that outlives everybody.

    header 64: magic 16 | the run's nonce 16 | its process id 8 | bytes for each item 8
    each item: what tells it from others 0 or 16 | how often it has begun 1

Who runs an item holds a shared lock on the file meanwhile (`flock`, which ends with the process, however that ends); so
who gets the exclusive one knows that nothing of an earlier run runs any more, and what is in the file is all that there
will be. Loaded in workers whose items are noted.
"""

from __future__ import annotations

import fcntl
import os
import struct
from collections.abc import Callable
from typing import Any

from procorch._parcel import Descriptor

MAGIC = b"procorch begun 1"
HEADER = struct.Struct("=16s16sQQ")
START = 64
"""Where the first item's note is."""
NONCE = slice(16, 32)
MOST = 255
"""What a byte can hold."""


def place_of(slot: int, stride: int) -> int:
    """Tell where it is noted how often an item has begun.

    Args:
        slot (int): The item's place in its input.
        stride (int): Bytes for each item.

    Returns:
        int: From the file's beginning.
    """
    return START + (slot + 1) * stride - 1


class Noting:
    """Calls a function, and notes before each call that its item has begun."""

    def __init__(self, fn: Callable[..., Any], path: str, nonce: bytes, stride: int) -> None:
        """Wrap it.

        Args:
            fn (Callable[..., Any]): The function.
            path (str): The file, from the root.
            nonce (bytes): Of the run.
            stride (int): Bytes for each item.
        """
        self._fn = fn
        self._path = path
        self._nonce = nonce
        self._stride = stride
        self._file: Descriptor | None = None

    def __reduce__(self) -> tuple[type[Noting], tuple[object, ...]]:
        return Noting, (self._fn, self._path, self._nonce, self._stride)

    def __call__(self, slot: int, /, *parts: Any) -> Any:
        file = self._file
        if file is None or file.fd < 0:  # closed in a process that an item has forked
            file = self._file = Descriptor(os.open(self._path, os.O_RDWR | os.O_CLOEXEC))
        try:
            self._begin(file.fd, slot)
            return self._fn(*parts)
        finally:
            if file.fd >= 0:
                fcntl.flock(file.fd, fcntl.LOCK_UN)

    def _begin(self, fd: int, slot: int) -> None:
        try:
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
            is_ours = os.pread(fd, NONCE.stop - NONCE.start, NONCE.start) == self._nonce
        except BlockingIOError:
            is_ours = False
        if not is_ours:
            raise RuntimeError("another run has taken over the checkpoint, and this item is its business")
        at = place_of(slot, self._stride)
        begun = os.pread(fd, 1, at)
        os.pwrite(fd, bytes((min(begun[0] + 1, MOST),)), at)
