"""Unit tests, no process: the choices of `ProcessGroup.options`, and how they are checked."""

from __future__ import annotations

import math
import multiprocessing
from typing import Any

import pytest

from procorch import _configured
from procorch._events import NO_WAIT, JobSpec
from procorch._options import TaskOptions, checked_options
from procorch._policy import Backoff


def checked(**given: Any) -> TaskOptions:
    return checked_options(**{"timeout": None, "retries": 0, "retry_on": Exception, "backoff": 0} | given)


def test_what_is_right_is_given_back() -> None:
    assert checked(timeout=5, retries=2, retry_on=(OSError, KeyError), backoff=[1, 2.5]) == TaskOptions(
        5.0, 2, (OSError, KeyError), Backoff((1.0, 2.5), 1.0)
    )


@pytest.mark.parametrize("method", multiprocessing.get_all_start_methods())
def test_a_context_of_multiprocessing_stands_for_its_start_method(method: str) -> None:
    assert _configured._start_method(multiprocessing.get_context(method)) == method


def test_the_least_that_can_be_given() -> None:
    assert checked() == TaskOptions(None, 0, (Exception,), Backoff((0.0,), 2.0))
    assert checked(timeout=math.inf).timeout is None


@pytest.mark.parametrize("retry_on", [(), (OSError,), (SystemExit, KeyboardInterrupt)])
def test_types_of_exceptions_come_one_by_one_or_in_a_tuple(retry_on: tuple[type[BaseException], ...]) -> None:
    assert checked(retry_on=retry_on).retry_on == retry_on


def test_one_type_is_a_tuple_of_one() -> None:
    assert checked(retry_on=BaseException).retry_on == (BaseException,)


@pytest.mark.parametrize(
    "retry_on", [None, 3, "OSError", int, OSError(), [OSError], (OSError, int), (OSError, (KeyError,)), list[int]]
)
def test_what_is_no_type_of_exceptions_is_refused(retry_on: object) -> None:
    with pytest.raises(TypeError, match=r"^retry_on must be a type of exceptions or a tuple of such types, not "):
        checked(retry_on=retry_on)


@pytest.mark.parametrize(
    ("given", "error", "text"),
    [
        ({"timeout": 0}, ValueError, "timeout must be more than 0 seconds, not 0"),
        ({"timeout": math.nan}, ValueError, "timeout must be at least 0 seconds, not nan"),
        ({"timeout": "5"}, TypeError, "timeout must be a number of seconds or None, not '5'"),
        ({"retries": -1}, ValueError, "retries must be at least 0, not -1"),
        ({"retries": True}, TypeError, "retries must be an int of at least 0, not True"),
        ({"backoff": -1}, ValueError, "backoff must be at least 0 seconds and finite, not -1"),
        ({"backoff": None}, TypeError, "backoff must be a number of seconds or a sequence of them, not None"),
    ],
)
def test_what_is_wrong_is_named(given: dict[str, Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error) as caught:
        checked(**given)
    assert str(caught.value) == text


def test_workers_need_to_know_what_to_retry_on_only_where_there_are_retries() -> None:
    assert checked(retry_on=OSError).raises_again == ()
    assert checked(retry_on=OSError, retries=1).raises_again == (OSError,)


def test_a_job_gets_what_concerns_it() -> None:
    options = TaskOptions(5.0, 2, (OSError,), Backoff((1.0,)))
    expected = JobSpec(
        chunksize=3, retries=2, backoff=Backoff((1.0,)), timeout=5.0, stop_on_failure=True, streaming=True
    )
    assert options.spec(chunksize=3, stop_on_failure=True, streaming=True) == expected
    assert TaskOptions().spec(dedicated=True, name="own") == JobSpec(dedicated=True, name="own", backoff=NO_WAIT)
