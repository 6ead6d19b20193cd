"""Process: the benchmarks' command, with what needs no peer to be installed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from records import Report

TOP = Path(__file__).parents[2]


@pytest.mark.limit(60)
def test_the_command(tmp_path: Path) -> None:
    command = [sys.executable, str(TOP / "benchmarks" / "run.py"), "--quick", "--only", "trivial"]
    done = subprocess.run(
        [*command, "--peers", "serial,procorch,pool", "--out", str(tmp_path)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(TOP)},
        timeout=50,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    report = Report.read(tmp_path / "results.json")
    assert [result.job.row for result in report.results] == ["serial", "procorch", "pool", "pool (tuned)"]
    for result in report.results:
        assert result.found.value, result.found.word
        assert result.cpu
    assert "**procorch**" in (tmp_path / "results.md").read_text()
