"""Unit: the worker's side without a process: `Runner` on a page of this process."""

from __future__ import annotations

import mmap
import os
import pickle
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Any, NoReturn

import attrs
import pytest

from procorch import _messages as m
from procorch import _spares
from procorch._buffers import loads
from procorch._messages import Failure, Plain, Report, Retriable, Value
from procorch._outcome import read_report
from procorch._parcel import Parcel
from procorch._plain import are_plain
from procorch._queue import PAGE_BYTES, Beside, Reader, Record
from procorch._runner import Runner
from procorch._writer import Writer

MILLISECOND = 1_000_000
"""In nanoseconds."""


@attrs.define
class HandClock:
    """Nanoseconds, wound by the items themselves."""

    now: int = 5_000_000_000

    def __call__(self) -> int:
        return self.now


@attrs.define
class Bench:
    """A runner with both ends of its page, and what it has sent."""

    writer: Writer
    reader: Reader
    runner: Runner
    clock: HandClock
    sent: list[m.FromWorker]
    seq: int = 0
    withdrawn: bool = False
    """Whether each chunk is withdrawn as soon as it is sent."""
    together: bool = False
    """Whether arguments that are plain data come in one pickle."""

    @classmethod
    def new(cls, size: int = PAGE_BYTES) -> Bench:
        page = mmap.mmap(-1, size)
        sent: list[m.FromWorker] = []
        clock = HandClock()
        writer = Writer(page)
        return cls(writer, Reader(page), Runner(writer, sent.append, clock), clock, sent)

    def run(
        self,
        function: Callable[..., Any],
        items: Sequence[object],
        style: m.Style = m.Style.ONE,
        stop_on_error: bool = False,
    ) -> list[Record]:
        """Run one chunk and give what is in the page at its end."""
        # Functions of this process are put there as loaded, so that tests may use local ones.
        _functions.append(function)
        self.runner.define(m.Define(1, pickle.dumps(_Current())))
        return self.run_defined(1, [pickle.dumps(item) for item in items], style, stop_on_error)

    def run_defined(
        self, key: int, payloads: Sequence[m.Bytes], style: m.Style = m.Style.ONE, stop_on_error: bool = False
    ) -> list[Record]:
        self.seq += 1
        self.reader.expect()
        if self.withdrawn:
            self.reader.ask_stop(self.seq)
        items: Sequence[m.Bytes] | m.Pack = payloads
        if self.together:
            try:
                arguments = [pickle.loads(payload) for payload in payloads]
            except LookupError:
                arguments = [Explosive()]
            if are_plain(arguments):
                items = m.Pack(len(arguments), pickle.dumps(arguments))
        self.runner.run(m.Run(self.seq, key, style, stop_on_error, items))
        assert self.sent[-1] == m.Ended(self.seq)
        return list(one_by_one(self.reader.take(self.seq)))


class _Current:
    """Pickles as whatever function the test runs now."""

    def __reduce__(self) -> tuple[Callable[[], Callable[..., Any]], tuple[()]]:
        return _current, ()


_functions: list[Callable[..., Any]] = []


def _current() -> Callable[..., Any]:
    return _functions.pop()


@pytest.fixture(params=["apart", "together"])
def bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    bench = Bench.new()
    bench.together = request.param == "together"
    _spares.keep(bench)
    yield bench
    bench.sent.clear()  # what is large has descriptors
    _spares.leave(bench)


def one_by_one(records: Sequence[Record]) -> Iterator[Record]:
    """Give each item a record of its own."""
    for record in records:
        if isinstance(record, Plain):
            yield from (Plain([value]) for value in record.values)
        else:
            yield record


def values(records: Sequence[Record]) -> list[object]:
    found: list[object] = []
    for record in records:
        assert isinstance(record, Value | Plain), records
        found += record.values if isinstance(record, Plain) else [loads(record.payload)]
    return found


def report(record: Record | m.Large) -> Report:
    assert isinstance(record, (Failure, Retriable)) or (isinstance(record, m.Large) and record.kind is m.Kind.FAILURE)
    assert not isinstance(record.payload, Parcel)
    return read_report(Failure(record.payload))


class Explosive:
    """Can be pickled, and raises when it is opened."""

    def __reduce__(self) -> tuple[Callable[[str], object], tuple[str]]:
        return explode, ("opened",)


def explode(text: str) -> NoReturn:
    raise LookupError(text)


# --- order ------------------------------------------------------------------------------------------------------------


def test_items_run_in_order_and_are_noted_before_they_run(bench: Bench) -> None:
    seen: list[tuple[int, int, int]] = []

    def look(number: int) -> int:
        seen.append((number, bench.reader.begun(bench.seq), len(bench.reader.take(bench.seq))))
        return number

    bench.run(look, range(4))
    # Each finds itself begun, and exactly the one before finished since the last look.
    assert seen == [(0, 1, 0), (1, 2, 1), (2, 3, 1), (3, 4, 1)]


