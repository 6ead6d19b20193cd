"""Process tests: what a group tells of itself, by events and in numbers."""

from __future__ import annotations

import gc
import logging
import os
import signal
import threading
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import targets as t
import targets_insight as ti
import targets_limits as tl
from helpers import Method, the_worker, wait_until
from watched import Told

from procorch import ProcessGroup, TaskTimeout, WorkerCrashed, WorkerStartError, events
from procorch._callbacks import Callbacks
from procorch.testing import FakeEngine


def of(kind: type[Any], told: list[events.Event]) -> list[Any]:
    return [event for event in told if isinstance(event, kind)]


def check(told: list[events.Event]) -> Told:
    """Hold the events of a group that has ended against each other."""
    known = Told()
    for event in told:
        known(event)
    assert known.ended
    assert not known.processes
    return known


def test_what_becomes_of_items(method: Method, tmp_path: Path) -> None:
    told: list[events.Event] = []
    before = time.time()
    with ProcessGroup(2, name="w", mp_context=method, on_event=told.append) as group:
        view = group.options(timeout=0.5, retries=1, retry_on=KeyError)
        results = view.map(ti.live_or_not, [str(tmp_path)] * 20, range(20), return_exceptions=True)
        stats = group.stats()
    known = check(told)
    assert isinstance(results[5], WorkerCrashed)
    assert isinstance(results[7], TaskTimeout)
    assert known.failed == {(1, 5): "crashed", (1, 7): "timed out", (1, 13): "raised"}
    assert known.retried == {(1, item): 1 for item in (3, 5, 7, 11)}
    assert {(one.item, one.reason) for one in of(events.ItemRetried, told)} == {
        (3, "crashed"), (5, "crashed"), (7, "timed out"), (11, "raised"),
    }  # fmt: skip
    began = told[0]
    assert isinstance(began, events.GroupBegan)
    assert (began.group, began.pid) == ("w", os.getpid())
    assert before - 1 <= began.wall <= time.time()
    assert {one.name for one in of(events.ProcessStarted, told)} <= {"w-1", "w-2"}
    assert sorted(one.exitcode for one in of(events.ProcessEnded, told))[:5] == [-15, -15, -9, -9, -9]
    assert {one.signal for one in of(events.ProcessSignalled, told)} >= {"SIGTERM"}
    assert {one.task for one in of(events.ChunkBegan, told)} == {"targets_insight.live_or_not"}
    # Those that were begun in vain and raised have finished, those whose process died have not.
    assert known.finished == 20 - 2 + 1
    assert (stats.done, stats.raised, stats.crashed, stats.timed_out, stats.dropped) == (17, 1, 1, 1, 0)
    assert (stats.retried, stats.failed, stats.waiting, stats.running) == (4, 3, 0, 0)
    assert sum(slot.tasks_done for slot in stats.slots) == known.finished
    assert sum(slot.busy_seconds for slot in stats.slots) >= 1  # two tries of half a second each


def test_a_process_of_its_own(method: Method) -> None:
    told: list[events.Event] = []
    with ProcessGroup(name="w", mp_context=method, on_event=told.append) as group:
        process = group.start(t.doubler, 2, name="own")
        assert process.result() == 4
        process.join()
    check(told)
    started, ready = of(events.ProcessStarted, told)[0], of(events.ProcessReady, told)[0]
    assert (started.name, started.pid) == (ready.name, ready.pid) == ("own", process.pid)
    assert [(one.name, one.exitcode) for one in of(events.ProcessEnded, told)] == [("own", 0)]
    assert group.stats().done == 1


def test_all_is_told_when_the_block_is_left() -> None:
    told: list[events.Event] = []

    def slowly(event: events.Event) -> None:
        if isinstance(event, events.ChunkBegan):
            wait_until(lambda: group.stats().done == 1)
        told.append(event)

    with ProcessGroup(1, on_event=slowly) as group:
        group.submit(t.doubler, 1).result()
    check(told)


