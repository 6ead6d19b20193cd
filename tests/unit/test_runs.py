"""Unit: results that are plain data, by the worker's own loop, on a page whose writer may be killed at every step."""

from __future__ import annotations

import itertools
import mmap
import pickle
import signal
from collections.abc import Callable
from typing import Any, cast

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from procorch import _messages as m
from procorch._buffers import loads
from procorch._messages import Failure, Plain, Value
from procorch._outcome import read_report
from procorch._queue import FIRST, Reader, Record
from procorch._runner import Death, Runner
from procorch._writer import Writer

PAGE = 16384


class KilledError(Death):
    """The writer's process has ended here."""


class FusedView:
    """A view of the page, each store in one step of which one may be the last."""

    def __init__(self, view: Any, step: Callable[[], object]) -> None:
        self._view = view
        self._step = step

    def __len__(self) -> int:
        return len(self._view)

    def __getitem__(self, place: Any) -> Any:
        return self._view[place]

    def __setitem__(self, place: Any, value: Any) -> None:
        if isinstance(place, slice):
            half = len(value) // 2
            self._step()
            self._view[place.start : place.start + half] = value[:half]
        self._step()
        self._view[place] = value


class MortalWriter(Writer):
    """A writer that calls somebody before each store."""

    def __init__(self, page: mmap.mmap, step: Callable[[], object]) -> None:
        super().__init__(page)
        self._page = cast("mmap.mmap", FusedView(self._page, step))
        self._words = cast("memoryview", FusedView(self._words, step))
        self._ints = cast("memoryview", FusedView(self._ints, step))
        self._doubles = cast("memoryview[float]", FusedView(self._doubles, step))
        self._flags = cast("memoryview[bool]", FusedView(self._flags, step))
        self._bytes = cast("memoryview", FusedView(self._bytes, step))


class Pair(tuple[int, int]):
    """Not plain: of a type of its own."""


class Number(int):
    """Likewise."""


_results: list[Any] = []


def give(position: int) -> Any:
    result = _results[position]
    if isinstance(result, Exception):
        raise result
    return result


def run(writer: Writer, results: list[Any], sent: list[m.FromWorker], seq: int = 1) -> None:
    _results[:] = results
    # A clock that goes on by itself, since how many items are done in a row depends on the time that they take.
    runner = Runner(writer, sent.append, itertools.count(1, 10_000).__next__)
    runner.define(m.Define(1, pickle.dumps(give)))
    arguments = list(range(len(results)))
    runner.run(m.Run(seq, 1, m.Style.ONE, False, m.Pack(len(arguments), pickle.dumps(arguments))))


def opened(records: list[Record]) -> list[Any]:
    found: list[Any] = []
    for record in records:
        if isinstance(record, Plain):
            found += record.values
        elif isinstance(record, Value):
            found.append(loads(record.payload))
        else:
            assert isinstance(record, Failure)
            found.append(ValueError(read_report(record).text))
    return found


def typed(values: list[Any]) -> list[tuple[type, str]]:
    """Tell 1 from True and 1.0, and nan from no other."""
    return [(type(one), repr(one)) for one in values]


plain = (
    st.integers()
    | st.floats()
    | st.booleans()
    | st.none()
    | st.text(max_size=300)
    | st.binary(max_size=300)
    | st.complex_numbers()
    | st.tuples(st.integers(), st.text(max_size=5))
)
others = (
    st.lists(st.integers(), max_size=3)
    | st.builds(ValueError, st.sampled_from(["wrong", "worse"]))
    | st.tuples(st.lists(st.none(), max_size=1))
    | st.builds(lambda a, b: Pair((a, b)), st.integers(), st.integers())
    | st.builds(Number, st.integers())
)
same = st.sampled_from([3, 2.5, True, None, "text", (1, 2)]).flatmap(
    lambda value: st.integers(1, 40).map(lambda count: [value] * count)
)
series = st.lists(same | st.lists(plain | others, max_size=6), max_size=5).map(
    lambda parts: [value for part in parts for value in part]
)


@given(series)
@example([1, 2, 1 << 63, -(1 << 63), (1 << 63) - 1, 3])
@example([True, 1, 1.0, None, "1", b"1", (1,), [1], Pair((1, 2)), Number(3)] * 3)
@example([0.0, -0.0, float("inf"), float("nan")])
@example(["x" * 256, "x" * 257, b"x" * 257, tuple(range(16)), tuple(range(17)), "\ud800"])
def test_results_arrive_as_they_are(results: list[Any]) -> None:
    page = mmap.mmap(-1, 1 << 20)
    reader, sent = Reader(page), list[m.FromWorker]()
    reader.expect()
    run(Writer(page), results, sent)
    assert typed(opened(reader.take(1))) == typed(results)
    assert reader.take(1) == []
    assert sent[-1] == m.Ended(1)


