"""Process tests: limits that stop, cancelling, retries, recycling, finalizers."""

from __future__ import annotations

import concurrent.futures
import itertools
import os
import signal
import threading
import time
from pathlib import Path

import attrs
import pytest
import targets as t
import targets_limits as tl
from helpers import Method, executions, is_gone, the_worker, wait_until

from procorch import ProcessGroup, TaskTimeout, WorkerCrashed, WorkerStartError

# --- timeout ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["sleep", "gil", "subprocess", "spin"])
def test_an_item_that_runs_too_long_is_stopped(method: Method, way: tl.Way, log: Path) -> None:
    with ProcessGroup(1, name="w", mp_context=method) as group:
        with pytest.raises(TaskTimeout) as caught:
            group.options(timeout=0.2).submit(tl.log_and_be_busy, str(log), way).result()
        ended = time.monotonic()
        assert group.submit(t.doubler, 2).result() == 4  # the worker has been replaced
    error = caught.value
    pid, began = log.read_text().split()
    assert ended - float(began) >= 0.2
    assert (error.limit, error.worker, error.pid, error.attempts) == (0.2, "w-1", int(pid), 1)
    assert isinstance(error, TimeoutError)
    assert is_gone(int(pid))
    assert error.stack is not None
    assert "in busy" in error.stack
    assert "ran longer than its limit of 0.2 s in process 'w-1'" in str(error)


@pytest.mark.usefixtures("soon_killed")
@pytest.mark.parametrize("stubborn", [tl.ignore_sigterm_and_hold_the_gil, tl.handle_sigterm_and_hold_the_gil])
def test_it_is_stopped_although_sigterm_does_nothing(method: Method, stubborn: object) -> None:
    with ProcessGroup(1, mp_context=method) as group, pytest.raises(TaskTimeout):
        group.options(timeout=0.1).submit(stubborn).result()  # type: ignore[arg-type]  # one function or the other


def test_it_times_out_although_it_makes_an_exception_of_sigterm(method: Method, log: Path) -> None:
    with ProcessGroup(1, mp_context=method) as group, pytest.raises(TaskTimeout) as caught:
        group.options(timeout=0.1).submit(tl.leave_at_sigterm, str(log)).result()
    assert "leave_at_sigterm" in str(caught.value.stack)


def test_in_a_chunk_it_costs_nobody_else_anything(method: Method, log: Path) -> None:
    with ProcessGroup(1, mp_context=method) as group:
        view = group.options(timeout=0.5)
        results = view.map(
            tl.quick_or_stuck, [str(log)] * 40, [7] * 40, range(40), chunksize=20, return_exceptions=True
        )
    assert isinstance(results.pop(7), TaskTimeout)
    assert results == [2 * value for value in range(40) if value != 7]
    assert set(executions(log).values()) == {1}


def test_every_item_of_a_chunk_has_its_own_time() -> None:
    with ProcessGroup(1) as group:
        assert group.options(timeout=0.5).map(time.sleep, [0.15] * 8, chunksize=8) == [None] * 8


def test_waiting_and_starting_do_not_count(method: Method, gate: Path) -> None:
    with ProcessGroup(1, mp_context=method, initializer=tl.slow_initializer, initargs=(str(gate),)) as group:
        view = group.options(timeout=0.3)
        futures = [view.submit(time.sleep, 0.1) for _ in range(6)]  # wait for the start, then for each other
        the_worker(group, "starting")
        threading.Timer(0.5, t.append, (str(gate), "open")).start()
        for future in futures:
            assert future.result() is None


def test_a_started_process_has_a_limit_too(method: Method, log: Path) -> None:
    with ProcessGroup(mp_context=method) as group:
        handle = group.options(timeout=0.1).start(tl.log_and_be_busy, str(log), "gil", name="own")
        with pytest.raises(TaskTimeout, match="'own'"):
            handle.result()
        assert handle.join()
        assert handle.exitcode in {-signal.SIGTERM, -signal.SIGKILL}


def test_imap_goes_on_after_a_timeout(method: Method, log: Path) -> None:
    with ProcessGroup(2, mp_context=method) as group:
        stream = group.options(timeout=0.2).imap(
            tl.quick_or_stuck, [str(log)] * 20, [3] * 20, range(20), ordered=False, return_exceptions=True
        )
        results = list(stream)
    assert sum(isinstance(result, TaskTimeout) for result in results) == 1
    assert sorted(result for result in results if isinstance(result, int)) == [2 * n for n in range(20) if n != 3]


