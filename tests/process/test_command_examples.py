"""Process: the commands that the documentation shows give what it says they give."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import environment

TOP = Path(__file__).parents[2]


def examples() -> list[tuple[str, str]]:
    """Each command with what is to come of it, on standard output or standard error."""
    pages = [TOP / "README.md", TOP / "docs" / "command_line.md"]
    blocks = [block for page in pages for block in re.findall(r"```console\n(.*?)```", page.read_text(), re.DOTALL)]
    parts = [part.partition("\n") for block in blocks for part in re.split(r"(?m)^\$ ", block)[1:]]
    return [(command, output) for command, _, output in parts]


@pytest.mark.parametrize(("command", "output"), examples())
def test_example(command: str, output: str) -> None:
    program = f'procorch() {{ {sys.executable} -m procorch "$@"; }}\nexec 2>&1\n{command}'
    done = subprocess.run(
        ["bash", "-c", program], capture_output=True, text=True, env=environment(), cwd=TOP, timeout=25, check=False
    )
    assert done.stdout == output


def test_there_are_some() -> None:
    assert len(examples()) >= 5
