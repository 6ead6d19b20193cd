"""Files that were written before, to be written again: their pages are there already, which makes that twice as fast.

Who still uses a file is known to the kernel alone. What is sent is a second opening of the file that holds a lock on it
(`flock`): the lock goes with the descriptor, stays with each mapping, and ends with the last of them, whoever is killed
and whenever. So to get the lock oneself is to know that nobody has the file any more. Loaded in every worker.
"""

from __future__ import annotations

import fcntl
import os

from procorch._parcel import Descriptor

_MOST_FILES = 2
_MOST_BYTES = 1 << 27
"""What is kept, at most, by each process and for a moment: see `drop`."""

IDLE_SECONDS = 1.0
"""Time after which a process that waits gives them back."""

_keepers: set[int] = set()
"""Who looks after them: without anybody, as after the last group, none is kept."""

_spares: list[tuple[int, Descriptor]] = []
"""Size and file, the one used longest ago first. Each step is one of the interpreter's: any thread may come here."""

_in_use = False
"""Whether one was kept since the last `drop`. It may be among none for a moment, while it is written again."""


def take() -> Descriptor | None:
    """Take a file that nobody uses any more.

    Returns:
        Descriptor | None: To be written; None if there is none.
    """
    for _ in range(len(_spares)):
        try:
            size, spare = _spares.pop(0)
        except IndexError:
            return None  # another thread was here
        try:
            fcntl.flock(spare.fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            _spares.append((size, spare))
        else:
            return spare
    return None


def lend(file: Descriptor) -> Descriptor:
    """Keep a file that has been written, and give what is to be sent of it.

    Args:
        file (Descriptor): The file.

    Returns:
        Descriptor: To be read only; the file itself if the system has no second opening of it.
    """
    global _in_use  # noqa: PLW0603 - as are the files
    try:
        lent = Descriptor(os.open(f"/proc/self/fd/{file.fd}", os.O_RDONLY | os.O_CLOEXEC))
        fcntl.flock(file.fd, fcntl.LOCK_UN)
        fcntl.flock(lent.fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return file
    lent.size, file.size = file.size, 0
    if lent.size <= _MOST_BYTES:
        _spares.append((lent.size, file))
        _in_use = True
    if not _keepers:
        drop()  # looked at now, not before: the last of them may have left meanwhile
    while len(_spares) > _MOST_FILES or sum(size for size, _ in _spares) > _MOST_BYTES:
        del _spares[:1]
    return lent


def keep(keeper: object) -> None:
    """Begin to look after them.

    Args:
        keeper (object): Calls `drop` when it has waited for `IDLE_SECONDS`, and `leave` at its end.
    """
    _keepers.add(id(keeper))


def leave(keeper: object) -> None:
    """Look after them no longer, and give them back.

    Args:
        keeper (object): As for `keep`.
    """
    _keepers.discard(id(keeper))
    drop()


def are_there() -> bool:
    """Tell whether there is something to give back, or will be in a moment.

    Returns:
        bool: Of this process.
    """
    return _in_use


def drop() -> None:
    """Give them back."""
    global _in_use  # noqa: PLW0603 - as are the files
    _in_use = False  # first: who keeps one meanwhile sets it again
    _spares.clear()


def _forget_all() -> None:
    _keepers.clear()
    drop()


os.register_at_fork(after_in_child=_forget_all)
