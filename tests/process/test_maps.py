"""Process: what `map` and `imap` begin, wait for, hold back and raise."""

from __future__ import annotations

import errno
import itertools
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import pytest
import targets
from helpers import Method, executions, the_worker, wait_until

from procorch import NotPicklable, ProcessGroup, WorkerCrashed, WorkerStartError, _local, _popen, _server
from procorch._job import Job
from procorch._supervisor import Supervisor


def make_group(method: Method, workers: int = 2, **options: Any) -> ProcessGroup:
    return ProcessGroup(workers, mp_context=method, **options)


def test_map_raises_the_first_error_in_the_order_of_the_input(method: Method, gate: Path) -> None:
    """Item 1 fails first; item 0, which runs then, is waited for, and its error is the one raised."""
    with make_group(method, 2) as group:
        group.map(targets.doubler, range(2), chunksize=1)
        with pytest.raises(KeyError) as caught:
            group.map(partial(targets.fail_after, str(gate)), range(4), chunksize=1)
        assert caught.value.args == (0,)
        assert "item 0" in caught.value.__notes__[0]


def test_a_worker_forgets_functions_to_make_room_and_is_told_again(
    method: Method, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_local, "_MOST_FUNCTIONS", 2)
    with make_group(method, 1) as group:
        for _ in range(3):
            assert group.submit(targets.doubler, 3).result() == 6
            assert group.submit(targets.identity, 3).result() == 3
            assert group.submit(targets.add, 3, 4).result() == 7


def test_nothing_is_begun_once_an_error_is_known(method: Method, log: Path, gate: Path) -> None:
    with make_group(method, 1) as group:
        run = partial(targets.log_and_divide, str(log))
        with pytest.raises(ZeroDivisionError):
            group.map(run, [1, 2, 0, *range(3, 1000)], chunksize=100)
        assert group.submit(targets.doubler, 1).result() == 2
        assert log.read_text().splitlines() == ["1", "2", "0"]


def test_an_error_withdraws_what_other_workers_have_not_begun(method: Method, log: Path, gate: Path) -> None:
    with make_group(method, 2) as group, ThreadPoolExecutor(1) as thread:
        run = partial(targets.stall_or_divide, str(log), str(gate))
        # One worker stalls in the first item of its chunk; the other fails at the first of its own.
        mapped = thread.submit(lambda: group.map(run, [1, 2, 3, 4, 0, 5, 6, 7], chunksize=4))
        wait_until(lambda: {"1", "0"} <= set(log.read_text().splitlines()))
        wait_until(lambda: sorted(info.state for info in group.processes) == ["busy", "idle"])
        gate.touch()
        with pytest.raises(ZeroDivisionError):
            mapped.result()
        assert sorted(log.read_text().splitlines()) == ["0", "1"]


@pytest.mark.parametrize("source", [list, iter])
def test_a_given_chunksize_is_kept_from_the_first_item_on(method: Method, source: Callable[[Any], Any]) -> None:
    """Whole chunks run in one process, also in a group whose workers wait for the first item."""
    with make_group(method, 2) as group:
        wait_until(lambda: group.map(targets.nap, [0.001] * 4, chunksize=1) and len(group.processes) == 2)
        for _ in range(3):
            wait_until(lambda: [info.state for info in group.processes] == ["idle", "idle"])
            pids = group.map(targets.nap, source([0.001] * 20), chunksize=5)
            assert [len(set(pids[start : start + 5])) for start in range(0, 20, 5)] == [1, 1, 1, 1]


def test_a_map_that_fails_leaves_the_group_usable(method: Method) -> None:
    with make_group(method) as group:
        for _ in range(5):
            with pytest.raises(ZeroDivisionError):
                group.map(targets.divide, [1, 2, 3, 0, 4, 5])
        assert group.map(targets.doubler, range(10)) == list(range(0, 20, 2))