def test_values_come_in_order(bench: Bench) -> None:
    assert values(bench.run(lambda number: number * 2, range(100))) == [number * 2 for number in range(100)]
    assert bench.sent == [m.Ended(1)]


def test_an_empty_chunk_just_ends(bench: Bench) -> None:
    assert bench.run(print, []) == []
    assert bench.reader.begun(1) == 0


def test_chunks_follow_each_other_on_the_same_page(bench: Bench) -> None:
    for start in (0, 10, 20):
        assert values(bench.run(abs, range(start, start + 5))) == list(range(start, start + 5))
        assert bench.reader.begun(bench.seq) == 5


# --- styles -----------------------------------------------------------------------------------------------------------


def test_style_one_gives_the_item_as_it_is(bench: Bench) -> None:
    assert values(bench.run(lambda item: item, [(1, 2), None, {"a": 1}])) == [(1, 2), None, {"a": 1}]


def test_style_many_spreads_the_item(bench: Bench) -> None:
    assert values(bench.run(lambda a, b: a - b, [(5, 3), (3, 5)], m.Style.MANY)) == [2, -2]


def test_style_call_gives_positions_and_keywords(bench: Bench) -> None:
    items = [((1, 2), {"b": 3}), ((), {})]
    assert values(bench.run(lambda *args, **kwargs: (args, kwargs), items, m.Style.CALL)) == items


# --- failures ---------------------------------------------------------------------------------------------------------


def fail_on_two(number: int) -> int:
    if number == 2:
        raise ValueError("two")
    return number


def lock_for(_: object) -> object:
    return threading.Lock()


def test_a_failure_costs_its_own_item(bench: Bench) -> None:
    records = bench.run(fail_on_two, range(4))
    assert values([*records[:2], records[3]]) == [0, 1, 3]
    assert report(records[2])[:3] == ("raised", "ValueError", "two")
    assert "in fail_on_two" in report(records[2]).trace


def test_stop_on_error_begins_nothing_after_a_failure(bench: Bench) -> None:
    records = bench.run(fail_on_two, range(5), stop_on_error=True)
    assert len(records) == 3
    assert bench.reader.begun(bench.seq) == 3
    assert report(records[2]).text == "two"


@pytest.mark.parametrize(
    ("error", "exit_code"),
    [
        (SystemExit(), 0),
        (SystemExit(3), 3),
        (SystemExit("message"), 1),
        (KeyboardInterrupt(), 1),
        (GeneratorExit(), 1),
        (ValueError(), 1),
    ],
    ids=repr,
)
def test_whatever_is_raised_is_an_outcome(error: BaseException, exit_code: int, bench: Bench) -> None:
    def fail(_: object) -> NoReturn:
        raise error

    (record,) = bench.run(fail, [0])
    assert report(record).stage == "raised"
    assert report(record).name == type(error).__name__
    assert bench.runner.exit_code == exit_code


def test_the_exit_code_is_the_last_item_s(bench: Bench) -> None:
    bench.run(fail_on_two, [2, 1])
    assert bench.runner.exit_code == 0
    bench.run(fail_on_two, [1, 2])
    assert bench.runner.exit_code == 1


def test_sys_exit_does_not_end_the_chunk(bench: Bench) -> None:
    records = bench.run(lambda number: sys.exit() if number == 0 else number, range(2))
    assert report(records[0]).name == "SystemExit"
    assert values(records[1:]) == [1]


def test_an_argument_that_cannot_be_opened_costs_its_own_item(bench: Bench) -> None:
    records = bench.run(lambda item: item, [1, Explosive(), 3])
    assert values([records[0], records[2]]) == [1, 3]
    assert report(records[1])[:3] == ("argument", "LookupError", "opened")


def test_a_result_that_cannot_be_pickled_costs_its_own_item(bench: Bench) -> None:
    records = bench.run(lambda number: threading.Lock() if number == 1 else number, range(3))
    assert values([records[0], records[2]]) == [0, 2]
    assert report(records[1]).stage == "result"
    assert "lock" in report(records[1]).text


# --- another try ------------------------------------------------------------------------------------------------------


def test_an_exception_of_a_given_type_is_worth_another_try(bench: Bench) -> None:
    bench.runner.define(m.Define(5, pickle.dumps(m.Retrying(fail_on_two, (ArithmeticError, ValueError)))))
    records = bench.run_defined(5, [pickle.dumps(number) for number in (1, 2)])
    assert [type(record) for record in records] == [Plain, Retriable]
    assert report(records[1]).text == "two"


