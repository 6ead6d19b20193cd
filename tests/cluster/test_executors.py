"""Process: a group by an executor of the standard library, whose processes come to no harm."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import pytest
import targets
import targets_cluster as far

from procorch import NotSupported, ProcessGroup, TaskTimeout, WorkerCrashed
from procorch.engines import ExecutorEngine


@pytest.fixture
def executor() -> Iterator[ProcessPoolExecutor]:
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as made:
        yield made


def test_crashes_and_limits_cost_an_item_and_nothing_of_the_executors(executor: ProcessPoolExecutor) -> None:
    with ProcessGroup(engine=executor) as group:
        assert group.map(targets.doubler, range(1000)) == list(range(0, 2000, 2))
        results = group.map(targets.crash_on_three, range(8), chunksize=8, return_exceptions=True)
        assert [number for number, one in enumerate(results) if one != number] == [3]
        assert isinstance(results[3], WorkerCrashed)
        assert results[3].exitcode == -9
        calls = [(targets.doubler, 1), (far.hold_the_interpreter, 1), (targets.doubler, 2)]
        kinds = group.options(timeout=0.5).map(targets.call, calls, chunksize=3, return_exceptions=True)
        assert [kinds[0], type(kinds[1]), kinds[2]] == [2, TaskTimeout, 4]
        array = np.zeros(200_000)
        assert group.submit(far.add_one, array).result().flags.writeable
        assert array[0] == 0
        with pytest.raises(NotSupported, match=r"share\(\) is not to be had"):
            group.share([1])
    assert executor.submit(abs, -1).result() == 1  # neither broken nor shut down


def test_without_isolation_items_run_in_the_executors_processes(executor: ProcessPoolExecutor) -> None:
    with ProcessGroup(engine=ExecutorEngine(executor, isolate=False)) as group:
        pids = set(group.map(far.here, range(20), chunksize=1))
    assert pids <= set(executor._processes)
