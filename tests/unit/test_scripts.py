"""Unit: where the functions of a command line are looked for."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from procorch._commands.references import UnknownFunction
from procorch._commands.scripts import prepare_path


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", ["/usr/bin"])  # as the installed command finds it, without the current folder


def test_the_current_folder_comes_first_as_with_python_m(tmp_path: Path) -> None:
    assert prepare_path("module:function") == "module:function"
    assert sys.path == [str(tmp_path), "/usr/bin"]
    prepare_path("module:function")
    assert sys.path == [str(tmp_path), "/usr/bin"], "once is enough"


def test_a_script_is_found_beside_whatever_else_there_is(tmp_path: Path) -> None:
    (tmp_path / "jobs").mkdir()
    (tmp_path / "jobs" / "a_script.py").touch()
    assert prepare_path("jobs/a_script.py:work") == "a_script:work"
    assert sys.path[0] == str(tmp_path / "jobs")


def test_without_a_current_folder_nothing_begins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir("gone")
    (tmp_path / "gone").rmdir()
    with pytest.raises(UnknownFunction, match="cannot find the current folder: No such file or directory"):
        prepare_path("module:function")
