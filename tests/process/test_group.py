"""Process: the life of a group and of the processes that it starts, on the three start methods."""

from __future__ import annotations

import gc
import multiprocessing
import os
import signal
import threading
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ALL_COMPLETED, CancelledError, Future, ThreadPoolExecutor, as_completed, wait
from pathlib import Path
from typing import Any

import pytest
import targets
from helpers import Method, executions, the_worker, wait_until

from procorch import GroupClosed, ProcessGroup, WorkerCrashed, WorkerStartError


def make_group(method: Method, workers: int = 2, **options: Any) -> ProcessGroup:
    return ProcessGroup(workers, mp_context=method, **options)


# --- names and identity -----------------------------------------------------------------------------------------------


def test_workers_are_multiprocessing_processes_with_names(method: Method) -> None:
    with make_group(method, 1, name="etl") as group:
        name, pid = group.submit(targets.whoami).result()
        assert (name, pid) == ("etl-1", the_worker(group).pid)
        assert [child.name for child in multiprocessing.active_children()] == ["etl-1"]
        assert [child.pid for child in multiprocessing.active_children()] == [pid]
        own_pid, own_group, daemon = group.submit(targets.whoami_parent).result()
        assert own_pid == own_group != os.getpgid(0)
        assert daemon is False


def test_processes_are_started_as_work_comes(method: Method) -> None:
    with make_group(method, 4) as group:
        assert group.processes == ()
        group.submit(targets.doubler, 1).result()
        assert len(group.processes) == 1
        group.map(targets.doubler, range(100))
        assert 1 <= len(group.processes) <= 4


def test_processes_tell_what_they_do(method: Method, gate: Path, log: Path) -> None:
    with make_group(method, 1) as group:
        future = group.submit(targets.begin_and_wait, str(log), str(gate), 7)
        info = the_worker(group, "busy")
        assert info.task == "targets.begin_and_wait"
        gate.touch()
        future.result()
        info = the_worker(group)
        assert (info.task, info.tasks_done, info.restarts) == (None, 1, 0)
        assert info.busy_seconds > 0


# --- processes of their own -------------------------------------------------------------------------------------------


def test_started_processes_run_at_once_beyond_the_workers(method: Method, gate: Path, log: Path) -> None:
    with make_group(method, 1) as group:
        handles = [group.start(targets.begin_and_wait, str(log), str(gate), number) for number in range(3)]
        wait_until(lambda: len(executions(log)) == 3)
        assert all(handle.is_alive() for handle in handles)
        assert [handle.exitcode for handle in handles] == [None] * 3
        assert len({handle.pid for handle in handles}) == 3
        assert handles[0].join(0.01) is False
        with pytest.raises(TimeoutError):
            handles[0].result(timeout=0.01)
        gate.touch()
        assert [handle.result() for handle in handles] == [0, 1, 2]
        assert all(handle.join() for handle in handles)
        assert [handle.exitcode for handle in handles] == [0, 0, 0]


@pytest.mark.parametrize(
    ("function", "argument", "exitcode"),
    [
        (targets.doubler, 1, 0),
        (targets.divide, 0, 1),
        (targets.exit_with, 3, 3),
        (targets.exit_with, None, 0),
        (targets.exit_with, "text", 1),
        (targets.os_exit, 4, 4),
    ],
)
def test_exit_codes_are_those_of_multiprocessing(
    method: Method, function: Callable[[Any], object], argument: object, exitcode: int
) -> None:
    with make_group(method) as group:
        handle = group.start(function, argument)
        assert handle.join()
        assert handle.exitcode == exitcode
        try:
            handle.result()
        except BaseException as error:  # noqa: BLE001 - any of them
            assert type(error) in {ZeroDivisionError, SystemExit, WorkerCrashed}  # noqa: PT017 - likewise


@pytest.mark.parametrize("how", ["terminate", "kill"])
def test_ending_a_process_on_purpose_is_no_failure(method: Method, how: str, gate: Path, log: Path) -> None:
    with make_group(method) as group:
        handle = group.start(targets.begin_and_wait, str(log), str(gate))
        wait_until(log.read_text)
        getattr(handle, how)()
        assert handle.join()
        assert handle.exitcode == -(signal.SIGTERM if how == "terminate" else signal.SIGKILL)
        other = group.start(targets.begin_and_wait, str(log), str(gate))
        getattr(other, how)()  # at any moment of its start
        with pytest.raises(WorkerCrashed):
            other.result()


def test_as_completed_gives_each_as_it_ends(method: Method, tmp_path: Path) -> None:
    gates = [tmp_path / f"gate{number}" for number in range(3)]
    with make_group(method) as group:
        handles = [group.start(targets.wait_for, str(gate)) for gate in gates]
        done = group.as_completed()
        for number in (2, 0, 1):
            gates[number].touch()
            assert next(done) is handles[number]
        assert list(done) == []
        assert set(group.as_completed()) == set(handles)