def test_a_slow_head_does_not_let_the_stream_run_ahead(method: Method, log: Path, gate: Path) -> None:
    """The default bound too holds behind a slow first item."""
    taken: list[int] = []
    with make_group(method, 2) as group, ThreadPoolExecutor(1) as thread:
        stall = partial(targets.stall_or_double, str(log), str(gate), 0)
        stream = group.imap(stall, targets.count_from(0, taken))
        head = thread.submit(next, stream)
        wait_until(lambda: len(executions(log)) == 8)  # 4 for each worker
        wait_until(lambda: sorted(info.state for info in group.processes) == ["busy", "idle"])
        assert len(taken) == 8
        gate.touch()
        assert head.result() == 0
        stream.close()


def test_unordered_gives_what_is_there(method: Method, log: Path, gate: Path) -> None:
    with make_group(method, 2) as group:
        stall = partial(targets.stall_or_double, str(log), str(gate), 0)
        stream = group.imap(stall, range(4), ordered=False, chunksize=1)
        assert {next(stream) for _ in range(3)} == {2, 4, 6}
        gate.touch()
        assert list(stream) == [0]


def test_the_default_bound_grows_while_the_consumer_is_kept_waiting(method: Method) -> None:
    taken: list[int] = []
    with make_group(method, 1) as group:
        most = 0
        for given, _ in enumerate(group.imap(targets.doubler, targets.count_from(0, taken)), 1):
            most = max(most, len(taken) - given)
            if given == 3000:
                break
        assert 4 < most <= 4096


def test_a_consumer_that_takes_its_time_keeps_the_bound_small(method: Method) -> None:
    taken: list[int] = []
    with make_group(method, 1) as group:
        stream = group.imap(targets.doubler, targets.count_from(0, taken))
        for given in range(1, 40):
            next(stream)
            # The consumer works until the worker has done all that was taken.
            wait_until(lambda: sum(info.tasks_done for info in group.processes) == len(taken))
            assert len(taken) - given <= 8
        stream.close()


def test_break_closes_a_generator(method: Method) -> None:
    closed: list[bool] = []

    def source() -> Iterator[int]:
        try:
            yield from itertools.count()
        finally:
            closed.append(True)

    with make_group(method) as group:
        for number in group.imap(targets.doubler, source()):
            if number == 20:
                break
        assert closed == [True]
        assert group.map(targets.doubler, [3]) == [6]


def test_input_is_taken_in_the_callers_thread(method: Method) -> None:
    import threading

    threads: set[int] = set()

    def source() -> Iterator[int]:
        for number in range(100):
            threads.add(threading.get_ident())
            yield number

    with make_group(method) as group:
        assert list(group.imap(targets.doubler, source())) == list(range(0, 200, 2))
        assert threads == {threading.get_ident()}


def test_a_result_does_not_wait_for_an_input_that_is_slow_to_come(method: Method, gate: Path) -> None:
    """With two results there for the taking, the third input is not waited for."""
    with make_group(method) as group:

        def source() -> Iterator[int]:
            yield 1
            yield 2
            wait_until(lambda: all(info.state == "idle" for info in group.processes) and group.processes)
            yield 3
            raise AssertionError("asked for too early")

        stream = group.imap(targets.doubler, source())
        assert next(stream) == 2
        stream.close()


@pytest.mark.parametrize("kind", ["undumpable", "unloadable", "lock"])
def test_results_that_cannot_cross_cost_one_item(method: Method, kind: str) -> None:
    with make_group(method) as group:
        calls = [(targets.doubler, 1), (targets.make, kind), (targets.doubler, 3)]
        one, bad, three = group.map(targets.call, calls, return_exceptions=True, chunksize=3)
        assert (one, three) == (2, 6)
        assert isinstance(bad, NotPicklable)
        assert bad.what == "result"
        assert bad.step == ("loads" if kind == "unloadable" else "dumps")
        assert bad.task.index == 1
        with pytest.raises(NotPicklable, match="result"):
            group.submit(targets.make, kind).result()


