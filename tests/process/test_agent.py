"""Process: chunks of an engine done in processes of ours, beside the process that the engine gave them to."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import targets
import targets_agent
from crates import assignment, engine_id, new_engine, plain, values
from helpers import executions, is_gone, wait_until

from procorch import ProcessGroup, TaskTimeout, WorkerCrashed, _agent, _assignments, _far
from procorch import _messages as m
from procorch._assignments import Answer, Gone, Progress
from procorch._crates import pack
from procorch._events import Lost, TimedOut
from procorch._outcome import pack as pickled
from procorch._share import Shared
from procorch._shares import Shares
from procorch.engines import ExecutorEngine


@pytest.fixture(autouse=True)
def _clean() -> Iterator[None]:
    name = new_engine()
    yield
    _agent.forget(name)


def pid_of_one() -> int:
    [pid] = values(_agent.run(assignment(targets_agent.where, [0])))
    assert isinstance(pid, int)
    return pid


def test_items_run_in_a_process_of_ours_that_is_kept() -> None:
    first = pid_of_one()
    assert first != os.getpid()
    answer = _agent.run(assignment(targets.doubler, plain(1, 2, 3)))
    assert (values(answer), answer.pid, answer.exitcode, answer.broken) == ([2, 4, 6], first, 0, "")
    assert answer.busy > 0


def test_large_items_and_results() -> None:
    large = bytearray([1]) * (1 << 20)
    assert values(_agent.run(assignment(targets.identity, [large, 1]))) == [large, 1]


def test_a_crash_costs_an_item() -> None:
    before = pid_of_one()
    answer = _agent.run(assignment(targets.crash_on_three, plain(1, 2, 3, 4)))
    one, two, gone, four = values(answer)
    assert (one, two, four) == (1, 2, 4)
    assert isinstance(gone, Gone)
    assert isinstance(gone.outcome, Lost)
    assert (gone.pid, gone.outcome.exitcode) == (before, -9)
    assert answer.pid not in {before, os.getpid()}


def test_a_limit_costs_an_item(log: Path, gate: Path) -> None:
    items = [(str(log), str(gate), 2, value) for value in (1, 2, 3)]
    answer = _agent.run(assignment(targets.stall_or_double, items, style=m.Style.MANY, limit=0.3))
    one, gone, three = values(answer)
    assert (one, three) == (2, 6)
    assert isinstance(gone, Gone)
    assert isinstance(gone.outcome, TimedOut)
    assert "stall_or_double" in (gone.outcome.remains.stack or "")


def test_what_was_stopped_before_it_came_never_begins(log: Path) -> None:
    chunk = assignment(targets.double_logged, [(str(log), 0, 1)] * 2, style=m.Style.MANY)
    assert _far.look(chunk.engine, chunk.number, stop=True) == Progress(0, None)
    answer = _agent.run(chunk)
    assert (answer.outcomes, answer.refused) == ([], "")
    pid_of_one()  # whatever the process was given before it has done by now
    assert not executions(log)


def test_what_is_stopped_between_its_arrival_and_its_begin_never_begins(
    log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chunk = assignment(targets.double_logged, [(str(log), 0, 1)] * 2, style=m.Style.MANY)
    begin = _agent._Under.begin

    def stop_first(under: _agent._Under) -> bool:
        assert _far.look(chunk.engine, chunk.number, stop=True) == Progress(0, None)
        return begin(under)

    monkeypatch.setattr(_agent._Under, "begin", stop_first)
    answer = _agent.run(chunk)
    assert (answer.outcomes, answer.refused) == ([], "")
    monkeypatch.undo()
    pid_of_one()  # whatever the process was given before it has done by now
    assert not executions(log)


def test_nothing_more_begins_once_it_was_stopped(log: Path, gate: Path) -> None:
    chunk = assignment(targets.begin_and_wait, [(str(log), str(gate), n) for n in (1, 2)], style=m.Style.MANY)
    with ThreadPoolExecutor(1) as threads:
        doing = threads.submit(_agent.run, chunk)
        wait_until(log.read_text)
        assert _far.look(chunk.engine, chunk.number, stop=False).begun == 1
        assert _far.look(chunk.engine, chunk.number, stop=True).begun == 1
        gate.touch()
        assert values(doing.result()) == [1]
    assert _far.look(chunk.engine, chunk.number, stop=True).begun == 2  # over: its answer tells more


def test_a_look_when_all_is_done_but_not_delivered(monkeypatch: pytest.MonkeyPatch) -> None:
    chunk = assignment(targets.doubler, [1, 2, 3])
    entered, go_on = threading.Event(), threading.Event()
    deliver = _agent._Collector.deliver

    def late(*given: object) -> None:
        entered.set()
        go_on.wait(20)
        deliver(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(_agent._Collector, "deliver", late)
    with ThreadPoolExecutor(2) as threads:
        doing = threads.submit(_agent.run, chunk)
        assert entered.wait(20)
        looking = threads.submit(_far.look, chunk.engine, chunk.number, stop=True)
        go_on.set()
        begun = looking.result().begun
        assert begun
        assert values(doing.result()) == [2, 4, 6][:begun]  # no more, and no less


def test_an_item_that_is_killed(log: Path, gate: Path) -> None:
    chunk = assignment(targets.begin_and_wait, [(str(log), str(gate), n) for n in (1, 2)], style=m.Style.MANY)
    with ThreadPoolExecutor(1) as threads:
        doing = threads.submit(_agent.run, chunk)
        wait_until(log.read_text)
        _far.look(chunk.engine, chunk.number, stop=True, kill=True)
        doing.result()  # without the gate
    assert len(log.read_text().splitlines()) == 1


def test_a_budget_gives_the_rest_back(log: Path, gate: Path) -> None:
    items = [(str(log), str(gate), n) for n in range(20)]
    chunk = assignment(targets.begin_and_wait, items, style=m.Style.MANY, seconds=0.01)
    with ThreadPoolExecutor(1) as threads:
        doing = threads.submit(_agent.run, chunk)
        wait_until(log.read_text)
        scheduler = _far._under[chunk.engine, chunk.number]._supervisor._scheduler  # type: ignore[attr-defined]
        wait_until(lambda: any(job.stopped for job in scheduler._jobs.values()))
        gate.touch()
        assert values(doing.result()) == [0]


def test_shared_objects() -> None:
    here = Shares("group")
    shared = here.add([1, 2], pickled([1, 2]))
    [message] = here.catch_up(set())
    assert isinstance(message, m.Share)
    given = _assignments.Given(message.key, "group", pack(message.payload))
    item = pickle.dumps(shared)
    chunk = assignment(targets_agent.value_of, [], shared=(given,))._replace(items=[item])
    assert values(_agent.run(chunk)) == [[1, 2]]
    closed = assignment(targets_agent.value_of, [], closed=(message.key,))._replace(items=[item])
    [failed] = values(_agent.run(closed))
    assert isinstance(failed, m.Failure)
    assert isinstance(shared, Shared)
    shared.close()


def test_idle_processes_end_when_an_engine_is_forgotten() -> None:
    pid = pid_of_one()
    assert not is_gone(pid)
    _agent.forget("another")
    assert not is_gone(pid)
    _agent.forget(engine_id())
    assert is_gone(pid)
    assert not _agent._idle


def test_idle_processes_end_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_agent, "_IDLE_SECONDS", 0.05)
    pid = pid_of_one()
    wait_until(lambda: is_gone(pid))
    wait_until(lambda: _agent._reaper is None)
    assert pid_of_one() != pid


def test_a_copy_of_this_process_has_processes_of_its_own() -> None:
    pid = pid_of_one()
    answer = targets_agent.run_in_fork(assignment(targets_agent.where, [0]))
    assert answer.refused == ""
    assert values(answer)[0] not in {pid, os.getpid()}
    assert pid_of_one() == pid


def test_the_same_chunk_is_done_once() -> None:
    chunk = assignment(targets.doubler, plain(1))
    assert values(_agent.run(chunk)) == [2]
    assert isinstance(again := _agent.run(chunk), Answer)
    assert "begun before" in again.refused


def test_a_worker_of_a_pool_may_have_a_group() -> None:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(targets_agent.is_daemon, ([-1, 2],)) == (True, [1, 2])


@pytest.mark.parametrize("retries", [0, 1])
def test_threads_with_processes_beside_them(tmp_path: Path, retries: int) -> None:
    with ThreadPoolExecutor(2) as threads:
        engine = ExecutorEngine(threads, isolate=True)
        for number in range(2):
            folder = tmp_path / str(number)
            folder.mkdir()
            with ProcessGroup(engine=engine) as group:
                assert group.map(targets.doubler, range(20)) == list(range(0, 40, 2))
                future = group.options(retries=retries).submit(targets.crash_until, str(folder), 1)
                if retries:
                    assert future.result() == 2
                else:
                    with pytest.raises(WorkerCrashed):
                        future.result()
                with pytest.raises(TaskTimeout):
                    group.options(timeout=0.2).submit(targets.nap, 20).result()
