"""Unit tests, no process: how long whole workloads take in virtual time, and how many messages they cost."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from workloads import World, bimodal, light_then_heavy, one_by_one, one_giant, pareto, ramp, simulate

from procorch import _events as e
from procorch._policy import Limits

# Each with what it may take for each number of workers, over dealing the items one by one for nothing. A chunk of 10 ms
# costs 0.3 ms here, so 1.03 is what chunks cost. What is more has a reason of its own.
_LOADS: dict[str, tuple[Sequence[float], dict[int, float]]] = {
    "flat": ([1e-3] * 4000, {1: 1.05, 2: 1.05, 8: 1.05, 64: 1.35}),
    "cheap": ([5e-6] * 200_000, {1: 1.05, 2: 1.05, 8: 1.07}),
    "heavy": ([0.05] * 200, {1: 1.01, 2: 1.01, 8: 1.01, 64: 1.02}),
    "light then heavy": (light_then_heavy(3000, 20, 0.05), {1: 1.05, 2: 1.05, 8: 1.05}),
    "light then many heavy": (light_then_heavy(30_000, 200, 0.02), {1: 1.05, 2: 1.05, 8: 1.05, 64: 1.3}),
    "heavy then light": (light_then_heavy(30_000, 200, 0.02)[::-1], {1: 1.05, 2: 1.05, 8: 1.05, 64: 1.1}),
    "ever heavier": (ramp(2000, 4e-3), {1: 1.05, 2: 1.05, 8: 1.05, 64: 1.2}),
    "ever lighter": (ramp(2000, 4e-3)[::-1], {1: 1.05, 2: 1.05, 8: 1.06, 64: 1.3}),
    "giant first": (one_giant(10_000, 0, 0.5), {1: 1.05, 2: 1.05, 8: 1.02, 64: 1.02}),
    "giant in the middle": (one_giant(10_000, 5000, 0.5), {1: 1.05, 2: 1.05, 8: 1.05, 64: 1.05}),
    "giant last": (one_giant(10_000, 9999, 0.5), {1: 1.05, 2: 1.05, 8: 1.05, 64: 1.05}),
    "heavy tail": (pareto(5000, 1.1, 1e-4), {1: 1.05, 2: 1.05, 8: 1.05, 64: 1.2}),
    "less heavy tail": (pareto(5000, 1.5, 3e-4), {1: 1.05, 2: 1.05, 8: 1.05, 64: 1.2}),
    "one in a hundred": (bimodal(10_000, 100, 5e-6, 0.1), {1: 1.05, 2: 1.05, 8: 1.05, 64: 1.3}),
    "one in ten": (bimodal(10_000, 10, 1e-5, 5e-3), {1: 1.05, 2: 1.05, 8: 1.06, 64: 1.35}),
}
_CASES = [(name, workers) for name, (_, most) in _LOADS.items() for workers in most]


@pytest.mark.parametrize(("name", "workers"), _CASES)
def test_a_workload_takes_little_more_than_its_work(name: str, workers: int) -> None:
    """With 64 workers these take some 30 ms, of which the parent's dealing is a part."""
    costs, most = _LOADS[name]
    world = simulate(costs, workers)
    assert world.ended[1] <= most[workers] * one_by_one(costs, workers)
    # One or two for each 10 ms of work, some for each worker at both ends, and the way back after each surprise.
    surprises = sum(cost > 0.005 for cost in costs)
    assert world.chunks <= 1.5 * sum(costs) / 0.01 + 15 * workers + 7 * surprises


def test_a_thousand_workers_are_not_kept_waiting_by_one_parent() -> None:
    """A chunk has 200 ms of work. What the parent has most to do with are the results, of which each is announced."""
    costs = [0.02] * 40_000
    world = simulate(costs, 1000)
    assert world.ended[1] <= 2 * sum(costs) / 1000
    assert world.chunks <= 8000


def test_cheap_items_soon_go_by_the_ten_thousand() -> None:
    world = simulate([2e-7] * 300_000, 2)
    assert world.sizes[:6] == [1, 1, 8, 8, 64, 64]
    assert max(world.sizes) == 32768
    assert world.chunks <= 40


