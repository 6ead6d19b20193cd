"""Process tests: rows of a process of its own in an event loop."""

from __future__ import annotations

import asyncio
import contextlib
from concurrent.futures import CancelledError
from pathlib import Path

import pytest
import targets_streams as ts
from helpers import Method
from loops import run, until

from procorch import GroupClosed, WorkerCrashed
from procorch.aio import AsyncProcessGroup, AsyncProcessHandle, AsyncProcessStream

FOREVER = 1 << 40


def test_rows_and_what_was_returned(method: Method) -> None:
    async def main() -> None:
        async with AsyncProcessGroup(1, name="rows", mp_context=method) as group:
            stream = await group.start(ts.count_to, 3000)
            assert isinstance(stream, AsyncProcessStream)
            assert [row async for row in stream] == [(number, "row") for number in range(3000)]
            assert await stream == "3000 rows"
            assert await stream.join()
            assert repr(stream) == f"<AsyncProcessStream 'rows-1' pid={stream.pid} ended, exit code 0>"
            assert [row async for row in await group.start(ts.ticks, 20, buffersize=2)] == list(range(20))
            assert isinstance(handle := await group.start(ts.double_later, 4), AsyncProcessHandle)
            assert await handle == 8

    run(main())


def test_no_row_begins_without_room_for_it(log: Path) -> None:
    def begun() -> int:
        return len(log.read_text().splitlines())

    async def main() -> None:
        async with AsyncProcessGroup(1) as group:
            stream = await group.start(ts.logged, str(log), buffersize=3)
            await until(lambda: begun() == 3)
            taken = 0
            async with stream:
                async for number in stream:
                    assert number == taken
                    taken += 1
                    assert begun() <= taken + 3
                    if taken == 20:
                        break
            assert await stream.join(20)
            assert log.read_text().endswith("-1 closed\n")
            with pytest.raises(CancelledError):
                await stream

    run(main())


def test_leaving_the_loop_closes_the_stream(log: Path) -> None:
    async def main() -> None:
        async with AsyncProcessGroup(1) as group:
            stream = await group.start(ts.logged, str(log))
            async for number in stream:
                if number == 5:
                    break
            assert await stream.join(20)
            assert stream.exitcode == 0

    run(main())


def test_cancelling_who_waits_for_a_row_closes_the_stream(gate: Path) -> None:
    async def main() -> None:
        async with AsyncProcessGroup(1) as group:
            stream = await group.start(ts.waits_between, str(gate), 2)
            rows: list[int] = []

            async def consume() -> None:
                async for row in stream:
                    rows.append(row)  # noqa: PERF401 - those before it is cancelled count

            consumer = asyncio.create_task(consume())
            await until(lambda: len(rows) == 2)
            consumer.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await consumer
            assert consumer.cancelled()
            gate.touch()
            assert await stream.join(20)

    run(main())


def test_failures_come_after_the_rows_before_them() -> None:
    async def main() -> None:
        async with AsyncProcessGroup(1) as group:
            for target, error in ((ts.raises_after, LookupError), (ts.killed_after, WorkerCrashed)):
                rows: list[int] = []
                with pytest.raises(error):
                    async for row in await group.start(target, 100):
                        rows.append(row)  # noqa: PERF401 - those before the error count
                assert rows == list(range(100))

    run(main())


def test_the_end_of_the_group_wakes_who_waits_for_a_row(gate: Path) -> None:
    async def main() -> None:
        group = AsyncProcessGroup(1)
        stream = await group.start(ts.waits_between, str(gate), 1)
        rows = aiter(stream)
        assert await anext(rows) == 0
        waiting = asyncio.ensure_future(anext(rows))
        await asyncio.sleep(0)
        group.terminate()
        with pytest.raises(GroupClosed):
            await waiting
        await group.aclose()

    run(main())