@pytest.mark.parametrize("retry_on", [(), (KeyError,)])
def test_an_exception_of_another_type_is_not(retry_on: tuple[type[BaseException], ...], bench: Bench) -> None:
    bench.runner.define(m.Define(5, pickle.dumps(m.Retrying(fail_on_two, retry_on))))
    (record,) = bench.run_defined(5, [pickle.dumps(2)])
    assert type(record) is Failure


def test_what_cannot_cross_is_not_worth_another_try(bench: Bench) -> None:
    bench.runner.define(m.Define(5, pickle.dumps(m.Retrying(lock_for, (BaseException,)))))
    records = bench.run_defined(5, [pickle.dumps(Explosive()), pickle.dumps(0)])
    assert [report(record).stage for record in records] == ["argument", "result"]


def test_what_is_worth_another_try_does_not_stop_the_chunk(bench: Bench) -> None:
    bench.runner.define(m.Define(5, pickle.dumps(m.Retrying(fail_on_two, (ValueError,)))))
    records = bench.run_defined(5, [pickle.dumps(number) for number in (2, 3)], stop_on_error=True)
    assert [type(record) for record in records] == [Retriable, Plain]


# --- limits of time ---------------------------------------------------------------------------------------------------


def timed(bench: Bench, function: Callable[..., Any], count: int) -> list[Record]:
    bench.seq += 1
    _functions.append(function)
    bench.runner.define(m.Define(1, pickle.dumps(_Current())))
    payloads = [pickle.dumps(number) for number in range(count)]
    bench.runner.run(m.Run(bench.seq, 1, m.Style.ONE, False, payloads, timed=True))
    return bench.reader.take(bench.seq)


def test_each_item_of_a_timed_chunk_tells_since_when_it_runs(bench: Bench) -> None:
    seen: list[tuple[int, float | None]] = []

    def look(number: int) -> None:
        seen.append(bench.reader.running(bench.seq))
        bench.clock.now += 250 * MILLISECOND

    timed(bench, look, 3)
    assert seen == [(1, 5.0), (2, 5.25), (3, 5.5)]
    assert bench.reader.running(bench.seq) == (3, None)


def test_an_item_that_is_not_timed_tells_no_time(bench: Bench) -> None:
    assert bench.run(lambda number: bench.reader.running(bench.seq)[1], [0]) == [Plain([None])]


class _Loading:
    """Pickles as whatever the test makes when it is loaded."""

    def __reduce__(self) -> tuple[Callable[[], Callable[..., Any]], tuple[()]]:
        return _load, ()


def _load() -> Callable[..., Any]:
    made: Callable[..., Any] = _functions.pop()()
    return made


def test_to_load_the_function_is_no_item_s_time(bench: Bench) -> None:
    seen: list[tuple[int, float | None]] = []

    def load() -> Callable[..., Any]:
        seen.append(bench.reader.running(1))
        return abs

    _functions.append(load)
    bench.runner.define(m.Define(1, pickle.dumps(_Loading())))
    bench.runner.run(m.Run(1, 1, m.Style.ONE, False, [pickle.dumps(0)], timed=True))
    assert seen == [(1, None)]


class StoppedBetween(Writer):
    """Plays a parent that asks for the end of the chunk just as its second item begins."""

    def begin(self, count: int) -> None:
        super().begin(count)
        if count == 2:
            self._words[5] = self._words[0] << 8 | 1


def test_an_item_that_begins_while_the_parent_asks_for_the_end_is_taken_back() -> None:
    bench = Bench.new()
    bench.runner = Runner(StoppedBetween(bench.reader._page), bench.sent.append, bench.clock)
    assert values(timed(bench, abs, 5)) == [0]
    assert bench.reader.begun(bench.seq) == 1


# --- wear -------------------------------------------------------------------------------------------------------------


def test_a_worn_process_ends_its_chunk_and_says_so(bench: Bench) -> None:
    left = [False, True, False]
    bench.runner.is_worn = lambda: left.pop(0)
    assert values(timed(bench, abs, 5)) == [0, 1]
    assert bench.sent[-1] == m.Ended(1, worn=True)
    assert bench.reader.begun(1) == 2


def test_a_process_that_is_not_worn_goes_on(bench: Bench) -> None:
    bench.runner.is_worn = lambda: False
    assert values(timed(bench, abs, 5)) == list(range(5))
    assert bench.sent == [m.Ended(1, worn=False)]


# --- functions --------------------------------------------------------------------------------------------------------


def test_a_function_that_cannot_be_loaded_fails_each_item(bench: Bench) -> None:
    bench.runner.define(m.Define(5, pickle.dumps(Explosive())))
    records = bench.run_defined(5, [pickle.dumps(0)] * 3)
    assert [report(record)[:3] for record in records] == [("function", "LookupError", "opened")] * 3


def test_a_function_that_is_no_pickle_fails_each_item(bench: Bench) -> None:
    bench.runner.define(m.Define(5, b"nonsense"))
    (record,) = bench.run_defined(5, [pickle.dumps(0)])
    assert report(record).stage == "function"