def test_join_waits_for_started_processes(method: Method, gate: Path, log: Path) -> None:
    with make_group(method) as group:
        group.start(targets.begin_and_wait, str(log), str(gate))
        assert group.join(timeout=0.01) is False
        gate.touch()
        assert group.join() is True
        assert group.map(targets.doubler, [1]) == [2]


def test_a_thread_that_the_function_leaves_keeps_its_process(method: Method, gate: Path) -> None:
    with make_group(method) as group:
        handle = group.start(targets.leave_thread, str(gate))
        assert handle.result() == 7
        assert handle.join(0.05) is False
        gate.touch()


# --- the end ----------------------------------------------------------------------------------------------------------


def test_leaving_by_an_exception_terminates(method: Method, gate: Path, log: Path) -> None:
    began = time.monotonic()
    with pytest.raises(LookupError, match="mine"), make_group(method, 1) as group:
        running = group.submit(targets.begin_and_wait, str(log), str(gate))
        waiting = group.submit(targets.begin_and_wait, str(log), str(gate))
        handle = group.start(targets.begin_and_wait, str(log), str(gate))
        wait_until(lambda: len(log.read_text().splitlines()) == 2)
        raise LookupError("mine")
    assert time.monotonic() - began < 10
    for future in (running, waiting):
        assert future.cancelled()
        with pytest.raises(CancelledError):
            future.result()
    with pytest.raises(GroupClosed, match="terminated"):
        handle.result()
    assert len(log.read_text().splitlines()) == 2


def test_terminate_ends_a_process_that_ignores_sigterm(method: Method, gate: Path, log: Path) -> None:
    group = make_group(method, 1)
    group.submit(targets.ignore_sigterm_and_wait, str(log), str(gate))
    wait_until(log.read_text)
    group.terminate()
    group.terminate()
    assert group.join(15) is True
    assert group.join() is True


def test_terminate_while_map_waits_in_another_thread(method: Method, gate: Path, log: Path) -> None:
    group = make_group(method, 1)
    with ThreadPoolExecutor(2) as threads:
        mapped = threads.submit(lambda: group.map(targets.wait_for, [str(gate)] * 3))
        streamed = threads.submit(lambda: list(group.imap(targets.wait_for, [str(gate)] * 3)))
        the_worker(group, "busy")
        wait_until(lambda: not mapped.done() and not streamed.done())
        group.terminate()
        for failed in (mapped, streamed):
            with pytest.raises(GroupClosed, match="terminated"):
                failed.result()
    assert group.join()


def test_closing_waits_for_a_map_in_another_thread(method: Method, gate: Path) -> None:
    group = make_group(method, 1)
    with ThreadPoolExecutor(1) as thread:
        mapped = thread.submit(lambda: group.map(targets.wait_for, [str(gate)] * 3))
        the_worker(group, "busy")
        group.close()
        assert group.join(0.05) is False
        gate.touch()
        assert mapped.result() == [str(gate)] * 3
    assert group.join()


def test_leaving_with_a_stream_half_read_does_not_hang(method: Method) -> None:
    with make_group(method) as group:
        stream = group.imap(targets.doubler, targets.count_from(0, []))
        assert next(stream) == 0
    with pytest.raises(GroupClosed):
        list(stream)


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # forking with threads, from Python 3.12 on
def test_a_group_that_nobody_holds_closes(method: Method) -> None:
    with pytest.warns(ResourceWarning, match="never closed"):
        future = make_group(method).submit(targets.doubler, 4)
        gc.collect()
    assert future.result() == 8
    wait_until(lambda: not [t for t in threading.enumerate() if t.name.startswith("procorch")])


def test_a_group_that_nobody_holds_closes_after_a_map_or_a_stream(method: Method) -> None:
    gc.collect()
    gc.disable()
    try:
        with warnings.catch_warnings(record=True) as warned:  # of forks beside threads as well, on newer Pythons
            warnings.simplefilter("always")
            assert make_group(method).map(targets.doubler, [1, 2]) == [2, 4]
            assert list(make_group(method).imap(targets.doubler, [1, 2])) == [2, 4]
            wait_until(lambda: ["never closed" in str(one.message) for one in warned].count(True) == 2)
            wait_until(lambda: not [t for t in threading.enumerate() if t.name.startswith("procorch")])
    finally:
        gc.enable()


# --- the initializer --------------------------------------------------------------------------------------------------


def test_initializer_runs_once_in_each_process(method: Method) -> None:
    with make_group(method, 1, initializer=targets.remember, initargs=("key", [1, 2])) as group:
        assert group.submit(targets.recall, "key").result() == [1, 2]
        assert group.start(targets.recall, "key").result() == [1, 2]


