"""Process: each line of the tables for those who come from another library, there and here."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import attrs
import pytest
from helpers import in_session

TOP = Path(__file__).parents[2]
PAGE = TOP / "docs" / "migration.md"

CODE = re.compile(r"`([^`]+)`(?: → `([^`]+)`)?")


@attrs.frozen
class Side:
    """What is written on one side of a row."""

    line: str
    value: str | None
    """What it is said to give, if that differs from the other side."""

    @classmethod
    def of(cls, cell: str) -> Side | None:
        """Read a cell: it may be empty."""
        if not cell:
            return None
        found = CODE.fullmatch(cell)
        assert found, f"neither code nor nothing: {cell}"
        return cls(found[1], found[2])


@attrs.frozen
class Section:
    """What the page says about one library."""

    title: str
    there: tuple[str, ...]
    """The blocks of code that its lines need."""
    here: tuple[str, ...]
    rows: tuple[tuple[Side | None, Side | None], ...]


def blocks(text: str) -> tuple[str, ...]:
    return tuple(re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL))


def section(text: str) -> Section:
    title, _, body = text.partition("\n")
    there, _, here = body.partition("\nand here\n")
    rows = []
    for row in re.findall(r"^\| .* \|$", body, flags=re.MULTILINE)[1:]:
        _, left, right = row[1:-1].split("|")
        rows.append((Side.of(left.strip()), Side.of(right.strip())))
    return Section(title.replace("`", ""), blocks(there), blocks(here), tuple(rows))


COMMON, *SECTIONS = PAGE.read_text().split("\n## From ")
NAMES = blocks(COMMON)
READ = [section(text) for text in SECTIONS]


def run(folder: Path, code: Sequence[str], lines: Sequence[str]) -> list[str]:
    """Run lines in a process of their own, with blocks of code: those that define functions are for workers, too."""
    module = "\n".join(block for block in code if "def " in block)
    (folder / "functions_of_the_page.py").write_text(module)
    opening = "\n".join(block for block in code if "def " not in block)
    task = json.dumps(["functions_of_the_page", opening, lines])
    command = [sys.executable, str(TOP / "tests" / "programs_migration.py")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(TOP), str(folder)])}
    pipe = subprocess.PIPE
    # In a session of its own: a library that hangs is to leave none of its workers.
    with in_session(*command, cwd=folder, env=environment, stdin=pipe, stdout=pipe, stderr=pipe, text=True) as process:
        out, err = process.communicate(task, timeout=50)
    assert process.returncode == 0, err
    values: list[str] = json.loads(out)
    return values


@pytest.fixture(scope="module")
def values_here(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What all lines of the right give, from one process; one that stands there several times is run once."""
    lines = list(dict.fromkeys(right.line for section in READ for _, right in section.rows if right))
    code = [*NAMES, *(block for section in READ for block in section.here)]
    return dict(zip(lines, run(tmp_path_factory.mktemp("here"), code, lines), strict=True))


def wrong(side: Side, value: str, other: str | None) -> list[str]:
    """Tell if a line gives something else than it should."""
    expected = side.value or other
    return [] if expected in {None, value} else [f"{side.line} gives {value}, not {expected}"]


@pytest.mark.limit(60)
@pytest.mark.parametrize("section", READ, ids=lambda section: section.title)
def test_lines_here(section: Section, values_here: dict[str, str]) -> None:
    sides = [right for _, right in section.rows if right]
    assert len(sides) >= 10
    assert [text for side in sides for text in wrong(side, values_here[side.line], None)] == []
    assert [side.line for side in sides if values_here[side.line] == "None"] == []


@pytest.mark.limit(60)
@pytest.mark.parametrize("section", READ, ids=lambda section: section.title)
def test_lines_there(section: Section, values_here: dict[str, str], tmp_path: Path) -> None:
    rows = [(left, right) for left, right in section.rows if left]
    values = run(tmp_path, [*NAMES, *section.there], [left.line for left, _ in rows])
    faults = []
    for value, (left, right) in zip(values, rows, strict=True):
        # A line for which there is no value there may have one here.
        comparable = right is not None and right.value is None and value != "None"
        faults += wrong(left, value, values_here[right.line] if right and comparable else None)
    assert faults == []


def test_every_library_has_its_section() -> None:
    expected = ["multiprocessing.Process", "multiprocessing.Pool", "ProcessPoolExecutor", "joblib", "mpire", "Pebble"]
    assert [section.title for section in READ] == expected