def test_what_is_behind_a_giant_does_not_wait_for_it() -> None:
    """Two of them in one chunk, unforeseen: the second is with another worker some 20 ms after the first began."""
    costs = [*[1e-4] * 1000, 100.0, 100.0]
    assert simulate(costs, 2).ended[1] <= 100.2


def test_what_is_left_in_one_chunk_is_shared_when_others_have_nothing_to_do() -> None:
    """Items that take ten times as long at the end than the last ones did, and so less than twice a budget."""
    costs = [1e-4] * 2000 + [1e-3] * 20
    world = simulate(costs, 4)
    assert world.ended[1] <= 1.1 * one_by_one(costs, 4)


def test_a_given_chunk_stays_with_its_worker() -> None:
    world = simulate(light_then_heavy(100, 8, 0.05), 4, chunksize=27)
    assert world.withdrawn == 0
    assert world.chunks == 4


def test_a_light_call_does_not_wait_for_a_chunk_that_turned_heavy() -> None:
    world = World(1, Limits(max_workers=1))
    world.open(1, light_then_heavy(3000, 100, 0.05))
    world.go(0.03)
    world.open(2, [1e-5])
    world.go()
    assert world.ended[2] <= 0.2


def test_two_jobs_share_the_workers() -> None:
    world = World(4, Limits(max_workers=4))
    world.open(1, [1e-3] * 1000)
    world.open(2, pareto(1000, 1.5, 3e-4))
    world.go()
    assert max(world.ended.values()) <= 1.06 * (sum(world.costs[1]) + sum(world.costs[2])) / 4


@pytest.mark.parametrize("seconds", [1e-5, 1e-3])
def test_a_stream_is_not_withdrawn_all_the_time(seconds: float) -> None:
    """With a bound of sixteen items there is never much to share, and the consumer is always at an end."""
    costs = [seconds] * 4000
    world = World(4, Limits(max_workers=4))
    world.open(1, costs, offered=16)
    offered = 16
    while offered < len(costs):
        world.step()
        more = min(len(world.outcomes[1]) + 16, len(costs)) - offered
        if more > 0:
            offered += more
            world.tell(e.ItemsOffered(1, more))
    world.tell(e.JobSealed(1))
    world.go()
    assert len(world.outcomes[1]) == len(costs)
    assert world.withdrawn <= 5 + world.ended[1] / 0.02


@pytest.mark.parametrize("seed", range(5))
def test_deaths_cost_what_they_must(seed: int) -> None:
    rng = random.Random(seed)
    costs = bimodal(3000, 100, 1e-4, 0.03, seed)
    world = World(4, Limits(max_workers=4))
    world.open(1, costs)
    deaths = 0
    while not world.ended:
        world.step()
        if world.processes and rng.random() < 0.01:
            world.kill(rng.choice(sorted(world.processes)))
            deaths += 1
    lost = [outcome for outcome in world.outcomes[1].values() if isinstance(outcome, e.Lost)]
    assert len(world.outcomes[1]) == len(costs)
    assert 0 < len(lost) <= deaths
    assert max(world.ran.values()) == 1


_COST = st.sampled_from([1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1])


@settings(max_examples=150, deadline=None)
@given(
    blocks=st.lists(st.tuples(st.integers(1, 300), _COST), min_size=1, max_size=6),
    workers=st.integers(1, 6),
    kills=st.lists(st.floats(0, 1), max_size=3),
)
def test_every_item_begins_once_whatever_they_take(
    blocks: list[tuple[int, float]], workers: int, kills: list[float]
) -> None:
    costs = [cost for count, cost in blocks for _ in range(count)]
    world = World(workers, Limits(max_workers=workers))
    world.open(1, costs)
    for share in sorted(kills):
        world.go(share * sum(costs) / workers)
        if world.processes and not world.ended:
            world.kill(min(world.processes))
    world.go()
    assert sorted(world.outcomes[1]) == list(range(len(costs)))
    assert all(world.ran[1, item] == 1 for item in range(len(costs)))
    if not kills:
        assert world.ended[1] <= 0.03 + max(costs) + 1.06 * one_by_one(costs, workers) + 0.002 * len(blocks) * workers
