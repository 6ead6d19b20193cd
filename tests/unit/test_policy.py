"""Unit tests, no process: the numbers to decide by, and the checks of numbers that users give."""

from __future__ import annotations

import math
import os
import threading
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from procorch._policy import Limits, check_count, check_wait, usable_cpus


@given(least=st.integers(0, 5), more=st.integers(0))
def test_a_count_is_given_back(least: int, more: int) -> None:
    assert check_count("n", least + more, least=least) == least + more


@given(least=st.integers(0, 5), less=st.integers(1))
def test_a_count_that_is_too_small_is_refused(least: int, less: int) -> None:
    with pytest.raises(ValueError, match=rf"^retries must be at least {least}, not {least - less}$"):
        check_count("retries", least - less, least=least)


@pytest.mark.parametrize("value", [None, 1.0, "1", True, [1]])
def test_a_count_is_a_whole_number(value: object) -> None:
    with pytest.raises(TypeError, match=r"^max_workers must be an int of at least 1, not "):
        check_count("max_workers", value, least=1)


@given(st.floats(0, 1e8) | st.integers(0, 10**8))
def test_a_wait_is_given_back_as_seconds(value: float) -> None:
    wait = check_wait("timeout", value)
    assert wait == value
    assert isinstance(wait, float)


@pytest.mark.parametrize("value", [None, math.inf, 1e300, 10**400])
def test_a_wait_for_ever_has_no_limit(value: float | None) -> None:
    assert check_wait("timeout", value) is None


def test_the_longest_wait_is_one_that_the_system_takes() -> None:
    longest = check_wait("timeout", math.nextafter(1e9, 0))
    assert longest is not None
    assert longest < threading.TIMEOUT_MAX


@pytest.mark.parametrize("value", [-1, -1e-9, -math.inf, math.nan, -(10**400)])
def test_a_wait_below_nothing_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match=r"^timeout must be at least 0 seconds, not "):
        check_wait("timeout", value)


@pytest.mark.parametrize("value", ["1", True, [], 1j])
def test_a_wait_is_a_number(value: object) -> None:
    with pytest.raises(TypeError, match=r"^timeout must be a number of seconds or None, not "):
        check_wait("timeout", value)


def test_cpus_are_those_that_this_process_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "process_cpu_count", lambda: 3, raising=False)
    assert usable_cpus() == 3


def test_cpus_are_counted_by_affinity_before_3_13(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "process_cpu_count", raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 5}, raising=False)
    assert usable_cpus() == 2


@pytest.mark.parametrize(("count", "expected"), [(4, 4), (None, 1)])
def test_cpus_are_counted_where_nothing_better_is_known(
    monkeypatch: pytest.MonkeyPatch, count: int | None, expected: int
) -> None:
    monkeypatch.delattr(os, "process_cpu_count", raising=False)
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: count)
    assert usable_cpus() == expected


def test_there_is_at_least_one_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    assert usable_cpus() >= 1
    monkeypatch.setattr(os, "process_cpu_count", lambda: None, raising=False)
    assert usable_cpus() == 1


@pytest.mark.parametrize(
    "limits",
    [
        {"max_workers": 0},
        {"chunk_seconds": 0},
        {"chunk_seconds": math.nan},
        {"max_chunk_items": 0},
        {"look_after": 0},
        {"stop_grace": -1},
        {"kill_grace": -1},
        {"max_failed_starts": 0},
        {"max_killed_starts": 0},
        {"max_unbegun_deaths": 0},
    ],
)
def test_limits_are_valid_from_birth(limits: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="must be"):
        Limits(**limits)


def test_limits_do_not_change() -> None:
    with pytest.raises(AttributeError):
        Limits().max_workers = 2  # type: ignore[misc]  # what is tested
