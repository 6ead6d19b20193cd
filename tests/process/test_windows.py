"""Process: a worker is killed inside each window on purpose: idle, receiving, running, writing, sending, exiting."""

from __future__ import annotations

import os
import signal
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import targets
from helpers import Method, executions, the_worker, wait_until

from procorch import ProcessGroup, WorkerCrashed

BIG = 4 << 20
"""More bytes than a page or a socket's buffer holds."""


def group_of_one(method: Method, **options: Any) -> ProcessGroup:
    return ProcessGroup(1, mp_context=method, **options)


def test_idle(method: Method) -> None:
    with group_of_one(method) as group:
        group.submit(targets.doubler, 1).result()
        before = the_worker(group)
        os.kill(before.pid or 0, signal.SIGKILL)
        wait_until(lambda: not group.processes)
        assert group.map(targets.doubler, range(10)) == list(range(0, 20, 2))
        after = the_worker(group)
        assert (after.name, after.slot, after.restarts) == (before.name, before.slot, 1)
        assert after.pid != before.pid


@pytest.mark.parametrize("size", [0, BIG])
def test_receiving(method: Method, size: int, log: Path) -> None:
    """The worker has a part of its orders, or all of them, and has not begun: another does it, once."""
    with group_of_one(method) as group:
        group.submit(targets.doubler, 1).result()
        pid = the_worker(group).pid or 0
        os.kill(pid, signal.SIGSTOP)
        future = group.submit(targets.double_logged, str(log), 0, bytes(size))
        os.kill(pid, signal.SIGKILL)
        assert future.result() == bytes(2 * size)
        assert executions(log) == {0: 1}


def test_running(method: Method, log: Path, gate: Path) -> None:
    """What the worker had finished is delivered, what it ran is lost, what it had not begun is moved."""
    with group_of_one(method) as group, ThreadPoolExecutor(1) as thread:
        stall = partial(targets.stall_or_double, str(log), str(gate), 5)
        mapped = thread.submit(lambda: group.map(stall, range(10), chunksize=10, return_exceptions=True))
        wait_until(lambda: executions(log)[5])
        os.kill(the_worker(group, "busy").pid or 0, signal.SIGKILL)
        results = mapped.result()
        check_lost(results.pop(5), 5)
        assert results == [0, 2, 4, 6, 8, 12, 14, 16, 18]
        assert executions(log) == dict.fromkeys(range(10), 1)


def check_lost(outcome: object, index: int) -> None:
    assert isinstance(outcome, WorkerCrashed)
    assert outcome.task.index == index
    assert outcome.exitcode == -signal.SIGKILL


def test_half_way_through_writing_a_result(method: Method, log: Path) -> None:
    with group_of_one(method, initializer=targets.die_half_way_through_a_record, initargs=(b"fatal",)) as group:
        double = partial(targets.double_logged, str(log))
        words = [["a"], ["b"], ["fatal"], ["c"], ["d"]]
        results = group.map(double, range(5), words, chunksize=5, return_exceptions=True)
        check_lost(results.pop(2), 2)
        assert results == [["a", "a"], ["b", "b"], ["c", "c"], ["d", "d"]]
        assert executions(log) == dict.fromkeys(range(5), 1)


def test_half_way_through_sending_a_large_frame(method: Method, log: Path) -> None:
    with group_of_one(method, initializer=targets.die_half_way_through_a_frame) as group:
        double = partial(targets.double_logged, str(log))
        items = [b"a", b"b", bytes(BIG), b"c", b"d"]
        results = group.map(double, range(5), items, chunksize=5, return_exceptions=True)
        check_lost(results.pop(2), 2)
        assert results == [b"aa", b"bb", b"cc", b"dd"]
        assert executions(log) == dict.fromkeys(range(5), 1)


def test_between_sending_a_large_result_and_noting_it(method: Method, log: Path) -> None:
    """It has arrived whole, so nothing is lost."""
    with group_of_one(method, initializer=targets.die_before_noting_a_large_result) as group:
        double = partial(targets.double_logged, str(log))
        results = group.map(double, range(3), [b"a", bytes(BIG), b"b"], chunksize=3)
        assert results == [b"aa", bytes(2 * BIG), b"bb"]
        assert executions(log) == dict.fromkeys(range(3), 1)


def test_exiting(method: Method) -> None:
    with group_of_one(method, initializer=targets.die_when_exiting) as group:
        assert group.map(targets.doubler, range(10)) == list(range(0, 20, 2))


def test_loading_the_function(method: Method) -> None:
    """A module that ends the process which imports it costs an item for each try, and starts no worker without end."""
    with group_of_one(method) as group:
        outcomes = group.map(targets.DiesWhenLoadedAsFunction(), range(3), return_exceptions=True)
        assert [(type(one), one.attempts) for one in outcomes if isinstance(one, WorkerCrashed)] == [
            (WorkerCrashed, 1)
        ] * 3
        assert group.map(targets.doubler, [1]) == [2]


@pytest.mark.parametrize("what", [targets.DiesWhenLoaded(), "dies"])
def test_pickling(method: Method, what: object) -> None:
    """Pickles that end the process that opens or makes them cost their own item."""
    function = targets.make if what == "dies" else targets.identity
    with group_of_one(method) as group:
        results = group.map(targets.call, [(targets.doubler, 1), (function, what), (targets.doubler, 3)], chunksize=3,
                            return_exceptions=True)  # fmt: skip
        assert isinstance(results.pop(1), WorkerCrashed)
        assert results == [2, 6]
        assert group.map(targets.doubler, [1]) == [2]
