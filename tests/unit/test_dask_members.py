"""Unit: who belongs to a cluster of dask, by a scheduler and a client that are not there."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

import procorch

pytest.importorskip("distributed", reason="needs distributed")

from procorch.engines import _dask_members
from procorch.engines._dask_members import Member, Members


class State:
    """A worker, as the scheduler keeps it."""

    def __init__(self, name: str, server_id: str, nthreads: int, **resources: float) -> None:
        self.name = name
        self.server_id = server_id
        self.nthreads = nthreads
        self.resources = resources


class Scheduler:
    def __init__(self, **workers: State) -> None:
        self.workers = dict(workers)
        self.plugins: dict[str, Any] = {}

    def add_plugin(self, plugin: Any) -> None:
        self.plugins[plugin.name] = plugin

    def remove_plugin(self, name: str) -> None:
        del self.plugins[name]

    def join(self, address: str, state: State) -> None:
        self.workers[address] = state
        for plugin in self.plugins.values():
            plugin.add_worker(self, address)

    def leave(self, address: str) -> None:
        del self.workers[address]
        for plugin in self.plugins.values():
            plugin.remove_worker(self, address, stimulus_id="")


class Client:
    """Reaches them; ``says`` has what a worker says of itself."""

    def __init__(self, scheduler: Scheduler) -> None:
        self.scheduler = scheduler
        self.says: dict[str, object] = {}
        self.asked: list[list[str]] = []

    async def run_on_scheduler(self, function: Callable[..., Any], *args: Any, asynchronous: bool) -> Any:
        assert asynchronous
        return await function(*args, dask_scheduler=self.scheduler)

    async def run(self, function: Callable[..., Any], *, workers: list[str], on_error: str, asynchronous: bool) -> Any:
        assert (on_error, asynchronous) == ("return", True)
        self.asked.append(workers)
        usual = function()
        said = {address: self.says.get(address, usual) for address in workers}
        return {address: one for address, one in said.items() if one is not None}


def in_loop(test: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    def run() -> None:
        asyncio.run(asyncio.wait_for(test(), 20))

    run.__name__ = test.__name__
    return run


def made(scheduler: Scheduler, wanted: list[str] | None = None, **resources: float) -> tuple[Client, Members]:
    client = Client(scheduler)
    return client, Members(client, wanted, resources)  # type: ignore[arg-type]


@in_loop
async def test_those_that_are_there_at_first() -> None:
    _, members = made(Scheduler(a=State("first", "id-a", 2), b=State("second", "id-b", 1)))
    left, joined = await members.change()
    assert left == []
    first, second = joined
    assert (first.address, first.id, first.name, first.size) == ("a", "id-a", "first", 2)
    assert (first.pid, second.size) == (os.getpid(), 1)
    assert members.known == {"a": first, "b": second}


@in_loop
async def test_an_empty_cluster_is_told_of_at_once() -> None:
    _, members = made(Scheduler())
    assert await members.change() == ([], [])


@in_loop
async def test_it_waits_until_somebody_joins_or_leaves() -> None:
    scheduler = Scheduler(a=State("a", "id-a", 1))
    client, members = made(scheduler)
    await members.change()
    change = asyncio.ensure_future(members.change())
    await asyncio.sleep(0)
    assert not change.done()
    scheduler.join("b", State("b", "id-b", 1))
    left, joined = await change
    assert ([one.address for one in left], [one.address for one in joined]) == ([], ["b"])
    assert client.asked == [["a"], ["b"]]  # nobody is asked twice
    change = asyncio.ensure_future(members.change())
    await asyncio.sleep(0)
    scheduler.leave("a")
    left, joined = await change
    assert ([one.address for one in left], joined) == (["a"], [])
    assert list(members.known) == ["b"]
    assert scheduler.plugins == {}


@in_loop
async def test_what_changes_between_two_questions_is_not_missed() -> None:
    scheduler = Scheduler(a=State("a", "id-a", 1))
    _, members = made(scheduler)
    await members.change()
    scheduler.leave("a")
    assert [one.address for one in (await members.change())[0]] == ["a"]


@in_loop
async def test_a_change_that_is_undone_wakes_nobody() -> None:
    scheduler = Scheduler(a=State("a", "id-a", 1))
    _, members = made(scheduler)
    await members.change()
    change = asyncio.ensure_future(members.change())
    await asyncio.sleep(0)
    scheduler.join("b", State("b", "id-b", 1))
    scheduler.leave("b")
    for _ in range(5):
        await asyncio.sleep(0)
    assert not change.done()
    change.cancel()
    with pytest.raises(asyncio.CancelledError):
        await change
    assert scheduler.plugins == {}


@in_loop
async def test_another_process_at_the_same_address_is_another_worker() -> None:
    scheduler = Scheduler(a=State("a", "id-1", 1))
    _, members = made(scheduler)
    await members.change()
    scheduler.leave("a")
    scheduler.join("a", State("a", "id-2", 1))
    left, joined = await members.change()
    assert ([one.id for one in left], [one.id for one in joined]) == (["id-1"], ["id-2"])
    assert members.known["a"].id == "id-2"


def test_a_scheduler_answers_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_dask_members, "_ANSWER_SECONDS", 0.001)
    scheduler = Scheduler(a=State("a", "id-a", 1))
    _, members = made(scheduler)

    async def ask() -> tuple[list[Member], list[Member]]:
        await members.change()
        return await members.change()

    assert asyncio.run(ask()) == ([], [])
    assert scheduler.plugins == {}


@in_loop
async def test_those_that_were_chosen_count() -> None:
    scheduler = Scheduler(a=State("first", "id-a", 1), b=State("second", "id-b", 1), c=State("third", "id-c", 1))
    client, members = made(scheduler, ["a", "third"])
    assert [one.address for one in (await members.change())[1]] == ["a", "c"]
    assert client.asked == [["a", "c"]]


@in_loop
async def test_what_a_chunk_needs_bounds_how_many_run() -> None:
    scheduler = Scheduler(
        a=State("a", "id-a", 8, GPU=3, MEM=100), b=State("b", "id-b", 8, GPU=1), c=State("c", "id-c", 1, GPU=9, MEM=99)
    )
    _, members = made(scheduler, GPU=1, MEM=10)
    assert [(one.address, one.size) for one in (await members.change())[1]] == [("a", 3), ("c", 1)]


@in_loop
async def test_a_chunk_that_needs_nothing_of_something() -> None:
    _, members = made(Scheduler(a=State("a", "id-a", 2)), GPU=0)
    assert [one.size for one in (await members.change())[1]] == [2]


@in_loop
async def test_those_that_cannot_run_items() -> None:
    scheduler = Scheduler(
        a=State("a", "id-a", 1), b=State("b", "id-b", 1), c=State("c", "id-c", 1), d=State("d", "id-d", 1)
    )
    client, members = made(scheduler)
    client.says = {"a": (1, "host", "0.0.1"), "b": ModuleNotFoundError("No module named 'procorch'"), "c": None}
    _, joined = await members.change()
    assert [one.address for one in joined] == ["d"]
    assert members.unfit["a"] == f"it has procorch 0.0.1, and this process {procorch.__version__}"
    assert "ModuleNotFoundError: No module named 'procorch'" in members.unfit["b"]
    assert "c" in members.unfit
    client.says = {}
    scheduler.leave("d")
    assert [one.address for one in (await members.change())[1]] == ["a", "b", "c"]  # asked again, and fit now
    assert members.unfit == {}


@in_loop
async def test_those_unfit_that_have_left_are_forgotten() -> None:
    scheduler = Scheduler(a=State("a", "id-a", 1), b=State("b", "id-b", 1))
    client, members = made(scheduler)
    client.says = {"a": (1, "host", "0.0.1")}
    await members.change()
    scheduler.leave("a")
    await members.change()
    assert members.unfit == {}
