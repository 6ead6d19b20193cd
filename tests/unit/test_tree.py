"""Unit tests: what the system tells of a process; on small processes of the tests' own."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from helpers import wait_until

from procorch._pgroup import signal_group
from procorch._tree import Strays, descendants, ignores, likely_cause, oom_kills

# --- why a process has died -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (signal.SIGXCPU, "processor time (RLIMIT_CPU)"),
        (signal.SIGXFSZ, "a file's size (RLIMIT_FSIZE)"),
        (signal.SIGSEGV, "memory that it must not"),
        (signal.SIGBUS, "a mapped file was cut short"),
        (signal.SIGABRT, "abort()"),
    ],
)
def test_signals_with_one_usual_cause_tell_it(number: int, words: str) -> None:
    for kills in (0, 1):
        assert words in likely_cause(-number, kills)
        assert not likely_cause(-number, kills).endswith(".")


def test_a_kill_has_a_cause_only_if_the_system_was_short_of_memory() -> None:
    assert likely_cause(-signal.SIGKILL, 0) == ""
    assert "lack of memory" in likely_cause(-signal.SIGKILL, 1)


@pytest.mark.parametrize("exitcode", [None, 0, 1, 9, 11, -signal.SIGTERM, -1000])
def test_other_ends_have_no_cause_that_is_known(exitcode: int | None) -> None:
    assert likely_cause(exitcode, 1) == ""


def test_kills_for_lack_of_memory_are_counted(tmp_path: Path) -> None:
    file = tmp_path / "vmstat"
    file.write_text("nr_free_pages 5\noom_kill_other 3\noom_kill 7\nswap_ra 1\n")
    assert oom_kills(file) == 7


def test_where_the_system_does_not_count_them_there_are_none(tmp_path: Path) -> None:
    assert oom_kills(tmp_path / "nothing") == 0
    (tmp_path / "vmstat").write_text("nr_free_pages 5\n")
    assert oom_kills(tmp_path / "vmstat") == 0


def test_this_system_tells_a_number() -> None:
    assert oom_kills() >= 0


# --- processes --------------------------------------------------------------------------------------------------------


@contextmanager
def program(text: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program in a session of its own, wait until it says so, and end it."""
    command = [sys.executable, "-S", "-c", text]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == b"ready\n"
            yield process
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)


FAMILY = """
import os, sys
for _ in range(2):
    if not os.fork():
        if not os.fork():
            os.setsid()  # a session of its own, out of its group's reach
        break
else:
    print("ready", flush=True)
sys.stdin.read()
"""


def test_descendants_are_found_wherever_they_are() -> None:
    with program(FAMILY) as process:
        wait_until(lambda: len(descendants(process.pid)) == 4)
        found = descendants(process.pid)
        assert len(set(found)) == 4
        wait_until(lambda: sum(os.getpgid(one) != process.pid for one in found) == 2)
        strays = Strays()
        strays.find(process.pid)
        assert signal_group(process.pid, signal.SIGKILL)
        strays.signal(0)  # nothing happens to them yet
        assert sum(map(alive, found)) >= 2
        strays.close()  # they are known, although the leader is gone
        assert process.wait() == -signal.SIGKILL
        # Those out of the group's reach too; whoever adopts them may take a moment to reap them.
        wait_until(lambda: not any(alive(one) for one in found))


def alive(pid: int) -> bool:
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_a_process_without_children_has_no_descendants() -> None:
    with program("print('ready', flush=True); input()") as process:
        assert descendants(process.pid) == []


def test_a_thread_that_ends_meanwhile_hides_no_descendants(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it has started is another thread's then, and that may have been asked before."""
    for thread, child in (("10", "2"), ("11", "3")):
        folder = tmp_path / "1" / "task" / thread
        folder.mkdir(parents=True)
        (folder / "children").write_text(child)
    honest = Path.read_text
    asked: list[Path] = []

    def end_the_second(file: Path) -> str:
        asked.append(file)
        if len(asked) == 2:
            shutil.rmtree(file.parent)
            asked[0].write_text("2 3")
        return honest(file)

    monkeypatch.setattr(Path, "read_text", end_the_second)
    assert sorted(descendants(1, tmp_path)) == [2, 3]
    assert len(asked) == 3


def test_a_process_that_has_ended_has_none_ignores_nothing_and_gets_no_signal() -> None:
    with program("print('ready', flush=True); input()") as process:
        process.kill()
        process.wait()
        assert descendants(process.pid) == []
        assert not ignores(process.pid, signal.SIGTERM)
        assert not signal_group(process.pid, signal.SIGTERM)


IGNORING = """
import signal
signal.signal(signal.SIGTERM, signal.SIG_IGN)
signal.signal(signal.SIGUSR1, lambda *_: None)
print("ready", flush=True)
input()
"""


def test_a_process_that_ignores_a_signal_is_told_from_one_with_a_handler() -> None:
    with program(IGNORING) as process:
        assert ignores(process.pid, signal.SIGTERM)
        assert not ignores(process.pid, signal.SIGUSR1)
        assert not ignores(process.pid, signal.SIGHUP)


def test_where_there_is_no_memory_to_read_what_the_system_tells_it_tells_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A process that is to be killed is killed all the same."""

    def refuse(*_: object, **__: object) -> None:
        raise MemoryError

    for name in ("read_text", "read_bytes", "iterdir"):
        monkeypatch.setattr(Path, name, refuse)
        assert descendants(os.getpid()) == []
        assert not ignores(os.getpid(), signal.SIGTERM)
    assert oom_kills() == 0
