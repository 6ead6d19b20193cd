"""Process: what workers load when they start, what comes only when somebody wants it, and what starts them."""

from __future__ import annotations

import errno
import logging
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from multiprocessing import resource_tracker, util
from pathlib import Path

import pytest
import targets_service
import targets_start as targets
from helpers import Method

import procorch
from procorch import ProcessGroup, WorkerStartError, _popen, _server

PATH = [str(Path(procorch.__file__).parent.parent), str(Path(targets.__file__).parent)]

# In a process of its own, as the fork server of this one has been used before.
SCRIPT = """
import sys
from procorch import ProcessGroup
from targets_start import loaded

if __name__ == "__main__":
    with ProcessGroup(1, mp_context=sys.argv[1]) as group:
        print(*group.submit(loaded, 1).result())
"""

STANDARD = "import multiprocessing.spawn, multiprocessing.resource_tracker, sys; print(*sys.modules)"
"""What a worker of the standard library has loaded at the least."""

OURS = {"_child", "_late_logs", "_messages", "_outcome", "_pgroup", "_process", "_queue", "_sender", "_setup"}
OURS |= {
    "_signals",
    "_wire",
    "_buffers",
    "_cpus",
    "_condition",
    "_forked",
    "_mail",
    "_memory",
    "_parcel",
    "_passing",
    "_plain",
    "_runner",
    "_spares",
    "_spin",
    "_titles",
    "_writer",
}
LOADS = {"__future__", "_typing", "faulthandler", "gc", "mmap", "typing", "typing.io", "typing.re", "targets_start"}
MORE: dict[str, set[str]] = {"spawn": set(), "forkserver": {"procorch._server"}}


class Collector(logging.Handler):
    """Keeps the texts of the records that reach the parent's root."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(record.getMessage())


@pytest.fixture
def heard() -> Iterator[list[str]]:
    collector = Collector()
    logging.getLogger().addHandler(collector)
    yield collector.texts
    logging.getLogger().removeHandler(collector)


def run(*arguments: str) -> set[str]:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(PATH)}
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=True, env=environment)
    return set(done.stdout.split())


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_a_fresh_worker_has_loaded_next_to_nothing(method: Method, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    added = run(str(script), method) - run("-c", STANDARD)
    assert added <= {"procorch", *(f"procorch.{name}" for name in OURS), *LOADS, *MORE[method]}


def test_an_item_that_loads_logging_itself_is_heard(heard: list[str]) -> None:
    with ProcessGroup(1, mp_context="spawn") as group:
        assert group.map(targets.say_late, ["one", "two"]) == [False, True]
    assert heard == ["one", "two"]


def test_a_warning_is_heard_before_anything_has_loaded_logging(heard: list[str]) -> None:
    with ProcessGroup(1, mp_context="spawn") as group:
        assert group.map(targets.warn_late, ["one", "two"]) == [False, True]
    assert ["one" in heard[0], "two" in heard[1], len(heard)] == [True, True, 2]


def test_levels_hold_for_what_is_loaded_later(heard: list[str]) -> None:
    logger = logging.getLogger("tests.late")
    logger.setLevel(logging.ERROR)
    try:
        with ProcessGroup(1, mp_context="spawn") as group:
            assert group.submit(targets.say_late, "one").result() is False
    finally:
        logger.setLevel(logging.NOTSET)
    assert heard == []


# --- among many descriptors -------------------------------------------------------------------------------------------


@pytest.fixture
def many_descriptors() -> Iterator[None]:
    """Have so many that further ones have numbers that not every call of the system takes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 2048)), hard))
    opened: list[int] = []
    try:
        opened += (os.open(os.devnull, os.O_RDONLY) for _ in range(1100))
        yield
    finally:
        for one in opened:
            os.close(one)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.usefixtures("many_descriptors")
def test_workers_start_and_talk_where_there_are_many_descriptors(method: Method) -> None:
    with ProcessGroup(1, mp_context=method) as group:
        assert group.map(abs, range(-3, 0)) == [3, 2, 1]
        process = group.start(targets_service.echo)
        process.send("hello ")
        assert process.receive(str, timeout=10) == "hello hello "
        process.stop()
        assert process.result() == "stopped"


# --- the fork server --------------------------------------------------------------------------------------------------


def test_a_fork_server_without_descriptors_refuses_a_process_and_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    server = _server.ForkServer()
    monkeypatch.setattr(_popen, "_servers", [server])
    with ProcessGroup(1, mp_context="forkserver") as group:
        pid = group.submit(os.getpid).result()
        before = resource.prlimit(server._pid, resource.RLIMIT_NOFILE)
        used = {int(path.name) for path in Path(f"/proc/{server._pid}/fd").iterdir()}
        third = [number for number in range(len(used) + 3) if number not in used][2]
        resource.prlimit(server._pid, resource.RLIMIT_NOFILE, (third, before[1]))  # so there are two
        with (
            ProcessGroup(1, mp_context="forkserver") as other,
            pytest.raises(WorkerStartError, match="no room for one"),
        ):
            other.submit(str, 2).result()
        resource.prlimit(server._pid, resource.RLIMIT_NOFILE, before)
        with ProcessGroup(1, mp_context="forkserver") as other:
            assert other.submit(os.getppid).result() == server._pid
        assert group.submit(os.getpid).result() == pid
    served = server._pid
    server.forget()
    assert os.waitpid(served, 0)[1] == 0


def test_a_fork_server_that_was_refused_once_is_started_the_next_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """And no other child of this process is taken for the one that there was not."""
    server = _server.ForkServer()
    monkeypatch.setattr(_popen, "_servers", [server])
    resource_tracker.ensure_running()

    def refuse(*_: object) -> int:
        raise OSError(errno.EAGAIN, "no more processes")

    with monkeypatch.context() as refusing:
        refusing.setattr(util, "spawnv_passfds", refuse)
        with pytest.raises(OSError, match="no more processes"):
            server.request([])
    child = subprocess.Popen([sys.executable, "-c", "raise SystemExit(7)"])
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    with ProcessGroup(1, mp_context="forkserver") as group:
        assert group.submit(str, 2).result() == "2"
    assert child.wait() == 7
    server.forget()
    os.waitpid(server._pid, 0)
