"""Unit: when progress is told, and what of; a clock wound by hand, no process."""

from __future__ import annotations

import dataclasses
import itertools
import threading
from collections.abc import Iterator
from typing import Any

import attrs
import pytest
from targets import divide, doubler

from procorch import ProcessGroup, Progress
from procorch._progress import Counts, Reporter, total_of
from procorch.testing import Clock, FakeEngine


@attrs.define
class Listener:
    """Hears of a progress, and raises where it is told to."""

    heard: list[Progress] = attrs.field(factory=list[Progress])
    fails_at: int | None = None
    fails_last: bool = False

    def __call__(self, progress: Progress) -> None:
        self.heard.append(progress)
        if progress.done == self.fails_at or (progress.last and self.fails_last):
            raise KeyError(f"done {progress.done}, last {progress.last}")

    @property
    def done(self) -> list[int]:
        return [progress.done for progress in self.heard]


@pytest.fixture
def clock() -> Clock:
    return Clock(100.0)


@pytest.fixture
def listener() -> Listener:
    return Listener()


def counts(done: int) -> Counts:
    return Counts(done, 0, 0, 1)


# --- when -------------------------------------------------------------------------------------------------------------


def test_told_at_the_beginning_now_and_then_and_at_the_end(clock: Clock, listener: Listener) -> None:
    reporter = Reporter(listener, 1000, clock)
    reporter.begin()
    for done in range(1, 1001):
        clock.advance(0.001)
        reporter.look(lambda done=done: counts(done))  # type: ignore[misc]
    reporter.end(lambda: Counts(1000, 2, 3, 0), None)
    assert listener.heard[0] == Progress(0, 1000, 0, 0, 0, 0.0, False)
    assert listener.heard[-1] == Progress(1000, 1000, 2, 3, 0, listener.heard[-1].elapsed, True)
    assert listener.heard[-1].elapsed == pytest.approx(1.0)
    assert 9 <= len(listener.heard) - 2 <= 10
    gaps = [b.elapsed - a.elapsed for a, b in itertools.pairwise(listener.heard[:-1])]
    assert min(gaps) >= 0.1


def test_nothing_is_counted_when_nothing_is_told(clock: Clock, listener: Listener) -> None:
    reporter = Reporter(listener, None, clock)
    reporter.begin()
    clock.advance(0.05)
    reporter.look(lambda: pytest.fail("counted"))
    assert reporter.pause == pytest.approx(0.05)
    assert reporter.patience == pytest.approx(0.95)
    clock.advance(2)
    assert reporter.pause == reporter.patience == 0


def test_told_once_that_it_has_ended(clock: Clock, listener: Listener) -> None:
    reporter = Reporter(listener, None, clock)
    reporter.begin()
    reporter.end(lambda: counts(1), None)
    reporter.end(lambda: counts(2), None)
    assert [progress.last for progress in listener.heard] == [False, True]


def test_what_never_began_does_not_end(clock: Clock, listener: Listener) -> None:
    Reporter(listener, None, clock).end(lambda: counts(0), None)
    assert listener.heard == []


@dataclasses.dataclass(frozen=True)
class Frozen(Exception):
    """Forbids to set attributes."""


@pytest.mark.parametrize("error", [ValueError("x"), KeyboardInterrupt(), Frozen()])
def test_a_failure_at_the_end_is_told_by_a_note_of_the_error_that_ended_it(clock: Clock, error: BaseException) -> None:
    reporter = Reporter(Listener(fails_last=True), None, clock)
    reporter.begin()
    reporter.end(lambda: counts(3), error)
    assert error.__notes__ == ["procorch: at the end, progress raised KeyError('done 3, last True')"]


@pytest.mark.parametrize("error", [None, GeneratorExit()])
def test_a_failure_at_a_good_end_is_raised(clock: Clock, error: BaseException | None) -> None:
    reporter = Reporter(Listener(fails_last=True), None, clock)
    reporter.begin()
    with pytest.raises(KeyError, match="done 3, last True"):
        reporter.end(lambda: counts(3), error)


# --- totals -----------------------------------------------------------------------------------------------------------


class Lazy:
    """A collection with a length of its own."""

    def __init__(self, length: Any) -> None:
        self._length = length

    def __len__(self) -> int:
        if isinstance(self._length, Exception):
            raise self._length
        return self._length  # type: ignore[no-any-return]

    def __iter__(self) -> Iterator[int]:
        return iter(range(3))


@pytest.mark.parametrize(
    ("iterables", "total"),
    [
        ([[1, 2, 3]], 3),
        ([[], "abc"], 0),
        ([range(5), {1, 2}, "abc"], 2),
        ([Lazy(7)], 7),
        ([iter([1, 2])], None),
        ([[1], itertools.repeat(1)], None),
        ([range(10**30)], None),
        ([Lazy(NotImplementedError())], None),
        ([Lazy(TypeError())], None),
        ([Lazy(-1)], None),
    ],
)
def test_the_total_is_the_length_of_the_shortest_if_each_tells_it(iterables: list[Any], total: int | None) -> None:
    assert total_of(iterables) == total