# --- cancel -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["sleep", "gil", "subprocess"])
def test_a_running_item_is_cancelled(method: Method, way: tl.Way, log: Path) -> None:
    with ProcessGroup(1, mp_context=method) as group:
        future = group.submit(tl.log_and_be_busy, str(log), way)
        behind = group.submit(t.doubler, 4)
        wait_until(log.read_text)
        assert future.running()
        assert not behind.running()
        assert future.cancel()
        assert future.cancelled()
        assert not future.running()
        with pytest.raises(concurrent.futures.CancelledError):
            future.result()
        assert behind.result() == 8
    assert len(log.read_text().splitlines()) == 1
    assert is_gone(int(log.read_text().split()[0]))


def test_a_waiting_item_is_cancelled_and_never_begins(method: Method, log: Path, gate: Path) -> None:
    with ProcessGroup(1, mp_context=method) as group:
        first = group.submit(t.begin_and_wait, str(log), str(gate), 1)
        second = group.submit(t.begin_and_wait, str(log), str(gate), 2)
        wait_until(first.running)
        assert second.cancel()
        gate.touch()
        assert first.result() == 1
        assert not first.cancel()  # too late
        assert not first.cancelled()
    assert executions(log).keys() == {1}


def test_running_is_false_while_the_worker_starts(method: Method, gate: Path) -> None:
    with ProcessGroup(1, mp_context=method, initializer=tl.slow_initializer, initargs=(str(gate),)) as group:
        future = group.submit(t.doubler, 1)
        the_worker(group, "starting")
        assert not future.running()
        gate.touch()
        assert future.result() == 2
        assert not future.running()


@pytest.mark.limit(60)
def test_cancelling_at_every_moment(method: Method) -> None:
    """An item that is cancelled before, while and after it runs: always one outcome, and the group goes on."""
    with ProcessGroup(2, mp_context=method) as group:
        cancelled = 0
        for number in range(150):
            future = group.submit(t.doubler, number)
            until = time.monotonic() + number * 4e-6
            while time.monotonic() < until:
                pass
            if future.cancel():
                cancelled += 1
                assert future.cancelled()
            else:
                assert future.result() == 2 * number
        assert group.submit(t.doubler, 3).result() == 6
    assert cancelled > 0


# --- terminate --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["sleep", "gil", "subprocess"])
def test_terminate_ends_everything_by_one_deadline(method: Method, way: tl.Way, log: Path) -> None:
    group = ProcessGroup(2, mp_context=method)
    futures = [group.submit(tl.log_and_be_busy, str(log), way) for _ in range(2)]
    stubborn = group.start(tl.handle_sigterm_and_hold_the_gil)
    wait_until(lambda: len(log.read_text().splitlines()) == 2)
    began = time.monotonic()
    group.terminate()
    group.terminate()
    assert group.join(10)
    assert time.monotonic() - began < 5  # two deadlines of 1.5 s would still pass; ten processes in turn would not
    assert all(future.cancelled() for future in futures)
    assert not stubborn.is_alive()


def test_terminate_from_a_callback_and_from_a_thread(method: Method, log: Path) -> None:
    with ProcessGroup(2, mp_context=method) as group:
        stuck = group.submit(tl.log_and_be_busy, str(log), "sleep")
        wait_until(stuck.running)
        group.submit(t.doubler, 1).add_done_callback(lambda _: group.terminate())
        wait_until(stuck.cancelled)
        other = threading.Thread(target=group.terminate)
        other.start()
        assert group.join(10)
        other.join()


def test_terminate_from_a_signal_handler(method: Method, log: Path) -> None:
    """At a moment at which the main thread holds whatever lock there is: the handler must not need one."""
    group = ProcessGroup(1, mp_context=method)
    previous = signal.signal(signal.SIGUSR1, lambda *_: group.terminate())
    try:
        stuck = group.submit(tl.log_and_be_busy, str(log), "sleep")
        wait_until(stuck.running)
        with group._supervisor._lock:
            signal.raise_signal(signal.SIGUSR1)
        assert group.join(10)
        assert stuck.cancelled()
    finally:
        signal.signal(signal.SIGUSR1, previous)


def test_work_from_a_signal_handler_is_refused_in_the_middle_of_a_call(method: Method) -> None:
    """It would find everything half done."""
    with ProcessGroup(1, mp_context=method) as group:
        assert group.submit(t.doubler, 1).result() == 2
        with group._supervisor._lock, pytest.raises(RuntimeError, match="in the middle of another call"):
            group.submit(t.doubler, 2)
        assert group.submit(t.doubler, 3).result() == 6


