"""Unit tests, no process: how long workloads take far away, in virtual time, and how many messages they cost."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from distant import NOT_LARGER, QUEUEINGS, Far, Queueing, lognormal, simulate
from hypothesis import given, settings
from hypothesis import strategies as st
from workloads import light_then_heavy, one_by_one, pareto

from procorch._policy import Limits

both_queues = pytest.mark.parametrize("queueing", QUEUEINGS)

# Each with workers, the way in seconds, and what it may take over dealing the items one by one for nothing. There are
# three ways until chunks are large, and at the end the way back.
_LOADS: dict[str, tuple[Sequence[float], int, float, float]] = {
    "light, a short way": ([1e-3] * 20_000, 8, 0.001, 1.06),
    "light": ([1e-3] * 40_000, 8, 0.01, 1.05),
    "light, a long way": ([1e-3] * 40_000, 8, 0.1, 1.15),
    "middling": ([1e-2] * 8000, 8, 0.01, 1.06),
    "middling, a long way": ([1e-2] * 8000, 8, 0.1, 1.1),
    "heavy": ([0.5] * 160, 8, 0.1, 1.15),
    "of all kinds": (lognormal(8000, 0.01), 8, 0.03, 1.15),
    "a heavy tail": (pareto(8000, 1.5, 0.003), 8, 0.03, 1.15),
    # What is behind the first heavy items is with few workers: it takes two ways until they have given it back.
    "light then heavy": (light_then_heavy(16_000, 160, 0.2), 8, 0.03, 1.3),
    "heavy then light": (light_then_heavy(16_000, 80, 0.2)[::-1], 8, 0.03, 1.2),
    "light, many workers": ([1e-3] * 300_000, 100, 0.03, 1.15),
    "middling, many workers": ([1e-2] * 30_000, 100, 0.03, 1.12),
}


@both_queues
@pytest.mark.parametrize("name", _LOADS)
def test_a_workload_takes_little_more_than_its_work_and_some_ways(name: str, queueing: Queueing) -> None:
    costs, workers, way, most = _LOADS[name]
    far = simulate(costs, workers, way=way, queueing=queueing)
    assert far.ended[1] <= most * one_by_one(costs, workers)
    work = max(0.01, way)
    assert far.chunks <= min(len(costs) * 1.2, 1.5 * sum(costs) / work + 25 * workers)


@both_queues
@pytest.mark.parametrize("recalls", [True, False])
def test_an_engine_that_cannot_ask_back_keeps_nobody_waiting_for_ever(queueing: Queueing, recalls: bool) -> None:
    """A worker gives back by itself what is behind an item that takes long, so only what waits behind that is late."""
    costs = [*[1e-3] * 5000, 5.0, *[1e-3] * 5000]
    far = simulate(costs, 4, way=0.03, queueing=queueing, recalls=recalls)
    assert far.ended[1] <= 8


def test_larger_chunks_and_sending_ahead_are_worth_it_together() -> None:
    """Without them a worker of the first case would have work for a tenth of the time."""
    costs, way = [1e-2] * 2000, 0.1
    neither, larger, ahead, both = (
        simulate(costs, 4, way=way, **variant).ended[1] / one_by_one(costs, 4)
        for variant in ({"depth": 1, **NOT_LARGER}, {"depth": 1}, NOT_LARGER, {})
    )
    assert neither > 8
    assert 1.1 < larger < 1.4
    assert ahead > 4
    assert both < 1.15


def test_a_busy_parent_gets_larger_chunks() -> None:
    """By 1 ms for each, it deals a thousand in a second; a fixed 10 ms would keep ten workers busy."""
    costs = [1e-2] * 300_000
    far = simulate(costs, 300, way=0.01, toll=0.001)
    assert far.ended[1] <= 1.2 * one_by_one(costs, 300)
    assert far.chunks <= 11_000


def test_light_work_is_hardly_ever_asked_back() -> None:
    assert simulate([1e-3] * 40_000, 8, way=0.1).recalled == 0
    assert simulate(lognormal(8000, 0.01), 8, way=0.03).recalled <= 10


def test_many_calls_of_one_item_hide_the_way() -> None:
    far = Far(4, 16, 0.1, 0.0001, Limits(distant=True))
    for job in range(400):
        far.open(job, [0.05])
    far.go()
    assert max(far.ended.values()) <= 1.05 * 400 * 0.05 / 4 + 0.3


_COST = st.sampled_from([1e-4, 1e-3, 1e-2, 1e-1, 1.0])


@settings(max_examples=60, deadline=None)
@given(
    blocks=st.lists(st.tuples(st.integers(1, 300), _COST), min_size=1, max_size=5),
    workers=st.integers(1, 5),
    depth=st.sampled_from([1, 1.5, 2, 3]),
    way=st.sampled_from([0.001, 0.03, 0.3]),
    queueing=st.sampled_from(QUEUEINGS),
    recalls=st.booleans(),
)
def test_every_item_runs_once_whatever_they_take(
    blocks: list[tuple[int, float]], workers: int, depth: float, way: float, queueing: Queueing, recalls: bool
) -> None:
    costs = [cost for count, cost in blocks for _ in range(count)]
    far = simulate(costs, workers, way=way, depth=depth, queueing=queueing, recalls=recalls)
    assert far.ran == len(costs)
