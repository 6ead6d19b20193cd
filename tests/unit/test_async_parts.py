"""Unit: `procorch.aio` and its parts, without a process: bad input, bounds, hops, threads, gentle pickles."""

from __future__ import annotations

import asyncio
import functools
import inspect
import pickle
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import targets as t
import targets_aio as ta
from hypothesis import given
from hypothesis import strategies as st
from loops import run, until

from procorch import ProcessGroup, Task, aio
from procorch._aio.coroutines import InLoop
from procorch._aio.gentle import GentlePickles, mention_main
from procorch._aio.hops import Hops, Threads, settle
from procorch._functions import name_of
from procorch._mentions import WORD, mentions_main
from procorch._pickles import Pickles
from procorch.aio import AsyncProcessGroup
from procorch.testing import FakeEngine


def task() -> Task:
    return Task("f", "x")


def fake() -> AsyncProcessGroup:
    return AsyncProcessGroup(2, engine=FakeEngine())


async def some(count: int) -> AsyncIterator[int]:
    for number in range(count):
        yield number


# --- the face ---------------------------------------------------------------------------------------------------------


def test_public_names_are_known_by_their_public_module() -> None:
    for name in aio.__all__:
        value = getattr(aio, name)
        assert value.__module__ == "procorch.aio"
        assert value.__doc__


def test_no_room_for_the_thread_that_closes_it_lets_nobody_wait_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    start = threading.Thread.start

    def refuse(thread: threading.Thread) -> None:
        if thread.name.endswith("-closer"):
            raise RuntimeError("can't start new thread")
        start(thread)

    async def main() -> None:
        group = fake()
        assert await group.run(t.doubler, 1) == 2
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", refuse)
            with pytest.raises(RuntimeError, match="can't start"):
                await group.aclose()
        await asyncio.wait_for(group.aclose(), 10)
        assert not group.processes

    run(main())


def test_it_takes_the_arguments_of_a_process_group() -> None:
    ours, theirs = inspect.signature(AsyncProcessGroup), inspect.signature(ProcessGroup)
    assert list(ours.parameters) == list(theirs.parameters)
    with pytest.raises(ValueError, match="max_workers"):
        AsyncProcessGroup(0)
    with pytest.raises(TypeError, match="nme"):
        AsyncProcessGroup(nme="etl")  # type: ignore[call-arg]


BAD: list[tuple[Callable[[AsyncProcessGroup], Any], type[Exception], str]] = [
    (lambda group: group.submit(3), TypeError, "fn must be callable"),  # type: ignore[call-overload]
    (lambda group: group.imap(3, []), TypeError, "fn must be callable"),  # type: ignore[call-overload]
    (lambda group: group.imap(t.doubler), TypeError, "imap needs at least one iterable"),  # type: ignore[call-overload]
    (lambda group: group.imap(t.doubler, 5), TypeError, "iterable 1 of imap must be iterable, sync or async"),  # type: ignore[call-overload]
    (lambda group: group.imap(t.doubler, [], buffersize=0), ValueError, "buffersize"),
    (lambda group: group.imap(t.doubler, [], chunksize=1.5), TypeError, "chunksize"),  # type: ignore[call-overload]
    (lambda group: group.options(timeout=-1), ValueError, "timeout"),
]


@pytest.mark.parametrize(("call", "error", "text"), BAD, ids=range(len(BAD)))
def test_bad_input_is_refused_at_the_call(
    call: Callable[[AsyncProcessGroup], Any], error: type[Exception], text: str
) -> None:
    async def main() -> None:
        async with fake() as group:
            with pytest.raises(error, match=text):
                call(group)
            with pytest.raises(TypeError, match="fn must be callable"):
                await group.start(3)  # type: ignore[call-overload]
            with pytest.raises(ValueError, match="name"):
                await group.start(t.doubler, 1, name="")
            with pytest.raises(TypeError, match="iterable 2 of map"):
                await group.map(t.add, [], 7)  # type: ignore[call-overload]

    run(main())


def test_a_fake_engine_does() -> None:
    async def main() -> None:
        async with fake() as group:
            assert await group.run(t.doubler, 2) == 4
            assert await group.map(t.add, range(5), some(4)) == [0, 2, 4, 6]
            assert [result async for result in group.imap(t.doubler, (n for n in range(9)), chunksize=2)] == [
                2 * number for number in range(9)
            ]

    run(main())


@pytest.mark.parametrize("source", ["items", "items_later"])
@pytest.mark.parametrize("ordered", [True, False])
@pytest.mark.parametrize("chunksize", [None, 1, 5])
def test_the_bound_is_exact(source: str, ordered: bool, chunksize: int | None) -> None:
    noting = ta.Noting()

    async def main() -> None:
        async with fake() as group:
            results = group.imap(
                t.doubler, getattr(noting, source)(), ordered=ordered, chunksize=chunksize, buffersize=5
            )
            for _ in range(100):
                await anext(results)
                noting.given += 1
            await results.aclose()

    run(main())
    assert noting.most_ahead <= 5


