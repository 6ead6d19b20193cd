"""What the doctor says of what it finds; no process. That it finds it is tested with real ones."""

from __future__ import annotations

import argparse
import errno
import json
import os
import resource
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from procorch import _extras
from procorch._cgroups import Limit
from procorch._commands import checkup, doctor
from procorch._commands.checkup import EXTRAS, Finding
from procorch._commands.round_trip import Failed, Times, _understood

TOP = Path(__file__).parents[2]


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Callable[[], dict[str, Finding]]:
    """Everything that is found, with start methods that answer at once."""
    monkeypatch.setattr(checkup, "try_out", lambda method, seconds: Times(0.1, 0.0002))
    return lambda: {finding.name: finding for finding in checkup.findings(1.0)}


def refuse(*arguments: object) -> int:
    raise OSError(errno.EPERM, os.strerror(errno.EPERM))


def test_every_library_of_every_extra_is_looked_for() -> None:
    declared = tomllib.loads((TOP / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    del declared["test"]
    assert {extra: lines[0].partition(">=")[0] for extra, lines in declared.items()} == EXTRAS
    # What comes along with the library of an extra has one of its own.
    assert {line.partition(">=")[0] for lines in declared.values() for line in lines} == set(EXTRAS.values())


def test_a_missing_extra_is_named_with_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch, seen: Callable[[], dict[str, Finding]]
) -> None:
    monkeypatch.setattr(_extras, "is_installed", lambda module: module != "tqdm")
    assert seen()["extra progress"].value == "tqdm is not installed: pip install 'procorch[progress]'"
    assert not seen()["extra progress"].advice


def test_a_library_without_metadata_is_there_all_the_same(
    monkeypatch: pytest.MonkeyPatch, seen: Callable[[], dict[str, Finding]]
) -> None:
    monkeypatch.setitem(checkup.EXTRAS, "plot", "tomllib")
    assert seen()["extra plot"].value == "tomllib of unknown version"


def test_a_memfd_that_is_refused_is_a_problem(
    monkeypatch: pytest.MonkeyPatch, seen: Callable[[], dict[str, Finding]]
) -> None:
    monkeypatch.setattr(os, "memfd_create", refuse)
    assert seen()["memfd"].broken
    assert seen()["memfd"].value == "refused: Operation not permitted"


@pytest.mark.parametrize(("name", "function"), [("memfd", "memfd_create"), ("pidfd", "pidfd_open")])
def test_what_the_system_has_not_is_noted(
    monkeypatch: pytest.MonkeyPatch, seen: Callable[[], dict[str, Finding]], name: str, function: str
) -> None:
    monkeypatch.delattr(os, function)
    finding = seen()[name]
    assert (finding.value, finding.broken) == ("no", False)
    assert finding.advice


def test_a_pidfd_that_is_refused_is_noted(
    monkeypatch: pytest.MonkeyPatch, seen: Callable[[], dict[str, Finding]]
) -> None:
    monkeypatch.setattr(os, "pidfd_open", refuse)
    assert not seen()["pidfd"].broken
    assert "5.3" in seen()["pidfd"].advice


def test_a_system_without_dev_shm(monkeypatch: pytest.MonkeyPatch, seen: Callable[[], dict[str, Finding]]) -> None:
    monkeypatch.setattr(os, "statvfs", refuse)
    assert seen()["/dev/shm"].value == "no"
    assert not seen()["/dev/shm"].broken


def test_too_few_open_files(monkeypatch: pytest.MonkeyPatch, seen: Callable[[], dict[str, Finding]]) -> None:
    monkeypatch.setattr(checkup, "usable_cpus", lambda: SimpleNamespace(count=32, reason="x", candidates=()))
    monkeypatch.setattr(resource, "getrlimit", lambda number: (256, resource.RLIM_INFINITY))
    finding = seen()["limit of open files"]
    assert finding.value == "256 of at most unlimited"
    assert "ulimit -n 320" in finding.advice


def test_limits_of_memory(monkeypatch: pytest.MonkeyPatch, seen: Callable[[], dict[str, Finding]]) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda number: (8 << 20, 3 << 30))
    assert seen()["limit of locked memory"].value == "8 MiB of at most 3 GiB"
    monkeypatch.setattr("procorch._cgroups.memory_limits", lambda: [Limit(2 << 30, 2, "/a"), Limit(1 << 29, 2, "/")])
    assert seen()["memory of control groups"].value == "512 MiB (cgroup v2, /)"
    monkeypatch.setattr("procorch._cgroups.memory_limits", list)
    assert seen()["memory of control groups"].value == "no limit"


@pytest.mark.parametrize(
    ("number", "text"), [(0, "0 bytes"), (1023, "1023 bytes"), (1024, "1 KiB"), (1 << 60, "1.049e+06 TiB")]
)
def test_numbers_of_bytes(number: int, text: str) -> None:
    assert checkup._bytes(number) == text


def test_only_the_default_start_method_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkup, "try_out", lambda method, seconds: Failed("it is ill"))
    broken = [finding.broken for finding in checkup.findings(1.0) if finding.value == "failed: it is ill"]
    assert broken == [True, False, False]


def test_another_system_is_noted(monkeypatch: pytest.MonkeyPatch, seen: Callable[[], dict[str, Finding]]) -> None:
    assert not seen()["platform"].advice
    monkeypatch.setattr(sys, "platform", "darwin")
    assert "Linux" in seen()["platform"].advice


# --- what another interpreter has said --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("output", "errors", "expected"),
    [
        ("[0.5, 0.25]\n", "", Times(0.5, 0.25)),
        ("", "Traceback ...\nValueError: no\n", Failed("ValueError: no")),
        ("", "", Failed("it ended with exit code -9")),
        ("[0.5", "", Failed("it ended with exit code -9")),
    ],
)
def test_what_it_says_is_understood(output: str, errors: str, expected: Times | Failed) -> None:
    assert _understood(output, errors, -9) == expected


# --- the command ------------------------------------------------------------------------------------------------------


def run(*arguments: str) -> int:
    parser = argparse.ArgumentParser()
    doctor.add_to(parser.add_subparsers())
    given = parser.parse_args(["doctor", *arguments])
    code = given.run(given)
    assert isinstance(code, int)
    return code


@pytest.fixture
def ill(monkeypatch: pytest.MonkeyPatch) -> None:
    def found(seconds: float) -> Iterator[Finding]:
        yield Finding("heart", "beats")
        yield Finding("knee", "creaks", "sit down")
        yield Finding("head", "missing", "get another", broken=True)

    monkeypatch.setattr(doctor, "findings", found)


@pytest.mark.usefixtures("ill")
def test_lines_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    assert run() == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("procorch: 0.")
    assert lines[1:] == [
        "heart: beats",
        "knee: creaks",
        "  note: sit down",
        "head: missing",
        "  problem: get another",
        "result: it does not work: head",
    ]


@pytest.mark.usefixtures("ill")
def test_json_for_machines(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--json") == 1
    said = json.loads(capsys.readouterr().out)
    assert said["works"] is False
    assert said["findings"][3] == {"name": "head", "value": "missing", "advice": "get another", "broken": True}


@pytest.mark.parametrize("text", ["0", "-1", "nan", "inf", "soon"])
def test_a_limit_that_is_none(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        run(f"--timeout={text}")
    assert ended.value.code == 2
    assert "--timeout" in capsys.readouterr().err
