"""Unit: the engine of dask over a client that is not there: chunks without a worker, shared data, looks astray."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Iterator
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
from crates import chunk
from helpers import wait_until

pytest.importorskip("distributed", reason="needs distributed")

from distributed import Client

from procorch import ProcessGroup, _assignments
from procorch import _messages as m
from procorch._events import WorkerDied, WorkerReady
from procorch._lanes import Lane
from procorch._outcome import pack as pickled
from procorch._shares import Shares
from procorch.engines import _dask_worker, dask
from procorch.engines import adapt as engine_for
from procorch.engines._dask_members import Found
from procorch.engines.dask import DaskEngine


class Released:
    """A future of dask that nobody resolves."""

    def __init__(self, key: str) -> None:
        self.key = key
        self.released = False
        self.status = "finished"

    def release(self) -> None:
        self.released = True


Base: Any = Client


class Cluster(Base):  # type: ignore[misc]  # dask's types are partial
    """A client of a cluster whose workers do nothing."""

    scheduler = None
    asynchronous = False

    def __init__(self) -> None:
        self.asyncio_loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.asyncio_loop.run_forever, name="cluster")
        self._thread.start()
        self.workers: list[Found] = []
        self.changes: asyncio.Queue[None] = asyncio.Queue()
        self.answers = True
        self.submitted: list[dict[str, Any]] = []
        self.futures: list[Released] = []
        self.scattering = threading.Event()
        self.may_scatter = asyncio.Event()
        self.scatter_fails = 0
        self.scattered: list[Released] = []
        self.versions: dict[str, object] = {}
        self.looks: list[tuple[Any, ...]] = []

    @property
    def loop(self) -> Any:
        return SimpleNamespace(asyncio_loop=self.asyncio_loop)

    @loop.setter
    def loop(self, value: Any) -> None: ...

    def __del__(self) -> None:
        """There is nothing to close."""

    def end(self) -> None:
        if self.asyncio_loop.is_closed():
            return

        async def end_all() -> None:
            others = asyncio.all_tasks() - {asyncio.current_task()}
            for one in others:
                one.cancel()
            await asyncio.gather(*others, return_exceptions=True)

        asyncio.run_coroutine_threadsafe(end_all(), self.asyncio_loop).result(20)
        self.asyncio_loop.call_soon_threadsafe(self.asyncio_loop.stop)
        self._thread.join()
        self.asyncio_loop.close()

    def change(self, *addresses: str) -> None:
        """Let these be the workers."""
        self.workers = [Found(address, f"id-{address}", address, 1, {}) for address in addresses]
        self.asyncio_loop.call_soon_threadsafe(self.changes.put_nowait, None)

    async def run_on_scheduler(self, function: Any, known: set[str] | None, asynchronous: bool) -> list[Found]:
        if known is not None or not self.answers:
            await self.changes.get()
        return self.workers

    async def run(self, function: Any, *args: Any, workers: Any = None, **options: Any) -> dict[str, Any]:
        if function is _dask_worker.look:
            self.looks.append(args)
            return {}
        if workers is None:
            return {}
        usual = function()
        return {address: self.versions.get(address, usual) for address in workers}

    def submit(self, function: Any, *args: Any, **options: Any) -> Released:
        self.submitted.append(options | {"args": args})
        self.futures.append(Released(options["key"]))
        return self.futures[-1]

    async def gather(self, futures: list[Any], errors: str, asynchronous: bool) -> Any:
        await asyncio.Event().wait()

    async def scatter(self, data: dict[str, Any], **options: Any) -> dict[str, Any]:
        self.scattering.set()
        await self.may_scatter.wait()
        if self.scatter_fails:
            self.scatter_fails -= 1
            raise OSError("no room")
        self.scattered += [Released(key) for key in data]
        return {one.key: one for one in self.scattered[-len(data) :]}

    def let_scatter(self) -> None:
        self.asyncio_loop.call_soon_threadsafe(self.may_scatter.set)


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    made = Cluster()
    yield made
    made.end()


@pytest.fixture
def engine(cluster: Cluster) -> Iterator[DaskEngine]:
    made = DaskEngine(cluster)
    made.open(Shares("group"))
    yield made
    made.close()


def lane_of(engine: DaskEngine, slot: int = 1) -> Lane:
    lane = engine.start(slot, f"Process-{slot}")
    assert list(lane.read()) == [WorkerReady(slot)]
    return lane


def submitted(cluster: Cluster, count: int) -> None:
    wait_until(lambda: len(cluster.submitted) == count)


def test_a_chunk_without_a_worker_waits_for_one(cluster: Cluster, engine: DaskEngine) -> None:
    lane = lane_of(engine)
    lane.send(chunk())
    assert not cluster.submitted
    cluster.change("a")
    submitted(cluster, 1)
    assert cluster.submitted[0]["workers"] == ["a"]
    assert cluster.submitted[0]["retries"] == 0
    assert cluster.submitted[0]["allow_other_workers"] is False
    assert (engine.room.workers, engine.room.window) == (1, 2) if engine.room else False


def test_a_chunk_without_a_worker_goes_with_its_lane(cluster: Cluster, engine: DaskEngine) -> None:
    """It must not begin when somebody joins later: its items were given up, and may run elsewhere."""
    lane, other = lane_of(engine, 1), lane_of(engine, 2)
    lane.send(chunk())
    other.send(chunk())
    lane.terminate()
    assert [type(event) for event in lane.read()] == [WorkerDied]
    cluster.change("a")
    submitted(cluster, 1)
    assert other.address == "a"
    assert len(engine._placed) == 1
    assert not engine._homeless


def test_a_chunk_without_a_worker_can_be_taken_back(cluster: Cluster, engine: DaskEngine) -> None:
    lane = lane_of(engine)
    lane.send(chunk())
    lane.withdraw()
    assert len(list(lane.read())) == 1
    assert lane.number == 0
    assert not engine._homeless


def test_a_worker_that_leaves_costs_what_it_has(cluster: Cluster, engine: DaskEngine) -> None:
    cluster.change("a")
    wait_until(lambda: engine._homes)
    lane = lane_of(engine)
    lane.send(chunk())
    submitted(cluster, 1)
    cluster.change()
    wait_until(lambda: lane._news)
    [died] = lane.read()
    assert isinstance(died, WorkerDied)
    assert died.begun == 3
    assert "left the cluster" in died.remains.cause
    wait_until(lambda: cluster.futures[0].released)
    assert engine.room is not None
    assert engine.room.workers == 0


def test_a_chunk_is_placed_while_the_loop_meets_others(cluster: Cluster, engine: DaskEngine) -> None:
    """What the event loop has taken from its members still has a place here until that is changed under the lock."""
    cluster.change("a")
    wait_until(lambda: engine._homes)
    engine._members.known.clear()
    lane_of(engine).send(chunk())
    submitted(cluster, 1)


def test_what_is_shared_outlives_a_chunk_that_is_cancelled_meanwhile(cluster: Cluster) -> None:
    shares = Shares("group")
    engine = DaskEngine(cluster)
    engine.open(shares)
    cluster.change("a")
    wait_until(lambda: engine._homes)
    handle = shares.add([1], pickled([1]))
    first, second = lane_of(engine, 1), lane_of(engine, 2)
    first.send(chunk())
    second.send(chunk())
    assert cluster.scattering.wait(20)
    first.terminate()
    assert [type(event) for event in first.read()] == [WorkerDied]
    cluster.let_scatter()
    submitted(cluster, 1)
    assert list(second.read()) == []
    assert len(cluster.submitted[0]["args"][2]) == 1
    handle.close()
    engine.close()


def test_data_that_could_not_be_brought_there_is_brought_again(cluster: Cluster) -> None:
    shares = Shares("group")
    engine = DaskEngine(cluster)
    engine.open(shares)
    cluster.change("a")
    wait_until(lambda: engine._homes)
    handle = shares.add([1], pickled([1]))
    cluster.scatter_fails = 1
    cluster.let_scatter()
    first, second = lane_of(engine, 1), lane_of(engine, 2)
    first.send(chunk())
    wait_until(lambda: first._news)
    [died] = first.read()
    assert isinstance(died, WorkerDied)
    assert died.begun == 0
    second.send(chunk())
    submitted(cluster, 1)
    handle.close()
    engine.close()


def test_what_is_shared_is_brought_again_when_all_that_had_it_are_lost(cluster: Cluster) -> None:
    shares = Shares("group")
    engine = DaskEngine(cluster)
    engine.open(shares)
    cluster.change("a")
    wait_until(lambda: engine._homes)
    handle = shares.add([1], pickled([1]))
    cluster.let_scatter()
    first, second, third = lane_of(engine, 1), lane_of(engine, 2), lane_of(engine, 3)
    first.send(chunk())
    submitted(cluster, 1)
    second.send(chunk())
    submitted(cluster, 2)
    assert len(cluster.scattered) == 1
    cluster.scattered[0].status = "cancelled"  # as dask has it then
    third.send(chunk())
    submitted(cluster, 3)
    assert [one["args"][2] for one in cluster.submitted] == [cluster.scattered[:1]] * 2 + [cluster.scattered[1:]]
    handle.close()
    engine.close()


def test_a_large_function_is_brought_once_to_each_of_many_workers(cluster: Cluster, engine: DaskEngine) -> None:
    cluster.change(*map(str, range(40)))
    wait_until(lambda: len(engine._homes) == 40)
    cluster.let_scatter()
    large = chunk(function=bytes(1 << 20))
    for number in range(120):
        lane_of(engine, number).send(large)
    submitted(cluster, 120)
    assert len(cluster.scattered) == 40


def test_only_the_process_that_has_a_chunk_is_asked_about_it(cluster: Cluster, engine: DaskEngine) -> None:
    cluster.change("a")
    wait_until(lambda: engine._homes)
    lane = lane_of(engine)
    lane.send(chunk())
    lane.look()
    wait_until(lambda: cluster.looks)
    assert cluster.looks[0] == ("id-a", engine._id, lane.number, False, False)
    worker = SimpleNamespace(id="id-a")
    look = partial(_dask_worker.look, engine="e", number=1, stop=False, kill=False, dask_worker=worker)
    assert asyncio.run(look("id-a")) == _assignments.Progress(0, None)
    assert asyncio.run(look("id-of-the-last")) is None


def test_it_warns_of_a_worker_once(cluster: Cluster, engine: DaskEngine, caplog: pytest.LogCaptureFixture) -> None:
    cluster.versions["b"] = (1, "host", "0.0.1")
    with caplog.at_level(logging.WARNING, "procorch"):
        for addresses in (["a", "b"], ["a", "b", "c"], ["b", "c"]):
            cluster.change(*addresses)
            wait_until(partial(lambda now: set(engine._homes) == now, set(addresses) - {"b"}))
    assert sum("is not used" in message for message in caplog.messages) == 1


def test_a_cluster_where_nobody_can_run_items_is_refused(cluster: Cluster) -> None:
    cluster.workers = [Found("a", "id-a", "a", 1, {})]
    cluster.versions["a"] = (1, "host", "0.0.1")
    with pytest.raises(RuntimeError, match=r"no worker of the cluster can run items; of a: it has procorch 0\.0\.1"):
        DaskEngine(cluster)


def test_nothing_is_left_in_the_loop_of_a_client_when_the_scheduler_does_not_answer(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dask, "_CONNECT_SECONDS", 0.05)
    cluster.answers = False
    with pytest.raises(TimeoutError):
        DaskEngine(cluster)
    wait_until(lambda: not asyncio.all_tasks(cluster.asyncio_loop))


def test_a_client_whose_loop_has_ended(cluster: Cluster) -> None:
    engine = DaskEngine(cluster)
    engine.open(Shares("group"))
    cluster.change("a")
    wait_until(lambda: engine._homes)
    lane = lane_of(engine)
    cluster.end()
    lane.send(chunk())
    [died] = lane.read()
    assert isinstance(died, WorkerDied)
    with pytest.raises(OSError, match="client of dask is closed"):
        engine.start(2, "Process-2")
    engine.close()
    with pytest.raises(ConnectionError, match="closed"), ProcessGroup(1, engine=engine) as group:
        group.submit(len, "abc")
    assert engine._shared is None


def test_an_asynchronous_client_is_refused(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "asynchronous", True)
    with pytest.raises(TypeError, match="client must be a synchronous one"):
        DaskEngine(cluster)


@pytest.mark.parametrize("workers", ["a", ["a"]])
def test_an_executor_of_dask_stands_for_its_client_and_its_options(cluster: Cluster, workers: str | list[str]) -> None:
    executor = Client.get_executor(cluster, workers=workers, resources={"GPU": 1})
    engine = engine_for(executor)
    assert isinstance(engine, DaskEngine)
    engine.open(Shares("group"))
    cluster.workers = [Found(address, f"id-{address}", address, 1, {"GPU": 1}) for address in "ab"]
    cluster.asyncio_loop.call_soon_threadsafe(cluster.changes.put_nowait, None)
    wait_until(lambda: engine._homes)
    assert set(engine._homes) == {"a"}
    lane_of(engine).send(chunk())
    submitted(cluster, 1)
    assert cluster.submitted[0]["resources"] == {"GPU": 1}
    engine.close()


def test_what_is_no_client() -> None:
    with pytest.raises(TypeError, match=r"distributed\.Client or the address"):
        DaskEngine(m)  # type: ignore[arg-type]


def test_places_that_make_no_sense(cluster: Cluster) -> None:
    with pytest.raises(TypeError, match=r"several workers; for one, \['tcp://a:1'\]"):
        DaskEngine(cluster, workers="tcp://a:1")  # each of its letters would be one, and work would wait for ever
    with pytest.raises(ValueError, match=r"resources\['GPU'\] must be at least 0 and finite, not -1"):
        DaskEngine(cluster, resources={"GPU": -1})
    with pytest.raises(TypeError, match=r"resources\['GPU'\] must be a number, not 'two'"):
        DaskEngine(cluster, resources={"GPU": "two"})  # type: ignore[dict-item]
    with pytest.raises(TypeError, match="resources must be a mapping of names to numbers"):
        DaskEngine(cluster, resources=["GPU"])  # type: ignore[arg-type]
