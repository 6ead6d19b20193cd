"""What every test gets: a limit on its time, and a check that it leaves nothing behind."""

from __future__ import annotations

import contextlib
import faulthandler
import os
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import FrameType

import attrs
import pytest
from clusters import dask_address as dask_address
from clusters import dask_client as dask_client
from helpers import Method
from hypothesis import HealthCheck, settings
from targets import doubler

from procorch import ProcessGroup, _group
from procorch._policy import Limits

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

    children: dict[int, str]
    descriptors: Counter[str]
    threads: frozenset[str]
    shared_memory: frozenset[str]

    @classmethod
    def now(cls) -> Belongings:
        """Look."""
        return cls(
            dict(descendants()),
            Counter(_descriptors()),
            frozenset(thread.name for thread in threading.enumerate()),
            frozenset(file.name for file in Path("/dev/shm").iterdir()),
        )

    def added_since(self, before: Belongings) -> dict[str, object]:
        """Tell what is here now and was not before."""
        added = {
            # By their ids: what they call themselves, and what they are doing, changes.
            "children": [text for pid, text in self.children.items() if pid not in before.children],
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


def descendants() -> Iterator[tuple[int, str]]:
    """All processes below this one, zombies included, without the helpers of multiprocessing and of ours."""
    todo = [(pid, os.getpid()) for pid in _children(os.getpid())]
    while todo:
        pid, parent = todo.pop()
        # A forked worker of the fork server has its command line, but not its parent's.
        if not _is_helper(pid) or _is_helper(parent):
            yield pid, f"{pid}: {_command(pid)}({_state(pid)})"
        todo += [(child, pid) for child in _children(pid)]


def _is_helper(pid: int) -> bool:
    return any(name in _command(pid) for name in _HELPERS)


def _children(pid: int) -> list[int]:
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            found += map(int, task.read_text().split())
    return found


def _command(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
    return ""


def _state(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    return "gone"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let tests with a cluster come last: it is there from the first on, and would take from all that follow."""
    items.sort(key=lambda item: item.get_closest_marker("cluster") is not None)


@pytest.fixture(scope="session", autouse=True)
def _helpers_running() -> None:
    """Start multiprocessing's helpers before anything is counted: they stay for the life of this process."""
    with ProcessGroup(1) as group:
        assert group.submit(doubler, 1).result() == 2


@pytest.fixture(autouse=True)
def _leaves_nothing(request: pytest.FixtureRequest) -> Iterator[None]:
    has_cluster = request.node.get_closest_marker("cluster") is not None
    if has_cluster:
        request.getfixturevalue("dask_address")  # it stays for other tests
    before = Belongings.now()
    yield
    added = Belongings.now().added_since(before)
    deadline = time.monotonic() + 2.0
    # Threads without work are about to end; what a cluster runs ends when its processes have noticed.
    may_go = {"threads", "children"} if has_cluster else {"threads"}
    while added and added.keys() <= may_go and time.monotonic() < deadline:
        time.sleep(0.001)  # only what stays is left behind
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
def soon_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this process's groups kill soon after SIGTERM: for what does not depend on how long they wait."""
    monkeypatch.setattr(_group, "Limits", partial(Limits, kill_grace=0.2))


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