@pytest.mark.parametrize("argument", [targets.Unloadable(), targets.Undumpable()])
def test_arguments_that_cannot_cross_cost_one_item(method: Method, argument: object) -> None:
    with make_group(method) as group:
        one, bad, three = group.map(targets.identity, [1, argument, 3], return_exceptions=True, chunksize=3)
        assert (one, three) == (1, 3)
        assert isinstance(bad, NotPicklable)
        assert bad.what == "argument"
        with pytest.raises(NotPicklable, match="argument"):
            group.submit(targets.identity, argument).result()


class HoldsGroup:
    def __init__(self, group: object) -> None:
        self.group = group

    def double(self, number: int) -> int:
        return number * 2


def test_a_group_that_goes_along_is_named(method: Method) -> None:
    with ProcessGroup(1, mp_context=method) as group:
        for holder in (HoldsGroup(group), HoldsGroup(group.options(timeout=60))):
            with pytest.raises(NotPicklable, match=r"a (ProcessGroup|GroupView) stays in the process that made it"):
                group.map(holder.double, [1])


def test_exceptions_with_odd_constructors_arrive(method: Method) -> None:
    with make_group(method) as group:
        with pytest.raises(targets.TwoArguments, match=r"bad luck \(4\)") as caught:
            group.submit(targets.raise_two_arguments, 4).result()
        assert caught.value.code == 4
        assert "in raise_two_arguments" in str(caught.value.__cause__)
        with pytest.raises(NotPicklable, match="Unsendable: told you") as refused:
            group.submit(targets.raise_unsendable, "told you").result()
        assert "in raise_unsendable" in str(refused.value.__cause__)


@pytest.mark.parametrize("function", [targets.interrupt, partial(targets.exit_with, 2)])
def test_base_exceptions_are_outcomes(method: Method, function: Callable[[], object]) -> None:
    with make_group(method, 1) as group:
        pid = group.submit(targets.whoami).result()[1]
        error = group.submit(function).exception()
        assert isinstance(error, KeyboardInterrupt | SystemExit)
        assert group.submit(targets.whoami).result()[1] == pid


def test_an_interrupt_of_a_worker_alone_is_its_item_s(method: Method) -> None:
    """Idle it has none, and goes on."""
    with make_group(method, 1) as group:
        pid = group.submit(targets.whoami).result()[1]
        os.kill(pid, signal.SIGINT)
        error = group.submit(signal.raise_signal, signal.SIGINT).exception()
        assert isinstance(error, KeyboardInterrupt)
        assert group.submit(targets.whoami).result()[1] == pid


def test_large_arguments_and_results(method: Method) -> None:
    with make_group(method) as group:
        size = 40 << 20
        assert group.submit(targets.length, bytes(size)).result() == size
        assert len(group.submit(targets.blob, size).result()) == size
        assert [len(blob) for blob in group.map(targets.blob, [1 << 10, 1 << 18, 1 << 21] * 4)] == [
            1 << 10,
            1 << 18,
            1 << 21,
        ] * 4


def test_more_results_than_a_page_holds_in_one_chunk(method: Method) -> None:
    with make_group(method, 1) as group:
        assert group.map(targets.blob, [50_000] * 60, chunksize=60) == [bytes(50_000)] * 60


def test_an_argument_that_cannot_be_pickled_before_the_group_has_begun_anything(method: Method) -> None:
    """It has its turn when less than a chunk has been taken."""
    with make_group(method, 1) as group:
        stream = group.imap(targets.doubler, iter([threading.Lock(), 1, 2]), chunksize=5, return_exceptions=True)
        assert isinstance(next(stream), NotPicklable)
        assert list(stream) == [2, 4]


def test_a_stateful_callable_is_pickled_anew_for_each_call(method: Method) -> None:
    state = [1]
    function = partial(targets.first_of, state)
    with make_group(method) as group:
        assert group.map(function, [0]) == [1]
        state[0] = 2
        assert group.map(function, [0]) == [2]
        assert group.submit(function, 0).result() == 2


def test_more_functions_than_a_worker_keeps(method: Method) -> None:
    with make_group(method, 1) as group:
        for number in range(600):
            assert group.submit(partial(targets.add, number), 1).result() == number + 1