def test_initializer_that_raises(method: Method) -> None:
    with make_group(method, 2, initializer=targets.broken_initializer) as group:
        with pytest.raises(ZeroDivisionError, match="no luck") as caught:
            group.map(targets.doubler, range(10))
        assert "in broken_initializer" in str(caught.value.__cause__)
        assert "initializer" in caught.value.__notes__[0]
        with pytest.raises(GroupClosed, match="cannot start") as refused:
            group.submit(targets.doubler, 1)
        assert isinstance(refused.value.__cause__, ZeroDivisionError)


def test_initializer_that_raises_for_each_way_in(method: Method) -> None:
    with make_group(method, initializer=targets.broken_initializer) as group, pytest.raises(ZeroDivisionError):
        group.submit(targets.doubler, 1).result()
    with make_group(method, initializer=targets.broken_initializer) as group:
        handle = group.start(targets.doubler, 1)
        with pytest.raises(ZeroDivisionError):
            handle.result()


@pytest.mark.parametrize("initializer", [targets.exiting_initializer, targets.dying_initializer])
def test_initializer_that_exits(method: Method, initializer: object) -> None:
    with make_group(method, initializer=initializer) as group, pytest.raises(WorkerStartError):
        group.map(targets.doubler, range(10))


# --- futures ----------------------------------------------------------------------------------------------------------


def test_futures_are_those_of_concurrent_futures(method: Method) -> None:
    with make_group(method) as group:
        futures = [group.submit(targets.doubler, number) for number in range(20)]
        assert all(isinstance(future, Future) for future in futures)
        assert wait(futures, return_when=ALL_COMPLETED).not_done == set()
        assert sorted(future.result() for future in as_completed(futures)) == list(range(0, 40, 2))


def test_a_waiting_item_can_be_cancelled(method: Method, gate: Path, log: Path) -> None:
    with make_group(method, 1) as group:
        running = group.submit(targets.begin_and_wait, str(log), str(gate), 1)
        waiting = group.submit(targets.begin_and_wait, str(log), str(gate), 2)
        wait_until(log.read_text)
        assert running.running()
        assert not waiting.running()
        assert waiting.cancel()
        assert waiting.cancelled()
        assert waiting.cancel()
        assert wait([waiting]).done == {waiting}
        gate.touch()
        assert running.result() == 1
        assert not running.cancel()
    assert len(log.read_text().splitlines()) == 1


def test_callbacks_may_use_the_group(method: Method) -> None:
    results: list[object] = []
    with make_group(method, 1) as group:

        def callback(future: Future[int]) -> None:
            results.append(future.result())
            results.append(group.map(targets.doubler, [future.result()]))
            results.append(group.submit(targets.doubler, 50).result())

        future = group.submit(targets.doubler, 1)
        future.add_done_callback(callback)
        wait_until(lambda: len(results) == 3)
    assert results == [2, [4], 100]
    future.add_done_callback(lambda future: results.append("at once"))
    assert results[-1] == "at once"


def test_a_callback_that_raises_is_logged(method: Method, caplog: pytest.LogCaptureFixture, gate: Path) -> None:
    with make_group(method) as group:
        future = group.submit(targets.wait_for, str(gate))
        future.add_done_callback(lambda future: 1 / 0)
        gate.touch()
    assert "exception calling callback" in caplog.text


def test_each_failed_future_has_an_exception_of_its_own(method: Method) -> None:
    with make_group(method) as group:
        errors = [group.submit(targets.divide, 0).exception() for _ in range(3)]
    assert len({id(error) for error in errors}) == 3


def test_forked_by_an_item_returns_once(method: Method) -> None:
    with make_group(method, 1) as group:
        pids = group.map(targets.fork_and_return, range(3), chunksize=3)
        assert len(set(pids)) == 1
        assert group.map(targets.doubler, [1]) == [2]


def test_what_a_process_forked_by_an_item_raises_ends_that(capfd: pytest.CaptureFixture[str]) -> None:
    errors = [SystemExit, SystemExit, SystemExit, ValueError]
    texts = [3, None, "no more", "lost"]
    with make_group("spawn", 1) as group:
        assert group.map(targets.fork_and_raise, errors, texts, chunksize=4) == [3, 0, 1, 1]
        assert group.map(targets.doubler, [1]) == [2]
    told = capfd.readouterr().err
    assert "no more\n" in told
    assert told.splitlines()[-1] == "ValueError: lost"


def test_forked_by_an_initializer_it_is_one_worker(method: Method) -> None:
    with make_group(method, 1, initializer=targets.fork_and_return, initargs=(0,)) as group:
        assert group.map(targets.doubler, range(3)) == [0, 2, 4]
        assert [group.submit(os.getpid).result()] == [process.pid for process in group.processes]