@pytest.mark.parametrize("call", ["source", "results"])
def test_the_loop_has_its_turn_between_inputs_and_between_results_that_are_there(call: str) -> None:
    async def main() -> None:
        turns, at = 0, list[int]()

        async def count() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        async def noted() -> AsyncIterator[int]:
            for number in range(5000):
                at.append(turns)
                yield number

        async with fake() as group:
            counting = asyncio.create_task(count())
            if call == "source":
                assert len(await group.map(t.doubler, noted(), buffersize=5000)) == 5000
            else:
                async for _ in group.imap(t.doubler, range(5000), chunksize=5000, buffersize=5000):
                    at.append(turns)
            counting.cancel()
        assert max(Counter(at).values()) <= 512

    run(main())


# --- coroutine functions ----------------------------------------------------------------------------------------------


def test_a_coroutine_function_is_known_by_its_name() -> None:
    assert name_of(InLoop(ta.double_later)) == "targets_aio.double_later"
    again = pickle.loads(pickle.dumps(InLoop(functools.partial(ta.add_later, 2))))
    assert again(3) == 5
    assert name_of(pickle.loads(pickle.dumps(InLoop(ta.double_later)))) == "targets_aio.double_later"


# --- hops and threads -------------------------------------------------------------------------------------------------


def test_what_comes_at_once_wakes_the_loop_once() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        hops, got, woken = Hops(loop), list[int](), 0
        honest = loop.call_soon_threadsafe

        def call_soon_threadsafe(*args: Any, **kwargs: Any) -> Any:
            nonlocal woken
            woken += 1
            return honest(*args, **kwargs)

        loop.call_soon_threadsafe = call_soon_threadsafe  # type: ignore[assignment, method-assign]
        for number in range(1000):
            hops.post(functools.partial(got.append, number))
        await until(lambda: len(got) == 1000)
        assert got == list(range(1000))
        assert woken == 1

    run(main())


def test_an_interrupt_while_something_is_posted_blocks_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(_: Callable[[], object]) -> None:
        raise KeyboardInterrupt

    async def main() -> None:
        loop, got = asyncio.get_running_loop(), list[int]()
        hops = Hops(loop)
        with monkeypatch.context() as patch:
            patch.setattr(loop, "call_soon_threadsafe", interrupt)
            with pytest.raises(KeyboardInterrupt):
                hops.post(lambda: got.append(1))
        hops.post(lambda: got.append(2))
        await until(lambda: got == [1, 2])

    run(main())


def test_a_closed_loop_hears_nothing_and_nothing_is_kept() -> None:
    loop = asyncio.new_event_loop()
    loop.close()
    hops = Hops(loop)
    hops.post(lambda: None)
    assert not hops._calls


def test_threads_are_used_again_and_end() -> None:
    async def main() -> None:
        threads = Threads("x", Hops(asyncio.get_running_loop()))
        first = await threads.call(threading.get_ident)
        await until(lambda: threads._idle._value == 1)
        assert await threads.call(threading.get_ident) == first
        with pytest.raises(ZeroDivisionError):
            await threads.call(functools.partial(t.divide, 0))
        threads.close()
        assert await threads.call(functools.partial(t.doubler, 2)) == 4, "after the end there is one for each call"
        await asyncio.to_thread(threads.join, 10)
        assert not threads._threads

    run(main())


def test_settling_what_is_done_changes_nothing() -> None:
    async def main() -> None:
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        settle(future, 1, None)
        settle(future, None, ValueError())
        assert await future == 1

    run(main())


# --- gentle pickles ---------------------------------------------------------------------------------------------------

LARGE = [bytes(200_000), bytearray(200_000), "x" * 200_000, "ä" * 100_000]


class Pieces:
    """What a pickler writes."""

    def __init__(self, value: object) -> None:
        self.pieces: list[bytes] = []
        pickle.Pickler(self, 5).dump(value)

    def write(self, piece: Any) -> int:
        self.pieces.append(bytes(piece))
        return len(piece)


@given(st.lists(st.sampled_from([*LARGE, 1, "y" * 65_000, list(range(30_000)), WORD.decode(), b"_main__"]), max_size=6))
def test_gentle_pickles_find_the_main_module_wherever_it_is_named(values: list[Any]) -> None:
    pieces = Pieces(values).pieces
    assert b"".join(pieces) == pickle.dumps(values, 5)
    if "_main__" in values:
        assert mention_main(pieces)
    elif b"_main__" not in values:
        assert not mention_main(pieces)
    if not mention_main(pieces):
        assert not mentions_main(b"".join(pieces))


def test_large_data_is_not_searched() -> None:
    assert not mention_main(Pieces([bytes(100_000) + WORD]).pieces)
    assert not mention_main(Pieces(bytearray(100_000) + WORD).pieces)


@pytest.mark.parametrize("value", [1, "text", [1, 2], *LARGE, list(range(300_000)), t.Undumpable(), lambda: 1])
def test_gentle_pickles_are_the_same(value: object) -> None:
    gentle = GentlePickles(have_main=False).item(value, task)
    plain = Pickles(have_main=False).item(value, task)
    assert type(gentle) is type(plain)
    if isinstance(plain, bytes):
        assert gentle == plain
