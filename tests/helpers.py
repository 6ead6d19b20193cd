"""What process tests share: waiting for a thing instead of sleeping, and reading the log of executions.

Workers import it with their functions: of procorch it takes what they have anyhow, see `targets`.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any, Literal, Self, TypeAlias

import procorch

Method: TypeAlias = Literal["forkserver", "spawn", "fork"]


def wait_until(true: Callable[[], object], seconds: float = 20.0) -> None:
    """Wait for something that can only be seen by looking."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not come to that"
        select.select([], [], [], 0.002)


def executions(log: Path) -> Counter[int]:
    """Count the executions of each item: the first word of each line of the log."""
    return Counter(int(line.split()[0]) for line in log.read_text().splitlines())


def pids_in(log: Path) -> list[int]:
    """Give the process of each execution: the second word of each line of the log."""
    return [int(line.split()[1]) for line in log.read_text().splitlines()]


def the_worker(group: procorch.ProcessGroup, state: str = "idle") -> procorch.ProcessInfo:
    """Wait until the group's only process is in a state, and give it."""
    wait_until(lambda: [info.state for info in group.processes] == [state])
    return group.processes[0]


def is_gone(pid: int) -> bool:
    """Tell whether a process has ended, also if nobody has collected it yet."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return True
    return state in {"Z", "X"}


def kill_and_wait_for_the_next(handle: procorch.ProcessHandle[Any]) -> None:
    """Kill the process of a service, and wait until another has taken its place."""
    pid, restarts = handle.pid, handle.restarts
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: handle.restarts > restarts and handle.pid != pid)


class Killer(threading.Thread):
    """Kills a process, whatever it is doing, again and again, as long as its block lasts."""

    def __init__(self, victim: Callable[[], int | None], kills: int, pause: Callable[[], float]) -> None:
        """Begin with the block.

        Args:
            victim (Callable[[], int | None]): Chooses whom, by its pid; None if there is nobody now.
            kills (int): How many.
            pause (Callable[[], float]): Seconds before each.
        """
        super().__init__(name="killer")
        self._victim = victim
        self._pause = pause
        self._over = threading.Event()
        self.left = kills

    def run(self) -> None:
        while self.left and not self._over.wait(self._pause()):
            pid = self._victim()
            with contextlib.suppress(ProcessLookupError):  # it is dead already
                if pid is not None:
                    os.kill(pid, signal.SIGKILL)
                    self.left -= 1

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self.join()


def environment() -> dict[str, str]:
    """Of this process, in which others find procorch and the functions of tests."""
    folder = Path(__file__).parent
    path = os.pathsep.join([str(folder), str(folder.parent), *filter(None, [os.environ.get("PYTHONPATH")])])
    return os.environ | {"PYTHONPATH": path}


@contextlib.contextmanager
def in_session(*command: str, **options: Any) -> Generator[subprocess.Popen[Any]]:
    """Run a program in a session of its own, and leave nothing of it."""
    # As at a terminal: where tests run in the background, interrupts are ignored, and that would be inherited.
    before = signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        process = subprocess.Popen(command, start_new_session=True, **({"env": environment()} | options))
    finally:
        signal.signal(signal.SIGINT, before)
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()
        process.wait()


@contextlib.contextmanager
def script(*command: str, **options: Any) -> Generator[subprocess.Popen[str]]:
    """Run a script so, without an input."""
    with in_session(sys.executable, *command, text=True, stdin=subprocess.DEVNULL, **options) as process:
        yield process


def read_all(fd: int) -> str:
    """Read a pipe or a terminal until nobody has the other end any more, and close it."""
    pieces: list[bytes] = []
    with contextlib.suppress(OSError):  # how a terminal says that nobody has
        while piece := os.read(fd, 1 << 16):
            pieces.append(piece)
    os.close(fd)
    return b"".join(pieces).decode()