def test_a_length_hint_is_no_length_and_takes_nothing() -> None:
    numbers = iter([1, 2, 3])
    assert total_of([numbers]) is None
    assert list(numbers) == [1, 2, 3]


# --- whole calls, on an engine without processes ----------------------------------------------------------------------


@pytest.fixture
def group() -> Iterator[ProcessGroup]:
    with ProcessGroup(2, engine=FakeEngine()) as group:
        yield group


def test_a_map(group: ProcessGroup, listener: Listener) -> None:
    assert group.map(doubler, range(100), progress=listener) == [2 * number for number in range(100)]
    assert listener.done[0] == 0
    assert attrs.evolve(listener.heard[-1], elapsed=0.0) == Progress(100, 100, 0, 0, 0, 0.0, True)
    assert [progress.last for progress in listener.heard].count(True) == 1


def test_failed_items_are_done(group: ProcessGroup, listener: Listener) -> None:
    results = group.map(divide, [1, 0, 2, 0, 0.0], return_exceptions=True, progress=listener)
    assert [type(result) for result in results] == [
        float,
        ZeroDivisionError,
        float,
        ZeroDivisionError,
        ZeroDivisionError,
    ]
    assert (listener.heard[-1].done, listener.heard[-1].failed) == (5, 3)


def test_an_argument_that_cannot_be_pickled_has_failed(group: ProcessGroup, listener: Listener) -> None:
    group.map(doubler, [1, threading.Lock(), 3], return_exceptions=True, progress=listener)
    assert (listener.heard[-1].done, listener.heard[-1].failed) == (3, 1)


def test_an_error_ends_it(group: ProcessGroup, listener: Listener) -> None:
    with pytest.raises(ZeroDivisionError):
        group.map(divide, [1, 0, 2], progress=listener)
    last = listener.heard[-1]
    assert (last.last, last.failed, last.total) == (True, 1, 3)
    assert last.done >= 2


def test_an_input_that_fails_is_no_item(group: ProcessGroup, listener: Listener) -> None:
    def inputs() -> Iterator[int]:
        yield from range(3)
        raise LookupError("no more")

    with pytest.raises(LookupError, match="no more"):
        list(group.imap(doubler, inputs(), progress=listener))
    assert attrs.evolve(listener.heard[-1], elapsed=0.0) == Progress(3, None, 0, 0, 0, 0.0, True)


@pytest.mark.parametrize("items", [[], iter(())])
def test_nothing_to_do_is_told_twice(group: ProcessGroup, listener: Listener, items: Any) -> None:
    assert group.map(doubler, items, progress=listener) == []
    assert [(progress.done, progress.last) for progress in listener.heard] == [(0, False), (0, True)]


def test_a_stream_that_is_left_early(group: ProcessGroup, listener: Listener) -> None:
    stream = group.imap(doubler, itertools.count(), progress=listener)
    assert listener.heard == []
    assert next(stream) == 0
    assert listener.done[0] == 0
    stream.close()
    last = listener.heard[-1]
    assert last.last
    assert last.done >= 1
    stream.close()
    assert [progress.last for progress in listener.heard].count(True) == 1


def test_a_stream_that_nobody_asked_for_anything(group: ProcessGroup, listener: Listener) -> None:
    group.imap(doubler, [1], progress=listener).close()
    assert listener.heard == []


@pytest.mark.parametrize("call", ["map", "imap", "unordered"])
def test_results_are_the_same(group: ProcessGroup, listener: Listener, call: str) -> None:
    items = [*range(300), "x", (1,), *range(300)] * 3
    want = [2 * item for item in items]
    if call == "map":
        assert group.map(doubler, items, progress=listener) == want
    else:
        stream = group.imap(doubler, items, ordered=call == "imap", progress=listener)
        assert sorted(stream, key=repr) == sorted(want, key=repr)
    assert listener.done[-1] == len(items)
    assert listener.done == sorted(listener.done)


@pytest.mark.parametrize("call", ["map", "imap"])
@pytest.mark.parametrize("where", ["beginning", "end"])
def test_what_the_callable_raises_reaches_the_caller(group: ProcessGroup, call: str, where: str) -> None:
    listener = Listener(fails_at=0) if where == "beginning" else Listener(fails_last=True)
    with pytest.raises(KeyError, match="done"):
        list(getattr(group, call)(doubler, [1, 2], progress=listener))
    assert [progress.last for progress in listener.heard] == [False, True]
    assert group.map(doubler, [1]) == [2]


def test_false_and_none_tell_nobody(group: ProcessGroup) -> None:
    assert group.map(doubler, [1], progress=False) == group.map(doubler, [1], progress=None) == [2]
    assert list(group.imap(doubler, [1], progress=False)) == [2]


def test_on_the_class_and_on_a_view(group: ProcessGroup, listener: Listener) -> None:
    assert group.options(retries=1).map(doubler, [1], progress=listener) == [2]
    assert list(group.options(retries=1).imap(doubler, [1], progress=listener)) == [2]
    assert [progress.last for progress in listener.heard] == [False, True] * 2
