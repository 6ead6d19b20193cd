"""Process: `as_executor`, beyond what CPython's own tests ask (test_executor_cpython.py)."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, CancelledError, Executor, Future, as_completed, wait
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import targets
import targets_executor as mine
from helpers import executions, wait_until

from procorch import GroupClosed, NotPicklable, ProcessGroup, ProcessHandle, TaskTimeout, WorkerCrashed


def begin(executor: Executor, log: Path, gate: Path) -> Future[object]:
    """Give a worker something that waits for the gate, and wait until it has begun."""
    future: Future[object] = executor.submit(targets.begin_and_wait, str(log), str(gate), 7)
    wait_until(log.read_text)
    return future


# --- submit -----------------------------------------------------------------------------------------------------------


def test_it_is_an_executor_of_the_standard_library() -> None:
    with ProcessGroup(2, name="etl") as group, group.as_executor() as executor:
        assert isinstance(executor, Executor)
        assert repr(executor) == "<GroupExecutor of <ProcessGroup 'etl': 0 processes, open>>"
        futures = [executor.submit(targets.doubler, number) for number in range(20)]
        assert type(futures[0]).__mro__.count(Future) == 1
        assert sorted(future.result() for future in as_completed(futures)) == list(range(0, 40, 2))
        assert wait(futures).not_done == set()


def test_all_keywords_are_the_functions() -> None:
    with ProcessGroup(1) as group, group.as_executor() as executor:
        future = executor.submit(mine.keywords, 1, self=2, fn=3, timeout=4, args=5)
        assert future.result() == ((1,), {"self": 2, "fn": 3, "timeout": 4, "args": 5})
        with pytest.raises(TypeError):
            executor.submit(fn=mine.keywords)  # type: ignore[call-arg]


def test_what_runs_says_so_and_is_not_cancelled(log: Path, gate: Path) -> None:
    with ProcessGroup(1) as group, group.as_executor() as executor:
        running = begin(executor, log, gate)
        waiting = executor.submit(targets.doubler, 1)
        assert running.running()
        assert "state=running" in repr(running)
        assert not running.cancel()
        assert not waiting.running()
        called: list[int] = []
        waiting.add_done_callback(lambda _: called.append(threading.get_ident()))
        assert waiting.cancel()
        assert called == [threading.get_ident()]
        assert waiting.cancel()
        gate.touch()
        assert running.result() == 7
        assert not running.running()
        assert not running.cancel()
    assert len(executions(log)) == 1


def test_it_runs_from_its_first_try_to_its_last(log: Path, gate: Path) -> None:
    with ProcessGroup(1) as group, group.options(retries=1, backoff=0.3).as_executor() as executor:
        future = executor.submit(mine.crash_once_then_wait, str(log), str(gate))
        wait_until(lambda: log.read_text() and not any(one.state == "busy" for one in group.processes))
        assert future.running()  # it rests
        assert not future.cancel()
        gate.touch()
        assert future.result() == str(gate)
    assert executions(log)[0] == 2


@pytest.mark.parametrize(
    ("function", "error"), [(mine.raise_false, mine.FalseError), (mine.raise_empty, mine.EmptyError)]
)
def test_exceptions_may_be_false(function: object, error: type[Exception]) -> None:
    assert callable(function)
    with ProcessGroup(1) as group, group.as_executor() as executor:
        future = executor.submit(function)
        with pytest.raises(error):
            future.result()
        assert type(future.exception()) is error
        with pytest.raises(error):
            list(executor.map(function, [1]))
        with pytest.raises(error):
            group.submit(function).result()
        with pytest.raises(error):
            group.start(function).result()


@pytest.mark.parametrize(
    "begin", [ProcessGroup.submit, ProcessGroup.start, lambda group, *of: group.as_executor().submit(*of)]
)
def test_an_exception_does_not_keep_what_it_came_from(begin: Callable[..., Any]) -> None:
    with ProcessGroup(1) as group:
        gc.disable()
        try:
            future = begin(group, targets.divide, 0)
            with pytest.raises(ZeroDivisionError):
                future.result()
            gone = weakref.ref(future)
            if isinstance(future, ProcessHandle):
                assert future.join()
                group.start(targets.doubler, 1)  # then the group lets go of those that have ended
            del future
            wait_until(lambda: gone() is None)
        finally:
            gc.enable()


def test_the_traceback_of_the_worker_is_the_cause() -> None:
    with ProcessGroup(1) as group, group.as_executor() as executor:
        error = executor.submit(targets.divide, 0).exception()
        assert type(error) is ZeroDivisionError
        assert "return 1 / number" in str(error.__cause__)


def test_what_cannot_be_pickled_is_the_futures_affair() -> None:
    with ProcessGroup(1) as group, group.as_executor() as executor:
        future = executor.submit(targets.doubler, threading.Lock())
        assert isinstance(future.exception(), NotPicklable)
        assert executor.submit(targets.doubler, 1).result() == 2


def test_a_killed_process_costs_one_future_and_breaks_nothing() -> None:
    with ProcessGroup(2) as group, group.as_executor() as executor:
        futures = [executor.submit(mine.crash_or_give, number) for number in range(30)]
        errors = [future.exception() for future in futures]
        assert [type(error) for error in errors if error is not None] == [WorkerCrashed]
        assert not isinstance(errors[13], BrokenExecutor)
        assert executor.submit(targets.doubler, 1).result() == 2
        results = executor.map(mine.crash_or_give, range(30))
        assert [next(results) for _ in range(13)] == list(range(13))
        with pytest.raises(WorkerCrashed):
            next(results)


def test_limits_of_a_view_hold(gate: Path) -> None:
    with ProcessGroup(1) as group, group.options(timeout=0.2).as_executor() as executor:
        error = executor.submit(targets.wait_for, str(gate)).exception()
        assert isinstance(error, TaskTimeout)


def test_a_failing_initializer_breaks_the_executor() -> None:
    with ProcessGroup(1, initializer=mine.fail_to_begin) as group, group.as_executor() as executor:
        future = executor.submit(targets.doubler, 1)
        with pytest.raises(BrokenExecutor) as raised:
            future.result()
        assert type(raised.value.__cause__) is ValueError
        with pytest.raises(BrokenExecutor) as raised:
            executor.submit(targets.doubler, 1)
        assert type(raised.value.__cause__) is ValueError
        with pytest.raises(BrokenExecutor):
            executor.map(targets.doubler, [1])


def test_the_end_of_the_group_is_the_end_of_its_executors(log: Path, gate: Path) -> None:
    with ProcessGroup(1) as group:
        executor = group.as_executor()
        running = begin(executor, log, gate)
        waiting, results = executor.submit(targets.doubler, 1), executor.map(targets.doubler, [1])
        group.terminate()
        assert isinstance(running.exception(), GroupClosed)
        with pytest.raises(CancelledError):
            waiting.result()
        with pytest.raises(CancelledError):
            next(results)
        for call in (executor.submit, executor.map):
            with pytest.raises(RuntimeError, match="cannot schedule new futures: the group 'Process' was terminated"):
                call(targets.doubler, [1])
        executor.shutdown()


def test_a_forked_process_has_executors_of_its_own(log: Path, gate: Path) -> None:
    with ProcessGroup(1, mp_context="fork") as group, group.as_executor() as executor:
        begin(executor, log, gate)
        handle = group.start(mine.use_an_executor)
        try:
            assert handle.result(10) == 8
            assert handle.join(10)  # at its exit it waits for its own, not for ours
            assert handle.exitcode == 0
        finally:
            gate.touch()
            handle.kill()


def in_a_copy(do: Callable[[], object]) -> int:
    """Do something in a forked copy of this process, for 10 s at most; give its exit code."""
    pid = os.fork()
    if not pid:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(10)
        try:
            do()
        except BaseException:  # noqa: BLE001 - whatever it is, this process is not to go on
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_copy_waits_for_no_callbacks() -> None:
    with ProcessGroup(1) as group, group.as_executor() as executor, group.as_pool() as pool:
        called: list[object] = []
        pool.apply_async(targets.doubler, (1,), callback=called.append).wait()
        pool.close()
        assert in_a_copy(executor.shutdown) == 0
        assert in_a_copy(pool.join) == 0


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_copy_is_refused_whatever_other_threads_were_about() -> None:
    def use() -> None:
        for call in (executor.submit, executor.map):
            with pytest.raises(RuntimeError, match=f"belongs to process {os.getppid()}"):
                call(targets.doubler, [1])
        executor.shutdown(cancel_futures=True)

    def fork() -> None:
        exits.append(in_a_copy(use))

    exits: list[int] = []
    with ProcessGroup(1) as group, group.as_executor() as executor:
        executor.submit(targets.doubler, 1).result()
        thread = threading.Thread(target=fork)
        with executor._pending._lock:  # as another thread may in any moment
            thread.start()
            thread.join()
    assert exits == [0]


def test_who_cancels_at_the_same_time_has_the_same_answer(log: Path, gate: Path) -> None:
    def cancel() -> None:
        barrier.wait()
        future = futures[-1]
        if not future.cancel():
            refused.append(future)

    barrier = threading.Barrier(2)
    futures: list[Future[int]] = []
    refused: list[Future[int]] = []
    switches = sys.getswitchinterval()
    with ProcessGroup(1) as group, group.as_executor() as executor:
        begin(executor, log, gate)
        sys.setswitchinterval(1e-5)
        try:
            for _ in range(300):
                futures.append(executor.submit(targets.doubler, 1))
                threads = [threading.Thread(target=cancel) for _ in range(2)]
                for thread in threads:
                    thread.start()
                for thread in threads:
                    thread.join()
        finally:
            sys.setswitchinterval(switches)
            gate.touch()
    assert all(future.cancelled() for future in futures)
    assert refused == []


def test_asyncio_runs_in_it() -> None:
    async def main(executor: Executor) -> list[int]:
        loop = asyncio.get_running_loop()
        calls = [loop.run_in_executor(executor, targets.doubler, number) for number in range(5)]
        with pytest.raises(WorkerCrashed):
            await loop.run_in_executor(executor, mine.crash_or_give, 13)
        return list(await asyncio.gather(*calls))

    with ProcessGroup(2) as group, group.as_executor() as executor:
        assert asyncio.run(main(executor)) == [0, 2, 4, 6, 8]


# --- map --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("chunksize", [1, 3, 50])
@pytest.mark.parametrize("buffersize", [None, 1, 4, 100])
def test_map_gives_what_map_gives(chunksize: int, buffersize: int | None) -> None:
    with ProcessGroup(2) as group, group.as_executor() as executor:
        results = executor.map(pow, range(40), count(), chunksize=chunksize, buffersize=buffersize)
        if buffersize is not None:
            assert list(results) == list(map(pow, range(40), range(40)))
        results = executor.map(pow, range(40), range(50), chunksize=chunksize, buffersize=buffersize)
        assert list(results) == list(map(pow, range(40), range(40)))
        assert list(executor.map(pow, chunksize=chunksize, buffersize=buffersize)) == []
        assert list(executor.map(pow, [], [], chunksize=chunksize, buffersize=buffersize)) == []


def test_map_begins_at_the_call_and_ends_without_being_asked(log: Path) -> None:
    with ProcessGroup(2) as group:
        with group.as_executor() as executor:
            executor.map(mine.logged, [(str(log), number) for number in range(50)])
        assert executions(log) == dict.fromkeys(range(50), 1)


def test_results_are_there_after_the_shutdown() -> None:
    with ProcessGroup(2) as group:
        with group.as_executor() as executor:
            results = executor.map(targets.doubler, range(1000))
        assert list(results) == list(range(0, 2000, 2))


@pytest.mark.parametrize("chunksize", [1, 2])
def test_a_buffer_bounds_what_is_taken(chunksize: int) -> None:
    taken: list[int] = []

    def inputs() -> Iterator[int]:
        for number in count():
            taken.append(number)
            yield number

    with ProcessGroup(2) as group, group.as_executor() as executor:
        results = executor.map(targets.doubler, inputs(), chunksize=chunksize, buffersize=3)
        assert len(taken) == 3 * chunksize
        for given in range(20):
            assert next(results) == 2 * given
            assert len(taken) <= given + 1 + 3 * chunksize
        executor.shutdown()
        with pytest.raises(RuntimeError, match="after shutdown"):
            list(results)  # what has come together with the last one may still be given
        assert len(taken) <= 20 + 3 * chunksize


def test_the_time_of_a_map_begins_at_the_call(log: Path, gate: Path) -> None:
    with ProcessGroup(1) as group, group.as_executor() as executor:
        called = time.monotonic()
        items = [(str(log), str(gate), number) for number in range(3)]
        results = executor.map(mine.log_then_wait, items, timeout=1.0)
        wait_until(lambda: time.monotonic() > called + 1.0)
        # The first result has arrived, and been given to whoever waits for it.
        wait_until(lambda: group.stats().done == 1 and not group._supervisor._undelivered and log.read_text())
        assert next(results) == 0  # it is there, however late it is asked for
        with pytest.raises(TimeoutError):
            next(results)
        wait_until(lambda: group.stats().dropped == 1)  # the group is told, and hears of it soon
        gate.touch()
    assert executions(log) == {1: 1}  # what ran was not stopped, what had not begun did not begin


def test_leaving_a_map_cancels_the_rest_and_stops_nothing(log: Path, gate: Path) -> None:
    with ProcessGroup(1) as group, group.as_executor() as executor:
        results = executor.map(mine.log_then_wait, [(str(log), str(gate), number) for number in range(9)])
        assert next(results) == 0
        wait_until(log.read_text)
        del results
        wait_until(lambda: group.stats().dropped == 7)
        gate.touch()
    assert executions(log) == {1: 1}


def test_an_error_comes_in_its_turn_and_cancels_the_rest() -> None:
    with ProcessGroup(2) as group, group.as_executor() as executor:
        results = executor.map(targets.divide, [1, 2, 0, 4])
        assert [next(results), next(results)] == [1, 0.5]
        with pytest.raises(ZeroDivisionError):
            next(results)
        assert list(results) == []


def test_what_the_input_raises_is_raised_at_the_call(log: Path) -> None:
    def inputs() -> Iterator[int]:
        yield from range(5)
        raise LookupError

    with ProcessGroup(2) as group, group.as_executor() as executor:
        for chunksize in (1, 2):
            with pytest.raises(LookupError):
                executor.map(targets.doubler, inputs(), chunksize=chunksize)
        results = executor.map(targets.doubler, inputs(), buffersize=2)
        with pytest.raises(LookupError):
            list(results)


def test_wrong_arguments_of_map_are_told_at_the_call() -> None:
    with ProcessGroup(1) as group, group.as_executor() as executor:
        for wrong in ({"chunksize": 0}, {"buffersize": 0}):
            with pytest.raises(ValueError, match=next(iter(wrong))):
                executor.map(targets.doubler, [1], **wrong)
        with pytest.raises(TypeError, match="buffersize"):
            executor.map(targets.doubler, [1], buffersize="2")  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="iterable"):
            executor.map(targets.doubler, 5)  # type: ignore[arg-type]


# --- shutdown ---------------------------------------------------------------------------------------------------------


def test_shutdown_waits_for_what_is_its_own_and_leaves_the_group(log: Path, gate: Path) -> None:
    with ProcessGroup(2) as group:
        other = group.submit(targets.begin_and_wait, str(log), str(gate))
        with group.as_executor() as executor:
            future = executor.submit(targets.doubler, 1)
        assert future.done()
        assert not other.done()
        for call in (executor.submit, executor.map):
            with pytest.raises(RuntimeError, match="cannot schedule new futures after shutdown"):
                call(targets.doubler, [1])
        executor.shutdown()
        gate.touch()
        assert group.submit(targets.doubler, 1).result() == 2
        assert group.as_executor().submit(targets.doubler, 1).result() == 2


def test_shutdown_waits_for_callbacks(gate: Path) -> None:
    called: list[str] = []

    def call(future: Future[str]) -> None:
        wait_until(lambda: group.submit(targets.doubler, 1).result() == 2)
        executor.shutdown()  # from here it cannot wait for itself
        called.append(future.result())

    with ProcessGroup(1) as group:
        executor = group.as_executor()
        executor.submit(targets.wait_for, str(gate)).add_done_callback(call)
        gate.touch()
        executor.shutdown()
        assert called == [str(gate)]


@pytest.mark.parametrize("how", ["wait", "cancel", "terminate"])
def test_the_end_ends_a_map_whose_input_has_none(how: str) -> None:
    def inputs() -> Iterator[int]:
        for number in count():
            if number == 1000:
                under_way.set()
            yield number

    def give() -> None:
        with pytest.raises(RuntimeError, match="cannot schedule new futures"):
            executor.map(targets.doubler, inputs())
        refused.set()

    under_way, refused = threading.Event(), threading.Event()
    with ProcessGroup(2) as group:
        executor = group.as_executor()
        thread = threading.Thread(target=give, daemon=True)
        thread.start()
        under_way.wait()
        if how == "terminate":
            group.terminate()
        executor.shutdown(cancel_futures=how == "cancel")
        assert refused.wait(20)
        thread.join()


@pytest.mark.parametrize("chunksize", [1, 5])
def test_an_interrupt_of_the_input_leaves_nothing_to_wait_for(chunksize: int) -> None:
    def inputs() -> Iterator[int]:
        yield from range(12)
        raise KeyboardInterrupt

    with ProcessGroup(2) as group:
        executor = group.as_executor()
        with pytest.raises(KeyboardInterrupt):
            list(executor.map(targets.doubler, inputs(), chunksize=chunksize, buffersize=2))
        executor.shutdown()


def test_who_asks_a_buffered_map_for_more_after_the_end_is_refused(log: Path, gate: Path) -> None:
    with ProcessGroup(2) as group:
        executor = group.as_executor()
        items = [(str(log), str(gate), number) for number in range(9)]
        results = executor.map(mine.log_then_wait, items, buffersize=2)
        assert next(results) == 0
        wait_until(log.read_text)
        executor.shutdown(wait=False)
        with pytest.raises(RuntimeError, match="cannot schedule new futures after shutdown"):
            next(results)
        gate.touch()
        executor.shutdown()


@pytest.mark.parametrize("waits", [True, False])
def test_shutdown_may_cancel_what_has_not_begun(log: Path, gate: Path, waits: bool) -> None:
    with ProcessGroup(1) as group:
        executor = group.as_executor()
        running = begin(executor, log, gate)
        waiting = [executor.submit(targets.doubler, number) for number in range(5)]
        results = executor.map(targets.doubler, range(5))
        executor.shutdown(wait=False, cancel_futures=True)
        assert all(future.cancelled() for future in waiting)
        assert running.running()
        gate.touch()
        executor.shutdown(wait=waits)
        assert running.result() == 7
        with pytest.raises(CancelledError):
            next(results)


def test_shutdown_cancels_what_is_just_being_given(log: Path, gate: Path) -> None:
    with ProcessGroup(1) as group:
        executor = group.as_executor()
        begin(executor, log, gate)
        shutdown = mine.CallsWhenDumped(lambda: executor.shutdown(wait=False, cancel_futures=True))
        assert executor.submit(targets.doubler, shutdown).cancelled()
        gate.touch()
        executor.shutdown()


def test_shutdown_cancels_in_the_order_of_the_calls(log: Path, gate: Path) -> None:
    cancelled: list[int] = []
    with ProcessGroup(1) as group:
        executor = group.as_executor()
        begin(executor, log, gate)
        for number in range(50):
            future = executor.submit(targets.doubler, number)
            future.add_done_callback(lambda _, number=number: cancelled.append(number))  # type: ignore[misc]
        executor.shutdown(wait=False, cancel_futures=True)
        gate.touch()
        executor.shutdown()
    assert cancelled == list(range(50))


def test_whatever_was_accepted_is_done_after_the_shutdown() -> None:
    accepted: list[Future[int]] = []

    def give() -> None:
        try:
            accepted.extend(executor.submit(targets.doubler, number) for number in range(300))
        except RuntimeError:
            return

    with ProcessGroup(2) as group:
        for _ in range(10):
            executor = group.as_executor()
            threads = [threading.Thread(target=give) for _ in range(3)]
            for thread in threads:
                thread.start()
            executor.submit(targets.doubler, 1).result()
            executor.shutdown()
            for thread in threads:
                thread.join()
            assert all(future.done() for future in accepted)
            accepted.clear()
