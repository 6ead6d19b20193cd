"""Process: what users do besides: odd names, futures set by hand, children reaped elsewhere, no descriptors left."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import targets
from helpers import Method, the_worker, wait_until

from procorch import GroupClosed, ProcessGroup, WorkerStartError
from procorch.testing import FakeEngine


def make_group(method: Method, workers: int = 1, **options: Any) -> ProcessGroup:
    return ProcessGroup(workers, mp_context=method, **options)


def test_braces_in_a_name(method: Method) -> None:
    with make_group(method, name="a{b}{") as group:
        assert group.submit(targets.whoami).result()[0] == "a{b}{-1"


def test_methods_of_built_in_types(method: Method) -> None:
    with make_group(method) as group:
        assert group.map(str.upper, ["a", "b"]) == ["A", "B"]
        assert group.submit(len, "abc").result() == 3


def test_join_waits_until_the_results_are_there(method: Method) -> None:
    with make_group(method) as group:
        for _ in range(5):
            futures = [group.submit(targets.blob, 3 << 20) for _ in range(3)]
            assert group.join() is True
            assert all(future.done() for future in futures)


def test_join_of_a_group_that_a_failing_map_has_just_left(method: Method) -> None:
    with make_group(method, 2) as group:
        for _ in range(100):
            with pytest.raises(ZeroDivisionError):
                group.map(targets.divide, [1, 0, 2])
            assert group.join() is True


def test_join_does_not_wait_for_a_stream_that_nobody_reads(method: Method) -> None:
    with make_group(method) as group:
        stream = group.imap(targets.doubler, targets.count_from(0, []))
        assert next(stream) == 0
        assert group.join() is True
        assert next(stream) == 2
        stream.close()


def test_join_keeps_its_timeout_while_a_callback_runs(method: Method, gate: Path) -> None:
    group = make_group(method)
    future = group.submit(targets.wait_for, str(gate))
    done = threading.Event()
    future.add_done_callback(lambda _: done.wait())
    gate.touch()
    future.result()
    group.close()
    began = time.monotonic()
    assert group.join(timeout=0.2) is False
    assert time.monotonic() - began < 5
    done.set()
    assert group.join() is True


def test_a_callback_that_exits_does_not_end_the_others(method: Method, gate: Path) -> None:
    called: list[object] = []

    def leave(_: Future[str]) -> None:
        raise SystemExit

    with make_group(method) as group:
        future = group.submit(targets.wait_for, str(gate))
        future.add_done_callback(leave)
        future.add_done_callback(called.append)
        gate.touch()
    assert called == [future]


def test_a_future_that_the_user_has_set(method: Method, gate: Path) -> None:
    with pytest.raises(LookupError), make_group(method) as group:
        running, waiting, other = (group.submit(targets.wait_for, str(gate)) for _ in range(3))
        the_worker(group, "busy")
        waiting.set_result("mine")
        raise LookupError
    assert waiting.result() == "mine"
    for future in (running, other):
        with pytest.raises(CancelledError):
            future.result()


def test_ending_a_process_that_has_failed_does_not_hide_it(method: Method) -> None:
    with pytest.raises(ExceptionGroup) as caught, make_group(method) as group:
        handle = group.start(targets.divide, 0)
        handle.join()
        handle.terminate()
    assert [type(error) for error in caught.value.exceptions] == [ZeroDivisionError]


def test_as_completed_gives_what_was_started_meanwhile_in_its_turn(method: Method, gate: Path) -> None:
    with make_group(method) as group:
        slow = group.start(targets.wait_for, str(gate))
        fast = group.start(targets.doubler, 1)
        done = group.as_completed()
        assert next(done) is fast
        second = group.start(targets.doubler, 2)
        assert next(done) is second
        gate.touch()
        assert list(done) == [slow]


def test_as_completed_gives_each_once_while_another_thread_starts_more(gate: Path) -> None:
    with ProcessGroup(2) as group, ThreadPoolExecutor(2) as threads:
        first = group.start(targets.wait_for, str(gate))
        given = [threads.submit(lambda: list(group.as_completed())) for _ in range(2)]
        started = [group.start(targets.doubler, number) for number in range(12)]
        gate.touch()
        for future in given:
            found = future.result()
            assert len(found) == len(set(found))
            assert first in found
        assert set(group.as_completed()) == {first, *started}


def test_break_closes_each_of_several_generators(method: Method) -> None:
    closed: list[int] = []

    def source(number: int) -> Iterator[int]:
        try:
            while True:
                yield number
        finally:
            closed.append(number)

    with make_group(method) as group:
        for _ in group.imap(targets.add, source(1), source(2)):
            break
    assert closed == [1, 2]


def test_an_engine_is_opened_and_closed_for_each_group() -> None:
    said: list[str] = []

    class Engine(FakeEngine):
        def open(self, *arguments: Any) -> None:
            said.append("open")

        def close(self) -> None:
            said.append("close")

    engine = Engine()
    for _ in range(2):
        with ProcessGroup(1, engine=engine) as group:
            assert group.submit(targets.doubler, 1).result() == 2
    with ProcessGroup(1, engine=engine):
        pass  # without work, it is left alone
    assert said == ["open", "close"] * 2


@pytest.mark.parametrize("initializer", [targets.dying_initializer, targets.exiting_initializer])
def test_a_started_process_that_never_becomes_ready(method: Method, initializer: Any) -> None:
    with make_group(method, initializer=initializer) as group:
        with pytest.raises(WorkerStartError):
            group.start(targets.doubler, 1).result()
        with pytest.raises(GroupClosed, match="cannot start"):
            group.submit(targets.doubler, 1)


def test_children_that_somebody_else_reaps(method: Method) -> None:
    previous = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        with make_group(method) as group:
            assert group.map(targets.doubler, range(5)) == [0, 2, 4, 6, 8]
            os.kill(the_worker(group).pid or 0, signal.SIGKILL)
            wait_until(lambda: not group.processes)
            assert group.map(targets.doubler, range(5)) == [0, 2, 4, 6, 8]
    finally:
        signal.signal(signal.SIGCHLD, previous)


def test_a_stream_in_a_forked_copy(method: Method) -> None:
    with make_group(method) as group:
        stream = group.imap(targets.doubler, targets.count_from(0, []), buffersize=2)
        assert next(stream) == 0
        child = os.fork()
        if child == 0:
            try:
                while True:
                    next(stream)
            except GroupClosed:
                os._exit(7)
            os._exit(8)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
        assert [next(stream) for _ in range(3)] == [2, 4, 6]
        stream.close()


def test_a_group_inside_a_daemonic_process(method: Method) -> None:
    """What multiprocessing refuses there, as it would be left behind, is ended here by the system."""
    with make_group(method) as group:
        assert group.submit(targets.submit_as_daemon).result() == 2


@pytest.mark.parametrize("method", ["forkserver", "fork"])  # with spawn it takes long, and opens the same
def test_a_system_without_descriptors_is_refused_and_nothing_leaks(method: Method) -> None:
    """With each number of descriptors left, until there are enough: an error of ours or the result, and no trace."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    refused: list[int] = []
    with contextlib.ExitStack() as fillers:
        highest = max(int(path.name) for path in Path("/proc/self/fd").iterdir())
        # Whoever began the tests may have left numbers free below that, and the limit is on numbers.
        while fillers.enter_context(open(os.devnull)).fileno() < highest:  # noqa: PTH123 - nothing else opened
            pass
        try:
            for spare in range(4, 24):
                resource.setrlimit(resource.RLIMIT_NOFILE, (highest + spare, hard))
                with make_group(method) as group:
                    try:
                        assert group.submit(targets.doubler, 1).result() == 2
                    except (WorkerStartError, OSError):
                        refused.append(spare)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert refused == list(range(4, 4 + len(refused)))
    assert 0 < len(refused) < 20
