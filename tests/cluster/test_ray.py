"""Cluster: a group whose workers are actors of ray, on a ray of this machine. Skipped where ray is not installed."""

from __future__ import annotations

import itertools
import os
import secrets
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import targets
import targets_large
import targets_limits
import targets_ray
from conftest import descendants
from contract import test_contract
from helpers import Killer, executions, is_gone, script, the_worker, wait_until
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from procorch import ProcessGroup, TaskTimeout, WorkerCrashed, WorkerStartError
from procorch.engines import _ray_actor

with pytest.MonkeyPatch.context() as _patch:
    _patch.setenv("RAY_AUTH_MODE", "token")  # ray looks at it once, when it is imported
    ray: Any = pytest.importorskip("ray", reason="ray is not installed: pip install 'procorch[ray]'")
from procorch.engines.ray import RayEngine

pytestmark = [
    pytest.mark.limit(60),
    # Ray's own, in its threads and at its end.
    pytest.mark.filterwarnings("default"),
]

for _name, _test in vars(test_contract).items():
    if _name.startswith("test_"):
        globals()[_name] = _test
group = test_contract.group


@pytest.fixture(scope="module", autouse=True)
def _ray() -> Iterator[None]:
    """A ray of two processors. It belongs to the thread that starts it, and takes the main thread's handlers."""
    with tempfile.TemporaryDirectory(prefix="pr-", dir="/tmp") as home, pytest.MonkeyPatch.context() as patch:
        token = Path(home, "token")
        token.touch(0o600)
        token.write_text(secrets.token_hex(32))
        patch.setenv("RAY_AUTH_MODE", "token")
        patch.setenv("RAY_AUTH_TOKEN_PATH", str(token))
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, sys.path)))
        hooks = sys.excepthook
        ready, over = threading.Event(), threading.Event()

        def own() -> None:
            ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="error", _temp_dir=home)
            ready.set()
            over.wait()
            ray.shutdown()

        thread = threading.Thread(target=own)
        thread.start()
        assert ready.wait(60)
        yield
        over.set()
        thread.join()
        sys.excepthook = hooks


@pytest.fixture(autouse=True)
def _leaves_nothing() -> Iterator[None]:
    """Here ray's own processes come and go; what a test may not leave is an actor, or a thread of ours."""
    yield
    wait_until(lambda: not any("ray::ProcorchActor" in one for _, one in descendants()), 5.0)
    wait_until(lambda: not any("procorch" in thread.name for thread in threading.enumerate()), 5.0)


@pytest.fixture
def make_group() -> Callable[..., ProcessGroup]:
    def make(max_workers: int = 2, *, isolate: bool = True, **options: Any) -> ProcessGroup:
        return ProcessGroup(max_workers, engine=RayEngine(isolate=isolate), **options)

    return make


@pytest.fixture
def bare(make_group: Callable[..., ProcessGroup]) -> Iterator[ProcessGroup]:
    """A group whose items run in the actors themselves."""
    with make_group(isolate=False) as made:
        yield made


@pytest.fixture(params=[True, False], ids=["isolated", "bare"])
def either(request: pytest.FixtureRequest, make_group: Callable[..., ProcessGroup]) -> Iterator[ProcessGroup]:
    with make_group(isolate=request.param) as made:
        yield made


# --- who is there -----------------------------------------------------------------------------------------------------


def test_processes_are_known_by_pid_and_node(group: ProcessGroup) -> None:
    pid = group.submit(os.getpid).result()
    info = next(info for info in group.processes if info.pid == pid)
    assert info.address == ray.util.get_node_ip_address()
    assert info.tasks_done == 1
    assert not is_gone(pid)


def test_ray_that_is_not_initialised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    with pytest.raises(RuntimeError, match=r"call ray\.init\(\) before RayEngine\(\)"):
        RayEngine()


