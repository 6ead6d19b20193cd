"""Process tests: what items start goes with their process, and everything goes with the parent."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
import targets as t
import targets_limits as tl
from helpers import Method, is_gone, script, the_worker, wait_until

from procorch import ProcessGroup, TaskTimeout, WorkerCrashed


def logged(log: Path, lines: int) -> list[int]:
    """Wait for so many lines, and give all the process ids in them."""
    wait_until(lambda: len(log.read_text().splitlines()) == lines)
    return [int(word) for word in log.read_text().split()]


# --- stopping ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("session", [False, True])
def test_a_timeout_ends_the_whole_family(method: Method, log: Path, *, session: bool) -> None:
    with ProcessGroup(1, mp_context=method) as group:
        with pytest.raises(TaskTimeout):
            group.options(timeout=1).submit(tl.family, str(log), "gil", session=session).result()
        pids = logged(log, 1)
        wait_until(lambda: all(map(is_gone, pids)))


def test_a_stray_that_ignores_sigterm_goes_with_its_family(method: Method, log: Path) -> None:
    """The process itself ends at SIGTERM, so nobody would find the other afterwards."""
    with ProcessGroup(1, mp_context=method) as group:
        future = group.submit(tl.stubborn_stray, str(log))
        pids = logged(log, 1)
        assert future.cancel()
        wait_until(lambda: all(map(is_gone, pids)))


def test_cancel_ends_the_whole_family(method: Method, log: Path) -> None:
    with ProcessGroup(1, mp_context=method) as group:
        future = group.submit(tl.family, str(log), "sleep")
        pids = logged(log, 1)
        assert future.cancel()
        wait_until(lambda: all(map(is_gone, pids)))


def test_terminating_a_started_process_ends_its_family(method: Method, log: Path) -> None:
    with ProcessGroup(mp_context=method) as group:
        handle = group.start(tl.family, str(log), "sleep")
        pids = logged(log, 1)
        handle.terminate()
        wait_until(lambda: all(map(is_gone, pids)))


def test_a_crash_ends_the_whole_family(method: Method, log: Path) -> None:
    with ProcessGroup(1, mp_context=method) as group:
        future = group.submit(tl.family, str(log), "sleep")
        pids = logged(log, 1)
        os.kill(pids[0], signal.SIGKILL)
        with pytest.raises(WorkerCrashed):
            future.result()
        wait_until(lambda: all(map(is_gone, pids)))


def test_it_goes_too_when_somebody_else_collects_the_process(method: Method, log: Path) -> None:
    """As multiprocessing does with all its processes whenever it starts one, or is asked for them."""
    with ProcessGroup(1, mp_context=method) as group:
        future = group.submit(tl.start_program, str(log))
        pids = logged(log, 1)
        with group._supervisor._lock:  # so that it is not the group's own thread that comes first
            os.kill(pids[0], signal.SIGKILL)
            wait_until(lambda: is_gone(pids[0]))
            multiprocessing.active_children()
        with pytest.raises(WorkerCrashed):
            future.result()
        wait_until(lambda: all(map(is_gone, pids)))


def test_what_an_item_leaves_behind_lives_as_long_as_its_worker(method: Method) -> None:
    with ProcessGroup(1, mp_context=method) as group:
        left = group.submit(tl.leave_behind).result()
        assert group.submit(t.doubler, 1).result() == 2
        assert not is_gone(left)
    wait_until(lambda: is_gone(left))


def test_what_an_item_leaves_behind_ends_when_its_worker_is_replaced(method: Method) -> None:
    with ProcessGroup(1, mp_context=method, max_tasks_per_child=1) as group:
        left = group.submit(tl.leave_behind).result()
        wait_until(lambda: is_gone(left))
        assert group.submit(t.doubler, 1).result() == 2


@pytest.mark.parametrize("way", ["sleep", "gil"])
def test_a_nested_group_ends_with_its_item(method: Method, way: tl.Way, log: Path) -> None:
    with ProcessGroup(1, mp_context=method) as group:
        future = group.submit(tl.nested_and_busy, str(log), method, way)
        pids = logged(log, 2)  # the item, and the family in the nested worker
        assert future.cancel()
        wait_until(lambda: all(map(is_gone, pids)))


# --- orphans ----------------------------------------------------------------------------------------------------------

_PARENT = """
import sys
import targets as t
import targets_limits as tl
from procorch import ProcessGroup

