"""Process: how many threads the numerical libraries of workers use."""

from __future__ import annotations

import os
import sys
import warnings
from typing import Any

import pytest
from helpers import Method
from targets_machine import (
    note_at_import,
    seen_by_initializer,
    threads_allowed_to_libraries,
    threads_in_a_group_inside,
    threads_of_numpy,
    variables,
    variables_of_a_program,
)

from procorch import ProcessGroup, _extras
from procorch._threads import _MODULES, VARIABLES, out_of_reach
from procorch.testing import FakeEngine

NAMES = list(VARIABLES)
needs_two = pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="the library starts one thread by itself")


@pytest.fixture(autouse=True)
def _nothing_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def numpy(monkeypatch: pytest.MonkeyPatch) -> Any:
    """NumPy in this process, with its threads, and nothing else that starts any."""
    module = pytest.importorskip("numpy")
    for name in _MODULES:  # others may have loaded them
        monkeypatch.delitem(sys.modules, name, raising=False)
    threads_of_numpy()
    return module


def quiet_group(method: Method, **options: Any) -> ProcessGroup:
    """Make a group, whatever has been loaded here: what it warns of has tests of its own."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return ProcessGroup(1, mp_context=method, **options)


def test_the_environment_of_a_worker_and_of_its_programs_says_so(method: Method) -> None:
    with quiet_group(method, threads_per_worker=3) as group:
        assert group.submit(variables, NAMES).result() == dict.fromkeys(NAMES, "3")
        assert group.submit(variables_of_a_program, NAMES).result() == dict.fromkeys(NAMES, "3")
        assert group.start(variables, NAMES).result() == dict.fromkeys(NAMES, "3")
    assert os.environ.get("OMP_NUM_THREADS") is None


def test_without_it_nothing_is_changed(method: Method, monkeypatch: pytest.MonkeyPatch) -> None:
    with ProcessGroup(1, mp_context=method) as group:
        assert group.submit(variables, ["OPENBLAS_NUM_THREADS"]).result() == {"OPENBLAS_NUM_THREADS": None}


@pytest.mark.parametrize("method", ["spawn", "fork"])  # the environment of a fork server is that of its start
def test_it_wins_over_the_environment_and_none_does_not(method: Method, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    with quiet_group(method, threads_per_worker=2) as group:
        assert group.submit(variables, ["OMP_NUM_THREADS"]).result() == {"OMP_NUM_THREADS": "2"}
    with ProcessGroup(1, mp_context=method) as group:
        assert group.submit(variables, ["OMP_NUM_THREADS"]).result() == {"OMP_NUM_THREADS": "7"}


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_it_is_set_before_anything_of_the_user_s_is_loaded(method: Method) -> None:
    with ProcessGroup(1, mp_context=method, threads_per_worker=5, initializer=note_at_import) as group:
        assert group.submit(seen_by_initializer).result() == ["5"]


@needs_two
@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_numpy_uses_as_many_threads_as_it_may(method: Method) -> None:
    pytest.importorskip("numpy")
    with ProcessGroup(1, mp_context=method) as group:
        assert group.submit(threads_of_numpy).result() > 1
    with ProcessGroup(1, mp_context=method, threads_per_worker=1) as group:
        assert group.submit(threads_of_numpy).result() == 1


@needs_two
def test_threadpoolctl_bounds_what_a_fork_inherits(numpy: Any) -> None:
    pytest.importorskip("threadpoolctl")
    with ProcessGroup(1, mp_context="fork") as group:
        assert max(group.submit(threads_allowed_to_libraries).result()) > 1
    with ProcessGroup(1, mp_context="fork", threads_per_worker=1) as group:
        assert set(group.submit(threads_allowed_to_libraries).result()) == {1}


@needs_two
def test_groups_inside_workers_are_bounded_too(method: Method) -> None:
    pytest.importorskip("numpy")
    with quiet_group(method, threads_per_worker=1) as group:
        assert group.submit(threads_in_a_group_inside).result() == 1


def test_a_replaced_worker_has_the_bound_too(method: Method) -> None:
    with quiet_group(method, threads_per_worker=4, max_tasks_per_child=1) as group:
        for _ in range(2):
            assert group.submit(variables, NAMES[:1]).result() == {NAMES[0]: "4"}


# --- what a fork inherits ---------------------------------------------------------------------------------------------


def test_what_a_fork_inherits_and_cannot_be_told_is_named(monkeypatch: pytest.MonkeyPatch, numpy: Any) -> None:
    monkeypatch.setattr(_extras, "is_installed", lambda name: False)
    expected = r"threads_per_worker=1 does not reach .*openblas.*\.so.*threadpoolctl"
    with pytest.warns(RuntimeWarning, match=expected) as seen, ProcessGroup(1, mp_context="fork", threads_per_worker=1):
        pass
    assert seen[0].filename == __file__
    with ProcessGroup(1, mp_context="forkserver", threads_per_worker=1):
        pass  # it inherits nothing


def test_with_threadpoolctl_only_modules_are_out_of_reach(monkeypatch: pytest.MonkeyPatch, numpy: Any) -> None:
    assert out_of_reach(has_threadpoolctl=True) == []
    monkeypatch.setitem(sys.modules, "polars", numpy)
    monkeypatch.setattr(_extras, "is_installed", lambda name: True)
    with (
        pytest.warns(RuntimeWarning, match=r"by fork: polars; use another start method.*only$"),
        ProcessGroup(1, mp_context="fork", threads_per_worker=1),
    ):
        pass


def test_numba_s_number_is_left_alone_once_it_is_loaded(monkeypatch: pytest.MonkeyPatch, numpy: Any) -> None:
    monkeypatch.setitem(sys.modules, "numba", numpy)
    with quiet_group("fork", threads_per_worker=2) as group:
        there = group.submit(variables, NAMES).result()
    assert there == {**dict.fromkeys(NAMES, "2"), "NUMBA_NUM_THREADS": None}


# --- bad input --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [True, 1.5, "2", [1]])
def test_what_is_no_number(value: Any) -> None:
    with pytest.raises(TypeError, match="threads_per_worker must be an int of at least 1, not "):
        ProcessGroup(1, threads_per_worker=value)


@pytest.mark.parametrize("value", [0, -3])
def test_too_few(value: int) -> None:
    with pytest.raises(ValueError, match=f"threads_per_worker must be at least 1, not {value}"):
        ProcessGroup(1, threads_per_worker=value)


def test_a_number_without_sense_does_no_harm() -> None:
    with ProcessGroup(1, threads_per_worker=1 << 70) as group:
        assert group.submit(variables, NAMES[:1]).result() == {NAMES[0]: "65536"}


def test_an_engine_has_no_processes_to_bound() -> None:
    with pytest.raises(
        TypeError, match=r"threads_per_worker is not to be had on .*FakeEngine.*, which does not let its processes"
    ):
        ProcessGroup(1, threads_per_worker=1, engine=FakeEngine())