def test_room_counts_whole_actors_on_each_node(monkeypatch: pytest.MonkeyPatch) -> None:
    nodes = [{"CPU": 3.0, "disk": 5.0}, {"CPU": 3.0}, {"GPU": 1.0}]
    monkeypatch.setattr(ray, "nodes", lambda: [{"Alive": True, "Resources": one} for one in nodes])
    rooms = [
        RayEngine().room,
        RayEngine(num_cpus=2).room,
        RayEngine(num_cpus=0.1, resources={"disk": 1}).room,
        RayEngine(num_cpus=8).room,  # one is asked for in any case: the cluster may grow
        RayEngine(num_cpus=0, actors=50).room,
    ]
    assert [room.workers for room in rooms if room is not None] == [6, 2, 5, 1, 50]
    with pytest.raises(ValueError, match="give actors="):
        RayEngine(num_cpus=0)


def test_an_actor_that_ray_cannot_place_waits(gate: Path) -> None:
    with ProcessGroup(3, engine=RayEngine(actors=3)) as group:
        futures = [group.submit(targets.wait_for, str(gate)) for _ in range(3)]
        wait_until(lambda: sum(info.state == "busy" for info in group.processes) == 2)
        assert [info.state for info in group.processes].count("starting") == 1
        gate.touch()
        assert [future.result() for future in futures] == 3 * [str(gate)]


def test_an_idle_actor_makes_room_for_one_that_waits(group: ProcessGroup) -> None:
    pids = {pid for _, pid in group.map(targets.whoami, range(20), chunksize=1)}
    assert group.start(os.getpid).result() not in pids
    assert group.map(targets.doubler, [1, 2]) == [2, 4]


def test_an_actor_with_another_procorch_is_not_used(
    make_group: Callable[..., ProcessGroup], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_ray_actor, "version", lambda: "0.0.0")
    with make_group() as group, pytest.raises(WorkerStartError, match=r"and this process 0\.0\.0"):
        group.map(targets.doubler, [1])


def test_actors_are_replaced_after_some_items(make_group: Callable[..., ProcessGroup]) -> None:
    with make_group(1, max_tasks_per_child=2) as group:
        pids = [pid for _, pid in group.map(targets.whoami, range(6))]
    assert pids[0::2] == pids[1::2]
    assert len(set(pids)) == 3
    assert all(map(is_gone, pids))


# --- deaths -----------------------------------------------------------------------------------------------------------


def test_a_crash_costs_its_chunk(bare: ProcessGroup, log: Path) -> None:
    crash = partial(targets_ray.kill_self_once, str(log), 13)
    outcomes = bare.map(crash, range(40), chunksize=5, return_exceptions=True)
    lost = [index for index, outcome in enumerate(outcomes) if isinstance(outcome, WorkerCrashed)]
    assert lost == [10, 11, 12, 13, 14]
    assert all(outcomes[index] == 2 * index for index in range(40) if index not in lost)
    assert max(executions(log).values()) == 1
    error = outcomes[13]
    assert isinstance(error, WorkerCrashed)
    assert error.exitcode is None
    assert "The actor is dead because" in str(error.cause)
    assert "chunk of 5 items" in str(error.cause)


def test_tries_run_out(either: ProcessGroup) -> None:
    with pytest.raises(WorkerCrashed) as caught:
        either.options(retries=1).submit(targets.crash_with, 4).result()
    assert caught.value.attempts == 2


def test_an_actor_killed_in_the_middle(either: ProcessGroup, log: Path, gate: Path) -> None:
    future = either.submit(targets.begin_and_wait, str(log), str(gate), 1)
    other = either.submit(targets.begin_and_wait, str(log), str(gate), 2)
    wait_until(lambda: len(executions(log)) == 2)
    pid = next(int(line.split()[1]) for line in log.read_text().splitlines() if line.startswith("1 "))
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(WorkerCrashed) as caught:
        future.result(20)
    assert caught.value.pid == pid
    gate.touch()
    assert other.result(20) == 2


def test_an_idle_actor_that_dies_costs_nothing(make_group: Callable[..., ProcessGroup]) -> None:
    with make_group(1, isolate=False) as group:
        pid = group.submit(os.getpid).result()
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not group.processes)
        assert group.submit(os.getpid).result(20) != pid