def test_a_caller_who_is_interrupted_under_the_lock_leaves_nobody_waiting(method: Method, log: Path) -> None:
    class Interrupted(BaseException):
        pass

    with pytest.raises(Interrupted), ProcessGroup(1, mp_context=method) as group:
        stuck = group.submit(tl.log_and_be_busy, str(log), "sleep")
        wait_until(stuck.running)
        honest = group._supervisor._scheduler.handle

        def interrupted(*_: object) -> list[object]:
            group._supervisor._scheduler.handle = honest  # type: ignore[method-assign]
            raise Interrupted

        group._supervisor._scheduler.handle = interrupted  # type: ignore[method-assign, assignment]  # a Ctrl-C here
        group.submit(t.doubler, 1)
    with pytest.raises(Exception, match="interrupted in the middle"):
        stuck.result(timeout=10)


def test_an_interrupt_while_the_first_call_starts_the_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    class Interrupted(BaseException):
        pass

    honest = threading.Thread.start

    def start(thread: threading.Thread) -> None:
        if thread.name == "procorch-once":
            monkeypatch.setattr(threading.Thread, "start", honest)
            raise Interrupted
        honest(thread)

    monkeypatch.setattr(threading.Thread, "start", start)
    with ProcessGroup(1, name="once") as group:
        with pytest.raises(Interrupted):
            group.submit(t.doubler, 1)
        assert group.submit(t.doubler, 2).result() == 4


def test_a_forked_copy_can_cancel_nothing(method: Method, gate: Path, log: Path) -> None:
    with ProcessGroup(1, mp_context=method) as group:
        future = group.submit(t.begin_and_wait, str(log), str(gate), 5)
        wait_until(future.running)
        copy = os.fork()
        if not copy:
            future.cancel()
            os._exit(0)
        os.waitpid(copy, 0)
        gate.touch()
        assert future.result() == 5


def test_signals_that_the_parent_has_blocked(method: Method, log: Path) -> None:
    """As programs do that wait for signals in one thread: workers, and the fork server, need theirs."""
    blocked = {signal.SIGTERM, signal.SIGCHLD, signal.SIGUSR2}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, blocked)
    try:
        with ProcessGroup(1, mp_context=method) as group:
            with pytest.raises(TaskTimeout) as caught:
                group.options(timeout=0.2).submit(tl.log_and_be_busy, str(log), "sleep").result()
            assert caught.value.stack is not None
            with pytest.raises(WorkerCrashed, match="exit code 3"):
                group.submit(t.os_exit, 3).result()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


# --- retries ----------------------------------------------------------------------------------------------------------


def test_a_timeout_is_tried_again(method: Method, tmp_path: Path) -> None:
    with ProcessGroup(1, mp_context=method) as group:
        view = group.options(timeout=0.2, retries=2)
        assert view.submit(tl.stuck_until, str(tmp_path), 2).result() == 3
        (tmp_path / "attempts").unlink()
        with pytest.raises(TaskTimeout) as caught:
            view.submit(tl.stuck_until, str(tmp_path), 9).result()
        assert caught.value.attempts == 3


def test_an_exception_is_tried_again_only_if_it_is_named(method: Method, tmp_path: Path) -> None:
    with ProcessGroup(1, mp_context=method) as group:
        view = group.options(retries=2, retry_on=(ConnectionError, KeyError))
        assert view.submit(tl.fail_until, str(tmp_path), 2, ConnectionResetError).result() == 3  # a kind of that
        (tmp_path / "attempts").unlink()
        with pytest.raises(ValueError, match="attempt 1"):
            view.submit(tl.fail_until, str(tmp_path), 2, ValueError).result()
        (tmp_path / "attempts").unlink()
        with pytest.raises(KeyError, match="attempt 3"):
            view.submit(tl.fail_until, str(tmp_path), 9, KeyError).result()
        (tmp_path / "attempts").unlink()
        with pytest.raises(KeyError, match="attempt 1"):
            group.options(retries=2).submit(tl.fail_until, str(tmp_path), 9, KeyError).result()


def test_a_crash_and_a_named_exception_share_the_tries(method: Method, tmp_path: Path) -> None:
    with ProcessGroup(1, mp_context=method) as group:
        assert group.options(retries=2, retry_on=OSError).submit(t.crash_until, str(tmp_path), 2).result() == 3


def test_backoff_waits_before_each_try(method: Method, tmp_path: Path) -> None:
    with ProcessGroup(1, mp_context=method) as group:
        view = group.options(retries=3, retry_on=KeyError, backoff=[0.05, 0.2])
        assert view.submit(tl.fail_until, str(tmp_path), 3, KeyError).result() == 4
    times = [float(line) for line in (tmp_path / "attempts").read_text().splitlines()]
    waits = [after - before for before, after in itertools.pairwise(times)]
    assert all(wait >= least for wait, least in zip(waits, [0.05, 0.2, 0.2], strict=True))