@pytest.mark.parametrize("way", ["terminate", "raise"])
def test_an_end_by_force(way: str, log: Path) -> None:
    told: list[events.Event] = []
    with pytest.raises(KeyError), ProcessGroup(2, on_event=told.append) as group:
        for _ in range(5):
            group.submit(tl.log_and_be_busy, str(log), "sleep")
        wait_until(lambda: len(log.read_text().splitlines()) == 2)
        assert group.stats().running == 2
        assert group.stats().waiting == 3
        if way == "terminate":
            group.terminate()
        raise KeyError
    check(told)
    stats = group.stats()
    assert (stats.dropped, stats.running, stats.waiting) == (5, 0, 0)
    assert [one.signal for one in of(events.ProcessSignalled, told)] == ["SIGTERM"] * 2
    elapsed = stats.elapsed
    assert group.stats().elapsed == elapsed  # it stands still
    assert all(slot.busy > 0 for slot in stats.slots)


def test_a_hook_may_use_the_group() -> None:
    results: list[int] = []
    threads: set[str] = set()

    def use(event: events.Event) -> None:
        threads.add(threading.current_thread().name)
        if isinstance(event, events.ChunkEnded) and event.job == 1:
            results.append(group.submit(t.doubler, 5).result())

    with ProcessGroup(1, name="w", on_event=use) as group:
        group.submit(t.doubler, 1).result()
        wait_until(lambda: bool(results))
    assert results == [10]
    assert threads == {"procorch-w-callbacks"}


def test_a_hook_may_end_the_group(log: Path) -> None:
    def end(event: events.Event) -> None:
        if isinstance(event, events.ChunkBegan):
            group.terminate()

    with ProcessGroup(1, on_event=end) as group:
        future = group.submit(tl.log_and_be_busy, str(log), "sleep")
    assert future.cancelled()


def test_what_a_hook_raises_is_logged_and_ignored(caplog: pytest.LogCaptureFixture) -> None:
    def fail(event: events.Event) -> None:
        raise KeyError("hook")

    with caplog.at_level(logging.ERROR, "procorch"), ProcessGroup(1, on_event=fail) as group:
        assert group.map(t.doubler, range(5)) == [0, 2, 4, 6, 8]
    assert len(caplog.records) >= 5
    assert {record.name for record in caplog.records} == {"procorch"}
    assert "KeyError: 'hook'" in caplog.text


def test_an_idle_worker_that_is_killed_and_a_process_that_cannot_start() -> None:
    told: list[events.Event] = []
    with ProcessGroup(1, on_event=told.append) as group:
        group.submit(t.doubler, 1).result()
        os.kill(the_worker(group).pid or 0, 9)
        assert group.submit(t.doubler, 1).result() == 2
    check(told)
    assert [one.exitcode for one in of(events.ProcessEnded, told)] == [-9, 0]
    with pytest.raises(WorkerStartError), ProcessGroup(1, initializer=os._exit, initargs=(3,)) as group:
        group.submit(t.doubler, 1).result()
    stats = group.stats()
    assert stats.failed + stats.dropped == 1


def test_streams_of_plain_data_are_counted_by_items() -> None:
    told: list[events.Event] = []
    with ProcessGroup(2, on_event=told.append) as group:
        assert len(group.map(abs, range(50_000))) == 50_000
        stats = group.stats()
    assert (stats.done, check(told).finished) == (50_000, 50_000)
    assert len(told) < 5_000  # of chunks, not of items
    assert stats.p50 is not None
    assert stats.p95 is not None
    assert 0 < stats.p50 <= stats.p95 < 0.01


def test_many_groups_with_one_hook() -> None:
    told: list[events.Event] = []
    for number in range(3):
        with ProcessGroup(1, name=f"w{number}", on_event=told.append) as group:
            group.submit(t.doubler, 1).result()
    names = [one.group for one in told if isinstance(one, events.GroupBegan | events.GroupEnded)]
    assert names == ["w0", "w0", "w1", "w1", "w2", "w2"]


def test_a_group_without_work_tells_nothing() -> None:
    told: list[events.Event] = []
    with ProcessGroup(on_event=told.append) as group:
        stats = group.stats()
    assert not told
    assert (stats.done, stats.elapsed, stats.p50, stats.slots) == (0, 0.0, None, ())


def test_on_another_engine() -> None:
    told: list[events.Event] = []
    with ProcessGroup(1, engine=FakeEngine(), on_event=told.append) as group:
        assert group.map(t.doubler, range(10)) == list(range(0, 20, 2))
    assert check(told).finished == group.stats().done == 10