def test_crashes_with_retries_in_a_map(method: Method, tmp_path: Path) -> None:
    with make_group(method) as group:
        results = group.options(retries=1).map(targets.crash_on_three, range(8), return_exceptions=True)
        lost = results.pop(3)
        assert isinstance(lost, WorkerCrashed)
        assert lost.attempts == 2
        assert results == [0, 1, 2, 4, 5, 6, 7]


def test_waiting_costs_no_processor_time(method: Method, gate: Path) -> None:
    """Nobody polls: a group whose worker is busy and whose caller waits uses next to nothing."""
    with make_group(method, 1) as group:
        future = group.submit(targets.wait_for, str(gate))
        the_worker(group, "busy")
        with pytest.raises(TimeoutError):
            future.result(timeout=0.2)  # let the last of the start be over
        before = time.process_time()
        with pytest.raises(TimeoutError):
            future.result(timeout=0.5)
        assert time.process_time() - before < 0.1
        gate.touch()


def test_the_fork_server_may_die(gate: Path) -> None:
    """Workers that it made live on, and the next one is made by another."""
    with make_group("forkserver", 1) as group:
        group.submit(targets.doubler, 1).result()
        pid = the_worker(group).pid
        os.kill(_popen._servers[0]._pid, signal.SIGKILL)
        assert group.submit(targets.whoami).result()[1] == pid
        assert group.start(targets.doubler, 4).result() == 8
        os.kill(pid or 0, signal.SIGKILL)
        wait_until(lambda: not group.processes)
        assert group.submit(targets.doubler, 3).result() == 6


def test_the_fork_server_may_die_while_it_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    with make_group("forkserver", 1) as group:
        assert group.submit(targets.doubler, 1).result() == 2
        server, honest = _popen._servers[0]._pid, _server.read_number
        os.kill(server, signal.SIGSTOP)  # what it is asked next it will not have read

        def kill_first(fd: int) -> int:
            monkeypatch.setattr(_server, "read_number", honest)
            os.kill(server, signal.SIGKILL)
            return honest(fd)

        monkeypatch.setattr(_server, "read_number", kill_first)
        assert group.start(targets.doubler, 4).result() == 8
    assert _popen._servers[0]._pid != server


@pytest.mark.parametrize("method", ["fork", "forkserver"])
def test_a_system_that_refuses_a_fork_is_named(method: Method, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a fork server, here its part that forks runs in this process."""

    def refuse() -> NoReturn:
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    def ask(fds: object) -> tuple[int, int]:
        (status, status_end), (data_end, data) = os.pipe(), os.pipe()
        _server._fork([data_end, status_end], [], {})
        return status, data

    monkeypatch.setattr(os, "fork", refuse)
    monkeypatch.setattr(_popen._servers[0], "request", ask)
    with make_group(method, 1) as group, pytest.raises(WorkerStartError, match="Resource temporarily unavailable"):
        group.submit(targets.doubler, 1).result()


def test_a_caller_who_comes_when_the_group_has_just_ended_finds_nothing(method: Method) -> None:
    """As one whose map of an infinite input another thread ends, by terminating the group."""
    with make_group(method, 1) as group:
        assert group.submit(targets.doubler, 1).result() == 2
    group._supervisor.attend()


def test_a_failing_map_does_not_drop_its_deck_under_the_supervisors_hands(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between finding something in the deck and taking it, nobody else takes of it. A delay makes room to try."""
    honest = Supervisor._take

    def slow_take(self: Supervisor, job: Job, deliveries: Any) -> None:
        if job.deck and threading.current_thread() is not threading.main_thread():
            time.sleep(0.01)
        honest(self, job, deliveries)

    monkeypatch.setattr(Supervisor, "_take", slow_take)

    def source() -> Iterator[int]:
        for number in range(5000):
            time.sleep(0.0003)
            yield number

    for _ in range(6):
        with ProcessGroup(2) as group, pytest.raises(ZeroDivisionError):
            group.map(targets.fail_at_thirty, source(), chunksize=1)
