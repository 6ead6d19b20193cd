"""Unit: who belongs to a cluster of dask, by a scheduler and a client that are not there."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from loops import until

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
        self.silent: set[str] = set()
        """Workers that do not answer as long as they are in here."""
        self.asked: list[list[str]] = []

    async def run_on_scheduler(self, function: Callable[..., Any], *args: Any, asynchronous: bool) -> Any:
        assert asynchronous
        return await function(*args, dask_scheduler=self.scheduler)

    async def run(self, function: Callable[..., Any], *, workers: list[str], on_error: str, asynchronous: bool) -> Any:
        assert (on_error, asynchronous) == ("return", True)
        self.asked.append(workers)
        while self.silent & set(workers):
            await asyncio.sleep(0)
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


@in_loop
async def test_nothing_stays_behind_with_the_scheduler() -> None:
    scheduler = Scheduler(a=State("a", "id-a", 1))
    before = asyncio.all_tasks()
    client, members = made(scheduler)
    await members.change()
    scheduler.join("b", State("b", "id-b", 1))
    client.silent.add("b")
    change = asyncio.ensure_future(members.change())
    await until(lambda: client.asked == [["a"], ["b"]])
    change.cancel()
    with pytest.raises(asyncio.CancelledError):
        await change
    members.rest()
    await until(lambda: asyncio.all_tasks() == before)
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


@in_loop
async def test_a_change_that_is_cancelled_is_told_of_another_time() -> None:
    """As when a group ends while somebody is met: the next group of the engine must know who is there, and who not."""
    scheduler = Scheduler(a=State("a", "id-a", 1))
    client, members = made(scheduler)
    await members.change()
    scheduler.join("b", State("b", "id-b", 1))
    client.silent.add("b")
    change = asyncio.ensure_future(members.change())
    await until(lambda: client.asked == [["a"], ["b"]])
    scheduler.leave("a")
    change.cancel()
    members.rest()
    client.silent.clear()
    left, joined = await members.change()
    while not (left and joined):  # at once, or one after the other
        more = await members.change()
        left, joined = left + more[0], joined + more[1]
    assert ([one.address for one in left], [one.address for one in joined]) == (["a"], ["b"])


@in_loop
async def test_who_has_left_is_told_of_while_others_are_met() -> None:
    scheduler = Scheduler(a=State("a", "id-a", 1))
    client, members = made(scheduler)
    await members.change()
    scheduler.join("b", State("b", "id-b", 1))
    client.silent.add("b")
    change = asyncio.ensure_future(members.change())
    await until(lambda: client.asked == [["a"], ["b"]])
    scheduler.leave("a")
    assert [one.address for one in (await change)[0]] == ["a"]
    client.silent.clear()
    assert [one.address for one in (await members.change())[1]] == ["b"]
    assert client.asked == [["a"], ["b"]]  # nobody is asked twice


@in_loop
async def test_who_leaves_before_it_was_met_has_not_joined() -> None:
    scheduler = Scheduler(a=State("a", "id-a", 1))
    client, members = made(scheduler)
    await members.change()
    scheduler.join("b", State("b", "id-b", 1))
    client.silent.add("b")
    change = asyncio.ensure_future(members.change())
    await until(lambda: client.asked == [["a"], ["b"]])
    scheduler.leave("b")
    await until(lambda: members._ids == {"id-a"})
    client.says["b"] = OSError("closed")
    client.silent.clear()
    assert await change == ([], [])
    assert list(members.known) == ["a"]
    assert members.unfit == {}


@in_loop
async def test_another_process_at_the_same_address_is_another_worker() -> None:
    scheduler = Scheduler(a=State("a", "id-1", 1))
    _, members = made(scheduler)
    await members.change()
    scheduler.leave("a")
    scheduler.join("a", State("a", "id-2", 1))
    left, joined = await members.change()
    assert ([one.id for one in left], joined) == (["id-1"], [])
    left, joined = await members.change()
    assert (left, [one.id for one in joined]) == ([], ["id-2"])
    assert members.known["a"].id == "id-2"


def test_a_scheduler_answers_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_dask_members, "_ANSWER_SECONDS", 0.001)
    scheduler = Scheduler(a=State("a", "id-a", 1))
    _, members = made(scheduler)

    async def ask() -> tuple[list[Member], list[Member]]:
        await members.change()
        return await members.change()

    assert asyncio.run(ask()) == ([], [])


@in_loop
async def test_those_that_were_chosen_count() -> None:
    scheduler = Scheduler(a=State("first", "id-a", 1), b=State("second", "id-b", 1), c=State("third", "id-c", 1))
    client, members = made(scheduler, ["a", "third"])
    assert [one.address for one in (await members.change())[1]] == ["a", "c"]
    assert client.asked == [["a", "c"]]


@in_loop
async def test_a_name_may_be_a_number() -> None:
    """Those of dask's own clusters are."""
    numbers: Any = [1]
    _, members = made(Scheduler(a=State("0", "id-a", 1), b=State("1", "id-b", 1)), numbers)
    assert [one.address for one in (await members.change())[1]] == ["b"]


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
        **{name: State(name, f"id-{name}", 1) for name in "abcde"},
    )
    client, members = made(scheduler)
    client.says = {"a": (1, "host", "0.0.1"), "b": ModuleNotFoundError("No module named 'procorch'"), "c": None}
    client.says["e"] = OSError("timed out")
    _, joined = await members.change()
    assert [one.address for one in joined] == ["d"]
    assert members.unfit["a"] == f"it has procorch 0.0.1, and this process {procorch.__version__}"
    assert "ModuleNotFoundError: No module named 'procorch'" in members.unfit["b"]
    assert members.unfit["b"].startswith("procorch cannot be loaded there: ")
    assert "c" in members.unfit
    assert members.unfit["e"] == "it cannot be reached: OSError: timed out"
    client.says = {}
    scheduler.leave("d")
    assert [one.address for one in (await members.change())[0]] == ["d"]
    assert [one.address for one in (await members.change())[1]] == ["a", "b", "c", "e"]  # asked again, and fit now
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
