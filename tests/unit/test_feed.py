"""Unit: a stream whose inputs another thread puts into a feed; no process."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence

import pytest
from helpers import wait_until
from targets import doubler, raise_key_error

from procorch import ProcessGroup
from procorch._feed import Feed
from procorch.testing import FakeEngine


@pytest.fixture
def group() -> Iterator[ProcessGroup]:
    with ProcessGroup(2, engine=FakeEngine()) as made:
        yield made


def results_of(group: ProcessGroup, feed: Feed) -> Iterator[object]:
    return group._imap_fed(doubler, feed, ordered=True, progress=None).results()


def test_a_result_is_given_before_the_next_input_is_there(group: ProcessGroup) -> None:
    feed = Feed()
    results = results_of(group, feed)
    for number in range(100):
        feed.put([number])
        assert next(results) == 2 * number
    feed.end()
    assert list(results) == []


def test_whoever_waits_for_an_input_is_told(group: ProcessGroup) -> None:
    """The thread puts, and the stream sleeps, at moments of their own."""
    feed = Feed()

    def put() -> None:
        for number in range(2000):
            feed.put([number, number])
        feed.end()

    thread = threading.Thread(target=put)
    thread.start()
    assert list(results_of(group, feed)) == [2 * number for number in range(2000) for _ in range(2)]
    thread.join()


def test_an_input_that_is_complete(group: ProcessGroup) -> None:
    feed = Feed()
    feed.put(range(10))
    feed.end()
    assert list(results_of(group, feed)) == [2 * number for number in range(10)]


def test_an_empty_input(group: ProcessGroup) -> None:
    feed = Feed()
    feed.end()
    assert list(results_of(group, feed)) == []


def test_an_error_has_its_turn_behind_what_was_put_before(group: ProcessGroup) -> None:
    feed = Feed()
    feed.put([1])
    feed.end(OSError("gone"))
    results = results_of(group, feed)
    assert next(results) == 2
    with pytest.raises(OSError, match="gone"):
        next(results)


def test_after_a_halt_nothing_is_begun(group: ProcessGroup) -> None:
    feed = Feed()
    feed.put([1])
    stream = group._imap_fed(doubler, feed, ordered=True, progress=None)
    results = stream.results()
    assert next(results) == 2
    feed.put([2, 3])
    stream.halt()
    assert list(results) == []


def test_a_halt_before_the_first_result(group: ProcessGroup) -> None:
    feed = Feed()
    feed.put([1])
    stream = group._imap_fed(doubler, feed, ordered=True, progress=None)
    stream.halt()
    assert list(stream.results()) == []


def test_a_halt_wakes_whoever_waits_for_an_input(group: ProcessGroup) -> None:
    feed = Feed()
    stream = group._imap_fed(doubler, feed, ordered=True, progress=None)
    thread = threading.Thread(target=lambda: given.extend(stream.results()))
    given: list[object] = []
    thread.start()
    wait_until(lambda: stream._waiting)
    stream.halt()
    thread.join(20)
    assert not thread.is_alive()
    assert given == []


def test_exceptions_are_results(group: ProcessGroup) -> None:
    feed = Feed()
    feed.put([1])
    feed.end()
    (error,) = group._imap_fed(raise_key_error, feed, ordered=True, progress=None).results()
    assert isinstance(error, KeyError)


def test_the_taker_is_heard(group: ProcessGroup) -> None:
    class Heard(Feed):
        def taken(self, rows: Sequence[object]) -> None:
            seen.extend(rows)

    seen: list[object] = []
    feed = Heard()
    feed.put(range(50))
    feed.end()
    assert list(results_of(group, feed)) == [2 * number for number in range(50)]
    assert seen == list(range(50))
