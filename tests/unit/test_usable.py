"""How many processors this process may use, and what decides; no process but for what needs another interpreter."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from pathlib import Path

import pytest

from procorch import CpuLimit, ProcessGroup, UsableCpus, _usable, usable_cpus
from procorch._cgroups import Limit

TOP = Path(__file__).parents[2]
READS_WHEN_IT_STARTS = sys.version_info >= (3, 13)


@pytest.fixture(autouse=True)
def _nothing_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PYTHON_CPU_COUNT", raising=False)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Eight processors, of which this process may use six, and no quota."""
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    monkeypatch.setattr("procorch._cpus.usable_cpus", lambda: 6)
    monkeypatch.setattr("procorch._cgroups.cpu_quotas", lambda root: [])
    monkeypatch.setattr(_usable, "_given", lambda: None)
    return monkeypatch


def quotas(monkeypatch: pytest.MonkeyPatch, *amounts: float) -> None:
    limits = [Limit(amount, 2, f"/{number}") for number, amount in enumerate(amounts)]
    monkeypatch.setattr("procorch._cgroups.cpu_quotas", lambda root: limits)


def asked(*arguments: str, **environment: str) -> str:
    """Ask another interpreter."""
    script = "import procorch; usable = procorch.usable_cpus(); print(usable.count, usable.reason, sep='|')"
    command = [sys.executable, *arguments, "-c", script]
    whole = {**os.environ, "PYTHONPATH": str(TOP), **environment}
    return subprocess.run(command, env=whole, capture_output=True, text=True, check=True).stdout.strip()


def test_affinity_decides(machine: pytest.MonkeyPatch) -> None:
    candidates = (CpuLimit("os.cpu_count", 8), CpuLimit("affinity", 6))
    assert usable_cpus() == UsableCpus(6, "affinity", candidates)


def test_where_nothing_leaves_less_the_machine_decides(machine: pytest.MonkeyPatch) -> None:
    machine.setattr("procorch._cpus.usable_cpus", lambda: 8)
    assert usable_cpus().reason == "os.cpu_count"
    quotas(machine, 8.0, 9.5)
    assert (usable_cpus().count, usable_cpus().reason) == (8, "os.cpu_count")
    assert len(usable_cpus().candidates) == 4


def test_the_smallest_quota_decides_rounded_up(machine: pytest.MonkeyPatch) -> None:
    quotas(machine, 5.0, 1.5, 4.0)
    assert (usable_cpus().count, usable_cpus().reason) == (2, "cgroup v2 quota 1.5 of /1")


@pytest.mark.parametrize(("amount", "count"), [(0.001, 1), (1.0, 1), (1.0001, 2), (2.5, 3), (100.0, 6)])
def test_a_quota_is_rounded_up_to_at_least_one(machine: pytest.MonkeyPatch, amount: float, count: int) -> None:
    quotas(machine, amount)
    assert usable_cpus().count == count


def test_a_machine_that_does_not_tell_has_one(machine: pytest.MonkeyPatch) -> None:
    machine.setattr(os, "cpu_count", lambda: None)
    machine.setattr("procorch._cpus.usable_cpus", lambda: 1)
    assert usable_cpus() == UsableCpus(1, "affinity", (CpuLimit("affinity", 1),))


def test_what_the_user_has_set_wins_over_all_else(machine: pytest.MonkeyPatch) -> None:
    machine.setattr(_usable, "_given", lambda: CpuLimit("PYTHON_CPU_COUNT", 40))
    quotas(machine, 1.0)
    assert (usable_cpus().count, usable_cpus().reason) == (40, "PYTHON_CPU_COUNT")
    assert usable_cpus().candidates[1:] == (CpuLimit("cgroup v2 quota 1 of /0", 1),)


def test_a_group_has_as_many_workers(machine: pytest.MonkeyPatch) -> None:
    quotas(machine, 2.5)
    with ProcessGroup() as group:
        assert group._workers == 3
    quotas(machine, 4.5)  # looked up for each group
    with ProcessGroup() as group:
        assert group._workers == 5


def test_the_values_are_frozen() -> None:
    usable = usable_cpus()
    with pytest.raises(AttributeError):
        usable.count = 3  # type: ignore[misc]
    with pytest.raises(AttributeError):
        usable.candidates[0].count = 3  # type: ignore[misc]
    assert usable.count >= 1
    assert usable.reason in {limit.reason for limit in usable.candidates}
    assert all(math.isfinite(limit.count) for limit in usable.candidates)


# --- what the user has set, in another interpreter -------------------------------------------------------------------


def test_the_environment_decides() -> None:
    assert asked(PYTHON_CPU_COUNT="37") == "37|PYTHON_CPU_COUNT"


def test_an_option_of_the_interpreter_decides_before_it() -> None:
    assert asked("-X", "cpu_count=38", PYTHON_CPU_COUNT="37") == "38|-X cpu_count"


def test_the_default_option_means_none_of_both() -> None:
    assert "PYTHON" not in asked("-X", "cpu_count=default", PYTHON_CPU_COUNT="37")
    assert "PYTHON" not in asked(PYTHON_CPU_COUNT="default")


def test_an_interpreter_that_ignores_the_environment_ignores_this() -> None:
    script = f"import sys; sys.path.insert(0, {str(TOP)!r}); import procorch; print(procorch.usable_cpus().reason)"
    command = [sys.executable, "-E", "-c", script]
    environment = {**os.environ, "PYTHON_CPU_COUNT": "37"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert "PYTHON" not in done.stdout


@pytest.mark.skipif(READS_WHEN_IT_STARTS, reason="the interpreter does not start with these")
@pytest.mark.parametrize("text", ["0", "-3", "many", "3.5", "3 ", "", "٣", "9" * 30, "0x4", "1_0"])
def test_what_is_no_number_is_passed_over(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("PYTHON_CPU_COUNT", text)
    assert "PYTHON" not in usable_cpus().reason


@pytest.mark.skipif(READS_WHEN_IT_STARTS, reason="the interpreter reads it itself, when it starts")
@pytest.mark.parametrize(("text", "count"), [("1", 1), (" 3", 3), ("+4", 4), ("007", 7)])
def test_what_the_interpreter_would_take_for_a_number(monkeypatch: pytest.MonkeyPatch, text: str, count: int) -> None:
    monkeypatch.setenv("PYTHON_CPU_COUNT", text)
    assert (usable_cpus().count, usable_cpus().reason) == (count, "PYTHON_CPU_COUNT")
