"""Process: what the command line shows of a run: progress on a terminal, and traces."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import struct
import termios
from pathlib import Path

import pytest
from commands import lines, ran, started
from helpers import read_all

GIVEN = "1\n2\nx\n4\n"


def test_progress_is_drawn_on_a_terminal() -> None:
    pytest.importorskip("tqdm")
    terminal, end = pty.openpty()
    fcntl.ioctl(end, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))  # rows and columns
    with started("map", "--progress", "builtins:int", stderr=end) as process:
        os.close(end)
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(GIVEN.encode())
        process.stdin.close()
        seen = read_all(terminal)
        assert process.stdout.read() == b"1\n2\n4\n"
        assert process.wait() == 1
    assert "\r\x1b[Kline 3: ValueError: invalid literal" in seen
    assert re.search(r"int: 4it \[\d", seen), seen


def test_progress_is_silent_elsewhere() -> None:
    pytest.importorskip("tqdm")
    done = ran("map", "--progress", "builtins:int", given=GIVEN)
    assert (done.returncode, done.stdout) == (1, "1\n2\n4\n")
    assert [line.split(":")[0] for line in lines(done.stderr)] == ["line 3"]


def test_progress_without_its_extra(tmp_path: Path) -> None:
    (tmp_path / "tqdm.py").write_text("raise ImportError\n")
    done = ran("map", "--progress", "builtins:int", given=GIVEN, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "procorch map: progress=True needs tqdm: pip install 'procorch[progress]'\n"


def test_a_trace(tmp_path: Path) -> None:
    file = tmp_path / "run.json"
    done = ran("map", "-j2", "--trace", str(file), "builtins:int", given=GIVEN)
    assert (done.returncode, done.stdout) == (1, "1\n2\n4\n")
    assert "builtins.int" in json.dumps(json.loads(file.read_text()))
    shown = ran("trace", str(file))
    assert shown.returncode == 0, shown.stderr
    assert "map-1" in shown.stdout


def test_a_trace_and_giving_up_go_together(tmp_path: Path) -> None:
    file = tmp_path / "run.json"
    done = ran("map", "--halt", "now,fail=1", "--trace", str(file), "builtins:int", given=GIVEN)
    assert done.returncode == 1
    assert "gave up" in done.stderr
    assert json.loads(file.read_text())


def test_a_trace_that_cannot_be_written() -> None:
    done = ran("map", "--trace", "/nowhere/run.json", "builtins:int", given=GIVEN)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "procorch map: cannot write /nowhere/run.json: No such file or directory\n"
