"""Process: the bar of ``progress=True`` in real programs: on a terminal, a pipe, a file, in a notebook."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import termios
from pathlib import Path

import pytest
from helpers import Method, read_all, script, wait_until

TOP = Path(__file__).parents[2]

_PROGRAM = """
import itertools, sys, threading
import tqdm
import targets as t
from procorch import ProcessGroup

def main(ending, method):
    with ProcessGroup(2, mp_context=method) as group:
        if ending == "whole":
            print(sum(group.map(t.doubler, range(20), progress=True)))
        elif ending == "failures":
            group.map(t.divide, [0, 1, 0], return_exceptions=True, progress=True)
        elif ending == "error":
            try:
                group.map(t.divide, [0], progress=True)
            except ZeroDivisionError:
                pass
        elif ending == "break":
            for _ in group.imap(t.doubler, itertools.count(), progress=True):
                break
        elif ending == "two":
            for _ in range(2):
                group.map(t.doubler, range(3), progress=True)
        assert [thread.name for thread in threading.enumerate()][1:] == [f"procorch-{group._supervisor.name}"]
    assert not hasattr(tqdm.std.TqdmDefaultWriteLock, "mp_lock"), "it has a lock that workers could take with them"
    print("good")

if __name__ == "__main__":
    main(*sys.argv[1:])
"""


def at_a_terminal(*command: str, **variables: str) -> tuple[str, str, int]:
    """Run a program whose standard error is a terminal; give what it printed, what was drawn, and its exit code."""
    terminal, other = open_terminal()
    with open_program(*command, stderr=other, **variables) as process:
        os.close(other)
        drawn = read_all(terminal).replace("\r\n", "\n")
        assert process.stdout is not None
        return process.stdout.read(), drawn, process.wait(20)


def open_terminal() -> tuple[int, int]:
    terminal, other = pty.openpty()
    termios.tcsetwinsize(other, (24, 100))  # or it has no columns, and what is drawn has none either
    return terminal, other


def open_program(*command: str, stderr: int, **variables: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, *command],
        env={**os.environ, "PYTHONPATH": f"{TOP / 'tests'}:{TOP}", "TERM": "xterm", **variables},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
    )


@pytest.fixture
def program(tmp_path: Path) -> str:
    path = tmp_path / "program.py"
    path.write_text(_PROGRAM)
    return str(path)


@pytest.mark.parametrize(
    ("ending", "lines"),
    [
        ("whole", ["doubler: 100%|| 20/20 ["]),
        ("failures", ["divide: 100%|| 3/3 [", "failed=2]"]),
        ("error", ["divide: 100%|| 1/1 [", "failed=1]"]),
        ("break", ["doubler: "]),
        ("two", ["doubler: 100%|| 3/3 ["]),
    ],
)
def test_a_terminal_shows_a_bar_and_is_left_in_order(program: str, ending: str, lines: list[str]) -> None:
    printed, drawn, code = at_a_terminal(program, ending, "forkserver")
    assert code == 0, drawn
    assert printed.endswith("good\n")
    last = drawn.rpartition("\r")[2]
    for line in lines:
        before, _, after = line.partition("||")
        assert before in last
        assert after in last
    assert drawn.endswith("\n")
    assert drawn.count("\n") == (2 if ending == "two" else 1)


def test_with_each_start_method(program: str, method: Method) -> None:
    printed, drawn, code = at_a_terminal(program, "whole", method)
    assert (printed, code) == ("380\ngood\n", 0)
    assert "| 20/20 [" in drawn


@pytest.mark.parametrize("kind", ["pipe", "file"])
def test_nothing_is_written_where_there_is_no_terminal(program: str, tmp_path: Path, kind: str) -> None:
    path = tmp_path / "errors"
    with path.open("w") as file:
        stderr = file.fileno() if kind == "file" else subprocess.PIPE
        with open_program(program, "failures", "forkserver", stderr=stderr) as process:
            printed, errors = process.communicate(timeout=20)
    assert printed == "good\n"
    assert (errors if kind == "pipe" else path.read_text()) == ""


def test_tqdm_is_switched_off_by_its_own_variable(program: str) -> None:
    printed, drawn, code = at_a_terminal(program, "whole", "forkserver", TQDM_DISABLE="1")
    assert (printed, drawn, code) == ("380\ngood\n", "", 0)


@pytest.mark.limit(60)
@pytest.mark.parametrize("call", ["map", "imap"])
def test_ctrl_c_leaves_the_line(call: str, log: Path) -> None:
    terminal, other = open_terminal()
    with script("-m", "targets_progress", str(log), call, "bar", stderr=other) as process:
        os.close(other)
        wait_until(log.read_text)
        drawn = b""
        while b" 3/50 [" not in drawn and b" 3it [" not in drawn:
            drawn += os.read(terminal, 1 << 16)
        os.killpg(process.pid, signal.SIGINT)
        rest = read_all(terminal).replace("\r\n", "\n")
        assert process.wait(20) in {-signal.SIGINT, 130}
    line, _, traceback = rest.partition("\n")
    assert "begin_or_wait: " in line
    assert traceback.startswith("Traceback")
    assert traceback.count("Traceback") == 1
    assert "KeyboardInterrupt" in traceback.splitlines()[-1]  # in colours, since Python 3.13


@pytest.mark.limit(90)
def test_a_notebook(tmp_path: Path) -> None:
    cells = [
        "from procorch import ProcessGroup\ngroup = ProcessGroup(1)",
        "results = group.map(str, range(20), progress=True)",
        "print(len(results)); group.close()",
    ]
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(TOP / "tests" / "kernel.py")],
        input=json.dumps(cells),
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(TOP), "IPYTHONDIR": str(tmp_path), "PYTHONWARNINGS": "ignore"},
        capture_output=True,
        text=True,
        timeout=80,
        check=False,
    )
    first, drawn, last = json.loads(done.stdout)
    assert (first, last) == ("", "20\n")
    # As a line of text, or as what the extension of the notebook makes of it: its kind differs from place to place.
    assert "20/20" in drawn, done.stderr
