"""Process: a caller who waits for the only result waits for the worker itself, in place of the supervisor's thread."""

from __future__ import annotations

import concurrent.futures
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import targets
from helpers import the_worker, wait_until

from procorch import ProcessGroup, WorkerCrashed


@pytest.fixture
def group() -> Iterator[ProcessGroup]:
    """One with a worker that is idle, whose last result a caller has waited for himself."""
    with ProcessGroup(1) as group:
        group.submit(targets.doubler, 1).result()
        the_worker(group)
        # Unless the result is there before it is asked for.
        wait_until(lambda: group.submit(targets.doubler, 2).result() == 4 and group._supervisor._beats)
        yield group


def helper_of(group: ProcessGroup) -> int | None:
    return group._supervisor._helper


def in_thread(future: concurrent.futures.Future[Any], group: ProcessGroup) -> threading.Thread:
    """Let a thread wait for a future, and give it once it waits for the worker."""
    thread = threading.Thread(target=future.exception)
    thread.start()
    wait_until(lambda: helper_of(group) == thread.ident)
    return thread


def test_what_nobody_waits_for_is_dealt_with_likewise(group: ProcessGroup) -> None:
    """The supervisor's thread naps when this begins."""
    done = threading.Event()
    group.submit(targets.doubler, 3).add_done_callback(lambda _: done.set())
    assert done.wait(20)
    (future,) = concurrent.futures.wait([group.submit(targets.doubler, 4)], 20).done
    assert future.result() == 8
    assert group.map(targets.doubler, range(5)) == [0, 2, 4, 6, 8]


def test_a_worker_that_dies_idle_afterwards_is_noticed(group: ProcessGroup) -> None:
    os.kill(the_worker(group).pid or 0, signal.SIGKILL)
    wait_until(lambda: not group.processes)


def test_one_that_dies_meanwhile_is_noticed(group: ProcessGroup) -> None:
    with pytest.raises(WorkerCrashed):
        group.submit(targets.kill_self).result()
    assert group.submit(targets.doubler, 5).result() == 10


def test_other_work_comes_and_goes_meanwhile(group: ProcessGroup, gate: Path, log: Path) -> None:
    future = group.submit(targets.begin_and_wait, str(log), str(gate), 7)
    thread = in_thread(future, group)
    others = [group.submit(targets.doubler, number) for number in range(3)]
    handle = group.start(targets.doubler, 8)  # its process is started by the supervisor's thread, which has to wake
    assert handle.result() == 16
    gate.touch()
    thread.join()
    assert [other.result() for other in others] == [0, 2, 4]


def test_it_is_cancelled_by_another_thread(group: ProcessGroup, gate: Path, log: Path) -> None:
    future = group.submit(targets.begin_and_wait, str(log), str(gate), 7)
    with concurrent.futures.ThreadPoolExecutor(1) as waiter:
        waiting = waiter.submit(future.exception)
        wait_until(lambda: helper_of(group) is not None)
        assert future.cancel()
        with pytest.raises(concurrent.futures.CancelledError):
            waiting.result(20)
    assert group.submit(targets.doubler, 5).result() == 10


def test_the_group_is_terminated_by_another_thread(group: ProcessGroup, gate: Path, log: Path) -> None:
    future = group.submit(targets.begin_and_wait, str(log), str(gate), 7)
    with concurrent.futures.ThreadPoolExecutor(1) as waiter:
        waiting = waiter.submit(future.exception)
        wait_until(lambda: helper_of(group) is not None)
        group.terminate()
        with pytest.raises(concurrent.futures.CancelledError):
            waiting.result(20)


def test_the_time_is_up(group: ProcessGroup, gate: Path, log: Path) -> None:
    future = group.submit(targets.begin_and_wait, str(log), str(gate), 7)
    with pytest.raises(TimeoutError):
        future.result(0.05)
    assert helper_of(group) is None
    gate.touch()
    done = threading.Event()
    future.add_done_callback(lambda _: done.set())
    assert done.wait(20)  # who waited has handed over
    assert future.result() == 7


def test_an_interrupt_of_the_wait_costs_nothing(group: ProcessGroup, gate: Path, log: Path) -> None:
    future = group.submit(targets.begin_and_wait, str(log), str(gate), 7)
    wait_until(log.read_text)

    def interrupt() -> None:
        wait_until(lambda: helper_of(group) == threading.main_thread().ident)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    thread = threading.Thread(target=interrupt)
    thread.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            future.result()
    finally:
        signal.signal(signal.SIGINT, before)
        thread.join()
    gate.touch()
    assert future.result() == 7
    assert group.submit(targets.doubler, 5).result() == 10


def test_who_was_let_go_of_unnoticed_is_replaced(group: ProcessGroup) -> None:
    """As by an interrupt at the one moment at which it can do harm."""
    supervisor = group._supervisor
    with supervisor._lock:
        supervisor._helper = -1
    supervisor._wake()
    wait_until(lambda: supervisor._napping)
    done = threading.Event()
    group.submit(targets.doubler, 3).add_done_callback(lambda _: done.set())
    assert done.wait(20)
    assert helper_of(group) is None
