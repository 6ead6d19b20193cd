"""What every test gets: a limit on its time, and a check that it leaves nothing behind."""

from __future__ import annotations

import faulthandler
import os
import signal
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import attrs
import pytest
from helpers import Method
from hypothesis import HealthCheck, settings
from targets import doubler

from procorch import ProcessGroup

METHODS: tuple[Method, ...] = ("forkserver", "spawn", "fork")

# Processes take longer than hypothesis expects of an example; and a run must be the same each time.
settings.register_profile(
    "procorch",
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
settings.load_profile("procorch")

_HELPERS = ("procorch._server", "multiprocessing.resource_tracker")


@attrs.frozen
class Belongings:
    """What this process holds of the system."""

    children: frozenset[str]
    descriptors: Counter[str]
    threads: frozenset[str]
    shared_memory: frozenset[str]

    @classmethod
    def now(cls) -> Belongings:
        """Look."""
        return cls(
            frozenset(_descendants()),
            Counter(_descriptors()),
            frozenset(thread.name for thread in threading.enumerate()),
            frozenset(file.name for file in Path("/dev/shm").iterdir()),
        )

    def added_since(self, before: Belongings) -> dict[str, object]:
        """Tell what is here now and was not before."""
        added = {
            "children": self.children - before.children,
            "descriptors": self.descriptors - before.descriptors,
            "threads": self.threads - before.threads,
            "/dev/shm": self.shared_memory - before.shared_memory,
        }
        return {kind: things for kind, things in added.items() if things}


def _descriptors() -> Iterator[str]:
    """What the open descriptors are, numbers of sockets and pipes left out."""
    for link in Path("/proc/self/fd").iterdir():
        try:
            target = str(link.readlink())
        except FileNotFoundError:
            continue  # the one of the listing itself
        yield target.partition(":[")[0] if target.startswith(("socket", "pipe")) else target


def _descendants() -> Iterator[str]:
    """All processes below this one, zombies included, without multiprocessing's own two helpers."""
    parents: dict[int, int] = {}
    commands: dict[int, str] = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            stat = (entry / "stat").read_text()
            commands[int(entry.name)] = (entry / "cmdline").read_text().replace("\0", " ")
        except (FileNotFoundError, ProcessLookupError):
            continue
        state, above_it = stat.rpartition(")")[2].split()[:2]
        parents[int(entry.name)] = int(above_it)
        commands[int(entry.name)] += f" ({state})"
    for pid, parent in parents.items():
        above = [parent]
        while above[-1] in parents and above[-1] > 1:
            above.append(parents[above[-1]])
        # A forked worker of the fork server has its command line; the server itself is this process's child.
        helper = parent == os.getpid() and any(name in commands[pid] for name in _HELPERS)
        if os.getpid() in above and not helper:
            yield f"{pid}: {commands[pid]}"


@pytest.fixture(scope="session", autouse=True)
def _helpers_running() -> None:
    """Start multiprocessing's helpers before anything is counted: they stay for the life of this process."""
    with ProcessGroup(1) as group:
        assert group.submit(doubler, 1).result() == 2


@pytest.fixture(autouse=True)
def _leaves_nothing(request: pytest.FixtureRequest) -> Iterator[None]:
    before = Belongings.now()
    yield
    added = Belongings.now().added_since(before)
    assert not added, f"left behind: {added}"


@pytest.fixture(autouse=True)
def _limited(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test that hangs, with the stacks of all threads, and let the others go on."""
    marker = request.node.get_closest_marker("limit")
    seconds = float(marker.args[0]) if marker is not None else 30.0

    def too_late(signum: int, frame: FrameType | None) -> None:
        assert sys.__stderr__ is not None
        faulthandler.dump_traceback(sys.__stderr__)
        pytest.fail(f"took longer than {seconds} s")

    previous = signal.signal(signal.SIGALRM, too_late)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, previous)


@pytest.fixture(params=METHODS)
def method(request: pytest.FixtureRequest) -> Method:
    """Each start method."""
    param: Method = request.param
    return param


@pytest.fixture
def gate(tmp_path: Path) -> Path:
    """A file that items wait for; a test opens it by touching it."""
    return tmp_path / "gate"


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """A file to which items append."""
    path = tmp_path / "log"
    path.touch()
    return path