def killer_of(group: ProcessGroup, kills: int) -> Killer:
    """Kill actors that are at work, in turns."""
    turns = itertools.count()

    def victim() -> int | None:
        busy = [info.pid for info in group.processes if info.state == "busy" and info.pid is not None]
        return busy[next(turns) % len(busy)] if busy else None

    return Killer(victim, kills, lambda: 0.2)


def test_at_most_once_under_fire(either: ProcessGroup, log: Path) -> None:
    double = partial(targets_ray.double_slowly, str(log))
    outcomes: list[object] = []
    stream = either.imap(double, itertools.count(), return_exceptions=True, buffersize=40, chunksize=3)
    with killer_of(either, 12) as killer:
        for result in stream:
            outcomes.append(result)
            if not killer.left and len(outcomes) > 200:
                break
    stream.close()
    runs = executions(log)
    assert max(runs.values()) == 1
    lost = 0
    for index, outcome in enumerate(outcomes):
        if isinstance(outcome, WorkerCrashed):
            assert outcome.task.index == index
            lost += 1
        else:
            assert outcome == 2 * index
            assert runs[index] == 1
    assert 0 < lost <= 3 * 12  # a chunk, or an item, for each


@pytest.mark.limit(120)
@settings(max_examples=4, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(items=st.lists(st.integers() | st.text(max_size=5), max_size=60), chunksize=st.none() | st.integers(1, 9))
def test_each_input_is_doubled_once_though_actors_die(
    group: ProcessGroup, items: list[Any], chunksize: int | None
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder, "log")
        log.touch()
        double = partial(targets.double_logged, str(log))
        with killer_of(group, 2):
            outcomes = group.map(double, range(len(items)), items, chunksize=chunksize, return_exceptions=True)
        runs = executions(log)
        assert all(count == 1 for count in runs.values())
        for index, (item, outcome) in enumerate(zip(items, outcomes, strict=True)):
            assert isinstance(outcome, WorkerCrashed) or (outcome == 2 * item and runs[index] == 1)


# --- limits -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stuck", [targets_ray.hold_the_gil_whatever_comes, targets_ray.log_and_sleep])
def test_a_timeout_stops_whatever_runs(either: ProcessGroup, stuck: Callable[[str], None], log: Path) -> None:
    either.map(targets.doubler, range(4))
    began = time.monotonic()
    with pytest.raises(TaskTimeout) as caught:
        either.options(timeout=0.5).submit(stuck, str(log)).result(20)
    assert 0.5 <= time.monotonic() - began < 3.0
    pid = int(log.read_text())
    assert caught.value.pid == pid
    assert is_gone(pid)
    if stuck is targets_ray.log_and_sleep:
        assert "in log_and_sleep" in str(caught.value.stack)


def test_a_timeout_costs_one_item(either: ProcessGroup, log: Path) -> None:
    work = partial(targets_limits.quick_or_stuck, str(log), 7)
    outcomes = either.options(timeout=1).map(work, range(30), chunksize=10, return_exceptions=True)
    assert isinstance(outcomes.pop(7), TaskTimeout)
    assert outcomes == [2 * index for index in range(30) if index != 7]
    assert executions(log) == dict.fromkeys(range(30), 1)


def test_another_try_after_a_timeout(either: ProcessGroup, tmp_path: Path) -> None:
    assert either.options(timeout=0.5, retries=1).submit(targets_limits.stuck_until, str(tmp_path), 1).result(20) == 2


def test_an_item_within_its_limit_is_left_alone(group: ProcessGroup) -> None:
    assert group.options(timeout=5).map(targets.doubler, range(50)) == list(range(0, 100, 2))


@pytest.mark.parametrize("stuck", [targets_ray.hold_the_gil_whatever_comes, targets_ray.log_and_sleep])
def test_cancelling_ends_what_runs(either: ProcessGroup, stuck: Callable[[str], None], log: Path) -> None:
    future = either.submit(stuck, str(log))
    wait_until(log.read_text)
    assert future.running()
    assert future.cancel()
    wait_until(lambda: is_gone(int(log.read_text())), 5.0)
    assert either.map(targets.doubler, [1, 2]) == [2, 4]


def test_a_process_of_its_own_is_killed(either: ProcessGroup, log: Path) -> None:
    handle = either.start(targets_ray.hold_the_gil_whatever_comes, str(log))
    wait_until(log.read_text)
    handle.kill()
    with pytest.raises(WorkerCrashed):
        handle.result(20)
    wait_until(lambda: is_gone(int(log.read_text())), 2.0)


def test_terminating_a_group_ends_what_runs(make_group: Callable[..., ProcessGroup], log: Path) -> None:
    group = make_group()
    group.submit(targets_ray.hold_the_gil_whatever_comes, str(log))
    wait_until(log.read_text)
    began = time.monotonic()
    group.terminate()
    assert group.join(10)
    assert time.monotonic() - began < 2.0
    # The item's process ends with its actor, of which the group hears.
    wait_until(lambda: is_gone(int(log.read_text())), 2.0)


def test_what_began_in_an_actor_ends_in_good_order(make_group: Callable[..., ProcessGroup], log: Path) -> None:
    with make_group(1, isolate=False) as group:
        group.submit(targets_ray.append_at_exit, str(log)).result()
        the_worker(group)
    assert log.read_text() == "bye\n"


# --- large data -------------------------------------------------------------------------------------------------------


def test_large_arrays_can_be_written_to_on_both_sides(either: ProcessGroup) -> None:
    numpy = pytest.importorskip("numpy")
    array = numpy.arange(2_000_000, dtype=float)
    filled = either.submit(targets_ray.fill, array, 3.0).result()
    assert array[5] == 5.0
    assert filled.shape == array.shape
    assert filled.min() == filled.max() == 3.0
    filled[0] = 1.0
    assert either.map(targets.length, [bytes(3_000_000), b"x"]) == [3_000_000, 1]


def test_a_function_with_much_data(either: ProcessGroup) -> None:
    data = os.urandom(600_000)

    def size(number: int) -> int:
        return len(data) + number

    assert either.map(size, range(6), chunksize=1) == [600_000 + number for number in range(6)]


@pytest.mark.parametrize("size", [10, 300_000])
def test_what_is_shared_comes_once_to_each_actor(either: ProcessGroup, size: int, tmp_path: Path) -> None:
    with either.share(list(range(size))) as shared:
        assert either.map(targets_large.value_at, 10 * [shared], range(10), chunksize=1) == list(range(10))
        seen = either.map(targets_large.same_each_time, 10 * [shared], range(10), chunksize=1)
        assert {same for _, same in seen} == {True}
        # Whoever comes in the place of a dead one gets it, too.
        once = str(tmp_path / "once")
        assert either.options(retries=1).submit(targets_large.die_with, shared, once).result()[:2] == [0, 1]
    again = either.share({5: 1})
    assert either.submit(targets_large.value_at, again, 5).result() == 1


# --- the end of ray ---------------------------------------------------------------------------------------------------

_SHUTDOWN = """
import sys, time
import ray
from procorch import ProcessGroup
from procorch.engines.ray import RayEngine

ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False, logging_level="error", _temp_dir=sys.argv[1])
with ProcessGroup(engine=RayEngine()) as group:
    future = group.submit(time.sleep, 1000)
    while not future.running():
        time.sleep(0.01)
    ray.shutdown()
    print(type(future.exception(20)).__name__, ray.is_initialized())
    print(str(future.exception(20)))
print("left", ray.is_initialized())
"""


def test_ray_is_shut_down_below_a_group() -> None:
    with tempfile.TemporaryDirectory(prefix="pr-", dir="/tmp") as home:
        with script("-c", _SHUTDOWN, home, stdout=-1, stderr=-2) as process:
            said, _ = process.communicate(timeout=50)
        assert "WorkerCrashed False" in said
        assert "ray was shut down in this process" in said
        assert "left False" in said