@given(series, st.data())
@settings(deadline=None)
def test_whenever_the_worker_is_killed_one_item_at_most_is_not_known(results: list[Any], data: st.DataObject) -> None:
    steps: list[None] = []
    run(MortalWriter(mmap.mmap(-1, PAGE), lambda: steps.append(None)), results, [])
    del steps[data.draw(st.integers(0, len(steps) - 1)) :]

    def burn() -> None:
        if not steps:
            raise KilledError
        steps.pop()

    page = mmap.mmap(-1, PAGE)
    reader = Reader(page)
    reader.expect()
    with pytest.raises(KilledError):
        run(MortalWriter(page, burn), results, [])
    begun = reader.begun(1)
    found = opened(reader.take(1))
    assert begun - 1 <= len(found) <= begun
    assert typed(found) == typed(results[: len(found)])


@given(series)
def test_a_look_at_any_moment_sees_what_is_finished(results: list[Any]) -> None:
    page = mmap.mmap(-1, PAGE)
    reader = Reader(page)
    reader.expect()
    found: list[Any] = []

    def look() -> None:
        begun = reader.begun(1)
        found.extend(opened(reader.take(1)))
        assert max(0, begun - 1) <= len(found)
        assert typed(found) == typed(results[: len(found)])

    run(MortalWriter(page, look), results, [])
    look()
    assert len(found) == reader.begun(1)


def test_a_long_run_ends_where_the_page_does() -> None:
    page = mmap.mmap(-1, PAGE)
    reader, sent = Reader(page), list[m.FromWorker]()
    reader.expect()
    run(Writer(page), list(range(5000)), sent)
    found = opened([record for record in reader.take(1) if isinstance(record, Plain)])
    assert found == list(range(len(found)))
    # What is kept for empty records takes results beside the page.
    assert len(found) > (PAGE - 4096 - FIRST) // 8 - 3
    assert reader.begun(1) < 5000
    beside = [message for message in sent if isinstance(message, m.Large)]
    assert [loads(one.payload) for one in beside] == list(range(len(found), reader.begun(1)))


def test_a_run_of_the_chunk_before_is_not_gone_on_with() -> None:
    page = mmap.mmap(-1, PAGE)
    writer, reader = Writer(page), Reader(page)
    for seq in (1, 2, 3):
        reader.expect()
        run(writer, [seq] * 9, [], seq)
        assert opened(reader.take(seq)) == [seq] * 9


def test_a_request_ends_a_run_between_two_items() -> None:
    page = mmap.mmap(-1, PAGE)
    writer, reader = Writer(page), Reader(page)
    reader.expect()
    writer.open(1, 0)
    writer.begin(1)
    assert writer.add(0)

    def stop_at_five(number: int) -> int:
        if number == 5:
            reader.ask_stop(1)
        return number

    writer.fill(stop_at_five, list(range(100)), 99, 1)
    writer.settle(owes=False)
    assert opened(reader.take(1)) == [0, 1, 2, 3, 4, 5]
    assert reader.begun(1) == 6


@pytest.mark.parametrize("place", range(3))
def test_an_interrupt_costs_one_item(place: int) -> None:
    page = mmap.mmap(-1, PAGE)
    reader, sent = Reader(page), list[m.FromWorker]()
    reader.expect()
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        _results[:] = [signal.raise_signal if number == place else None for number in range(5)]
        runner = Runner(Writer(page), sent.append)
        runner.define(m.Define(1, pickle.dumps(interrupt_where_told)))
        runner.run(m.Run(1, 1, m.Style.ONE, False, m.Pack(5, pickle.dumps(list(range(5))))))
    finally:
        signal.signal(signal.SIGINT, handler)
    records = reader.take(1)
    found = [value for record in records if isinstance(record, Plain) for value in record.values]
    assert found == [number for number in range(5) if number != place]
    (failure,) = (record for record in records if isinstance(record, Failure))
    assert read_report(failure).name == "KeyboardInterrupt"


def interrupt_where_told(number: int) -> int:
    if _results[number] is not None:
        _results[number](signal.SIGINT)
    return number


class InterruptedView(FusedView):
    """Raises an interrupt once, when a result of which this holds is in its place and nothing else has been done."""

    def __init__(self, view: Any, when: Callable[[Any], bool]) -> None:
        super().__init__(view, lambda: None)
        self._when = when
        self._raised = False

    def __setitem__(self, place: Any, value: Any) -> None:
        super().__setitem__(place, value)
        if not self._raised and not isinstance(place, slice) and self._when(value):
            self._raised = True
            raise KeyboardInterrupt


@pytest.mark.parametrize("results", [[number * 10 for number in range(40)], [str(number) for number in range(40)]])
def test_an_interrupt_between_two_items_costs_the_next_and_moves_no_other(results: list[Any]) -> None:
    """No item gets another's arguments."""
    page = mmap.mmap(-1, PAGE)
    writer, reader = Writer(page), Reader(page)
    # What says that the fourth item is finished: its result, or the word that counts it.
    writer._ints = cast("memoryview", InterruptedView(writer._ints, lambda value: value == 30))
    counted = m.Kind.MARSHALLED << 16 | 4
    writer._words = cast("memoryview", InterruptedView(writer._words, lambda word: word & 0xFFFFFF == counted))
    reader.expect()
    run(writer, results, [])
    found = opened(reader.take(1))
    (lost,) = (place for place, value in enumerate(found) if isinstance(value, ValueError))
    assert lost == 4
    assert [*found[:lost], *found[lost + 1 :]] == [*results[:lost], *results[lost + 1 :]]
