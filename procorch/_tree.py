"""A process and what it has started, as the system knows them: to signal all of them, and to tell why one has died.

A worker leads a process group, so what its items start belongs to that, unless it makes a group or a session of its
own; while the worker lives, that is found as its descendants.
"""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path

_PROC = Path("/proc")

_REFUSED = (OSError, MemoryError)
"""What the system says where it does not tell: a process is signalled all the same."""


def descendants(pid: int, proc: Path = _PROC) -> list[int]:
    """List the processes that a process has started, those that these have started, and so on.

    Args:
        pid (int): Of a living process.
        proc (Path): Where the system tells of processes.

    Returns:
        list[int]: Their ids; those whose parent has ended are not among them. Empty where the system does not tell.
    """
    found: list[int] = []
    todo = [pid]
    while todo:
        children = _children(proc / str(todo.pop()) / "task")
        found += children
        todo += children
    return found


def _children(threads: Path) -> set[int]:
    """List those of each thread of a process. A thread that ends meanwhile leaves its own to another."""
    found: set[int] = set()
    for _ in range(2):  # which may have been looked at by then
        complete = True
        with contextlib.suppress(*_REFUSED):  # the process has ended, or the system has no such files
            for thread in list(threads.iterdir()):
                try:
                    found.update(map(int, (thread / "children").read_text().split()))
                except _REFUSED:
                    complete = False
        if complete:
            break
    return found


def ignores(pid: int, number: int) -> bool:
    """Tell whether a process ignores a signal.

    Args:
        pid (int): Of a living process.
        number (int): The signal's.

    Returns:
        bool: False also where the system does not tell, and for one that has a handler for it.
    """
    with contextlib.suppress(*_REFUSED):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            name, _, mask = line.partition(":")
            if name == "SigIgn":
                return bool(int(mask, 16) >> number - 1 & 1)
    return False


class Strays:
    """What a process has started that has left its group. Once found, it is not lost when the process ends."""

    def __init__(self) -> None:
        """Begin with none."""
        self._pidfds: list[int] = []

    def find(self, pid: int) -> None:
        """Look for them.

        Args:
            pid (int): Of the group's leader, which lives: those of a process that has ended are nobody's.
        """
        for one in descendants(pid) if hasattr(os, "pidfd_open") else ():
            with contextlib.suppress(OSError):  # it has ended meanwhile; or there is no room
                if os.getpgid(one) != pid:
                    self._pidfds.append(os.pidfd_open(one))

    def signal(self, number: int) -> None:
        """Send them a signal.

        Args:
            number (int): The signal's.
        """
        for pidfd in self._pidfds:
            with contextlib.suppress(OSError):  # it has ended, or runs as somebody else
                signal.pidfd_send_signal(pidfd, number)

    def close(self) -> None:
        """End what is left of them."""
        self.signal(signal.SIGKILL)
        while self._pidfds:
            os.close(self._pidfds.pop())


def likely_cause(exitcode: int | None, oom_kills: int) -> str:
    """Say why a process has probably died, where that can be told.

    Args:
        exitcode (int | None): As of `multiprocessing.Process`.
        oom_kills (int): How many processes the system has killed for lack of memory while this one lived.

    Returns:
        str: A sentence without its end; empty if nothing is known beyond the exit code.
    """
    match -(exitcode or 0):
        case signal.SIGKILL if oom_kills:
            return "the system has killed a process for lack of memory meanwhile, probably this one"
        case signal.SIGXCPU:
            return "it reached its limit of processor time (RLIMIT_CPU)"
        case signal.SIGXFSZ:
            return "it reached its limit of a file's size (RLIMIT_FSIZE)"
        case signal.SIGSEGV:
            return "native code used memory that it must not, or recursed without end"
        case signal.SIGBUS:
            return "a mapped file was cut short, or there was no room for it in memory"
        case signal.SIGABRT:
            return "native code gave up by calling abort()"
        case _:
            return ""


def oom_kills(file: Path = _PROC / "vmstat") -> int:
    """Count the processes that the system has killed for lack of memory.

    Args:
        file (Path): Where the system tells.

    Returns:
        int: Since it was started; 0 where it does not tell.
    """
    with contextlib.suppress(*_REFUSED):
        # Asked for at the start of each worker, so not line by line: there are some two hundred.
        _, _, rest = (b"\n" + file.read_bytes()).partition(b"\noom_kill ")
        return int(rest.partition(b"\n")[0] or 0)
    return 0
