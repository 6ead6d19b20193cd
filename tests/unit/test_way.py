"""Unit tests, no process: how long the way is taken to be, and how many chunks may be under way for it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from procorch._policy import Limits
from procorch._way import Way

LIMITS = Limits(distant=True)


def known(seconds: float) -> Way:
    """Make a way that has been gone by some chunks which found a worker free."""
    way = Way(LIMITS)
    for _ in range(32):
        way.learn(seconds + 1.0, 1.0, 1, 4)
    return way


def test_the_way_is_what_a_chunk_takes_beyond_its_work() -> None:
    assert Way(LIMITS).seconds == 0.0
    assert known(0.1).seconds == pytest.approx(0.1)


def test_some_that_were_held_up_do_not_count() -> None:
    way = known(0.1)
    for seconds in (100.0, 0.1, 30.0, 0.1) * 8:
        way.learn(seconds + 1.0, 1.0, 1, 4)
    assert way.seconds == pytest.approx(0.1)


def test_a_wait_behind_another_chunk_does_not_count() -> None:
    """Eight chunks for four workers: each comes back after two of them, and no worker has nothing to do."""
    way = known(0.1)
    for _ in range(100):
        way.learn(2.0, 1.0, 8, 4)
    assert way.seconds == pytest.approx(0.1)


def test_a_worker_without_work_counts_though_chunks_wait() -> None:
    """Eight chunks for four workers come back after four chunks' time: half of the time nobody worked."""
    way = known(0.1)
    for _ in range(100):
        way.learn(4.0, 1.0, 8, 4)
    assert way.seconds == pytest.approx(1.0, rel=0.01)


def test_one_chunk_that_was_held_up_among_those_that_wait_counts_little() -> None:
    way = known(0.1)
    way.learn(1000.0, 1.0, 8, 4)
    assert way.seconds <= 0.101
    way.learn(1000.0, 1.0, 8, 4)
    assert way.seconds <= 0.101
    way.learn(1000.0, 1.0, 8, 4)
    assert way.seconds == pytest.approx(0.132, abs=0.001)


def test_what_is_known_fades_in_rounds_of_chunks() -> None:
    way = known(1.0)
    for _ in range(32):
        way.learn(1.1, 1.0, 32, 32)
    assert 0.3 < way.seconds < 0.5
    for _ in range(200):
        way.learn(1.1, 1.0, 32, 32)
    assert way.seconds == pytest.approx(0.1)


def test_what_is_known_is_not_forgotten_by_a_lone_chunk() -> None:
    way = known(1.0)
    for _ in range(9):
        way.learn(1.1, 1.0, 1, 1)
    assert way.seconds == pytest.approx(7 / 8)


@pytest.mark.parametrize(("short", "seconds"), [(8, 1.0), (9, 0.1)])
def test_the_way_is_what_a_quarter_of_the_last_chunks_took_at_most(short: int, seconds: float) -> None:
    way = known(0.0)
    for number in range(32):
        way.learn(1.1 if number < short else 2.0, 1.0, 1, 4)
    assert way.seconds == pytest.approx(seconds)


def test_the_way_is_found_though_each_chunk_waits_for_another() -> None:
    way = Way(LIMITS)
    way.learn(4.0, 1.0, 32, 16)
    assert way.seconds < 0.001
    for _ in range(100):
        way.learn(4.0, 1.0, 32, 16)
    assert way.seconds == pytest.approx(1.0, rel=0.01)


def test_what_is_usual_has_the_waits_in_it() -> None:
    way = known(0.1)
    for _ in range(32):
        way.learn(2.0, 1.0, 8, 4)
    assert way.usual == pytest.approx(1.0)


@pytest.mark.parametrize(("long", "seconds"), [(8, 1.0), (7, 0.1)])
def test_what_is_usual_is_what_three_quarters_of_the_last_chunks_took_at_most(long: int, seconds: float) -> None:
    assert Way(LIMITS).usual == 0.0
    way = known(0.0)
    for number in range(32):
        way.learn(2.0 if number < long else 1.1, 1.0, 1, 4)
    assert way.usual == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("seconds", "crowd"),
    [(None, 10), (100.0, 10), (1.26, 10), (1.25, 11), (0.125, 20), (0.05, 35)],
    ids=["not known", "much longer", "too long", "just short", "as long as the way", "shorter"],
)
def test_short_chunks_are_sent_ahead_and_as_many_as_hide_the_way(seconds: float | None, crowd: int) -> None:
    assert known(0.125).crowd(seconds, 10) == crowd


def test_nothing_is_sent_ahead_before_the_way_is_known() -> None:
    assert Way(LIMITS).crowd(0.001, 10) == 10


@given(
    chunks=st.lists(st.tuples(st.floats(0, 1e6), st.floats(0, 1e6), st.integers(1, 20), st.integers(1, 20))),
    seconds=st.floats(0, 1e6),
)
def test_the_way_is_never_below_nothing(chunks: list[tuple[float, float, int, int]], seconds: float) -> None:
    way = Way(LIMITS)
    for taken, busy, company, workers in chunks:
        way.learn(taken, busy, company, workers)
        assert 0 <= way.seconds <= 1e6
        assert 0 <= way.usual <= 1e6
        assert way.crowd(seconds, workers) >= workers
