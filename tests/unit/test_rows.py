"""Unit tests, no process: a generator as a worker calls it, the outcome that ends it, and what counts as one."""

from __future__ import annotations

import mmap
import pickle
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import targets as t
import targets_streams as ts

from procorch import _messages as m
from procorch._aio.coroutines import InLoop
from procorch._events import ChunkEnded, Recorded
from procorch._inbox import Inbox
from procorch._messages import Last, Plain
from procorch._outcome import dumps
from procorch._parcel import Parcel
from procorch._queue import PAGE_BYTES, Reader
from procorch._rows import AsyncRows, Rows
from procorch._runner import Runner
from procorch._targets import rows_of, runnable
from procorch._writer import Writer


class Bench:
    """A runner, and the inbox that hears it."""

    def __init__(self, fn: Callable[..., Any]) -> None:
        page = mmap.mmap(-1, PAGE_BYTES)
        self.said: list[m.FromWorker] = []
        self.writer, self.reader = Writer(page), Reader(page)
        self.runner = Runner(self.writer, self.said.append)
        self.inbox = Inbox(1, self.reader)
        self.runner.define(m.Define(1, pickle.dumps(rows_of(fn))))

    def run(self, items: Any) -> list[Any]:
        self.runner.run(m.Run(self.inbox.expect(), 1, m.Style.ONE, True, items))
        events = [event for said in self.said for event in self.inbox.hear(said)]
        self.said.clear()
        assert isinstance(events[-1], ChunkEnded)
        outcomes: list[Any] = []
        for event in events[:-1]:
            assert isinstance(event, Recorded)
            outcomes += [event.outcomes] if isinstance(event.outcomes, Plain) else event.outcomes
        return outcomes

    def first(self, *arguments: Any) -> list[Any]:
        return self.run([dumps(arguments)])

    def more(self, count: int) -> list[Any]:
        return self.run(m.Pack(count, dumps([None] * count)))

    def close(self) -> None:
        self.writer.close()
        self.reader.close()


def test_a_chunk_ends_with_the_generator() -> None:
    bench = Bench(ts.count_to)
    assert bench.first(5) == [Plain([(0, "row")])]
    assert bench.more(2) == [Plain([(1, "row"), (2, "row")])]
    *rows, last = bench.more(10)
    assert rows == [Plain([(3, "row"), (4, "row")])]
    assert type(last) is Last
    assert pickle.loads(last.payload) == "5 rows"  # type: ignore[arg-type]
    assert bench.runner.exit_code == 0
    assert bench.runner.let_go() is None
    bench.close()


def test_what_a_generator_returns_may_be_large() -> None:
    bench = Bench(ts.returns_large)
    (last,) = bench.first(1 << 20)
    assert type(last) is Last
    assert isinstance(last.payload, Parcel)
    bench.close()


def test_a_failure_ends_the_chunk_too() -> None:
    bench = Bench(ts.raises_after)
    bench.first(2)
    assert [type(one) for one in bench.more(5)] == [Plain, m.Failure]
    assert bench.runner.exit_code == 1
    bench.close()


@pytest.mark.parametrize("target", [ts.logged, partial(ts.ticks, 5)])
def test_letting_go_closes_what_is_between_two_rows(target: Any, log: Any) -> None:
    bench = Bench(target)
    bench.first(str(log))
    assert "closed" not in log.read_text()
    assert bench.runner.let_go() is None
    assert "-1 closed" in log.read_text()
    bench.close()


def test_letting_go_tells_what_that_raised() -> None:
    bench = Bench(ts.fails_to_close)
    bench.first()
    assert bench.runner.let_go() is not None
    assert bench.runner.exit_code == 1
    bench.close()


def test_what_is_rows_and_what_runs_in_a_loop() -> None:
    for rows in (ts.count_to, partial(ts.count_to, 2), ts.Reader(1).rows, ts.Reader(1)):
        assert type(rows_of(rows)) is Rows
    assert type(rows_of(ts.ticks)) is AsyncRows
    for none in (t.doubler, ts.Reader, iter, ts.double_later):
        assert rows_of(none) is None
    assert type(runnable(ts.double_later)) is InLoop
    assert runnable(t.doubler) is t.doubler
    assert rows_of(ts.count_to).__qualname__ == "count_to"  # type: ignore[union-attr]