def test_others_run_while_an_item_rests(method: Method, tmp_path: Path) -> None:
    with ProcessGroup(1, mp_context=method) as group:
        resting = group.options(retries=1, retry_on=KeyError, backoff=1000).submit(
            tl.fail_until, str(tmp_path), 1, KeyError
        )
        wait_until((tmp_path / "attempts").exists)
        assert group.submit(t.doubler, 2).result() == 4
        assert not resting.running()
        assert resting.cancel()


@pytest.mark.limit(60)
def test_only_the_culprit_of_a_chunk_is_charged_a_try(method: Method, log: Path) -> None:
    """Every item of a chunk crashes once: each has one more try, and none is charged for another's crash."""
    with ProcessGroup(1, mp_context=method) as group:
        results = group.options(retries=1).map(tl.crash_once, [str(log)] * 6, range(6), chunksize=6)
    assert results == list(range(6))
    assert set(executions(log).values()) == {2}


def test_a_started_process_is_started_again(method: Method, tmp_path: Path) -> None:
    with ProcessGroup(mp_context=method) as group:
        handle = group.options(retries=2, backoff=0.05).start(t.crash_until, str(tmp_path), 2)
        assert handle.result() == 3


# --- recycling --------------------------------------------------------------------------------------------------------


@pytest.mark.limit(60)
def test_a_worker_is_replaced_after_its_tasks(method: Method) -> None:
    with ProcessGroup(2, name="w", mp_context=method, max_tasks_per_child=3) as group:
        pids = group.map(tl.pid_of, range(20))
        counts = {pid: pids.count(pid) for pid in pids}
        assert max(counts.values()) <= 3
        assert len(counts) >= 7
        assert {info.name for info in group.processes} <= {"w-1", "w-2"}


@pytest.mark.limit(60)
@pytest.mark.parametrize("workers", [1, 2])
def test_replacing_workers_never_stalls(method: Method, workers: int) -> None:
    """What stalls ProcessPoolExecutor (gh-115634): submits one after the other, over the bound, with idle workers."""
    with ProcessGroup(workers, mp_context=method, max_tasks_per_child=2) as group:
        for number in range(9):
            assert group.submit(t.doubler, number).result(timeout=20) == 2 * number
        futures = [group.submit(t.doubler, number) for number in range(7)]
        assert [future.result(timeout=20) for future in futures] == [2 * number for number in range(7)]


def test_a_worker_that_holds_too_much_memory_is_replaced(method: Method) -> None:
    # What a forked worker has at its birth counts for it.
    most = (300 << 20) + int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    with ProcessGroup(1, mp_context=method, max_memory_per_child=most if method == "fork" else 300 << 20) as group:
        small = group.map(tl.hoard, [1000] * 20, chunksize=10)
        assert len(set(small)) == 1
        large = group.map(tl.hoard, [200 << 20] * 4, chunksize=4)
        assert len(set(large)) == 2  # the second of each two is one too many


def test_a_bound_below_what_any_worker_needs_still_makes_progress(method: Method) -> None:
    with ProcessGroup(1, mp_context=method, max_memory_per_child=1) as group:
        assert len(set(group.map(tl.pid_of, range(3)))) == 3


def test_a_limit_on_memory_is_an_error_of_the_item(method: Method) -> None:
    with ProcessGroup(1, mp_context=method, memory_limit=1 << 30) as group:
        with pytest.raises(MemoryError):
            group.submit(tl.take, 2 << 30).result()
        assert group.submit(tl.take, 1000).result() == 1000


def test_a_lower_limit_on_memory_that_there_is_already_stays(method: Method) -> None:
    # What a forked worker has at its birth counts for it.
    limit = (1 << 30) + int(Path("/proc/self/statm").read_text().split()[5]) * os.sysconf("SC_PAGE_SIZE")
    with ProcessGroup(1, mp_context=method, memory_limit=limit) as group:
        assert group.submit(tl.limits_within, 2 * limit).result() == (limit, limit)


def test_a_group_in_a_process_without_memory_is_an_error(method: Method) -> None:
    """The interpreter itself would wait for ever for its thread."""
    with ProcessGroup(1, mp_context=method) as group:
        assert group.submit(tl.group_without_memory).result() in {"RuntimeError", "MemoryError", "ImportError"}


