"""Process: nobody notices that a caller who waits for a result may be waiting for the workers itself."""

from __future__ import annotations

import os
import select
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import targets
from helpers import Method, wait_until

from procorch import ProcessGroup
from procorch._local import LocalEngine, LocalWorker


def test_a_limit_for_waiting_in_a_thread(method: Method, gate: Path, log: Path) -> None:
    with ProcessGroup(1, mp_context=method) as group, ThreadPoolExecutor(1) as threads:
        future = group.submit(targets.begin_and_wait, str(log), str(gate), 1)
        for wait in (future.result, future.exception):
            for seconds in (0.01, 0, -1):
                with pytest.raises(TimeoutError):
                    threads.submit(wait, seconds).result()
        gate.touch()
        assert threads.submit(future.result).result() == 1


def test_callbacks_run_in_their_own_thread(method: Method) -> None:
    """In the thread that waits, one that waits for the group would wait for itself."""
    with ProcessGroup(1, name="waits", mp_context=method) as group:
        assert group.submit(targets.doubler, 1).result() == 2
        seen: Future[tuple[str, int]] = Future()

        def call(future: Future[Any]) -> None:
            inner: int = group.submit(targets.doubler, future.result()).result()
            seen.set_result((threading.current_thread().name, inner))

        future = group.submit(targets.doubler, 2)
        future.add_done_callback(call)
        assert future.result() == 4
        name, inner = seen.result()
        assert (name, inner) == ("procorch-waits-callbacks", 8)


def test_a_forked_copy_takes_nothing_from_the_workers(method: Method, gate: Path, log: Path) -> None:
    with ProcessGroup(1, mp_context=method) as group:
        assert group.submit(targets.doubler, 1).result() == 2
        future = group.submit(targets.begin_and_wait, str(log), str(gate), 1)
        wait_until(future.running)
        pid = os.fork()
        if not pid:
            gate.touch()
            try:
                future.result(timeout=1)
            except TimeoutError:
                os._exit(7)
            os._exit(8)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
        assert future.result(timeout=5) == 1
        assert group.submit(targets.doubler, 3).result(timeout=5) == 6


@pytest.mark.limit(20)
def test_who_waits_in_another_way_waits_no_longer_than_usual(method: Method, monkeypatch: pytest.MonkeyPatch) -> None:
    """The supervisor's thread leaves the workers to callers for a while, but not if it knows better."""
    monkeypatch.setattr("procorch._loop._NAP_SECONDS", 60.0)
    with ProcessGroup(1, mp_context=method) as group:
        for _ in range(2):  # the first time, the worker is still to be started
            assert group.submit(targets.doubler, 1).result() == 2
        assert group.map(targets.doubler, [1]) == [2]
        assert group.submit(targets.doubler, 1).result() == 2
        seen: Future[int] = Future()
        group.submit(targets.doubler, 2).add_done_callback(lambda future: seen.set_result(future.result()))
        assert seen.result() == 4


def test_a_worker_that_is_ready_before_it_is_known(
    method: Method, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The caller who waits hears of a new process while the supervisor's thread is still about starting it."""
    honest = LocalEngine.start

    def start(self: LocalEngine, slot: int, name: str) -> LocalWorker:
        worker = honest(self, slot, name)
        # Longer than it takes the caller to be told.
        select.select([worker.channel], [], [], 20)
        select.select([], [], [], 0.05)
        return worker

    monkeypatch.setattr(LocalEngine, "start", start)
    with ProcessGroup(1, mp_context=method) as group:
        for _ in range(2):  # the first time, the worker is still to be started
            assert group.submit(targets.doubler, 1).result() == 2
        assert group.options(retries=1).submit(targets.crash_until, str(tmp_path), 1).result() == 2
