"""Files without a name, written to and turned into memory. Knows nothing of pickles. Loaded in every worker.

A file is written once, by one process, and then only mapped copy-on-write: so what was sent stays as it was, what
arrives is writable, and the kernel frees it with its last user, whoever is killed and whenever.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import sys
import weakref
from collections.abc import Iterable

from procorch import _spares
from procorch._parcel import Data, Descriptor, all_held, held

_FEWEST, _MOST, _SHARE = 8, 256, 8
"""Descriptors for parcels, and as many for mappings: this part of what the process may have, between these bounds."""

_AHEAD_BYTES = 1 << 28
"""Bytes on their way from which on no further inputs are read ahead."""

_WITHOUT_DESCRIPTOR = sys.version_info >= (3, 13)
"""Whether a mapping can do without a descriptor of its own."""

_mapped: set[weakref.ref[mmap.mmap]] = set()
"""The mappings that hold a descriptor each."""


def most() -> int:
    """Tell how many descriptors parcels may take, and how many mappings.

    Returns:
        int: Few where the process may have few.
    """
    return max(_FEWEST, min(_MOST, os.sysconf("SC_OPEN_MAX") // _SHARE))


def is_crowded() -> bool:
    """Tell whether so much is on its way that nobody should read ahead any further.

    Returns:
        bool: By number and by bytes, of this process.
    """
    now = all_held()
    return len(now) > most() // 2 or sum(one.size for one in now) > _AHEAD_BYTES


def into_file(pieces: Iterable[tuple[int, Data]], *, lasting: bool = False) -> Descriptor | None:
    """Write data to a file without a name.

    Args:
        pieces (Iterable[tuple[int, Data]]): In their order, each with the place where it belongs; bytes.
        lasting (bool): Whether it is there to stay.

    Returns:
        Descriptor | None: None if the system has no such files, or no room.
    """
    if not hasattr(os, "memfd_create"):
        return None
    try:
        spare = None if lasting else _spares.take()
        descriptor = spare or Descriptor(os.memfd_create("procorch", os.MFD_CLOEXEC))
        end = 0
        for at, piece in pieces:
            view = memoryview(piece)
            while view:
                # Written, not copied into a mapping: that would have each page cleared before.
                count = os.pwrite(descriptor.fd, view, at)
                view, at = view[count:], at + count  # noqa: PLW2901 - the rest of it
            end = at
        if spare is not None:
            os.ftruncate(spare.fd, end)  # or who keeps a little of it would keep much
    except OSError:
        return None
    if lasting:
        return descriptor
    descriptor.size = end
    return _spares.lend(descriptor)


def into_memory(fd: int, size: int, *, lasting: bool = False) -> memoryview:
    """Make a file's data memory of this process, which the file's other users do not see.

    Args:
        fd (int): May be closed afterwards.
        size (int): Bytes.
        lasting (bool): Whether it is worth a descriptor of its own in any case.

    Returns:
        memoryview: Writable; keeps the memory alive.

    Raises:
        MemoryError: There is no room.
    """
    if not size:
        return memoryview(bytearray())
    if _WITHOUT_DESCRIPTOR or lasting or len(_mapped) < most():
        with contextlib.suppress(OSError):
            return memoryview(_map(fd, size))
    # Else every array that somebody keeps would keep a descriptor, and a process may have 1024 of them.
    return _read(fd, size)


def keep_few_open(descriptor: Descriptor) -> None:
    """Take in that there is another descriptor, and close it at once if there are too many.

    Args:
        descriptor (Descriptor): Of a file from another process.
    """
    if len(held) > most():
        with contextlib.suppress(MemoryError):
            descriptor.memory = into_memory(descriptor.fd, os.fstat(descriptor.fd).st_size)
            descriptor.close()


def _map(fd: int, size: int) -> mmap.mmap:
    if sys.version_info >= (3, 13):
        return mmap.mmap(fd, size, access=mmap.ACCESS_COPY, trackfd=False)
    mapping = mmap.mmap(fd, size, access=mmap.ACCESS_COPY)
    _mapped.add(weakref.ref(mapping, _mapped.discard))
    return mapping


def _read(fd: int, size: int) -> memoryview:
    try:
        memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        if hasattr(mmap, "MADV_HUGEPAGE"):
            with contextlib.suppress(OSError):
                memory.madvise(mmap.MADV_HUGEPAGE)  # twice as fast, where the system has such
    except OSError as error:
        raise MemoryError(f"no room for {size} bytes") from error
    view = memoryview(memory)
    at = 0
    while at < size:
        at += os.preadv(fd, [view[at:]], at)
    return view
