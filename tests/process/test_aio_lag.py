"""Process tests: nothing that a group for asyncio does keeps the loop from going on.

Where it is the user's code that blocks, it does so until the loop has let it go on: in the loop, it would never. Where
it is ours, the longest pause of the loop is compared with what the whole takes.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
import targets as t
import targets_aio as ta
from loops import run, until

from procorch import _tree
from procorch.aio import AsyncProcessGroup

MEGA = 1 << 20


async def let_go_on() -> None:
    """Let what blocks go on, once it does and the loop has turned a few times since."""
    while not ta.signals.begun.is_set():
        await asyncio.sleep(0)
    for _ in range(50):
        await asyncio.sleep(0)
    ta.signals.go_on.set()


async def alone(group: AsyncProcessGroup) -> Any:
    return await group.run(t.identity, ta.Blocks())


async def mapped(group: AsyncProcessGroup) -> Any:
    return (await group.map(t.identity, [ta.Blocks()]))[0]


async def streamed(group: AsyncProcessGroup) -> Any:
    return await anext(group.imap(t.identity, [ta.Blocks()]))


async def started(group: AsyncProcessGroup) -> Any:
    return await (await group.start(t.identity, ta.Blocks()))


async def shared(group: AsyncProcessGroup) -> Any:
    return (await group.share(ta.Blocks())) and 7


async def from_generator(group: AsyncProcessGroup) -> Any:
    return sum(await group.map(t.identity, ta.blocking_items(4))) + 1


async def from_generator_streamed(group: AsyncProcessGroup) -> Any:
    return sum([result async for result in group.imap(t.identity, ta.blocking_items(4), buffersize=1)]) + 1


class IterBlocks:
    """Blocks when it is asked for an iterator."""

    def __iter__(self) -> Any:
        return ta.blocking_items(4)


async def from_iterable(group: AsyncProcessGroup) -> Any:
    return sum(await group.map(t.identity, IterBlocks())) + 1


CALLS = [alone, mapped, streamed, started, shared, from_generator, from_generator_streamed, from_iterable]


@pytest.mark.parametrize("call", CALLS)
def test_what_blocks_in_the_users_code_does_not_block_the_loop(
    call: Callable[[AsyncProcessGroup], Coroutine[Any, Any, Any]],
) -> None:
    ta.signals = ta.Signals()

    async def main() -> None:
        async with AsyncProcessGroup(1) as group:
            assert (await asyncio.gather(call(group), let_go_on()))[0] == 7

    run(main())


def test_closing_does_not_block_the_loop(tmp_path: Path) -> None:
    log, gate = tmp_path / "log", tmp_path / "gate"

    async def use() -> None:
        async with AsyncProcessGroup(1, finalizer=t.wait_for, finalargs=(str(gate),)) as group:
            await group.run(t.append, str(log), "done")

    async def open_gate() -> None:
        while not log.exists():
            await asyncio.sleep(0)
        for _ in range(50):
            await asyncio.sleep(0.001)
        gate.touch()

    async def main() -> None:
        await asyncio.gather(use(), open_gate())

    run(main())


@pytest.mark.parametrize("call", ["run", "map", "imap"])
def test_processes_are_not_stopped_in_the_loop(call: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log, honest, threads = tmp_path / "log", _tree.ignores, set[int]()

    def ignores(pid: int, number: int) -> bool:
        threads.add(threading.get_ident())
        return honest(pid, number)

    monkeypatch.setattr(_tree, "ignores", ignores)

    async def use(group: AsyncProcessGroup) -> None:
        if call == "run":
            await group.run(ta.log_and_wait, str(log), str(tmp_path / "gate"))
        elif call == "map":
            await group.map(ta.log_and_wait, [str(log)], [str(tmp_path / "gate")])
        else:
            await anext(group.imap(ta.log_and_wait, [str(log)], [str(tmp_path / "gate")]))

    async def main() -> None:
        async with AsyncProcessGroup(1) as group:
            task = asyncio.create_task(use(group))
            await until(log.exists)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await until(lambda: threads)
        assert threading.get_ident() not in threads

    run(main())


# --- measured ---------------------------------------------------------------------------------------------------------


async def longest_pause(work: Coroutine[Any, Any, Any]) -> tuple[float, float]:
    """Do some work; give the longest time for which the loop did not come round, and how long the work took.

    In time of this process on a processor: what others do on the machine is no pause of ours.
    """
    task = asyncio.create_task(work)
    began = last = time.process_time()
    longest = 0.0
    while not task.done():
        await asyncio.sleep(0.001)
        now = time.process_time()
        longest, last = max(longest, now - last), now
    await task
    return longest, last - began


def big_bytes() -> Any:
    return bytes(200 * MEGA)


def big_array() -> Any:
    return pytest.importorskip("numpy").zeros(25 * MEGA)


def big_list() -> Any:
    return [str(number) for number in range(1_000_000)]


@pytest.mark.limit(60)
@pytest.mark.parametrize(("make", "part"), [(big_array, 0.2), (big_bytes, 0.2), (big_list, 0.5)])
def test_the_loop_pauses_for_a_part_of_what_it_takes(make: Callable[[], Any], part: float) -> None:
    """In the loop it would be nearly all; pickled in one go, it is 0.35 and more for bytes and 0.9 for the list."""

    async def main() -> None:
        async with AsyncProcessGroup(1) as group:
            await group.run(t.identity, 1)
            pauses = []
            for _ in range(2):
                value = make()
                pauses.append(
                    min(await longest_pause(group.run(id, value)), await longest_pause(group.map(id, [value])))
                )
            assert min(pause / took for pause, took in pauses) < part

    run(main())
