"""Process: `as_pool`, the shape of a pool of multiprocessing."""

from __future__ import annotations

import _thread
import multiprocessing
import os
import signal
import sys
import threading
import traceback
from concurrent.futures import CancelledError
from pathlib import Path

import pytest
import targets
import targets_executor as mine
from helpers import executions, wait_until

from procorch import AsyncResult, ProcessGroup, TaskTimeout, WorkerCrashed
from procorch.events import ChunkBegan, Event


def test_calls_give_what_those_of_a_pool_give() -> None:
    with ProcessGroup(2, name="etl") as group, group.as_pool() as pool:
        assert repr(pool) == "<GroupPool of <ProcessGroup 'etl': 0 processes, open>, open>"
        assert pool.size == 2
        items = range(20)
        doubled = list(range(0, 40, 2))
        assert pool.apply(targets.add_three, (1, 2), {"third": 3}) == 6
        assert pool.apply(targets.whoami)[0].startswith("etl")
        assert pool.map(targets.doubler, items) == doubled
        assert pool.map(targets.doubler, iter(items), 3) == doubled
        assert pool.map_async(targets.doubler, iter(items)).get() == doubled
        assert pool.map_async(targets.doubler, [], 3).get(10) == []
        assert pool.starmap(targets.add, [(1, 2), [3, 4], iter((5, 6))]) == [3, 7, 11]
        assert pool.starmap(targets.whoami, [()] * 3, chunksize=2)[0][1] != os.getpid()
        assert pool.starmap_async(targets.add, ((one, one) for one in items)).get() == doubled
        assert list(pool.imap(targets.doubler, items)) == doubled
        assert sorted(pool.imap_unordered(targets.doubler, items, chunksize=4)) == doubled


def test_an_async_result_tells_its_state(gate: Path) -> None:
    with ProcessGroup(1) as group, group.as_pool() as pool:
        waiting: list[AsyncResult[str] | AsyncResult[list[str]]] = [
            pool.apply_async(targets.wait_for, (str(gate),)),
            pool.map_async(targets.wait_for, [str(gate)]),
        ]
        for result in waiting:
            assert not result.ready()
            with pytest.raises(ValueError, match="not ready"):
                result.successful()
            with pytest.raises(multiprocessing.TimeoutError):
                result.get(timeout=0.01)
        gate.touch()
        for result in waiting:
            result.wait()
            assert result.ready()
            assert result.successful()
        failed = pool.map_async(targets.divide, [1, 0])
        with pytest.raises(ZeroDivisionError):
            failed.get(20)
        assert not failed.successful()


def test_who_has_the_result_finds_done_what_its_callback_does(gate: Path) -> None:
    begun = threading.Event()
    results: list[object] = []

    def call(result: object) -> None:
        begun.set()
        wait_until(gate.exists)
        results.append(result)

    with ProcessGroup(1) as group, group.as_pool() as pool:
        one = pool.apply_async(targets.doubler, (1,), callback=call)
        many = pool.map_async(targets.doubler, [1, 2], callback=call)
        failed = pool.apply_async(targets.divide, (0,), error_callback=call)
        begun.wait()
        for result in (one, many, failed):
            assert not result.ready()
            with pytest.raises(multiprocessing.TimeoutError):
                result.get(0.01)
        gate.touch()
        assert one.get() == 2
        assert 2 in results
        many.wait()
        assert [2, 4] in results
        with pytest.raises(ZeroDivisionError):
            failed.get(20)
        assert ZeroDivisionError in map(type, results)


@pytest.mark.limit(15)
def test_a_signal_that_is_noticed_late_reaches_who_waits(gate: Path) -> None:
    """One that comes after the interpreter's last look, before the wait begins: nothing wakes the thread for it."""
    main = threading.get_ident()

    def waits() -> bool:
        files = [Path(frame.filename).name for frame in traceback.extract_stack(sys._current_frames()[main])]
        return files[-1] in {"threading.py", "_condition.py"} and "async_result.py" in files

    def interrupt() -> None:
        wait_until(waits)
        _thread.interrupt_main()

    with ProcessGroup(1) as group, group.as_pool() as pool:
        result = pool.map_async(targets.wait_for, [str(gate)])
        another = threading.Thread(target=interrupt)
        with pytest.raises(KeyboardInterrupt):
            another.start()
            result.wait()
        another.join()
        gate.touch()


def test_a_callback_may_wait_for_what_has_callbacks() -> None:
    def call(_: int) -> None:
        second = pool.apply_async(targets.doubler, (2,), callback=results.append)
        results.append(second.get(20))
        assert second.successful()
        second.wait()

    results: list[int] = []
    with ProcessGroup(1) as group, group.as_pool() as pool:
        pool.apply_async(targets.doubler, (1,), callback=call).wait(20)
        pool.close()
        pool.join()
    assert results == [4, 4]


