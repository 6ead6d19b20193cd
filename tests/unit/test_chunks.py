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


def test_chunks_grow_to_eight_times_the_largest_before() -> None:
    sizer = ChunkSizer(0.01, 1000)
    sizes = []
    for _ in range(5):
        sizes.append(size := sizer.size(10_000, 1))
        sizer.learn(size, 1e-6 * size, 0)
    assert sizes == [1, 8, 64, 512, 1000]


def test_a_heavy_chunk_shortens_the_next_at_once() -> None:
    sizer = ChunkSizer(0.01, 100, cost=0.001, reach=100)
    assert sizer.size(10_000, 1) == 10
    sizer.learn(10, 1.0, 0)
    assert sizer.size(10_000, 1) == 1


def test_after_a_surprise_chunks_begin_anew_with_one_item() -> None:
    sizer = ChunkSizer(0.01, 1000, cost=1e-6, reach=1000)
    sizer.surprised()
    assert sizer.size(10_000, 1) == 1
    sizer.learn(1000, 0.001, 0)  # what was sent before that proves nothing
    assert sizer.size(10_000, 1) == 1
    sizer.learn(1, 1e-6, 1)
    assert sizer.size(10_000, 1) == 8


def test_each_worker_gets_its_share_in_two_parts() -> None:
    sizer = ChunkSizer(0.01, 100, cost=1e-6, reach=100)
    assert [sizer.size(waiting, 4) for waiting in (800, 80, 9, 8, 1)] == [100, 10, 2, 1, 1]


def test_a_chunk_does_not_shrink_below_what_is_worth_a_message() -> None:
    sizer = ChunkSizer(0.01, 100, 0.0005, cost=1e-4, reach=100)
    assert [sizer.size(waiting, 4) for waiting in (80, 8, 4)] == [10, 5, 4]


def test_chunks_of_a_thousand_workers_are_larger() -> None:
    sizer = ChunkSizer(0.01, 1000, 0.0005, 0.0002, cost=0.001, reach=1000)
    assert [sizer.size(10_000_000, workers) for workers in (1, 50, 100, 1000)] == [10, 10, 20, 200]
    assert sizer.size(1000, 1000) == 190


def test_what_a_chunk_will_take_is_not_more_than_its_budget() -> None:
    sizer = ChunkSizer(0.01, 100)
    assert sizer.expected(5, 1) == 0.01
    sizer.learn(1, 0.001, 0)
    assert sizer.expected(5, 1) == 0.005
    assert sizer.expected(50, 1) == 0.01


@pytest.mark.parametrize("cost", [0.0, 5e-324, 1e-300])
def test_what_costs_nothing_makes_the_largest_chunks(cost: float) -> None:
    assert ChunkSizer(0.01, 64, cost=cost, reach=64).size(10_000, 1) == 64


def test_what_costs_more_than_a_chunk_goes_one_by_one() -> None:
    assert ChunkSizer(0.01, 64, cost=3600.0, reach=64).size(10_000, 1) == 1


@given(
    reports=st.lists(st.tuples(COUNT, BUSY, st.booleans()), max_size=20),
    most=COUNT,
    waiting=COUNT,
    workers=st.integers(1, 64),
)
def test_a_size_is_always_possible(
    reports: list[tuple[int, float, bool]], most: int, waiting: int, workers: int
) -> None:
    sizer = ChunkSizer(0.01, most)
    for items, busy, surprise in reports:
        sizer.learn(items, busy, sizer.era)
        if surprise:
            sizer.surprised()
    size = sizer.size(waiting, workers)
    assert 1 <= size <= min(waiting, most)
    if size > 1 and sizer.cost is not None:
        assert size * sizer.cost <= 0.01 * (1 + 1e-9)
        assert size <= sizer.reach


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


@pytest.mark.parametrize(("held", "size"), [(4, 40), (5, 20)])
def test_a_window_grows_while_less_than_a_quarter_of_it_is_held(held: int, size: int) -> None:
    window = Window(20, 100, taken=30, given=10)
    window.waited(held)
    assert window.size == size


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
