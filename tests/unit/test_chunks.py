"""Unit tests, no process: how large chunks become, and how far a stream reads ahead."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from procorch._chunks import ChunkSizer, Window

COUNT = st.integers(1, 10_000)
BUSY = st.floats(0, 1e6)


def test_the_first_chunk_is_one_item() -> None:
    assert ChunkSizer(0.01, 100).size(10_000, 1) == 1


def test_a_chunk_at_most_doubles_the_largest_before() -> None:
    sizer = ChunkSizer(0.01, 100)
    sizes = []
    for _ in range(8):
        sizes.append(size := sizer.size(10_000, 1))
        sizer.learn(size, 1e-6 * size)
    assert sizes == [1, 2, 4, 8, 16, 32, 64, 100]


def test_a_heavy_chunk_shortens_the_next_at_once() -> None:
    sizer = ChunkSizer(0.01, 100, cost=0.001, largest=100)
    assert sizer.size(10_000, 1) == 10
    sizer.learn(10, 1.0)
    assert sizer.size(10_000, 1) == 1


def test_each_worker_gets_its_share_in_two_parts() -> None:
    sizer = ChunkSizer(0.01, 100, cost=1e-6, largest=100)
    assert [sizer.size(waiting, 4) for waiting in (800, 80, 9, 8, 1)] == [100, 10, 2, 1, 1]


@pytest.mark.parametrize("cost", [0.0, 5e-324, 1e-300])
def test_what_costs_nothing_makes_the_largest_chunks(cost: float) -> None:
    assert ChunkSizer(0.01, 64, cost=cost, largest=64).size(10_000, 1) == 64


def test_what_costs_more_than_a_chunk_goes_one_by_one() -> None:
    assert ChunkSizer(0.01, 64, cost=3600.0, largest=64).size(10_000, 1) == 1


@given(
    reports=st.lists(st.tuples(COUNT, BUSY), max_size=20),
    most=COUNT,
    waiting=COUNT,
    workers=st.integers(1, 64),
)
def test_a_size_is_always_possible(reports: list[tuple[int, float]], most: int, waiting: int, workers: int) -> None:
    sizer = ChunkSizer(0.01, most)
    for items, busy in reports:
        sizer.learn(items, busy)
    size = sizer.size(waiting, workers)
    assert 1 <= size <= min(waiting, most)
    if size > 1 and sizer.cost is not None:
        assert size * sizer.cost <= 0.01 * (1 + 1e-9)
        assert size <= 2 * sizer.largest


@pytest.mark.parametrize(("seconds", "most"), [(0.0, 1), (-1.0, 1), (0.01, 0)])
def test_a_sizer_is_valid_from_birth(seconds: float, most: int) -> None:
    with pytest.raises(ValueError, match="must be"):
        ChunkSizer(seconds, most)


# --- windows ----------------------------------------------------------------------------------------------------------


def test_room_is_what_was_not_taken_or_was_given() -> None:
    window = Window(4, 4)
    assert window.room == 4
    window.taken = 3
    assert window.room == 1
    window.given = 2
    assert window.room == 3


def test_a_window_doubles_when_the_consumer_waits_and_little_is_held_back() -> None:
    window = Window(4, 16, taken=6, given=2)
    window.waited(0)
    assert window.size == 8


def test_a_window_does_not_grow_for_one_slow_item() -> None:
    window = Window(4, 16, taken=6, given=2)
    window.waited(1)
    assert window.size == 4


def test_a_window_with_room_does_not_grow() -> None:
    window = Window(4, 16, taken=5, given=2)
    window.waited(0)
    assert window.size == 4


def test_a_window_grows_once_in_half_a_window_of_results() -> None:
    window = Window(4, 64, taken=6, given=2)
    window.waited(0)
    window.taken = 13
    window.given = 5
    window.waited(0)
    assert window.size == 8
    window.taken, window.given = 14, 6
    window.waited(0)
    assert window.size == 16


@given(
    size=st.integers(1, 20),
    factor=st.integers(1, 8),
    turns=st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30), st.integers(0, 30))),
)
def test_no_more_is_ahead_of_the_consumer_than_the_bound(
    size: int, factor: int, turns: list[tuple[int, int, int]]
) -> None:
    window = Window(size, size * factor)
    for take, give, held in turns:
        window.taken += max(0, min(take, window.room))
        assert window.taken - window.given <= window.size
        window.waited(held)
        window.given += min(give, window.taken - window.given)
        assert size <= window.size <= size * factor


@pytest.mark.parametrize(("size", "most"), [(0, 1), (1, 0)])
def test_a_window_is_valid_from_birth(size: int, most: int) -> None:
    with pytest.raises(ValueError, match="must be"):
        Window(size, most)