def test_a_hook_must_be_callable() -> None:
    with pytest.raises(TypeError, match="on_event must be callable, not 3"):
        ProcessGroup(on_event=3)  # type: ignore[arg-type]


def test_signals_are_told_and_counted_when_they_are_sent() -> None:
    told: list[events.Event] = []
    with ProcessGroup(4, on_event=told.append) as group:
        for _ in range(4):
            group.submit(time.sleep, 100)
        group.terminate()  # now some of the processes are not started yet, and never will be
    assert check(told).signals == group.stats().signals


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt])
def test_a_hook_that_would_end_its_thread(error: type[BaseException], caplog: pytest.LogCaptureFixture) -> None:
    told: list[events.Event] = []

    def end(event: events.Event) -> None:
        told.append(event)
        raise error

    with caplog.at_level(logging.ERROR, "procorch"), ProcessGroup(1, on_event=end) as group:
        executor = group.as_executor()
        assert executor.submit(t.doubler, 1).result() == 2
        executor.shutdown()  # waits for callbacks
    check(told)
    assert error.__name__ in caplog.text


def test_a_forked_copy_may_count() -> None:
    with ProcessGroup(1) as group:
        assert group.submit(t.doubler, 1).result() == 2
        taken, looked = threading.Event(), threading.Event()

        def hold() -> None:
            with group._supervisor._lock:
                taken.set()
                looked.wait()

        holder = threading.Thread(target=hold)
        holder.start()
        taken.wait()
        pid = os.fork()
        if not pid:
            signal.alarm(10)
            os._exit(0 if group.stats().done == 1 and len(group.processes) == 1 else 1)
        _, status = os.waitpid(pid, 0)
        looked.set()
        holder.join()
    assert status == 0


def interrupted_after(do: Callable[..., object]) -> Callable[..., None]:
    """Raise in the thread of the caller, in the middle of its doings, as a Ctrl-C may."""

    def do_and_raise(*args: Any) -> None:
        do(*args)
        if threading.current_thread() is threading.main_thread():
            raise KeyboardInterrupt

    return do_and_raise


def test_a_caller_that_is_interrupted(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[events.Event] = []
    with pytest.raises(KeyboardInterrupt), ProcessGroup(1, on_event=told.append) as group:
        futures = [group.submit(tl.log_and_be_busy, str(log), "sleep") for _ in range(3)]
        group.start(tl.log_and_be_busy, str(log), "sleep")
        wait_until(lambda: len(log.read_text().splitlines()) == 2)
        monkeypatch.setattr(group._supervisor, "_nudge", interrupted_after(group._supervisor._nudge))
        group.submit(t.doubler, 1)
    assert "interrupted" in repr(group)
    assert all(future.done() for future in futures)
    assert [one.exitcode for one in of(events.ProcessEnded, told)] == [-9, -9]
    check(told)
    stats = group.stats()
    assert (stats.dropped, stats.running, stats.waiting) == (5, 0, 0)
    assert group.processes == ()


def test_an_interrupt_while_the_first_work_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[events.Event] = []
    with pytest.raises(KeyboardInterrupt), ProcessGroup(1, on_event=told.append) as group:
        monkeypatch.setattr(threading.Thread, "start", interrupted_after(threading.Thread.start))
        group.submit(t.doubler, 1)
    assert not told


def test_an_interrupt_while_the_thread_for_callbacks_is_started(monkeypatch: pytest.MonkeyPatch) -> None:
    callbacks, called = Callbacks("w"), threading.Event()
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(threading.Thread, "start", interrupted_after(threading.Thread.start))
        callbacks.run(called.set)
    callbacks.run(called.set)
    callbacks.close()
    assert callbacks.join(10)
    assert called.is_set()


def test_a_group_that_has_ended_is_not_kept_by_whom_it_told() -> None:
    class Listener:
        group: ProcessGroup | None = None

        def hear(self, event: events.Event) -> None:
            pass

    listener = Listener()
    with ProcessGroup(1, on_event=listener.hear) as group:
        listener.group = group
        assert group.submit(t.doubler, 1).result() == 2
    kept = weakref.ref(group)
    del group, listener
    gc.collect()
    assert kept() is None
