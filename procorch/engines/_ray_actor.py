"""What runs in an actor of ray: one chunk at a time, and beside it, in other threads, looks at that chunk.

group of calls   threads   methods
(the default)    1         hello, run
"look"           1         look, stack, leave: answered while a chunk runs, unless C code holds the interpreter's lock
"life"           1         live: answered by the actor's end alone
"""

from __future__ import annotations

import faulthandler
import importlib
import os
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any, NamedTuple

from procorch import _agent, _far
from procorch._assignments import Answer, Assignment, Given, Progress
from procorch._crates import Crate

GROUPS = {"look": 1, "life": 1}
"""Threads for calls beside those that run chunks."""


class Hello(NamedTuple):
    """Which process an actor is."""

    pid: int
    address: str
    """Of its node."""
    system: str
    """Names the system and the set of processes in which the pid holds."""
    version: str
    """Of its procorch."""


def system() -> str:
    """Name the system that this process runs in, as far as its numbers of processes are concerned.

    Returns:
        str: The same for two processes if and only if a pid means the same to both; empty where that is not known.
    """
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip() + str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return ""


def version() -> str:
    """Tell which procorch this process has.

    Returns:
        str: Its version.
    """
    return str(vars(sys.modules["procorch"])["__version__"])


class ProcorchActor:
    """A worker's process. Its class's name is what ray's tools show."""

    def __init__(self) -> None:
        """Begin."""
        self._over = threading.Event()

    def hello(self) -> Hello:
        """Tell which process this is."""
        ray: Any = importlib.import_module("ray")
        return Hello(os.getpid(), str(ray.util.get_node_ip_address()), system(), version())

    def run(self, isolate: bool, assignment: Assignment, function: Crate | None, *shared: Given) -> Answer:
        """Do a chunk, here or in a process of ours. What ray keeps as an object comes as an argument of its own."""
        if function is not None:
            payload = memoryview(function.content)
            assignment = assignment._replace(function=assignment.function._replace(payload=payload))
        return (_agent.run if isolate else _far.run)(assignment._replace(shared=shared))

    def look(self, engine: str, number: int, stop: bool) -> Progress:
        """Tell how far a chunk is, see `_far.look`."""
        return _far.look(engine, number, stop=stop)

    def stack(self) -> str:
        """Tell where the thread that runs items is, as `faulthandler` writes it."""
        with tempfile.TemporaryFile() as file:
            faulthandler.dump_traceback(file)
            file.seek(0)
            threads = file.read().decode(errors="replace").split("\n\n")
        # The others are ray's.
        return "\n\n".join(one for one in threads if f'{os.sep}_far.py", line' in one and "in run" in one)

    def live(self) -> None:
        """Stay until the end: whoever waits for this hears of it."""
        self._over.wait()
        importlib.import_module("ray").actor.exit_actor()

    def leave(self) -> None:
        """End in an orderly way."""
        self._over.set()
