"""Contract: what holds on every engine, in one body: the three start methods, the fake, an executor and dask."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from typing import Any

import pytest
import targets
from conftest import METHODS

from procorch import GroupClosed, NotPicklable, ProcessGroup, WorkerCrashed
from procorch.engines import Engine, ExecutorEngine
from procorch.testing import FakeEngine

MakeGroup = Callable[..., ProcessGroup]


@pytest.fixture(params=[*METHODS, "fake", "executor", pytest.param("dask", marks=pytest.mark.cluster)])
def make_group(request: pytest.FixtureRequest) -> Iterator[MakeGroup]:
    with contextlib.ExitStack() as stack:

        def engine() -> Engine | None:
            if request.param == "fake":
                return FakeEngine()
            if request.param == "executor":
                # Threads start at once; what they are given runs in processes of ours all the same.
                return ExecutorEngine(stack.enter_context(ThreadPoolExecutor(2)), isolate=True)
            if request.param == "dask":
                cluster: Engine = import_module("procorch.engines.dask").DaskEngine(
                    request.getfixturevalue("dask_client")
                )
                return cluster
            return None

        def make(max_workers: int = 2, **options: Any) -> ProcessGroup:
            method = request.param if request.param in METHODS else None
            return ProcessGroup(max_workers, mp_context=method, engine=engine(), **options)

        yield make


@pytest.fixture
def group(make_group: MakeGroup) -> Iterator[ProcessGroup]:
    with make_group() as made:
        yield made


def test_map_keeps_the_order(group: ProcessGroup) -> None:
    assert group.map(targets.doubler, range(100)) == [2 * number for number in range(100)]


def test_map_of_nothing(group: ProcessGroup) -> None:
    assert group.map(targets.doubler, []) == []


def test_map_over_several_iterables_ends_with_the_shortest(group: ProcessGroup) -> None:
    assert group.map(targets.add, [1, 2, 3], iter([10, 20])) == [11, 22]


@pytest.mark.parametrize("chunksize", [1, 2, 7, 1000])
def test_chunksize(group: ProcessGroup, chunksize: int) -> None:
    assert group.map(targets.doubler, range(20), chunksize=chunksize) == list(range(0, 40, 2))


def test_map_raises_the_items_own_error_with_a_note(group: ProcessGroup) -> None:
    with pytest.raises(ZeroDivisionError) as caught:
        group.map(targets.divide, [1, 2, 0, 4])
    note = caught.value.__notes__[0]
    assert "item 2 (0)" in note
    assert "Process-" in note
    assert "in divide" in str(caught.value.__cause__)
    assert group.map(targets.doubler, [1]) == [2]


def test_exceptions_as_values(group: ProcessGroup) -> None:
    one, error, half = group.map(targets.divide, [1, 0, 2], return_exceptions=True)
    assert (one, half) == (1, 0.5)
    assert isinstance(error, ZeroDivisionError)


def test_a_crash_costs_one_item(group: ProcessGroup) -> None:
    results = group.map(targets.crash_on_three, range(20), chunksize=10, return_exceptions=True)
    lost = results.pop(3)
    assert results == [number for number in range(20) if number != 3]
    assert isinstance(lost, WorkerCrashed)
    assert lost.task.index == 3
    assert lost.task.item == "3"
    assert lost.exitcode == -9
    assert lost.attempts == 1
    assert "SIGKILL" in str(lost)
    assert group.map(targets.doubler, [1, 2]) == [2, 4]


def test_retries_after_a_crash(group: ProcessGroup, tmp_path: object) -> None:
    assert group.options(retries=2).submit(targets.crash_until, str(tmp_path), 2).result() == 3


def test_retries_run_out(group: ProcessGroup) -> None:
    with pytest.raises(WorkerCrashed) as caught:
        group.options(retries=1).submit(targets.crash_with, 4).result()
    assert caught.value.attempts == 2
    assert caught.value.exitcode == 4


def test_submit_passes_all_arguments_on(group: ProcessGroup) -> None:
    assert group.submit(targets.add_three, 1, 2, third=3).result() == 6
    mixed = {"fn": 1, "self": 2, "timeout": 3, "name": 4, "retries": 5}
    assert group.submit(targets.keywords, **mixed).result() == mixed


def test_imap_in_order_and_not(group: ProcessGroup) -> None:
    assert list(group.imap(targets.doubler, range(50))) == list(range(0, 100, 2))
    assert sorted(group.imap(targets.doubler, range(50), ordered=False)) == list(range(0, 100, 2))


@pytest.mark.parametrize("buffersize", [1, 2, 5])
@pytest.mark.parametrize("ordered", [True, False])
def test_buffersize_is_exact_on_an_infinite_input(group: ProcessGroup, buffersize: int, ordered: bool) -> None:
    taken: list[int] = []
    stream = group.imap(targets.doubler, targets.count_from(0, taken), buffersize=buffersize, ordered=ordered)
    most = 0
    for given, _ in enumerate(stream, 1):
        most = max(most, len(taken) - given)
        assert len(taken) - (given - 1) <= buffersize
        if given == 40:
            break
    stream.close()
    assert most <= buffersize


def test_imap_ends_with_the_first_error(group: ProcessGroup) -> None:
    stream = group.imap(targets.divide, [1, 2, 0, 4])
    assert [next(stream), next(stream)] == [1, 0.5]
    with pytest.raises(ZeroDivisionError):
        next(stream)
    with pytest.raises(StopIteration):
        next(stream)


def test_an_iterable_that_raises(group: ProcessGroup) -> None:
    def source() -> Iterator[int]:
        yield 1
        yield 2
        raise LookupError("no more")

    with pytest.raises(LookupError, match="no more"):
        group.map(targets.doubler, source())
    stream = group.imap(targets.doubler, source())
    assert [next(stream), next(stream)] == [2, 4]
    with pytest.raises(LookupError, match="no more"):
        next(stream)


def test_what_cannot_be_pickled_costs_one_item(group: ProcessGroup) -> None:
    lock = threading.Lock()
    results = group.map(targets.identity, [1, lock, 3], return_exceptions=True)
    assert [results[0], results[2]] == [1, 3]
    assert isinstance(results[1], NotPicklable)
    assert (results[1].what, results[1].step) == ("argument", "dumps")


def test_closed_group_refuses(make_group: MakeGroup) -> None:
    group = make_group()
    future = group.submit(targets.doubler, 4)
    group.close()
    with pytest.raises(GroupClosed, match="closed"):
        group.submit(targets.doubler, 1)
    assert group.join() is True
    assert future.result() == 8
    with pytest.raises(GroupClosed):
        group.map(targets.doubler, [1])


def test_start_names_processes(make_group: MakeGroup) -> None:
    with make_group(name="doubler") as group:
        first = group.start(targets.doubler, 5)
        second = group.start(targets.doubler, 10)
        third = group.start(targets.doubler, 2, name="Test")
        fourth = group.start(targets.doubler, 1)
        done = {handle.name: handle.result() for handle in group.as_completed()}
    assert done == {"doubler-1": 10, "doubler-2": 20, "Test": 4, "doubler-3": 2}
    assert [handle.exitcode for handle in (first, second, third, fourth)] == [0, 0, 0, 0]
    assert not first.is_alive()


def test_uncollected_failures_are_raised_on_leaving(make_group: MakeGroup) -> None:
    with pytest.raises(ExceptionGroup) as caught, make_group(name="bad") as group:
        group.start(targets.divide, 0)
        group.start(targets.crash_with, -9)
        collected = group.start(targets.divide, 0)
        with pytest.raises(ZeroDivisionError):
            collected.result()
    assert [type(error) for error in caught.value.exceptions] == [ZeroDivisionError, WorkerCrashed]


def test_nothing_of_a_function_that_cannot_be_pickled(group: ProcessGroup) -> None:
    lock = threading.Lock()
    with pytest.raises(NotPicklable, match="top level"):
        group.map(lambda number: lock, [1])
    with pytest.raises(NotPicklable, match="function"):
        group.submit(lambda: lock).result()


def test_lambdas_and_closures_go_by_value(group: ProcessGroup) -> None:
    numbers = [5]
    assert group.map(lambda number: number * numbers[0], [1, 2]) == [5, 10]
    numbers[0] = 7  # pickled anew for each call
    assert group.map(lambda number: number * numbers[0], [1, 2]) == [7, 14]
    assert group.submit(lambda: lambda: numbers[0]).result()() == 7
