"""Unit tests, no process: the numbers to decide by, and the checks of numbers that users give."""

from __future__ import annotations

import math
import os
import threading
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from procorch._cpus import usable_cpus
from procorch._policy import (
    Backoff,
    Limits,
    check_backoff,
    check_bool,
    check_callable,
    check_count,
    check_limit,
    check_name,
    check_wait,
)


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


@pytest.mark.parametrize("value", [None, math.inf, 1e9, 1e300, 10**400])
def test_a_wait_for_ever_has_no_limit(value: float | None) -> None:
    assert check_wait("timeout", value) is None


def test_a_switch_is_true_or_false() -> None:
    assert (check_bool("logs", True), check_bool("logs", False)) == (True, False)
    with pytest.raises(TypeError, match=r"^logs must be True or False, not 1$"):
        check_bool("logs", 1)


def test_a_function_can_be_called() -> None:
    check_callable("fn", len)
    with pytest.raises(TypeError, match=r"^fn must be callable, not 3$"):
        check_callable("fn", 3)


def test_a_name_is_a_text_that_says_something() -> None:
    assert check_name("w") == "w"
    with pytest.raises(TypeError, match=r"^name must be a str, not 3$"):
        check_name(3)
    with pytest.raises(ValueError, match=r"^name must not be empty$"):
        check_name("")


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


@given(st.floats(1e-300, 1e8) | st.integers(1, 10**8))
def test_a_limit_is_given_back_as_seconds(value: float) -> None:
    limit = check_limit("timeout", value)
    assert limit == value
    assert isinstance(limit, float)


@pytest.mark.parametrize("value", [None, math.inf, 1e300, 10**400])
def test_a_limit_that_is_never_reached_is_none(value: float | None) -> None:
    assert check_limit("timeout", value) is None


@pytest.mark.parametrize("value", [0, 0.0, -0.0])
def test_a_limit_of_nothing_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match=r"^timeout must be more than 0 seconds, not "):
        check_limit("timeout", value)


@pytest.mark.parametrize("value", [-1, -1e-9, -math.inf, math.nan])
def test_a_limit_below_nothing_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match=r"^timeout must be at least 0 seconds, not "):
        check_limit("timeout", value)


@pytest.mark.parametrize("value", ["1", True, False, [], 1j])
def test_a_limit_is_a_number(value: object) -> None:
    with pytest.raises(TypeError, match=r"^timeout must be a number of seconds or None, not "):
        check_limit("timeout", value)


# --- rest before another try ------------------------------------------------------------------------------------------


def test_one_wait_doubles_with_each_try() -> None:
    backoff = check_backoff("backoff", 0.5)
    assert [backoff.seconds(failed) for failed in range(1, 6)] == [0.5, 1.0, 2.0, 4.0, 8.0]


def test_several_waits_are_taken_as_they_are_and_the_last_holds_on() -> None:
    backoff = check_backoff("backoff", [1, 0, 2.5])
    assert [backoff.seconds(failed) for failed in range(1, 6)] == [1.0, 0.0, 2.5, 2.5, 2.5]


@pytest.mark.parametrize("value", [0, 0.0, [0], (0.0, 0)])
def test_no_wait_stays_none(value: object) -> None:
    backoff = check_backoff("backoff", value)
    assert {backoff.seconds(failed) for failed in (1, 2, 100, 10**9)} == {0.0}


def test_a_wait_stops_growing_at_some_time() -> None:
    backoff = check_backoff("backoff", 1)
    assert backoff.seconds(12) == 2048.0
    assert {backoff.seconds(failed) for failed in (13, 64, 65, 66, 10**9)} == {3600.0}


def test_a_wait_that_is_longer_than_that_does_not_grow_nor_shrink() -> None:
    backoff = check_backoff("backoff", 5000)
    assert {backoff.seconds(failed) for failed in (1, 2, 100)} == {5000.0}


def test_a_growing_wait_may_follow_others() -> None:
    backoff = Backoff((0.0, 1.0), 3.0, most=20.0)
    assert [backoff.seconds(failed) for failed in range(1, 7)] == [0.0, 1.0, 3.0, 9.0, 20.0, 20.0]


@given(st.lists(st.floats(0, 1e8), min_size=1) | st.floats(0, 1e8), st.integers(1, 10**6))
def test_a_wait_is_always_finite_and_never_shrinks(value: object, failed: int) -> None:
    backoff = check_backoff("backoff", value)
    assert 0 <= backoff.seconds(failed) < 1e9
    if not isinstance(value, list):
        assert backoff.seconds(failed) <= backoff.seconds(failed + 1)


@pytest.mark.parametrize("value", [-1, math.nan, math.inf, 1e9, 10**400, [1, -1], (0, math.nan), [math.inf]])
def test_a_wait_that_cannot_be_waited_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match=r"^backoff must be at least 0 seconds and finite, not "):
        check_backoff("backoff", value)


@pytest.mark.parametrize("value", [None, True, "1", b"2", 1j, {1.0}, iter([1]), [True], ["1"], [None], [[1]]])
def test_a_wait_between_tries_is_a_number_or_several(value: object) -> None:
    with pytest.raises(TypeError, match=r"^backoff must be a number of seconds or a sequence of them, not "):
        check_backoff("backoff", value)


@pytest.mark.parametrize("value", [[], ()])
def test_several_are_at_least_one(value: object) -> None:
    with pytest.raises(ValueError, match=r"^backoff must have at least one number of seconds$"):
        check_backoff("backoff", value)


# --- numbers of the system and of the group ---------------------------------------------------------------------------


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
        {"limit_look": 0},
        {"stack_look": 0},
        {"stack_grace": 0},
        {"max_tasks": 0},
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
