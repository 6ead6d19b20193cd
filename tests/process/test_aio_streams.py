"""Process tests: `map` and `imap` for an event loop: all kinds of inputs, their bounds, and how streams end early."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import itertools
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import targets as t
import targets_aio as ta
from helpers import Method, is_gone, pids_in
from loops import run, until

from procorch import GroupClosed, NotPicklable, Progress, WorkerCrashed
from procorch._supervisor import Supervisor
from procorch.aio import AsyncProcessGroup


async def later(*items: Any) -> AsyncIterator[Any]:
    for item in items:
        await asyncio.sleep(0)
        yield item


class Unasked:
    """An async iterable that is no generator."""

    def __init__(self, count: int) -> None:
        self.items = iter(range(count))

    def __aiter__(self) -> Unasked:
        return self

    async def __anext__(self) -> int:
        for item in self.items:
            return item
        raise StopAsyncIteration


KINDS: dict[str, Callable[[], Any]] = {
    "list": lambda: list(range(100)),
    "range": lambda: range(100),
    "generator": lambda: (number for number in range(100)),
    "iterator": lambda: iter(list(range(100))),
    "async generator": lambda: later(*range(100)),
    "async iterator": lambda: Unasked(100),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_input(kind: str) -> None:
    make, doubled = KINDS[kind], [2 * number for number in range(100)]

    async def main() -> None:
        async with AsyncProcessGroup(2) as group:
            assert [result async for result in group.imap(t.doubler, make())] == doubled
            assert await group.map(t.doubler, make()) == doubled
            assert sorted([r async for r in group.imap(t.doubler, make(), ordered=False, chunksize=7)]) == doubled
            assert [result async for result in group.imap(t.doubler, make(), buffersize=1)] == doubled
            assert [r async for r in group.options(retries=1).imap(t.doubler, make(), buffersize=3)] == doubled
            assert await group.map(t.identity, make(), chunksize=9, buffersize=20) == list(range(100))

    run(main())


def test_every_mixture_of_inputs() -> None:
    async def main() -> None:
        async with AsyncProcessGroup(1) as group:
            for first, second in itertools.product(KINDS.values(), repeat=2):
                assert await group.map(t.add, first(), second()) == [2 * number for number in range(100)]
                three = group.imap(pack, first(), second(), itertools.count())
                assert [result async for result in three] == [(number,) * 3 for number in range(100)]
                assert await group.map(pack, later(5, 6), second()) == [(5, 0), (6, 1)]

    run(main())


def pack(*items: Any) -> Any:
    return items


def test_the_same_iterator_twice() -> None:
    async def main() -> None:
        async with AsyncProcessGroup(1) as group:
            sync, unsync = (number for number in range(10)), later(*range(10))
            assert await group.map(pack, sync, sync) == list(zip(range(0, 10, 2), range(1, 10, 2), strict=True))
            assert await group.map(pack, unsync, unsync) == list(zip(range(0, 10, 2), range(1, 10, 2), strict=True))

    run(main())


def test_start_methods(method: Method) -> None:
    async def main() -> None:
        async with AsyncProcessGroup(2, mp_context=method) as group:
            assert [r async for r in group.imap(t.doubler, later(1, 2, 3))] == [2, 4, 6]

    run(main())


def test_several_streams_at_once() -> None:
    async def main() -> None:
        async with AsyncProcessGroup(2) as group:

            async def collect(kind: str) -> list[int]:
                return [result async for result in group.imap(t.doubler, KINDS[kind]())]

            assert await asyncio.gather(*map(collect, KINDS)) == [[2 * number for number in range(100)]] * len(KINDS)

    run(main())


@pytest.mark.parametrize("kind", ["list", "async generator"])
def test_progress(kind: str) -> None:
    async def main() -> None:
        told: list[Progress] = []
        async with AsyncProcessGroup(2) as group:
            await group.map(t.doubler, KINDS[kind](), progress=told.append)
            assert (told[0].done, told[-1].done, told[-1].last) == (0, 100, True)
            assert told[-1].total == (100 if kind == "list" else None)
            told.clear()
            async with contextlib.aclosing(group.imap(t.doubler, KINDS[kind](), progress=told.append)) as results:
                assert await anext(results) == 0
            assert told[-1].last
            with pytest.raises(TypeError, match="progress"):
                group.imap(t.doubler, [1], progress=3)  # type: ignore[call-overload]
            with pytest.raises(ZeroDivisionError):
                await group.map(t.doubler, KINDS[kind](), progress=lambda _: 1 // 0)

    run(main())


# --- bounds -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("source", ["items", "items_later"])
@pytest.mark.parametrize("buffersize", [1, 2, 7])
def test_inputs_are_taken_only_as_results_are(source: str, buffersize: int) -> None:
    noting = ta.Noting()

    async def main() -> None:
        async with AsyncProcessGroup(2) as group:
            results = group.imap(t.doubler, getattr(noting, source)(), buffersize=buffersize)
            assert noting.taken == 0, "nothing was asked for"
            async with contextlib.aclosing(results):
                async for result in results:
                    assert result == 2 * noting.given
                    noting.given += 1
                    if noting.given == 300:
                        break
            assert noting.most_ahead <= buffersize
            assert noting.taken <= 300 + buffersize
            assert noting.closed_in is not None

    run(main())


@pytest.mark.parametrize("source", ["items", "items_later"])
def test_inputs_are_taken_as_far_as_the_bound_while_no_result_comes(source: str, log: Path, tmp_path: Path) -> None:
    noting, gate = ta.Noting(), tmp_path / "gate"

    async def main() -> None:
        async with AsyncProcessGroup(1) as group:
            calls = group.imap(
                ta.log_and_wait,
                itertools.repeat(str(log)),
                itertools.repeat(str(gate)),
                getattr(noting, source)(),
                buffersize=5,
            )
            first = asyncio.ensure_future(anext(calls))
            await until(lambda: noting.taken >= 5 and log.read_text())
            for _ in range(100):
                await asyncio.sleep(0)
            assert noting.taken == 5
            gate.touch()
            assert await first == 0
            await calls.aclose()

    run(main())


def test_results_do_not_wait_for_inputs() -> None:
    """Each input comes only after the result of the one before it: a stream that is fed by its own results."""

    async def main() -> None:
        async with AsyncProcessGroup(2) as group:
            todo: asyncio.Queue[int] = asyncio.Queue()
            todo.put_nowait(1)

            async def numbers() -> AsyncIterator[int]:
                while (number := await todo.get()) < 1000:
                    yield number

            seen = []
            async for result in group.imap(t.doubler, numbers()):
                seen.append(result)
                todo.put_nowait(result)
            assert seen == [2**power for power in range(1, 11)]

            blocking: list[int] = [1]
            there = threading.Semaphore(1)

            def blocked() -> Any:
                while there.acquire(timeout=20) and blocking[-1] < 1000:
                    yield blocking[-1]

            async for result in group.imap(t.doubler, blocked()):
                blocking.append(result)
                there.release()
            assert blocking == [2**power for power in range(11)]

    run(main())


# --- what goes wrong --------------------------------------------------------------------------------------------------


async def failing_later() -> AsyncIterator[int]:
    yield 1
    raise LookupError("no more")


def failing() -> Any:
    yield 1
    raise LookupError("no more")


@pytest.mark.parametrize("source", [failing, failing_later])
def test_an_input_that_fails_has_its_turn(source: Callable[[], Any]) -> None:
    async def main() -> None:
        async with AsyncProcessGroup(2) as group:
            results = group.imap(t.doubler, source())
            assert await anext(results) == 2
            with pytest.raises(LookupError, match="no more"):
                await anext(results)
            with pytest.raises(LookupError, match="no more"):
                await group.map(t.doubler, source())

    run(main())


def test_errors_of_items() -> None:
    async def main() -> None:
        async with AsyncProcessGroup(2) as group:
            results = group.imap(t.divide, later(1, 2, 0, 4))
            assert [await anext(results), await anext(results)] == [1, 0.5]
            with pytest.raises(ZeroDivisionError) as caught:
                await anext(results)
            assert "item 2 (0)" in caught.value.__notes__[0]
            mixed = await group.map(t.divide, later(1, 0), return_exceptions=True)
            assert mixed[0] == 1
            assert isinstance(mixed[1], ZeroDivisionError)
            mixed = [r async for r in group.imap(t.crash_on_three, later(2, 3, 4), return_exceptions=True)]
            assert [type(one) for one in mixed] == [int, WorkerCrashed, int]
            with pytest.raises(NotPicklable):
                await group.map(t.doubler, [1, t.Undumpable()])
            with pytest.raises(NotPicklable):
                await consume(group.imap(threading.Lock().acquire, [True]))

    run(main())


# --- how streams end early --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["aclose", "garbage", "cancel"])
@pytest.mark.parametrize("source", ["items", "items_later"])
def test_an_abandoned_stream_closes_its_inputs_where_they_were_taken(way: str, source: str) -> None:
    noting = ta.Noting()

    async def main() -> None:
        async with AsyncProcessGroup(2) as group:
            results = group.imap(t.doubler, getattr(noting, source)())
            assert await anext(results) == 0
            if way == "aclose":
                await results.aclose()
            elif way == "garbage":
                del results
                gc.collect()
            else:
                task = asyncio.create_task(consume(results))
                await until(lambda: noting.taken > 100)
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
                del task
            await until(lambda: noting.closed_in is not None)
            here = threading.get_ident()
            assert (noting.closed_in == here) == (source == "items_later")
            assert noting.threads == {noting.closed_in}
            assert await group.run(t.doubler, 1) == 2

    run(main())


async def consume(results: AsyncIterator[Any]) -> None:
    async for _ in results:
        pass


@pytest.mark.parametrize("call", ["map", "imap", "between"])
def test_cancelling_stops_the_processes_of_a_stream(call: str, log: Path, tmp_path: Path) -> None:
    gates = [tmp_path / "gate", tmp_path / "never"]
    gates[0].touch()

    async def main() -> None:
        async with AsyncProcessGroup(2) as group:
            logs, ways = itertools.repeat(str(log)), [str(gates[0])] + [str(gates[1])] * 100

            async def consume() -> None:
                if call == "map":
                    await group.map(ta.log_and_wait, logs, ways, range(1000), chunksize=1)
                else:
                    async with contextlib.aclosing(group.imap(ta.log_and_wait, logs, ways, range(1000))) as results:
                        async for _ in results:
                            if call == "between":
                                await asyncio.get_running_loop().create_future()

            task = asyncio.create_task(consume())
            await until(lambda: len(pids_in(log)) >= 3)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await until(lambda: all(map(is_gone, pids_in(log)[1:])))
            assert await group.run(t.doubler, 1) == 2
        assert len(pids_in(log)) == 3, "something was begun afterwards"

    run(main())


def test_leaving_the_loop_lets_what_runs_finish(log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gate, never = tmp_path / "gate", tmp_path / "later"
    gate.touch()

    async def main() -> None:
        async with AsyncProcessGroup(1) as group:
            # The supervisor's thread hears of it too late.
            monkeypatch.setattr(Supervisor, "stop", lambda *_: None)
            ways = [str(gate), str(never), str(never)]
            results = group.imap(ta.log_and_wait, itertools.repeat(str(log)), ways, range(3))
            assert await anext(results) == 0
            await until(lambda: len(pids_in(log)) == 2)
            await results.aclose()
            assert not is_gone(pids_in(log)[1])
            never.touch()
            assert await group.run(t.doubler, 1) == 2
        assert len(pids_in(log)) == 2
        assert len(set(pids_in(log))) == 1

    run(main())


def test_leaving_waits_for_an_input_that_is_just_being_taken() -> None:
    come, closed = threading.Event(), threading.Event()

    def numbers() -> Any:
        try:
            yield 1
            come.wait(20)
            yield 2
        finally:
            closed.set()
            raise LookupError

    async def main() -> None:
        async with AsyncProcessGroup(1) as group:
            results = group.imap(t.doubler, numbers())
            assert await anext(results) == 2
            asyncio.get_running_loop().call_later(0.02, come.set)
            with pytest.raises(LookupError):
                await results.aclose()
            assert closed.is_set()

    run(main())


def test_a_stream_that_nobody_asked_takes_nothing() -> None:
    noting = ta.Noting()

    async def main() -> None:
        async with AsyncProcessGroup(2) as group:
            results = group.imap(t.doubler, noting.items())
            await results.aclose()
            del results

    run(main())
    assert noting.taken == 0


@pytest.mark.parametrize("source", [itertools.count, lambda: later(*range(10**5)), ta.Noting().items])
def test_a_stream_of_a_group_that_was_left(source: Callable[[], Any]) -> None:
    async def main() -> None:
        async with AsyncProcessGroup(1) as group:
            results = group.imap(t.doubler, source(), buffersize=3)
            assert await anext(results) == 0
        with pytest.raises(GroupClosed):
            await consume(results)
        with pytest.raises(GroupClosed):
            group.imap(t.doubler, [1])

    run(main())


def test_a_stream_that_waits_for_its_input_hears_of_the_end() -> None:
    async def main() -> None:
        async with AsyncProcessGroup(1) as group:

            async def none() -> AsyncIterator[int]:
                yield 1
                await asyncio.get_running_loop().create_future()

            results = group.imap(t.doubler, none())
            assert await anext(results) == 2
            waiting = asyncio.create_task(consume(results))
            mapping = asyncio.create_task(group.map(t.doubler, none()))
            await asyncio.sleep(0)
            group.terminate()
        for task in (waiting, mapping):
            with pytest.raises(GroupClosed):
                await task

    run(main())
