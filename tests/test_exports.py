"""Architecture: the public names, and the name by which each is known everywhere."""

from __future__ import annotations

import ast
import importlib
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

import procorch
from procorch import engines

every_name = pytest.mark.parametrize("name", procorch.__all__)


def homes() -> dict[str, str]:
    found = vars(procorch)["_HOMES"]
    assert isinstance(found, dict)
    return found


def test_names_are_sorted_and_each_has_a_home() -> None:
    assert procorch.__all__ == sorted(procorch.__all__)
    assert set(procorch.__all__) == set(homes())


def test_type_checkers_see_the_same_names_in_the_same_homes() -> None:
    tree = ast.parse(Path(procorch.__file__).read_text())
    seen: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("procorch."):
            for alias in node.names:
                assert alias.asname == alias.name, "not exported explicitly"
                seen[alias.name] = str(node.module).removeprefix("procorch.")
    assert seen == homes()


@every_name
def test_a_name_is_what_its_home_defines(name: str) -> None:
    home = importlib.import_module(f"procorch.{homes()[name]}")
    assert getattr(procorch, name) is getattr(home, name)


@every_name
def test_a_name_is_known_by_its_public_module(name: str) -> None:
    value = getattr(procorch, name)
    assert value.__module__ == "procorch"
    assert value.__qualname__ == name
    assert value.__doc__


@every_name
def test_a_class_pickles_by_its_public_name(name: str) -> None:
    value = getattr(procorch, name)
    payload = pickle.dumps(value, 0)
    assert f"procorch\n{name}\n".encode() in payload
    assert pickle.loads(payload) is value


def test_a_fresh_process_finds_a_name_by_pickle_alone() -> None:
    program = "import pickle, sys; print(pickle.load(sys.stdin.buffer))"
    error = procorch.GroupClosed("etl", "is closed")
    done = subprocess.run([sys.executable, "-c", program], input=pickle.dumps(error), capture_output=True, check=True)
    assert done.stdout.decode().strip() == str(error)


@pytest.mark.parametrize("name", ["NoSuchName", "_HOME", "__wrapped__", "Processgroup"])
def test_an_unknown_name_is_an_attribute_error(name: str) -> None:
    with pytest.raises(AttributeError, match=f"module 'procorch' has no attribute '{name}'"):
        getattr(procorch, name)
    with pytest.raises(ImportError, match=name):
        exec(f"from procorch import {name}", {})


def test_everything_can_be_imported_at_once() -> None:
    names: dict[str, object] = {}
    exec("from procorch import *", names)
    assert set(procorch.__all__) <= set(names)


def test_dir_lists_the_public_names() -> None:
    listed = dir(procorch)
    assert set(procorch.__all__) <= set(listed)
    assert "__version__" in listed
    assert listed == sorted(listed)


def test_dir_lists_names_that_nobody_has_asked_for() -> None:
    program = "import procorch; print(set(procorch.__all__) <= set(dir(procorch)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True"


def test_the_version_is_a_version() -> None:
    assert all(part.isdigit() for part in procorch.__version__.split(".")[:3])


# --- engines ----------------------------------------------------------------------------------------------------------

every_engine_name = pytest.mark.parametrize("name", engines.__all__)


def test_names_of_engines_are_sorted() -> None:
    assert engines.__all__ == sorted(engines.__all__)


@every_engine_name
def test_a_name_of_engines_is_known_by_its_public_module(name: str) -> None:
    value = getattr(engines, name)
    assert value.__module__ == "procorch.engines"
    assert value.__qualname__ == name
    assert value.__doc__
    assert pickle.loads(pickle.dumps(value)) is value


def test_the_engine_of_dask_is_known_by_its_module() -> None:
    dask = pytest.importorskip("procorch.engines.dask", reason="needs distributed", exc_type=ImportError)
    assert dask.__all__ == ["DaskEngine"]
    assert dask.DaskEngine.__module__ == "procorch.engines.dask"
    assert dask.DaskEngine.__doc__


def test_a_fresh_process_finds_what_an_engine_keeps_by_pickle_alone() -> None:
    program = "import pickle, sys; print(pickle.load(sys.stdin.buffer))"
    kept = engines.Capabilities(limit=True)
    done = subprocess.run([sys.executable, "-c", program], input=pickle.dumps(kept), capture_output=True, check=True)
    assert done.stdout.decode().strip() == str(kept)


def test_help_of_calls_is_that_of_the_reference() -> None:
    with procorch.ProcessGroup(1) as group:
        view = group.options(retries=1)
        for call in (group.map, group.imap, view.map, view.imap, procorch.ProcessGroup.map):
            assert "checkpoint (str | PathLike[str]" in str(call.__doc__)
