"""Unit: a stream whose inputs another thread puts into a feed; no process."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from targets import doubler, raise_key_error

from procorch import ProcessGroup
from procorch._feed import Feed
from procorch.testing import FakeEngine


@pytest.fixture
def group() -> Iterator[ProcessGroup]:
    with ProcessGroup(2, engine=FakeEngine()) as made:
        yield made


def test_a_result_is_given_before_the_next_input_is_there(group: ProcessGroup) -> None:
    feed = Feed[int]()
    results = group.imap(doubler, feed)
    for number in range(100):
        feed.put([number])
        assert next(results) == 2 * number
    feed.end()
    assert list(results) == []


def test_whoever_waits_for_an_input_is_told(group: ProcessGroup) -> None:
    """The thread puts, and the stream sleeps, at moments of their own."""
    feed = Feed[int]()

    def put() -> None:
        for number in range(2000):
            feed.put([number, number])
        feed.end()

    thread = threading.Thread(target=put)
    thread.start()
    assert list(group.imap(doubler, feed)) == [2 * number for number in range(2000) for _ in range(2)]
    thread.join()


@pytest.mark.parametrize("chunksize", [None, 3])
def test_an_input_that_is_complete(group: ProcessGroup, chunksize: int | None) -> None:
    feed = Feed[int]()
    feed.put(range(10))
    feed.end()
    assert list(group.imap(doubler, feed, chunksize=chunksize)) == [2 * number for number in range(10)]


def test_an_empty_input(group: ProcessGroup) -> None:
    feed = Feed[int]()
    feed.end()
    assert list(group.imap(doubler, feed)) == []


def test_an_error_has_its_turn_behind_what_was_put_before(group: ProcessGroup) -> None:
    feed = Feed[int]()
    feed.put([1])
    feed.end(OSError("gone"))
    results = group.imap(doubler, feed)
    assert next(results) == 2
    with pytest.raises(OSError, match="gone"):
        next(results)


def test_after_a_halt_nothing_is_begun(group: ProcessGroup) -> None:
    feed = Feed[int]()
    feed.put([1])
    results = group.imap(doubler, feed)
    assert next(results) == 2
    feed.put([2, 3])
    feed.halt()
    assert list(results) == []
    feed.put([4])
    assert list(group.imap(doubler, feed)) == []


def test_the_first_error_ends_a_map_that_waits_for_input(group: ProcessGroup) -> None:
    feed = Feed[int]()
    feed.put([1])
    with pytest.raises(KeyError):
        group.map(raise_key_error, feed)