def test_callbacks_have_run_after_join() -> None:
    results: list[object] = []
    errors: list[type[BaseException]] = []

    def failed(error: BaseException) -> None:
        errors.append(type(error))

    with ProcessGroup(2) as group, group.as_pool() as pool:
        for number in range(4):
            pool.apply_async(targets.doubler, (number,), callback=results.append, error_callback=failed)
            pool.apply_async(targets.divide, (0,), callback=results.append, error_callback=failed)
        pool.map_async(targets.doubler, [10, 20], callback=results.append, error_callback=failed)
        pool.starmap_async(targets.add, [(1, "")], callback=results.append, error_callback=failed)
        with pytest.raises(ValueError, match="still running"):
            pool.join()
        pool.close()
        pool.join()
        assert sorted(results, key=str) == [0, 2, 4, 6, [20, 40]]
        assert sorted(error.__name__ for error in errors) == ["TypeError", *["ZeroDivisionError"] * 4]


def test_a_closed_pool_takes_nothing_and_its_group_goes_on() -> None:
    with ProcessGroup(1) as group:
        pool = group.as_pool()
        with pytest.raises(ValueError, match="Pool is still running"):
            pool.join()
        pool.close()
        for call in (pool.apply, pool.apply_async):
            with pytest.raises(ValueError, match="Pool not running"):
                call(targets.doubler)
        for many in (pool.map, pool.map_async, pool.imap, pool.imap_unordered):
            with pytest.raises(ValueError, match="Pool not running"):
                many(targets.doubler, [1])
        for star in (pool.starmap, pool.starmap_async):
            with pytest.raises(ValueError, match="Pool not running"):
                star(targets.doubler, [(1,)])
        with pytest.raises(ValueError, match="Pool not running"), pool:
            pass
        assert group.as_pool().map(targets.doubler, [1]) == [2]


def test_leaving_the_block_stops_what_it_was_given(log: Path, gate: Path) -> None:
    with ProcessGroup(2) as group:
        other = group.submit(targets.begin_and_wait, str(log), str(gate), 1)
        wait_until(log.read_text)
        with group.as_pool() as pool:
            one = pool.apply_async(targets.begin_and_wait, (str(log), str(gate), 2))
            wait_until(lambda: len(executions(log)) == 2)
            many = pool.map_async(targets.doubler, range(10))
        pool.join()
        assert one.ready()
        assert not one.successful()
        with pytest.raises(CancelledError):
            one.get()
        with pytest.raises(CancelledError):
            many.get()
        assert group.submit(targets.doubler, 1).result() == 2  # a process is free again
        gate.touch()
        assert other.result() == 1


def test_to_terminate_it_stops_what_is_just_being_given(log: Path, gate: Path) -> None:
    with ProcessGroup(1) as group:
        pool = group.as_pool()
        terminate = mine.CallsWhenDumped(pool.terminate)
        with pytest.raises(CancelledError):
            pool.apply_async(targets.begin_and_wait, (str(log), str(gate), terminate)).get(10)
        pool.join()


def test_a_size_of_chunks_is_obeyed() -> None:
    sizes: list[int] = []

    def note(event: Event) -> None:
        if isinstance(event, ChunkBegan):
            sizes.append(event.items)

    for size in (1, 3):
        sizes.clear()
        with ProcessGroup(1, on_event=note) as group, group.as_pool() as pool:
            assert pool.map(targets.doubler, range(60), size)[-1] == 118
            assert pool.map_async(targets.doubler, range(60), size).get()[-1] == 118
            assert pool.starmap_async(targets.add, [(1, 2)] * 60, size).get()[-1] == 3
        assert set(sizes) == {size}


def test_a_size_of_chunks_that_is_none_is_refused() -> None:
    with ProcessGroup(1) as group, group.as_pool() as pool:
        for many in (pool.map, pool.map_async, pool.imap, pool.imap_unordered):
            with pytest.raises(ValueError, match="chunksize must be at least 1, not 0"):
                many(targets.doubler, [1], 0)
        for star in (pool.starmap, pool.starmap_async):
            with pytest.raises(ValueError, match="chunksize must be at least 1, not 0"):
                star(targets.doubler, [(1,)], 0)


def test_a_killed_process_is_told_and_nobody_waits_for_ever(log: Path, gate: Path) -> None:
    with ProcessGroup(1) as group, group.as_pool() as pool:
        result = pool.map_async(mine.log_then_wait, [(str(log), str(gate), number) for number in range(3)])
        wait_until(log.read_text)
        os.kill(int(log.read_text().split()[1]), signal.SIGKILL)
        gate.touch()
        with pytest.raises(WorkerCrashed) as raised:
            result.get()
        assert raised.value.task.index == 1
        assert pool.map(targets.doubler, [1]) == [2]


def test_limits_of_a_view_hold(gate: Path) -> None:
    with ProcessGroup(1) as group, group.options(timeout=0.2).as_pool() as pool:
        with pytest.raises(TaskTimeout):
            pool.map(targets.wait_for, [str(gate)])
        with pytest.raises(TaskTimeout):
            pool.apply(targets.wait_for, (str(gate),))