if __name__ == "__main__":
    method, log, way = sys.argv[1:]
    group = ProcessGroup(2, mp_context=method)
    if way == "idle":
        for name, pid in group.map(t.whoami, range(4), chunksize=1):
            t.append(log, str(pid))
        print("idle", flush=True)
    elif way == "moved":
        for _ in range(2):
            group.submit(tl.leave_group_and_spin, log)
    elif way == "nested":
        group.submit(tl.nested_and_busy, log, method, "gil")
    else:
        group.submit(tl.family, log, way)
        group.start(tl.family, log, way)
    sys.stdin = open("/dev/null")
    import time
    time.sleep(1000)
"""


@pytest.mark.limit(60)
@pytest.mark.parametrize("way", ["idle", "sleep", "gil", "subprocess", "nested", "moved"])
def test_nothing_outlives_a_parent_that_is_killed(method: Method, way: str, log: Path, tmp_path: Path) -> None:
    program = tmp_path / "parent.py"
    program.write_text(_PARENT)
    folder = tmp_path / "temporary"
    folder.mkdir()
    before = set(Path("/dev/shm").iterdir())
    os.environ["TMPDIR"] = str(folder)
    try:
        with script(str(program), method, str(log), way) as parent:
            pids = logged(log, 4 if way == "idle" else 2)
            everybody = {*pids, *_below(parent.pid)}
            parent.kill()
            killed = time.monotonic()
            wait_until(lambda: all(map(is_gone, everybody)), seconds=10)
            took = time.monotonic() - killed
    finally:
        del os.environ["TMPDIR"]
    assert took < 2
    assert list(folder.iterdir()) == []
    assert set(Path("/dev/shm").iterdir()) <= before


def _below(pid: int) -> set[int]:
    """All processes below one: the group's, and multiprocessing's helpers."""
    done = subprocess.run(["ps", "-eo", "pid=,ppid="], capture_output=True, text=True, check=True)
    parents = [tuple(map(int, line.split())) for line in done.stdout.splitlines()]
    found = {pid}
    while more := {child for child, parent in parents if parent in found} - found:
        found |= more
    return found - {pid}


_FORKS = """
import os, sys, time
import targets_limits as tl
from procorch import ProcessGroup

if __name__ == "__main__":
    method, log = sys.argv[1:]
    group = ProcessGroup(1, mp_context=method)
    future = group.submit(tl.log_and_be_busy, log, "gil")
    while not future.running():
        time.sleep(0.001)
    if not os.fork():
        os.setsid()
        print(os.getpid(), flush=True)
        time.sleep(1000)  # outlives its parent, and has inherited all that was open
    time.sleep(1000)
"""


def test_a_forked_copy_of_the_parent_keeps_nobody_alive(method: Method, log: Path, tmp_path: Path) -> None:
    program = tmp_path / "parent.py"
    program.write_text(_FORKS)
    with script(str(program), method, str(log), stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        copy = int(parent.stdout.readline())
        try:
            wait_until(log.read_text)
            worker = int(log.read_text().split()[0])
            parent.kill()
            wait_until(lambda: is_gone(worker), seconds=5)
        finally:
            os.kill(copy, signal.SIGKILL)


def test_the_fork_server_is_reached_by_no_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that no death leaves a file behind, and nobody else can ask it for a process."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with ProcessGroup(1, mp_context="forkserver") as group:
        group.submit(t.doubler, 1).result()
        the_worker(group)
        named = [line for line in Path("/proc/net/unix").read_text().splitlines() if str(tmp_path) in line]
    assert named == []
    assert list(tmp_path.iterdir()) == []


def test_processes_end_with_an_interpreter_that_forgets_them(method: Method, log: Path, tmp_path: Path) -> None:
    program = tmp_path / "parent.py"
    program.write_text(_PARENT.replace("time.sleep(1000)", "t.wait_for(log + '2')"))
    with script(str(program), method, str(log), "sleep") as parent:
        pids = logged(log, 2)
        Path(f"{log}2").touch()
        assert parent.wait(10) == 0
        assert all(map(is_gone, pids))
    assert sys.executable
