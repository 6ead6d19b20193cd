"""Process: `doctor` in a real system, a poor one, and an ill one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import Method, is_gone, wait_until

import procorch
from procorch._commands.round_trip import Failed, Times, try_out

TOP = Path(__file__).parents[2]
DOCTOR = """
import argparse, sys
from procorch._commands import doctor
parser = argparse.ArgumentParser()
doctor.add_to(parser.add_subparsers())
given = parser.parse_args(["doctor", *sys.argv[1:]])
sys.exit(given.run(given))
"""
HANGS = """
import os, signal, sys
if any({what!r} in argument for argument in sys.orig_argv):
    with open(os.path.join(os.path.dirname(__file__), "pids"), "a") as pids:
        print(os.getpid(), file=pids)
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    signal.pause()
"""
CRASHES = """
import os, sys
if any({what!r} in argument for argument in sys.orig_argv):
    os._exit(3)
"""


def doctor(*arguments: str, path: Path | None = None, options: tuple[str, ...] = ()) -> tuple[int, str]:
    """Run it, with a folder before all others where modules are looked for."""
    folders = os.pathsep.join(map(str, filter(None, [path, TOP])))
    command = [sys.executable, *options, "-c", DOCTOR, *arguments]
    environment = {**os.environ, "PYTHONPATH": folders}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=50, check=False)
    assert done.stderr == ""
    return done.returncode, done.stdout


def ill(folder: Path, text: str, what: str) -> Path:
    """Make interpreters ill that have a text in their command lines."""
    (folder / "sitecustomize.py").write_text(text.format(what=what))
    return folder


@pytest.mark.limit(60)
def test_a_healthy_system() -> None:
    code, said = doctor()
    assert code == 0, said
    lines = dict(line.split(": ", 1) for line in said.splitlines())
    assert lines["procorch"] == procorch.__version__
    assert sys.executable in lines["Python"]
    assert lines["start methods"].startswith("forkserver (default)")
    assert int(lines["usable CPUs"].split()[0]) == procorch.usable_cpus().count
    for method in ("forkserver", "spawn", "fork"):
        assert "ms to start" in lines[f"round trip with {method}"]
    assert lines["result"] == "procorch works here"


@pytest.mark.limit(60)
def test_as_json() -> None:
    code, said = doctor("--json")
    found = json.loads(said)
    assert (code, found["works"]) == (0, True)
    assert {"Python", "memfd", "pidfd", "/dev/shm", "extra title"} <= {one["name"] for one in found["findings"]}


@pytest.mark.limit(60)
def test_an_installation_without_extras(tmp_path: Path) -> None:
    import attrs
    import typing_extensions

    for module in ("attr", "attrs"):
        (tmp_path / module).symlink_to(Path(str(attrs.__file__)).parents[1] / module)
    (tmp_path / "typing_extensions.py").symlink_to(str(typing_extensions.__file__))
    code, said = doctor(path=tmp_path, options=("-S",))
    assert code == 0, said
    assert "extra pickle: cloudpickle is not installed: pip install 'procorch[pickle]'" in said
    assert said.count("is not installed: pip install") == 7


@pytest.mark.limit(60)
def test_a_fork_server_that_hangs_is_a_problem_and_nothing_waits_for_it(tmp_path: Path) -> None:
    path = ill(tmp_path, HANGS, "procorch._server")
    # For the others long enough, whatever else the machine has to do.
    code, said = doctor("--timeout=10", path=path)
    assert code == 1
    assert "round trip with forkserver: failed: no answer within 10 s\n  problem: " in said
    assert "result: it does not work: round trip with forkserver" in said
    assert said.count("ms to start") == 2
    pids = [int(pid) for pid in (path / "pids").read_text().split()]
    assert pids
    wait_until(lambda: all(map(is_gone, pids)))


@pytest.mark.limit(60)
def test_another_start_method_that_crashes_is_noted(tmp_path: Path) -> None:
    path = ill(tmp_path, CRASHES, "multiprocessing.spawn")
    code, said = doctor(path=path)
    assert code == 0
    assert "round trip with spawn: failed: " in said
    assert "  note: do not use it" in said


def test_a_start_method_is_tried(method: Method) -> None:
    result = try_out(method, 20.0)
    assert isinstance(result, Times)
    assert 0 < result.call < result.start < 20


def test_an_interpreter_that_cannot_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("multiprocessing.spawn.get_executable", lambda: b"/no/such/python")
    result = try_out("fork", 20.0)
    assert isinstance(result, Failed)
    assert result.reason.startswith("cannot start /no/such/python: ")