def test_functions_are_kept_until_forgotten(bench: Bench) -> None:
    bench.runner.define(m.Define(5, pickle.dumps(abs)))
    bench.runner.define(m.Define(6, pickle.dumps(str)))
    assert values(bench.run_defined(5, [pickle.dumps(-1)])) == [1]
    assert values(bench.run_defined(6, [pickle.dumps(-1)])) == ["-1"]
    bench.runner.forget(m.Forget(5))
    bench.runner.forget(m.Forget(5))
    assert values(bench.run_defined(6, [pickle.dumps(-2)])) == ["-2"]
    with pytest.raises(KeyError):
        bench.run_defined(5, [pickle.dumps(-1)])


# --- ends of a chunk --------------------------------------------------------------------------------------------------


def test_a_withdrawn_chunk_begins_nothing_more(bench: Bench) -> None:
    def withdraw(number: int) -> int:
        if number == 1:
            bench.reader.ask_stop(bench.seq)
        return number

    assert values(bench.run(withdraw, range(5))) == [0, 1]
    assert bench.reader.begun(bench.seq) == 2
    assert values(bench.run(abs, range(3))) == [0, 1, 2]


def test_a_chunk_withdrawn_before_it_is_taken_begins_nothing(bench: Bench) -> None:
    bench.withdrawn = True
    assert bench.run(abs, range(3)) == []
    assert bench.reader.begun(1) == 0


def test_a_full_page_ends_the_chunk_between_two_items() -> None:
    bench = Bench.new(8192)
    ran: list[int] = []

    def large(number: int) -> bytes:
        ran.append(number)
        return b"x" * 10_000

    records = bench.run(large, range(2000))
    assert 0 < len(records) < 2000
    assert bench.reader.begun(bench.seq) == len(records) == len(ran)
    assert len([message for message in bench.sent if isinstance(message, m.Large)]) == len(records)
    assert values(bench.run(abs, range(3))) == [0, 1, 2]


# --- large outcomes ---------------------------------------------------------------------------------------------------


def test_a_large_result_goes_beside_the_page(bench: Bench) -> None:
    big = os.urandom(PAGE_BYTES)
    records = bench.run(lambda number: big if number == 1 else number, range(3))
    assert records[1] == Beside(b"")
    assert values([records[0], records[2]]) == [0, 2]
    large = bench.sent[0]
    assert isinstance(large, m.Large)
    assert large[:3] == (1, 1, m.Kind.VALUE)
    assert loads(large.payload) == big


def test_a_large_result_is_sent_before_it_is_noted(bench: Bench) -> None:
    taken: list[int] = []

    def send(message: m.FromWorker) -> None:
        if isinstance(message, m.Large):
            taken.append(len(bench.reader.take(bench.seq)))
        bench.sent.append(message)

    bench.runner = Runner(bench.writer, send)
    bench.run(lambda _: b"x" * PAGE_BYTES, [0])
    assert taken == [0]


def test_a_large_failure_goes_beside_the_page(bench: Bench) -> None:
    def fail(_: object) -> NoReturn:
        raise ValueError("x" * PAGE_BYTES)

    assert bench.run(fail, [0, 1], stop_on_error=True) == [Beside(b"")]
    large = bench.sent[0]
    assert isinstance(large, m.Large)
    assert report(large).name == "ValueError"


# --- announcements ----------------------------------------------------------------------------------------------------


def test_quick_items_are_announced_at_the_end_only(bench: Bench) -> None:
    def quick(_: object) -> None:
        bench.clock.now += MILLISECOND // 1000

    bench.run(quick, range(1000))
    assert bench.sent == [m.Ended(1)]


def test_results_are_announced_every_ten_milliseconds_at_most(bench: Bench) -> None:
    times: list[int] = []

    def send(message: m.FromWorker) -> None:
        bench.sent.append(message)
        if isinstance(message, m.Noted):
            times.append(bench.clock.now)

    def item(_: object) -> None:
        bench.clock.now += 300_000

    bench.runner = Runner(bench.writer, send, bench.clock)
    bench.run(item, range(100))
    assert len(times) == 2
    assert all(later - earlier > 10 * MILLISECOND for earlier, later in pairwise(times))


def test_slow_items_are_announced_each(bench: Bench) -> None:
    def slow(_: object) -> None:
        bench.clock.now += 11 * MILLISECOND

    bench.run(slow, range(3))
    assert bench.sent == [m.Noted(), m.Noted(), m.Noted(), m.Ended(1)]


def test_the_work_is_timed(bench: Bench) -> None:
    def item(_: object) -> None:
        bench.clock.now += 250 * MILLISECOND

    bench.run(item, range(4))
    assert bench.reader.busy_seconds() == 1.0
