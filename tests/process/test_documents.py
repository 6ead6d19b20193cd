"""Process: the examples of the documentation and of the README run as they stand, as scripts of their own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

TOP = Path(__file__).parents[2]
EXAMPLES = sorted((TOP / "docs" / "examples").glob("*.py"))


def run(*arguments: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(TOP)}
    command = [sys.executable, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=50, check=False)
    assert done.stderr == ""
    assert done.returncode == 0
    return done.stdout


@pytest.mark.limit(60)
@pytest.mark.parametrize("example", EXAMPLES, ids=[path.stem for path in EXAMPLES])
def test_example(example: Path) -> None:
    assert run(str(example))


@pytest.mark.limit(60)
def test_the_main_job_prints_each_item_and_agrees_with_a_serial_run() -> None:
    output = run("-m", "procorch", "demo")
    lines = re.findall(r"(\d+) doubled is +(\d+) +by (\S+) +pid (\d+)", output)
    assert {(number, double, name) for number, double, name, _ in lines} == {
        ("5", "10", "doubler-1"),
        ("10", "20", "doubler-2"),
        ("15", "30", "doubler-3"),
        ("20", "40", "doubler-4"),
        ("25", "50", "doubler-5"),
        ("2", "4", "Test"),
    }
    assert len({pid for *_, pid in lines}) == 6
    assert "the same" in output


def test_readme(tmp_path: Path) -> None:
    blocks = re.findall(r"```python\n(.*?)```", (TOP / "README.md").read_text(), flags=re.DOTALL)
    outputs = []
    for number, block in enumerate(blocks):
        script = tmp_path / f"block{number}.py"
        script.write_text(block)
        outputs.append(run(str(script)))
    first = outputs[0].splitlines()
    assert first[:2] == ["[10, 20, 30, 40, 50]", "[10, 20]"]
    assert {line.split()[0] for line in first[2:]} == {"doubler-1", "doubler-2", "Test"}


def test_every_example_is_shown_or_run_by_a_command() -> None:
    pages = "".join(path.read_text() for path in [TOP / "README.md", *(TOP / "docs").glob("*.md")])
    assert [path.name for path in EXAMPLES if f"examples/{path.name}" not in pages] == []
