"""Process: a group on a cluster of dask, with a real scheduler and worker processes over TCP; also when these die."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import CancelledError
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import targets
import targets_cluster as far
from clusters import dask_cluster
from helpers import Killer, environment, executions, is_gone, script, wait_until
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from procorch import NotPicklable, NotSupported, ProcessGroup, TaskTimeout, WorkerCrashed, WorkerStartError

pytest.importorskip("distributed")

from dask.base import annotate
from distributed import Client

from procorch.engines.dask import DaskEngine

pytestmark = pytest.mark.cluster

PATIENT = settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])


@pytest.fixture(params=[True, False], ids=["isolated", "bare"])
def engine(request: pytest.FixtureRequest, dask_client: Client) -> DaskEngine:
    return DaskEngine(dask_client, isolate=request.param)


@pytest.fixture
def group(dask_client: Client) -> Iterator[ProcessGroup]:
    with ProcessGroup(engine=DaskEngine(dask_client)) as made:
        yield made


# --- the work itself --------------------------------------------------------------------------------------------------


@pytest.mark.limit(120)
@PATIENT
@given(
    items=st.lists(st.integers() | st.text() | st.binary() | st.tuples(st.integers(), st.text()), max_size=60),
    chunksize=st.none() | st.integers(1, 30),
    isolate=st.booleans(),
)
def test_each_input_is_doubled_exactly_once_across_the_cluster(
    dask_client: Client, tmp_path_factory: pytest.TempPathFactory, items: list[Any], chunksize: int, isolate: bool
) -> None:
    log = tmp_path_factory.mktemp("doubling") / "log"
    log.touch()
    with ProcessGroup(engine=DaskEngine(dask_client, isolate=isolate)) as group:
        double = partial(targets.double_logged, str(log))
        assert group.map(double, range(len(items)), items, chunksize=chunksize) == [item * 2 for item in items]
    assert executions(log) == dict.fromkeys(range(len(items)), 1)


def test_all_keywords_are_the_functions_own(engine: DaskEngine) -> None:
    with ProcessGroup(engine=engine) as group:
        future = group.submit(far.odd_keywords, 1, key=2, workers=3, retries=4, priority=5)
        assert future.result() == (1, 2, 3, 4, 5)


def test_the_same_call_twice_is_two_calls(engine: DaskEngine) -> None:
    with ProcessGroup(engine=engine) as group:
        assert len({group.submit(far.chance).result() for _ in range(3)}) == 3


def test_cheap_items_go_by_the_thousand(engine: DaskEngine) -> None:
    with ProcessGroup(engine=engine) as group:
        assert sum(group.map(abs, range(100_000))) == sum(range(100_000))
        assert group.stats().done == 100_000


def test_an_infinite_input_is_taken_as_far_as_the_bound_allows(engine: DaskEngine) -> None:
    taken: list[int] = []
    with ProcessGroup(engine=engine) as group:
        stream = group.imap(targets.doubler, targets.count_from(0, taken), buffersize=7)
        assert list(itertools.islice(stream, 30)) == list(range(0, 60, 2))
        stream.close()
    assert len(taken) <= 37


def test_arrays_arrive_writable_and_leave_the_callers_alone(engine: DaskEngine) -> None:
    array = np.zeros(500_000)
    with ProcessGroup(engine=engine) as group:
        first, second = group.map(far.add_one, [array, array])
    assert first.flags.writeable
    first += 1
    assert (first[0], second[0], array[0]) == (2.0, 1.0, 0.0)


def test_a_function_with_much_data_goes_once_to_each_worker(engine: DaskEngine) -> None:
    table = np.arange(300_000)
    with ProcessGroup(engine=engine) as group:
        assert group.map(lambda place: int(table[place]), range(40), chunksize=1) == list(range(40))
        table[:] = 7
        assert group.map(lambda place: int(table[place]), range(3), chunksize=1) == [7, 7, 7]


def test_shared_objects_are_found_until_they_are_closed(engine: DaskEngine) -> None:
    with ProcessGroup(engine=engine) as group:
        with group.share(np.arange(100_000)) as shared:
            assert group.map(partial(far.at, shared), range(0, 50_000, 5000), chunksize=1) == list(
                range(0, 50_000, 5000)
            )
        with pytest.raises(NotPicklable, match="closed"):
            group.submit(far.at, shared, 1).result()


def test_processes_tell_where_they_are(dask_client: Client, engine: DaskEngine) -> None:
    with ProcessGroup(engine=engine, name="etl") as group:
        group.map(targets.doubler, range(20), chunksize=1)
        addresses = {info.address for info in group.processes}
        names = {info.name for info in group.processes}
    assert addresses == set(dask_client.scheduler_info(n_workers=-1)["workers"])
    assert names >= {"etl-1", "etl-2"}


def test_processes_get_ready_as_asked(dask_client: Client) -> None:
    engine = DaskEngine(dask_client)
    options: dict[str, Any] = {"threads_per_worker": 1, "max_tasks_per_child": 3, "memory_limit": 1 << 31}
    with ProcessGroup(engine=engine, initializer=targets.remember, initargs=("model", 5), **options) as group:
        found = group.map(far.remembered, range(20), chunksize=5)
        assert isinstance(group.submit(bytearray, 1 << 32).exception(), MemoryError)
    assert {one[:2] for one in found} == {(5, "1")}
    assert len({pid for *_, pid in found}) >= 6


def test_an_initializer_that_raises_there_is_the_error_here(dask_client: Client) -> None:
    with (
        ProcessGroup(engine=DaskEngine(dask_client), initializer=far.not_ready) as group,
        pytest.raises(LookupError, match="not ready") as caught,
    ):
        group.map(targets.doubler, range(5))
    assert [note for note in caught.value.__notes__ if "initializer" in note] == caught.value.__notes__[:1]


def test_the_executor_of_dask_is_taken_for_its_client(dask_client: Client) -> None:
    address = next(iter(dask_client.scheduler_info(n_workers=-1)["workers"]))
    with ProcessGroup(engine=dask_client.get_executor(workers=[address], pure=False)) as group:
        assert len(group.map(targets.doubler, range(10), chunksize=1)) == 10
        assert {info.address for info in group.processes} == {address}


# --- what stops -------------------------------------------------------------------------------------------------------


@pytest.mark.limit(60)
def test_limits_stop_an_item_in_c_code_and_cost_no_other(group: ProcessGroup) -> None:
    calls = [(targets.doubler, 1), (far.hold_the_interpreter, 2), (targets.doubler, 3)]
    results = group.options(timeout=1).map(targets.call, calls, chunksize=3, return_exceptions=True)
    assert [results[0], results[2]] == [2, 6]
    assert isinstance(results[1], TaskTimeout)
    assert results[1].limit == 1
    assert "hold_the_interpreter" in str(results[1].stack)
    assert group.map(targets.doubler, [4]) == [8]


def test_a_timeout_may_be_tried_again(group: ProcessGroup, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with pytest.raises(TaskTimeout) as caught:
        group.options(timeout=0.3, retries=2).submit(far.logged, str(log), 0, 60.0).result()
    assert caught.value.attempts == 3
    assert executions(log) == {0: 3}


def test_cancel_stops_what_runs_and_what_that_has_started(group: ProcessGroup, tmp_path: Path) -> None:
    note = tmp_path / "pid"
    future = group.submit(far.start_a_program, str(note))
    wait_until(lambda: note.exists() and note.read_text())
    wait_until(future.running)
    assert future.cancel()
    with pytest.raises(CancelledError):
        future.result()
    wait_until(lambda: is_gone(int(note.read_text())))
    assert group.map(targets.doubler, [1]) == [2]


def test_a_started_process_can_be_killed(group: ProcessGroup, tmp_path: Path) -> None:
    note = tmp_path / "pid"
    handle = group.start(far.start_a_program, str(note), name="Test")
    wait_until(lambda: note.exists() and note.read_text())
    handle.kill()
    with pytest.raises(WorkerCrashed):
        handle.result()
    assert handle.exitcode == -signal.SIGKILL
    assert handle.name == "Test"
    wait_until(lambda: is_gone(int(note.read_text())))


@pytest.mark.limit(60)
def test_what_runs_ends_when_the_parent_is_killed(dask_address: str, tmp_path: Path) -> None:
    note = tmp_path / "pid"
    program = (
        "import sys, targets_cluster as far; from procorch import ProcessGroup; "
        "from procorch.engines.dask import DaskEngine; "
        "ProcessGroup(engine=DaskEngine(sys.argv[1])).submit(far.start_a_program, sys.argv[2]).result()"
    )
    with script("-c", program, dask_address, str(note)) as process:
        wait_until(lambda: note.exists() and note.read_text())
        process.kill()
        wait_until(lambda: is_gone(int(note.read_text())))


def test_an_exception_that_leaves_the_block_stops_what_runs(dask_client: Client, tmp_path: Path) -> None:
    note = tmp_path / "pid"
    with pytest.raises(LookupError), ProcessGroup(engine=DaskEngine(dask_client)) as group:
        group.submit(far.start_a_program, str(note))
        wait_until(lambda: note.exists() and note.read_text())
        raise LookupError
    wait_until(lambda: is_gone(int(note.read_text())))


def test_what_dask_cannot_stop_is_refused_by_name(dask_client: Client, gate: Path) -> None:
    with ProcessGroup(engine=DaskEngine(dask_client, isolate=False)) as group:
        with pytest.raises(NotSupported, match=r"options\(timeout=\) is not to be had on <DaskEngine of tcp://"):
            group.options(timeout=3)
        running = group.submit(targets.wait_for, str(gate))
        wait_until(running.running)
        assert not running.cancel()
        handle = group.start(targets.doubler, 2)
        for end in (handle.terminate, handle.kill):
            with pytest.raises(NotSupported, match=r"ProcessHandle"):
                end()
        gate.touch()
        assert running.result() == str(gate)
        assert handle.result() == 4
    refused: list[dict[str, Any]] = [{"max_tasks_per_child": 3}, {"initializer": print}, {"memory_limit": 1 << 30}]
    for option in refused:
        with pytest.raises(NotSupported, match=next(iter(option))):
            ProcessGroup(engine=DaskEngine(dask_client, isolate=False), **option)
    refused = [{"finalizer": print}, {"mp_context": "spawn"}]
    for option in refused:
        with pytest.raises(NotSupported, match=next(iter(option))):
            ProcessGroup(engine=DaskEngine(dask_client), **option)


# --- what goes wrong --------------------------------------------------------------------------------------------------


def worker_pids(client: Client) -> dict[str, int]:
    found: dict[str, int] = client.run(os.getpid)
    return found


@pytest.mark.limit(90)
@pytest.mark.parametrize("isolate", [True, False])
def test_a_worker_of_dask_is_killed_in_the_middle(tmp_path: Path, gate: Path, isolate: bool) -> None:
    log = tmp_path / "log"
    with dask_cluster(2) as address, Client(address, set_as_default=False) as client:
        pids = worker_pids(client)
        with ProcessGroup(engine=DaskEngine(client, isolate=isolate)) as group:
            futures = [group.submit(far.logged_until, str(log), str(gate), number) for number in range(2)]
            wait_until(lambda: log.exists() and len(executions(log)) == 2)
            victim = next(info for info in group.processes if info.state == "busy")
            assert victim.address is not None
            os.kill(pids[victim.address], signal.SIGKILL)
            wait_until(lambda: any(future.done() for future in futures))
            gate.touch()
            errors = [error for future in futures if (error := future.exception()) is not None]
            assert [future.result() for future in futures if future.exception() is None] in ([0], [2])
            (error,) = errors
            assert isinstance(error, WorkerCrashed)
            assert victim.address in str(error)
            assert error.attempts == 1
            # The nanny starts another, and the group goes on with both.
            wait_until(lambda: len(worker_pids(client)) == 2, 40)
            assert group.map(targets.doubler, range(10)) == list(range(0, 20, 2))
    assert executions(log) == {0: 1, 1: 1}


@pytest.mark.limit(180)
@pytest.mark.parametrize(("retries", "isolate"), [(0, True), (0, False), (3, True)])
def test_nothing_runs_more_often_than_allowed_whatever_is_killed(tmp_path: Path, retries: int, isolate: bool) -> None:
    log = tmp_path / "log"
    log.touch()
    outcomes: list[object] = []
    with contextlib.ExitStack() as stack:
        client = stack.enter_context(Client(stack.enter_context(dask_cluster(2)), set_as_default=False))

        def victim() -> int | None:
            with contextlib.suppress(OSError, KeyError):  # one has just died
                pids = worker_pids(client)
                return pids[min(pids)] if len(pids) == 2 else None
            return None

        engine = DaskEngine(client, isolate=isolate)
        with ProcessGroup(engine=engine) as group, Killer(victim, 5, lambda: 0.3) as killer:
            stream = group.options(retries=retries).imap(
                partial(far.logged, str(log), seconds=0.005), itertools.count(), return_exceptions=True
            )
            for found in stream:
                outcomes.append(found)
                if not killer.left and len(outcomes) >= 200:
                    break
            stream.close()
    ran = executions(log)
    assert max(ran.values()) <= 1 + retries
    for number, outcome in enumerate(outcomes):
        if isinstance(outcome, WorkerCrashed):
            assert outcome.task.index == number
            assert outcome.attempts == 1 + retries
        else:
            assert outcome == 2 * number
            assert ran[number] >= 1


@pytest.mark.limit(90)
def test_what_is_shared_outlives_all_that_had_it() -> None:
    with dask_cluster(1) as address, Client(address, set_as_default=False) as client:
        (pid,) = worker_pids(client).values()
        engine = DaskEngine(client)
        with ProcessGroup(engine=engine) as group, group.share([1, 2, 3]) as shared:
            assert group.map(partial(far.at, shared), range(3)) == [1, 2, 3]
            os.kill(pid, signal.SIGKILL)
            wait_until(lambda: pid not in {home.pid for home in engine._homes.values()})
            assert group.map(partial(far.at, shared), range(3)) == [1, 2, 3]  # in another that its nanny starts


@pytest.mark.limit(90)
def test_a_worker_joins_in_the_middle(tmp_path: Path) -> None:
    with contextlib.ExitStack() as stack:
        address = stack.enter_context(dask_cluster(1))
        with ProcessGroup(engine=DaskEngine(address)) as group:
            stream = group.imap(partial(far.logged, str(tmp_path / "log"), seconds=0.02), itertools.count())
            next(stream)
            with dask_worker(address):
                for _ in stream:
                    if len({info.address for info in group.processes} - {None}) == 2:
                        break
                stream.close()


@pytest.mark.limit(90)
def test_a_cluster_without_workers_is_waited_for() -> None:
    with dask_cluster(0) as address, ProcessGroup(engine=DaskEngine(address)) as group:
        future = group.submit(targets.doubler, 4)
        handle = group.start(targets.doubler, 5)
        assert not group.join(0.2)
        with dask_worker(address):
            assert future.result() == 8
            assert handle.result() == 10
            group.close()
            assert group.join()


@contextlib.contextmanager
def dask_worker(address: str, *options: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run the program ``dask worker``."""
    process = subprocess.Popen(
        [sys.executable, "-m", "dask", "worker", address, "--nthreads=1", "--no-dashboard", *options],
        env=environment() | {"PYTHONWARNINGS": "ignore"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(3)
        except subprocess.TimeoutExpired:  # it waits for a scheduler that is gone
            process.kill()
            process.wait()


@pytest.mark.limit(90)
def test_scheduler_and_workers_as_programs(tmp_path: Path) -> None:
    """Also what the death of the scheduler makes of what runs: an error, and no hang."""
    file = tmp_path / "scheduler.json"
    with subprocess.Popen(
        [sys.executable, "-m", "dask", "scheduler", "--port=0", "--no-dashboard", f"--scheduler-file={file}"],
        env=os.environ | {"PYTHONWARNINGS": "ignore"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as scheduler:
        try:
            wait_until(lambda: file.exists() and file.read_text().endswith("}"))
            with Client(scheduler_file=str(file), set_as_default=False) as client:
                address = client.scheduler_info()["address"]
            with contextlib.ExitStack() as stack:
                for _ in range(2):
                    stack.enter_context(dask_worker(address, "--no-nanny"))
                with ProcessGroup(engine=DaskEngine(address)) as group:
                    assert group.map(targets.doubler, range(50)) == list(range(0, 100, 2))
                    future = group.submit(targets.wait_for, str(tmp_path / "never"))
                    wait_until(future.running)
                    scheduler.kill()
                    with pytest.raises(WorkerCrashed, match="scheduler was lost"):
                        future.result()
                    with pytest.raises(WorkerStartError, match="scheduler was lost"):
                        group.map(targets.doubler, [1])
        finally:
            scheduler.kill()


def test_a_client_that_is_closed_in_the_middle_is_an_error_and_no_hang(dask_address: str, gate: Path) -> None:
    engine = DaskEngine(client := Client(dask_address, set_as_default=False), isolate=False)
    with client, ProcessGroup(engine=engine) as group:
        future = group.submit(targets.wait_for, str(gate))
        wait_until(future.running)
        client.close()
        with pytest.raises(WorkerCrashed):
            future.result()
        gate.touch()


def test_annotations_of_the_caller_do_not_make_dask_try_again(engine: DaskEngine, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with annotate(retries=5), ProcessGroup(engine=engine) as group, pytest.raises(LookupError):
        group.submit(far.fails_once, str(log)).result()
    assert executions(log) == {0: 1}


# --- what is left, and what is refused --------------------------------------------------------------------------------


def test_nothing_stays_on_the_cluster(dask_client: Client, engine: DaskEngine) -> None:
    table = np.arange(300_000)
    with ProcessGroup(engine=engine) as group:
        shared = group.share(np.arange(300_000))
        group.map(lambda place: shared.value[place] + table[place], range(5))
    wait_until(lambda: not any("procorch" in str(key) for key in dask_client.who_has()))
    assert dask_client.status == "running"


def test_an_engine_serves_one_group_after_the_other(dask_client: Client) -> None:
    engine = DaskEngine(dask_client)
    for _ in range(2):
        with ProcessGroup(engine=engine) as group:
            assert group.map(targets.doubler, [1, 2]) == [2, 4]
    with ProcessGroup(engine=engine) as group, ProcessGroup(engine=engine) as other:
        assert group.map(targets.doubler, [1]) == [2]
        with pytest.raises(RuntimeError, match="serves another group"):
            other.map(targets.doubler, [1])


def test_two_engines_share_a_client(dask_client: Client) -> None:
    with ProcessGroup(engine=DaskEngine(dask_client)) as one, ProcessGroup(engine=DaskEngine(dask_client)) as two:
        futures = [group.submit(targets.doubler, number) for number in range(10) for group in (one, two)]
        assert sorted(future.result() for future in futures) == sorted([*range(0, 20, 2)] * 2)


def test_bad_input(dask_client: Client) -> None:
    with pytest.raises(TypeError, match=r"client must be a distributed\.Client or the address of a scheduler, not 3"):
        DaskEngine(3)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="isolate must be True or False"):
        DaskEngine(dask_client, isolate="yes")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"for a client of dask: procorch\.engines\.dask\.DaskEngine"):
        ProcessGroup(engine=dask_client)  # type: ignore[arg-type]


def test_an_address_where_nobody_is() -> None:
    program = (
        "import dask; from procorch.engines.dask import DaskEngine; "
        "dask.config.set({'distributed.comm.timeouts.connect': '0.2s'}); DaskEngine('tcp://127.0.0.1:9')"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=20, check=False)
    assert "OSError: Timed out trying to connect to tcp://127.0.0.1:9" in done.stderr
