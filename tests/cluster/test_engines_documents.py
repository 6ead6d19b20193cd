"""Process: the recipes for engines run as they stand, where their library is; and their page tells the truth."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import attrs
import pytest

from procorch.engines import Capabilities, _executors

TOP = Path(__file__).parents[2]
RECIPES = TOP / "docs" / "examples" / "engines"
PAGE = (TOP / "docs" / "engines.md").read_text()


def run(*command: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(TOP)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=80, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def needs(library: str) -> None:
    if find_spec(library) is None:
        pytest.skip(f"needs {library}")


JOB = str(RECIPES / "job.py")
PI = "pi is about 3.142\n"


@pytest.mark.limit(90)
def test_the_job_runs_on_one_machine() -> None:
    assert run(sys.executable, JOB) == PI


@pytest.mark.limit(90)
@pytest.mark.cluster
def test_the_same_job_runs_on_dask(dask_address: str) -> None:
    assert run(sys.executable, JOB, "dask", dask_address) == PI


@pytest.mark.limit(90)
@pytest.mark.parametrize("library", ["executorlib", "ipyparallel", "mpi4py", "parsl"])
def test_an_executor(library: str) -> None:
    needs(library)
    script = str(RECIPES / f"on_{library.removesuffix('4py')}.py")
    before = ["mpiexec", "-n", "3", sys.executable, "-m", "mpi4py.futures"] if library == "mpi4py" else [sys.executable]
    assert run(*before, script) == "[0, 1, 4, 9, 16, 25, 36, 49, 64, 81]\n"


def test_every_recipe_is_shown() -> None:
    assert [path.name for path in RECIPES.glob("*.py") if f"examples/engines/{path.name}" not in PAGE] == []


def table() -> Iterator[tuple[str, list[str]]]:
    """Read what the page says of each capability."""
    for name, rest in re.findall(r"(?m)^\| `(\w+)`: [^|]*((?:\| [^|]+)+)\|$", PAGE):
        yield name, [cell.strip() for cell in rest.split("|")[1:]]


def test_the_page_has_the_table_that_is_in_the_code() -> None:
    pytest.importorskip("distributed")
    from procorch._engine import ALL
    from procorch.engines import dask, ray

    columns = [ALL, dask.ISOLATED, dask.BARE, ray.ISOLATED, ray.BARE, _executors.ISOLATED, _executors.BARE]
    words = {True: "yes", False: "no"}
    found = dict(table())
    assert list(found) == [field.name for field in attrs.fields(Capabilities)]
    for name, cells in found.items():
        assert cells == [words.get(getattr(one, name), getattr(one, name)) for one in columns], name
