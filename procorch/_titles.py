"""By what name a worker is seen from outside, in ``ps`` and ``top``. Loaded in every worker."""

from __future__ import annotations

import contextlib
import os
from importlib.machinery import ExtensionFileLoader, ModuleSpec
from typing import Any

_MOST_BYTES = 15
"""What the system keeps of a thread's name."""

_MODULE = "setproctitle._setproctitle"


def show(name: str, library: str) -> None:
    """Give this process a name that the system shows.

    Programs that it starts have names of their own.

    Args:
        name (str): The name.
        library (str): The file of setproctitle's C module, if the command line is to show the name as well; else empty.
    """
    if library:
        with contextlib.suppress(Exception):  # nobody's work fails for want of a title
            _load(library).setproctitle(name)
    # The name of the main thread is what `ps` and `top` show of a process unless they are asked for command lines.
    with contextlib.suppress(OSError):  # a system without such files
        comm = os.open("/proc/self/comm", os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(comm, shortened(name))
        finally:
            os.close(comm)


def shortened(name: str) -> bytes:
    """Cut a name to what the system keeps, in its middle: the number at its end tells one worker from the next.

    Args:
        name (str): The name.

    Returns:
        bytes: At most 15, and no character cut in two.
    """
    head, dash, number = name.rpartition("-")
    end = (dash + number).encode(errors="replace") if number.isdecimal() else b""
    start = (head if end else name).encode(errors="replace")
    room = max(_MOST_BYTES - len(end), 0)
    return (start[:room].decode(errors="ignore").encode() + end)[:_MOST_BYTES]


def _load(library: str) -> Any:
    # Not by its package, which loads logging: that would take a spawned worker ten times as long.
    loader = ExtensionFileLoader(_MODULE, library)
    module = loader.create_module(ModuleSpec(_MODULE, loader, origin=library))
    loader.exec_module(module)
    return module
