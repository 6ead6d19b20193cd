"""What is left open at the interpreter's exit is ended here, before multiprocessing waits for its children."""

from __future__ import annotations

import os
import warnings
import weakref
from multiprocessing import util
from typing import Protocol

_EXIT_SECONDS = 10.0
"""Longest wait at the interpreter's exit for the processes of groups that were never closed."""


class Endable(Protocol):
    """Something that can be ended at once: a group's supervisor."""

    name: str

    @property
    def unfinished(self) -> bool:
        """Whether there is work that nobody has told to end."""
        ...

    def terminate(self) -> None:
        """End everything; do not wait."""
        ...

    def join(self, timeout: float | None) -> bool:
        """Wait for the end, at most ``timeout`` seconds; tell whether it came."""
        ...


_groups: weakref.WeakSet[Endable] = weakref.WeakSet()
_watching_pid: int | None = None


def watch_for_exit(group: Endable) -> None:
    """End something at the interpreter's exit if nobody else does.

    Args:
        group (Endable): Nothing happens to it if it is gone by then; it is not kept alive.
    """
    global _watching_pid  # noqa: PLW0603 - the hook belongs to the process
    _groups.add(group)
    if _watching_pid != os.getpid():
        # In a worker, multiprocessing has dropped what its parent had registered.
        _watching_pid = os.getpid()
        util.Finalize(None, _terminate_all, exitpriority=20)


def _terminate_all() -> None:
    groups = list(_groups)
    unfinished = [group.name for group in groups if group.unfinished]
    for group in groups:
        group.terminate()
    for group in groups:
        group.join(_EXIT_SECONDS)
    for name in unfinished:
        warnings.warn(
            f"the program has ended before the work of the group {name!r}, which was stopped: "
            "leave the group's with block, or call close() and join(), to wait for it",
            RuntimeWarning,
            stacklevel=1,
        )
