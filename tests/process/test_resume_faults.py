"""Process: what a checkpoint keeps when the parent is killed, the disk is full, or somebody else has the file."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from helpers import Method, executions, script
from targets_resume import kill_parent_at, square_logged

from procorch import CheckpointError, ProcessGroup, TaskInterrupted
from procorch._checkpoints.ledger import Ledger

TESTS = Path(__file__).parents[1]
PROGRAM = ("-c", "import programs_resume; programs_resume.main()")


def read(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline()


def run(name: str, *arguments: object) -> str:
    """Run one of the programs to its end."""
    with script(*PROGRAM, name, *map(str, arguments), stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        output = process.stdout.read()
        assert process.wait() == 0
    return output


@pytest.fixture
def database(tmp_path: Path) -> Path:
    folder = tmp_path / "kept"
    folder.mkdir()
    return folder / "run.db"


def reports(log: Path) -> Counter[int]:
    path = Path(f"{log}-reports")
    return executions(path) if path.exists() else Counter()


@pytest.mark.limit(120)
@pytest.mark.parametrize(("engine", "kills"), [("processes", 50), ("threads", 8)])
def test_killed_again_and_again(database: Path, log: Path, engine: str, kills: int) -> None:
    # What it gives is compared there with an uninterrupted run.
    count = 50 * kills
    assert run("run_fifty", database, log, count, kills, engine) == "kills left 0\n"
    ran, told = executions(log), reports(log)
    assert set(ran) == set(range(count))
    assert {number for number, times in ran.items() if times > 1 + told[number]} == set()
    assert told.total() > kills // 2, "it was killed at work"
    assert sorted(path.name for path in database.parent.iterdir()) == ["run.db"]


@pytest.mark.parametrize("retries", [0, 1])
def test_an_item_that_was_running_is_reported_or_tried_again(
    method: Method, database: Path, log: Path, retries: int
) -> None:
    arguments = str(database), str(log), method, str(retries)
    with script(*PROGRAM, "run_killing_itself", *arguments) as process:
        assert process.wait() == -signal.SIGKILL
    output = run("run_killing_itself", *arguments)
    if retries:
        assert output == f"{[number * number for number in range(20)]}\n"
        assert executions(log)[7] == 2
    else:
        assert "TaskInterrupted" in output
        assert executions(log)[7] == 1
    ran = executions(log)
    assert set(ran) == set(range(20))
    # What had ended just before, and was not recorded yet, is in doubt as well.
    assert max(ran.values()) == 1 + retries


def test_without_the_notes_everything_is_in_doubt(database: Path, log: Path) -> None:
    with script(*PROGRAM, "run_killing_itself", str(database), str(log), "fork", "0") as process:
        process.wait()
    Path(f"{database}-begun").unlink()
    arguments = [str(log)] * 20, range(20), [7] * 20
    with ProcessGroup(2) as group:
        first = group.map(kill_parent_at, *arguments, checkpoint=database, return_exceptions=True)
        doubtful = [one for one in first if isinstance(one, TaskInterrupted)]
        assert isinstance(first[7], TaskInterrupted)
        assert len(doubtful) + sum(isinstance(one, int) for one in first) == 20
        assert not any(one.certain for one in doubtful)
        assert "may have begun (what had is not known)" in str(first[7])
        ran = executions(log)
        second = group.map(kill_parent_at, *arguments, checkpoint=database)
        assert second == [number * number for number in range(20)]
        assert executions(log).total() == ran.total() + len(doubtful)


def test_another_process_is_kept_out(database: Path, log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from procorch._checkpoints import run as module

    monkeypatch.setattr(module, "_PATIENCE_SECONDS", 0.2)
    with (
        script(*PROGRAM, "run_until_told", str(database), str(log), stdout=subprocess.PIPE) as process,
        ProcessGroup(1) as group,
    ):
        assert read(process) == "0\n"
        with pytest.raises(CheckpointError, match=f"is in use by process {process.pid}$"):
            group.map(square_logged, [str(log)] * 999, range(999), checkpoint=database)
        monkeypatch.undo()
        process.kill()
        # Its workers are waited for.
        results: list[Any] = group.map(
            square_logged, [str(log)] * 999, range(999), checkpoint=database, return_exceptions=True
        )
    assert results[0] == 0
    assert all(times == 1 for times in executions(log).values())


@pytest.mark.parametrize("there", [False, True])
def test_a_folder_where_nothing_can_be_written(tmp_path: Path, there: bool) -> None:
    # Root may write anywhere: there the program becomes somebody else.
    with Folder() as folder:
        database = folder / "run.db"
        if there:
            with ProcessGroup(1) as group:
                group.map(square_logged, [str(tmp_path / "log")] * 3, range(3), checkpoint=database)
            if os.geteuid() == 0:
                os.chown(database, 65534, 65534)
        folder.chmod(0o555)
        output = run("run_as_nobody", database, folder / "log")
        assert output.startswith(f"CheckpointError the checkpoint {str(database)!r} cannot be made")
        assert output.endswith(": Permission denied\n")
        assert "Permission denied" in output
        assert [path.name for path in folder.iterdir()] == ["run.db"] * there


class Folder:
    """One that every user can get to."""

    def __enter__(self) -> Path:
        self._path = Path(os.path.realpath(subprocess.check_output(["mktemp", "-d"], text=True).strip()))
        self._path.chmod(0o755)
        return self._path

    def __exit__(self, *_: object) -> None:
        self._path.chmod(0o755)
        for path in self._path.iterdir():
            path.unlink()
        self._path.rmdir()


def can_mount() -> bool:
    command = ["unshare", "-m", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


@pytest.mark.limit(60)
@pytest.mark.skipif(not can_mount(), reason="only who may mount can have a small disk")
def test_a_full_disk(tmp_path: Path, log: Path) -> None:
    folder = tmp_path / "small"
    folder.mkdir()
    command = ["unshare", "-m", sys.executable, *PROGRAM, "run_on_full_disk", str(folder), str(log)]
    path = os.pathsep.join([str(TESTS), str(TESTS.parent)])
    done = subprocess.run(
        command, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": path}, timeout=50, check=False
    )
    assert done.returncode == 0, done.stderr
    first, recorded, *_, last = done.stdout.splitlines()
    assert "is full" in first or "No space left" in first or "I/O error" in first
    assert 5 < int(recorded.split()[1]) < 300
    assert last == "True"
    told = reports(log)
    assert {number for number, times in executions(log).items() if times > 1 + told[number]} == set()


def test_notes_that_cannot_be_read_any_more(database: Path, log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a disk that breaks: the call says so, and what has run since is in doubt."""

    def fail(*_: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    def run_all() -> list[Any]:
        with ProcessGroup(2, mp_context="fork") as group:
            return group.map(partial(square_logged, str(log)), range(10), checkpoint=database, return_exceptions=True)

    with monkeypatch.context() as broken:
        broken.setattr(Ledger, "counts", fail)
        with pytest.raises(CheckpointError, match="cannot be read: Input/output error"):
            run_all()
    done = executions(log)
    told = [type(one) for one in run_all()]
    assert told.count(TaskInterrupted) == len(done) > 0
    assert set(executions(log).values()) == {1}
    assert run_all() == [number**2 for number in range(10)]
