"""Process tests: rows of a process of its own, whatever becomes of it, of its rows and of its consumer."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import threading
from array import array
from collections import deque
from concurrent.futures import CancelledError
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import targets as t
import targets_streams as ts
from helpers import Method, is_gone, script, wait_until
from hypothesis import given, settings
from hypothesis import strategies as st

from procorch import (
    GroupClosed,
    NotPicklable,
    NotSupported,
    ProcessGroup,
    ProcessHandle,
    ProcessStream,
    TaskTimeout,
    WorkerCrashed,
)
from procorch.engines import ExecutorEngine
from procorch.testing import FakeEngine

FOREVER = 1 << 40


def begun(log: Path) -> int:
    """Count the rows that have begun."""
    return sum(1 for line in log.read_text().splitlines() if not line.startswith("-1"))


def closed(log: Path) -> bool:
    return log.read_text().endswith("-1 closed\n")


# --- rows -------------------------------------------------------------------------------------------------------------


def test_rows_come_once_and_in_order_and_then_what_was_returned(method: Method) -> None:
    with ProcessGroup(1, name="rows", mp_context=method) as group:
        stream = group.start(ts.count_to, 5000)
        assert isinstance(stream, ProcessStream)
        assert list(stream) == [(number, "row") for number in range(5000)]
        assert stream.result() == "5000 rows"
        assert stream.join()
        assert (stream.name, stream.exitcode, stream.is_alive()) == ("rows-1", 0, False)
        assert list(stream) == []
        none = group.start(ts.count_to, 0, name="none")
        assert list(none) == []
        assert set(group.as_completed()) == {stream, none}


def test_what_inspect_takes_for_a_generator_function() -> None:
    with ProcessGroup(1) as group:
        for fn in (ts.Reader(3).rows, partial(ts.Reader(3).rows), ts.Reader(3), partial(ts.same, 3)):
            assert len(list(group.start(fn, 2))) == 2
        assert not isinstance(group.start(t.doubler, 2), ProcessStream)


def test_async_generators_have_one_loop_for_all_rows(method: Method, log: Path) -> None:
    with ProcessGroup(1, mp_context=method) as group:
        assert list(group.start(ts.ticks, 50)) == list(range(50))
        assert len(set(group.start(ts.loops, 50))) == 1
        for number in (stream := group.start(ts.ticks, FOREVER, str(log))):
            if number == 20:
                break
        assert stream.join(20)
        assert stream.exitcode == 0
    assert closed(log)


def test_a_coroutine_function_runs_in_a_loop(method: Method) -> None:
    with ProcessGroup(1, mp_context=method) as group:
        assert group.start(ts.double_later, 21).result() == 42


_PLAIN: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=3) | st.tuples(inner, inner) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@settings(max_examples=25)
@given(rows=st.lists(_PLAIN, max_size=40), buffersize=st.sampled_from([None, 1, 2, 7]))
def test_rows_of_any_plain_data(rows: list[Any], buffersize: int | None) -> None:
    with ProcessGroup(1, mp_context="fork") as group:
        stream = group.start(ts.given, rows, buffersize=buffersize)
        assert list(stream) == rows
        assert stream.result() == len(rows)


def test_large_rows(method: Method) -> None:
    with ProcessGroup(1, mp_context=method) as group:
        for number, row in enumerate(group.start(ts.arrays, 1 << 17, 12)):
            assert row == array("q", [number]) * (1 << 17)
        text = "x" * (3 << 20)
        assert list(group.start(ts.same, text, 3)) == [text] * 3
        stream = group.start(ts.returns_large, 3 << 20)
        assert list(stream) == []
        assert stream.result() == bytes(3 << 20)


def test_on_a_fake_engine(log: Path) -> None:
    with ProcessGroup(1, engine=FakeEngine()) as group:
        assert list(group.start(ts.count_to, 100))[-1] == (99, "row")
        for number in (stream := group.start(ts.logged, str(log), buffersize=1)):
            if number == 3:
                break
        assert stream.join(20)
        with pytest.raises(LookupError, match="no more"):
            list(group.start(ts.raises_after, 3))
    assert closed(log)


def test_an_engine_that_cannot_refuses_by_name() -> None:
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as executor, ProcessGroup(engine=ExecutorEngine(executor, isolate=False)) as group:
        assert not group._supervisor.capabilities.rows
        with pytest.raises(NotSupported, match="generator function"):
            group.start(ts.count_to, 1)


# --- backpressure -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("buffersize", [1, 2, 5])
def test_no_row_begins_without_room_for_it(log: Path, buffersize: int) -> None:
    """Those that are made or being made, and not given to the consumer, are never more; and as many come."""
    with ProcessGroup(1) as group:
        stream = group.start(ts.logged, str(log), buffersize=buffersize)
        wait_until(lambda: begun(log) == buffersize)  # without anybody's asking
        for taken, number in enumerate(islice(stream, 30), 1):
            assert number == taken - 1
            assert begun(log) <= taken + buffersize
        assert begun(log) <= 30 + buffersize


def test_without_a_size_it_stays_a_little_ahead_until_the_consumer_has_to_wait(log: Path) -> None:
    with ProcessGroup(1) as group:
        stream = group.start(ts.logged, str(log))
        wait_until(lambda: begun(log) == 4)
        assert list(islice(stream, 2000)) == list(range(2000))
        assert begun(log) <= 2000 + 4096


def test_rows_that_came_are_given_though_the_next_takes_for_ever(gate: Path) -> None:
    with ProcessGroup(1) as group:
        rows = iter(group.start(ts.waits_between, str(gate), 3))
        assert list(islice(rows, 3)) == [0, 1, 2]
        gate.touch()
        assert list(rows) == [3]


def test_group_join_waits_for_no_consumer(log: Path) -> None:
    with ProcessGroup(1) as group:
        rows = iter(group.start(ts.logged, str(log), buffersize=2))
        assert next(rows) == 0
        assert group.join(20)
        assert [info.state for info in group.processes] == ["idle"]
        assert next(rows) == 1


# --- closing ----------------------------------------------------------------------------------------------------------


def test_leaving_the_loop_closes_the_generator(method: Method, log: Path) -> None:
    with ProcessGroup(1, mp_context=method) as group:
        for number in (stream := group.start(ts.logged, str(log), buffersize=3)):
            if number == 10:
                break
        assert stream.join(20)
        assert (stream.exitcode, closed(log)) == (0, True)
        assert begun(log) <= 14
        assert list(stream) == []
        with pytest.raises(CancelledError, match="closed before its end"):
            stream.result()
        with contextlib.suppress(LookupError):
            for _ in (stream := group.start(ts.logged, str(log))):
                raise LookupError
        assert stream.join(20)
        rows = iter(stream := group.start(ts.logged, str(log)))
        next(rows)
        del rows
        assert stream.join(20)
        with group.start(ts.logged, str(log)) as stream:
            pass
        assert stream.join(20)


@pytest.mark.parametrize("close", [True, False])
def test_closing_in_the_middle_of_a_row_stops_the_process(log: Path, *, close: bool) -> None:
    with ProcessGroup(1) as group:
        rows = iter(stream := group.start(ts.hangs_after, 1, str(log)))
        assert next(rows) == 0
        wait_until(lambda: "hangs" in log.read_text())
        if close:
            stream.close()  # it is asked, and sent SIGTERM 5 s later
        else:
            stream.terminate()
            with pytest.raises(WorkerCrashed):
                list(rows)
        assert stream.join(20)
        assert stream.exitcode == -signal.SIGTERM


def test_closing_before_the_process_is_there(method: Method, log: Path) -> None:
    with ProcessGroup(1, mp_context=method) as group:
        for _ in range(5):
            stream = group.start(ts.logged, str(log))
            stream.close()
            assert stream.join(20)
    assert begun(log) in range(21)


def test_closing_in_another_thread_ends_the_loop(gate: Path) -> None:
    with ProcessGroup(1) as group:
        stream = group.start(ts.waits_between, str(gate), 1)
        taken: list[int] = []
        consumer = threading.Thread(target=lambda: taken.extend(stream))
        consumer.start()
        wait_until(lambda: stream._ahead.given == 1)
        stream.close()
        consumer.join()
        gate.touch()
        assert taken == [0]
        assert stream.join(20)


def test_closing_when_somebody_is_just_about_to_take_rows_ends_the_loop() -> None:
    class Signalled(deque[Any]):
        """A signal comes in, or another thread, when somebody has just seen that there are rows."""

        def __bool__(self) -> bool:
            there = len(self) > 0
            stream.close()
            return there

    with ProcessGroup(1, engine=FakeEngine()) as group:
        stream = group.start(ts.count_to, 3)
        wait_until(lambda: stream._segments)
        stream._segments = Signalled(stream._segments)
        rows = list(stream)
        assert rows == [(number, "row") for number in range(len(rows))]


def test_leaving_the_group_closes_what_nobody_has_taken_to_its_end(method: Method, log: Path) -> None:
    with ProcessGroup(1, mp_context=method) as group:
        untouched = group.start(ts.logged, str(log), buffersize=3)
        rows = iter(stream := group.start(ts.logged, str(log), buffersize=3))
        assert next(rows) == 0
        wait_until(lambda: begun(log) == 3 + 3)
    assert log.read_text().count("closed") == 2
    assert (stream.exitcode, untouched.exitcode) == (0, 0)
    assert list(islice(rows, 2)) == [1, 2]  # made before
    with pytest.raises(GroupClosed):
        next(rows)
    with pytest.raises(GroupClosed):
        untouched.result()


def test_terminating_the_group_wakes_a_consumer_in_another_thread(gate: Path) -> None:
    with ProcessGroup(1) as group:
        stream = group.start(ts.waits_between, str(gate), 1)
        errors: list[BaseException] = []

        def consume() -> None:
            try:
                list(stream)
            except GroupClosed as error:
                errors.append(error)

        consumer = threading.Thread(target=consume)
        consumer.start()
        wait_until(lambda: stream._ahead.given == 1)
        group.terminate()
        consumer.join()
        assert len(errors) == 1


def test_a_stream_has_one_consumer(log: Path) -> None:
    with ProcessGroup(1) as group:
        stream = group.start(ts.logged, str(log))
        rows = iter(stream)
        next(rows)
        with pytest.raises(RuntimeError, match="has a consumer already"):
            next(iter(stream))
        assert next(rows) == 1


def test_what_closing_raises_is_raised_on_leaving() -> None:
    with pytest.raises(ExceptionGroup) as caught, ProcessGroup(1) as group:
        stream = group.start(ts.fails_to_close, buffersize=1)
        assert next(iter(stream)) == 0
        assert stream.join(20)
        assert stream.exitcode == 1
    assert caught.group_contains(LookupError, match="not closed")


# --- failures ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [0, 1, 3, 2000])
def test_an_exception_comes_after_the_rows_before_it(count: int) -> None:
    with ProcessGroup(1, name="rows") as group:
        stream = group.start(ts.raises_after, count)
        rows: list[int] = []
        with pytest.raises(LookupError, match="no more") as caught:
            rows.extend(row for row in stream)
        assert rows == list(range(count))
        assert caught.value.__notes__ == [f"procorch: row {count} of process 'rows-1' (pid {stream.pid})"]
        with pytest.raises(LookupError, match="no more"):
            stream.result()
        assert stream.join(20)
        assert stream.exitcode == 1


def test_a_failure_that_nobody_has_seen_is_loud() -> None:
    with pytest.raises(BaseExceptionGroup) as caught, ProcessGroup(1) as group:
        stream = group.start(ts.raises_after, 1)
        assert stream.join(20)
        assert stream.exitcode == 1
    assert caught.group_contains(LookupError)
    with ProcessGroup(1) as group:
        group.start(ts.raises_after, 1).close()


@pytest.mark.parametrize(("target", "exitcode"), [(ts.exits_after, 7), (ts.killed_after, -9)])
@pytest.mark.parametrize("count", [0, 1, 500])
def test_rows_of_a_process_that_died_are_all_given(target: Any, exitcode: int, count: int) -> None:
    with ProcessGroup(1) as group:
        stream = group.start(target, count)
        rows: list[int] = []
        with pytest.raises(WorkerCrashed) as caught:
            rows.extend(row for row in stream)
        assert rows == list(range(count))
        assert (caught.value.exitcode, caught.value.attempts) == (exitcode, 1)
        assert stream.join(20)
        assert stream.exitcode == exitcode


def test_a_process_that_dies_while_it_stands_by(log: Path) -> None:
    with ProcessGroup(1) as group:
        rows = iter(stream := group.start(ts.logged, str(log), buffersize=3))
        wait_until(lambda: begun(log) == 3)
        wait_until(lambda: [info.state for info in group.processes] == ["idle"])
        assert stream.pid is not None
        os.kill(stream.pid, signal.SIGKILL)
        assert stream.join(20)
        assert list(islice(rows, 3)) == [0, 1, 2]
        with pytest.raises(WorkerCrashed, match="SIGKILL"):
            next(rows)


def test_killed_at_any_moment_rows_are_a_prefix(method: Method) -> None:
    rng = random.Random(20261129)
    with ProcessGroup(1, mp_context=method) as group:
        for number in range(12 if method == "fork" else 4):
            large = number % 2 == 1
            stream: ProcessStream[Any, Any] = (
                group.start(ts.arrays, 1 << 15, FOREVER) if large else group.start(ts.count_to, FOREVER)
            )
            after = rng.randrange(20 if large else 2000)
            killer = threading.Timer(rng.random() * 0.01, os.kill, (stream.pid, signal.SIGKILL))
            with pytest.raises(WorkerCrashed) as caught:
                for index, row in enumerate(stream):
                    assert row == (array("q", [index]) * (1 << 15) if large else (index, "row"))
                    if index == after:
                        killer.start()
            killer.join()
            assert caught.value.exitcode == -signal.SIGKILL


def test_a_row_that_cannot_be_pickled_costs_the_rest() -> None:
    with ProcessGroup(1) as group:
        rows = iter(stream := group.start(ts.unpicklable_at, 2))
        assert [next(rows), next(rows)] == [0, 1]
        with pytest.raises(NotPicklable, match="result"):
            next(rows)
        assert stream.join(20)
        rows = iter(stream := group.start(ts.hostile))
        assert next(rows) == 0
        with pytest.raises(NotPicklable, match="not to be rebuilt"):
            next(rows)
        assert stream.join(20)
        rows = iter(stream := group.start(ts.returns_unpicklable))
        assert next(rows) == 1
        with pytest.raises(NotPicklable, match="result"):
            next(rows)
        with pytest.raises(NotPicklable, match="result"):
            stream.result()


def test_what_cannot_be_sent_is_raised_at_the_first_row() -> None:
    with ProcessGroup(1) as group:
        stream = group.start(ts.given, [threading.Lock()])
        with pytest.raises(NotPicklable, match="argument"):
            next(iter(stream))


def test_a_limit_is_one_for_each_row(log: Path) -> None:
    with ProcessGroup(1) as group:
        stream = group.options(timeout=0.3).start(ts.hangs_after, 5, str(log))
        rows: list[int] = []
        with pytest.raises(TaskTimeout):
            rows.extend(row for row in stream)
        assert rows == list(range(5))
        assert stream.join(20)


def test_bad_input() -> None:
    with ProcessGroup(1) as group:
        with pytest.raises(ValueError, match="retries"):
            group.options(retries=1).start(ts.count_to, 1)
        with pytest.raises(ValueError, match="retry_on"):
            group.options(retry_on=LookupError).start(ts.count_to, 1)
        with pytest.raises(ValueError, match="buffersize must be at least 1"):
            group.start(ts.count_to, 1, buffersize=0)
        with pytest.raises(TypeError, match="buffersize"):
            group.start(ts.count_to, 1, buffersize=1.5)  # type: ignore[call-overload]
        with pytest.raises(ValueError, match="is none"):
            group.start(t.doubler, 1, buffersize=2)
        assert not group.processes


def test_nothing_is_left_when_the_parent_is_killed(method: Method) -> None:
    with script(__file__, method, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        parent.kill()
        wait_until(lambda: is_gone(pid))


def main(method: Method) -> None:
    with ProcessGroup(1, mp_context=method) as group:
        stream = group.start(ts.count_to, FOREVER)
        assert isinstance(stream, ProcessHandle)
        print(stream.pid, flush=True)
        for _ in stream:
            pass


if __name__ == "__main__":
    main(sys.argv[1])  # type: ignore[arg-type]