@pytest.mark.parametrize("number", [1 << 62, 1 << 63, 1 << 64, 1 << 100])
def test_bounds_on_memory_beyond_all_memory_are_none(method: Method, number: int) -> None:
    with ProcessGroup(1, mp_context=method, memory_limit=number, max_memory_per_child=number) as group:
        assert len({group.submit(tl.pid_of, item).result() for item in range(3)}) == 1


# --- initializer and finalizer ----------------------------------------------------------------------------------------


def test_a_finalizer_runs_once_in_each_process_that_ends_in_order(method: Method, log: Path) -> None:
    with ProcessGroup(
        1, mp_context=method, max_tasks_per_child=2, finalizer=tl.note_end, finalargs=(str(log),)
    ) as group:
        pids = group.map(tl.pid_of, range(5))
        own = group.start(tl.pid_of).result()
    assert sorted(executions(log)) == sorted({*pids, own})
    assert set(executions(log).values()) == {1}


def test_a_finalizer_may_take_its_time(method: Method, log: Path, gate: Path) -> None:
    """Longer than the grace that a worker without one gets."""
    group = ProcessGroup(1, mp_context=method, finalizer=tl.note_end_after, finalargs=(str(log), str(gate)))
    roster = group._supervisor._scheduler._roster
    roster._limits = attrs.evolve(roster._limits, stop_grace=0.1)
    pid = group.submit(tl.pid_of).result()
    group.close()
    assert not group.join(0.5)
    gate.touch()
    assert group.join()
    assert executions(log).keys() == {pid}


def test_no_finalizer_in_a_process_that_is_stopped(method: Method, log: Path) -> None:
    with ProcessGroup(1, mp_context=method, finalizer=tl.note_end, finalargs=(str(log),)) as group:
        group.submit(tl.pid_of).result()
        group.terminate()
    assert log.read_text() == ""


def test_a_finalizer_that_fails_is_told_on_leaving(method: Method) -> None:
    with (
        pytest.raises(ExceptionGroup, match="2 processes") as caught,
        ProcessGroup(2, mp_context=method, finalizer=tl.fail_at_the_end) as group,
    ):
        group.map(time.sleep, [0.1] * 4, chunksize=1)
    (error,) = caught.value.exceptions
    assert isinstance(error, ValueError)
    assert any("finalizer" in note for note in error.__notes__)


@pytest.mark.parametrize(
    ("initializer", "kind", "text"),
    [(t.broken_initializer, ZeroDivisionError, "no luck"), (t.exiting_initializer, WorkerStartError, "SystemExit")],
)
def test_an_initializer_that_fails_is_told_once(
    method: Method,
    initializer: object,
    kind: type[Exception],
    text: str,
    capfd: pytest.CaptureFixture[str],
) -> None:
    with ProcessGroup(1, mp_context=method, initializer=initializer) as group:  # type: ignore[arg-type]
        with pytest.raises(kind, match=text) as caught:
            group.submit(t.doubler, 1).result()
        assert "initializer" in str(caught.value.__cause__)
    assert capfd.readouterr().err == ""


# --- the victim -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fatal", "number", "cause"),
    [(tl.segfault, signal.SIGSEGV, "native code"), (tl.abort, signal.SIGABRT, "abort")],
)
def test_a_crash_tells_where_it_happened(method: Method, fatal: object, number: int, cause: str) -> None:
    with ProcessGroup(1, mp_context=method) as group, pytest.raises(WorkerCrashed) as caught:
        group.submit(fatal).result()  # type: ignore[arg-type]  # one function or the other
    error = caught.value
    assert error.exitcode == -number
    assert error.stack is not None
    assert f"in {fatal.__name__}" in error.stack  # type: ignore[attr-defined]
    assert error.cause is not None
    assert cause in error.cause
    assert signal.Signals(number).name in str(error)
    assert any(f"in {fatal.__name__}" in note for note in error.__notes__)  # type: ignore[attr-defined]


def test_a_limit_of_the_system_is_named_as_the_cause(method: Method) -> None:
    with ProcessGroup(1, mp_context=method) as group, pytest.raises(WorkerCrashed, match="RLIMIT_CPU"):
        group.submit(tl.use_up_processor_time).result()


def test_a_kill_from_outside_leaves_no_stack(method: Method, log: Path) -> None:
    with ProcessGroup(1, mp_context=method) as group:
        future = group.submit(tl.log_and_be_busy, str(log), "sleep")
        wait_until(log.read_text)
        os.kill(int(log.read_text().split()[0]), signal.SIGKILL)
        with pytest.raises(WorkerCrashed, match="SIGKILL") as caught:
            future.result()
    assert caught.value.stack is None
