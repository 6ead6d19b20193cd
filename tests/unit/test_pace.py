"""Unit tests, no process: how much room there is, and what is different where workers are far away."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import pytest

from procorch import _events as e
from procorch._messages import Retriable, Value
from procorch._policy import Limits
from procorch._scheduler import Scheduler
from procorch._slot import Phase

DONE = Value(b"")


class Mind:
    """A group far away whose lanes are ready as soon as they are wanted, with a clock wound by hand."""

    def __init__(self, workers: int = 1, window: int = 1, *, distant: bool = True, **limits: Any) -> None:
        self.limits = Limits(distant=distant, **limits)
        self.scheduler = Scheduler(self.limits, map("w-{}".format, itertools.count(1)))
        self.now = 0.0
        self.hear(e.RoomChanged(workers, window))

    def hear(self, *events: e.Event) -> list[e.Order]:
        """Tell events; give all orders, with those that follow from lanes that are ready."""
        orders: list[e.Order] = []
        for event in events:
            orders += self.scheduler.handle(event, self.now)
        for order in orders:
            if isinstance(order, e.StartWorker):
                orders += self.scheduler.handle(e.WorkerReady(order.slot), self.now)
        return orders

    def at(self, now: float) -> list[e.Order]:
        self.now = now
        return self.hear(e.TimePassed())

    def finish(self, slot: int, count: int = 1, *, busy: float = 0.001, way: float = 0.1) -> list[e.Order]:
        """End a chunk, after a way there and back and some work since now."""
        self.now += way + busy
        return self.hear(*[e.Recorded(slot, [DONE] * count)] * (count > 0), e.ChunkEnded(slot, busy))


def far(workers: int, window: int, *, seconds: float = 0.01, **limits: Any) -> Mind:
    """Make a group with one job, whose first item took as long, and from which the way is known to be 0.1 s."""
    mind = Mind(workers, window, **limits)
    mind.hear(e.JobOpened(1, e.JobSpec(), 1))
    mind.finish(1, busy=seconds)
    return mind


def offer(mind: Mind, count: int, job: int = 1) -> list[e.Order]:
    return mind.hear(e.ItemsOffered(job, count))


def sent(orders: Sequence[e.Order]) -> list[int]:
    """Give the sizes of the chunks that were sent."""
    return [len(order.items) for order in orders if isinstance(order, e.Send)]


def call(job: int, count: int = 1, **spec: Any) -> e.Event:
    return e.JobOpened(job, e.JobSpec(**spec), count, sealed=True)


# --- room -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("distant", [True, False])
def test_as_many_items_run_as_there_are_workers(distant: bool) -> None:
    mind = Mind(2, 4, distant=distant)
    assert sent(mind.hear(call(1, 5))) == [1, 1]
    assert mind.scheduler.waiting == 3


def test_without_workers_nothing_starts_until_there_are_some() -> None:
    mind = Mind(0, 3)
    assert mind.hear(call(1)) == []
    assert not mind.scheduler.hungry
    assert sent(mind.hear(e.RoomChanged(1, 1))) == [1]


def test_more_room_is_used_at_once() -> None:
    mind = Mind(1, 1)
    assert sent(mind.hear(call(1, 4))) == [1]
    assert sent(mind.hear(e.RoomChanged(3, 3))) == [1, 1]


def test_idle_lanes_without_room_end_and_busy_ones_when_they_are_through() -> None:
    mind = Mind(3, 3)
    mind.hear(call(1, 3))
    mind.finish(1)
    assert mind.hear(e.RoomChanged(1, 1)) == [e.Ask(1)]
    assert e.Ask(2) in mind.finish(2)
    mind.hear(call(2))
    assert sent(mind.finish(3)) == [1]


def test_a_group_with_room_is_hungry_before_its_first_item_and_after_it() -> None:
    mind = Mind(1, 1)
    assert mind.scheduler.hungry
    mind.hear(call(1))
    assert not mind.scheduler.hungry
    mind.finish(1)
    assert mind.scheduler.hungry


@pytest.mark.parametrize("finalizes", [False, True])
def test_of_idle_lanes_those_end_that_were_busy_longest_ago_and_no_more_than_have_no_room(finalizes: bool) -> None:
    mind = Mind(3, 3, finalizes=finalizes)
    mind.hear(call(1, 3))
    for slot in (2, 1, 3):
        mind.finish(slot)
    assert mind.hear(e.RoomChanged(3, 4)) == []
    assert mind.hear(e.RoomChanged(1, 1)) == [e.Ask(2), e.Ask(1)]


def test_what_the_system_refuses_is_room_for_chunks_that_wait_before_it_is_workers() -> None:
    mind = Mind(1, 3)
    mind.scheduler.handle(call(1, 3, chunksize=1), 0.0)
    mind.scheduler.handle(e.LaunchFailed(3, ""), 0.0)
    assert sent(mind.hear(e.WorkerReady(1), e.WorkerReady(2))) == [1]


def test_a_lane_that_starts_when_its_room_is_gone_ends_when_it_is_ready() -> None:
    mind = Mind(2, 2)
    mind.scheduler.handle(call(1, 2), 0.0)
    assert mind.scheduler.handle(e.RoomChanged(1, 1), 0.0) == []
    assert mind.scheduler.handle(e.WorkerReady(1), 0.0) == [e.Ask(1)]
    assert sent(mind.scheduler.handle(e.WorkerReady(2), 0.0)) == [1]


def test_a_new_job_finds_the_room_that_there_is() -> None:
    """Not that of the limits, after the system has refused some of it."""
    mind = Mind(2, 2, max_workers=9)
    mind.scheduler.handle(call(1, 2), 0.0)
    mind.scheduler.handle(e.WorkerReady(1), 0.0)
    mind.scheduler.handle(e.LaunchFailed(2, ""), 0.0)
    assert not mind.scheduler.hungry
    assert [type(order) for order in mind.hear(call(2, 9))] == [e.StartWorker, e.Send]


def test_what_the_system_refuses_makes_no_room() -> None:
    mind = Mind(3, 3)
    mind.scheduler.handle(call(1, 3), 0.0)
    mind.scheduler.handle(e.RoomChanged(1, 1), 0.0)
    mind.scheduler.handle(e.LaunchFailed(3, ""), 0.0)
    assert mind.scheduler.handle(e.WorkerDied(1, 0, 0), 0.0) == []


def test_a_lane_that_ends_before_it_is_ready_is_replaced() -> None:
    mind = Mind(2, 2)
    mind.scheduler.handle(call(1, 2), 0.0)
    assert mind.scheduler.handle(e.WorkerDied(1, 0, 0), 0.0) == [e.StartWorker(1, "w-1")]


def test_a_closed_group_with_work_waits_for_room() -> None:
    mind = Mind(0, 0)
    mind.hear(call(1), e.CloseAsked())
    assert not mind.scheduler.finished
    assert sent(mind.hear(e.RoomChanged(1, 2))) == [1]
    assert e.Ask(1) in mind.finish(1)
    mind.hear(e.WorkerDied(1, 0, 0))
    assert mind.scheduler.finished


def test_a_closed_group_keeps_the_lanes_that_wait_for_a_worker() -> None:
    mind = Mind(1, 3)
    mind.hear(call(1, 3))
    assert mind.hear(e.CloseAsked()) == []


def test_a_group_that_is_terminated_does_not_wait_for_room() -> None:
    mind = Mind(0, 0)
    mind.hear(call(1))
    assert mind.hear(e.TerminateAsked()) == [e.Resolve(1, (0,), [e.Dropped()], None), e.JobDone(1)]
    assert mind.scheduler.finished


def test_a_process_of_its_own_needs_no_room() -> None:
    mind = Mind(0, 0)
    spec = e.JobSpec(dedicated=True, name="own", retries=2)
    assert sent(mind.hear(e.JobOpened(1, spec), e.ItemsOffered(1, 1), e.JobSealed(1))) == [1]
    mind.hear(e.Recorded(1, [Retriable(b"")]), e.ChunkEnded(1, 0.1))
    assert sent(mind.hear(e.WorkerDied(1, 0, 1))) == [1]


# --- ahead ------------------------------------------------------------------------------------------------------------


def test_short_chunks_are_sent_ahead() -> None:
    mind = far(1, 2, max_chunk_items=1)
    assert sent(offer(mind, 5)) == [1, 1]


def test_long_items_are_not_sent_ahead() -> None:
    mind = far(1, 2, seconds=2.0)
    assert sent(offer(mind, 5)) == [1]
    assert not mind.scheduler.hungry


def test_an_item_that_would_be_sent_ahead_is_wanted() -> None:
    mind = far(1, 2, max_chunk_items=1)
    offer(mind, 1)
    assert mind.scheduler.hungry
    offer(mind, 1)
    assert not mind.scheduler.hungry


def test_what_is_not_known_is_not_sent_ahead() -> None:
    mind = far(1, 2)
    assert sent(mind.hear(call(2, 5))) == [1]


def test_short_calls_are_sent_ahead_by_what_those_before_took() -> None:
    mind = Mind(1, 2)
    mind.hear(call(1))
    mind.finish(1)
    assert sent(mind.hear(call(2), call(3), call(4), call(5))) == [1, 1]
    assert sent(mind.finish(1, busy=9.0)) == []
    assert sent(mind.finish(2, busy=9.0)) == [1]


@pytest.mark.parametrize(("busy", "ahead"), [(1.0, True), (2.5, False)])
def test_the_last_call_counts_half_and_maps_do_not(busy: float, ahead: bool) -> None:
    mind = Mind(1, 2)
    mind.hear(call(1))
    mind.finish(1, busy=0.01)
    mind.hear(call(2, 2, chunksize=2))
    mind.finish(1, 2, busy=100.0)
    mind.hear(call(3))
    mind.finish(1, busy=busy)
    assert sent(mind.hear(call(4), call(5))) == [1] * (1 + ahead)


def test_a_chunk_that_is_longer_than_the_way_is_worth_is_not_sent_ahead() -> None:
    mind = far(1, 2, seconds=0.02, prefetch_ways=1, least_chunk_ways=9)
    assert sent(offer(mind, 20)) == [8]


@pytest.mark.parametrize(("size", "chunks"), [(2, [2, 2]), (200, [200])])
def test_given_chunks_are_sent_ahead_if_they_are_short(size: int, chunks: list[int]) -> None:
    mind = Mind(1, 2)
    mind.hear(e.JobOpened(1, e.JobSpec(chunksize=size), 1))
    mind.finish(1, busy=0.01)
    assert sent(offer(mind, 2 * size)) == chunks


def test_ten_thousand_chunks_are_not_sent_before_anything_is_heard() -> None:
    mind = Mind(100, 100)
    orders = mind.hear(call(1, 1000))
    assert len(sent(orders)) == 32
    assert mind.scheduler.next_deadline() == 0.0
    assert len(sent(mind.hear(e.Recorded(1, [DONE]), e.ChunkEnded(1, 1.0)))) == 4  # two for each that is heard
    assert len(sent(mind.at(mind.now))) == 32
    assert len(sent(mind.at(mind.now))) == 32
    assert len(sent(mind.at(mind.now))) == 1
    assert mind.scheduler.next_deadline() != mind.now


def test_nothing_is_halted_once_nothing_is_wanted() -> None:
    mind = Mind(100, 100)
    mind.hear(call(1, 1000))
    assert mind.scheduler.next_deadline() == mind.now
    mind.hear(e.JobCancelled(1))
    assert mind.scheduler.next_deadline() != mind.now


def test_what_is_halted_is_gone_on_with_at_once() -> None:
    mind = Mind(100, 100)
    mind.now = 3.0
    mind.hear(call(1, 1000))
    assert mind.scheduler.next_deadline() == 3.0


def test_a_process_of_its_own_that_is_ready_meanwhile_changes_nothing_about_that() -> None:
    mind = Mind(100, 100)
    mind.hear(call(1, 1000))
    orders = mind.hear(e.JobOpened(2, e.JobSpec(dedicated=True, name="own"), 1, sealed=True))
    assert [order.job for order in orders if isinstance(order, e.Send)] == [1, 1, 2]  # two for what was heard
    assert mind.scheduler.next_deadline() == mind.now


# --- how much ---------------------------------------------------------------------------------------------------------


def grown(workers: int, window: int, **limits: Any) -> Mind:
    """Make a group far away whose job has seen chunks of a thousand items of 1 ms."""
    mind = far(workers, window, seconds=0.001, **limits)
    for count in (8, 64, 512):
        mind.hear(e.ItemsOffered(1, count))
        while busy := [slot for slot in mind.scheduler.slots.values() if slot.job is not None]:
            mind.finish(busy[0].number, len(busy[0].items), busy=0.001 * len(busy[0].items))
    return mind


def test_a_chunk_has_work_for_two_ways_where_the_next_waits_and_for_ten_where_none_does() -> None:
    assert sent(offer(grown(1, 2), 10_000))[0] == pytest.approx(200, abs=2)
    assert sent(offer(grown(1, 1), 10_000))[0] == pytest.approx(1000, abs=2)


def test_the_work_of_a_chunk_falls_with_those_that_wait_for_each_worker_but_not_below_two_ways() -> None:
    assert sent(offer(grown(2, 2), 10_000))[0] == pytest.approx(1000, abs=2)
    assert sent(offer(grown(2, 3), 10_000))[0] == pytest.approx(400, abs=2)
    assert sent(offer(grown(2, 8), 10_000))[0] >= 200


def test_chunks_do_not_shrink_below_half_a_way() -> None:
    assert sent(offer(grown(1, 2), 60))[0] == pytest.approx(50, abs=1)


def test_near_by_the_way_makes_no_difference() -> None:
    mind = grown(1, 1, distant=False)
    assert sent(offer(mind, 10_000)) == [10]
    assert [slot.seconds for slot in mind.scheduler.slots.values()] == [None]


def limits_of(orders: Sequence[e.Order]) -> list[float | None]:
    return [order.seconds for order in orders if isinstance(order, e.Send)]


def test_a_worker_is_told_how_much_work_a_chunk_may_take() -> None:
    assert limits_of(offer(far(1, 1), 16)) == [pytest.approx(2 * 0.08 + 0.002)]


def test_one_item_and_given_chunks_may_take_any_time() -> None:
    assert limits_of(offer(far(1, 1), 1)) == [None]
    assert limits_of(Mind().hear(call(2, 10, chunksize=5))) == [None]


# --- surprises --------------------------------------------------------------------------------------------------------


def test_a_chunk_that_comes_back_for_its_limit_makes_chunks_small_again() -> None:
    mind = far(1, 1, seconds=0.001, least_chunk_ways=9)
    assert sent(offer(mind, 1000)) == [8]
    assert sent(mind.finish(1, 8, busy=0.008)) == [64]
    assert sent(mind.finish(1, 5, busy=0.2)) == [5]


def test_a_given_chunk_may_come_back_early() -> None:
    mind = Mind()
    mind.hear(call(1, 5, chunksize=5))
    assert sent(mind.finish(1, 2)) == [3]


def test_a_chunk_that_comes_back_sooner_is_no_surprise() -> None:
    mind = far(1, 1, seconds=0.001, least_chunk_ways=9)
    offer(mind, 1000)
    mind.finish(1, 8, busy=0.008)
    assert sent(mind.finish(1, 5, busy=0.005)) == [64]


def test_a_chunk_that_is_slow_and_comes_to_its_end_is_no_surprise() -> None:
    """Its cost says enough."""
    mind = far(1, 1, seconds=0.001, least_chunk_ways=9)
    offer(mind, 1000)
    assert sent(mind.finish(1, 8, busy=0.2)) == [64]


def test_what_was_sent_before_a_surprise_is_not_another() -> None:
    mind = far(2, 2, seconds=0.001, least_chunk_ways=9)
    assert sent(offer(mind, 1000)) == [8, 8]
    assert sent(mind.finish(1, 7, busy=0.2)) == [7]
    assert sent(mind.finish(2, 1, busy=0.2)) == [7]


# --- asking back ------------------------------------------------------------------------------------------------------

BACK = [e.Withdraw(1), e.Look(1)]


def eight(**limits: Any) -> Mind:
    """Make a group with one worker, which has eight of twenty items of 10 ms; the way takes 0.1 s."""
    mind = far(1, 1, least_chunk_ways=9, chunk_ways_alone=1, **limits)
    mind.now = 0.0
    assert sent(offer(mind, 20)) == [8]
    return mind


def test_a_chunk_is_asked_back_when_work_and_way_have_taken_twice_as_long() -> None:
    mind = eight()
    mind.hear(call(2))
    assert mind.scheduler.next_deadline() == pytest.approx(2 * (0.08 + 0.1) + 0.002)
    assert mind.at(0.363) == BACK
    assert mind.scheduler.next_deadline() is None  # whether an answer comes or not


def test_a_chunk_is_asked_back_at_the_very_moment() -> None:
    mind = eight()
    mind.hear(call(2))
    assert mind.at(mind.scheduler.next_deadline() or 0.0) == BACK


def test_a_look_for_a_limit_asks_nothing_back() -> None:
    mind = Mind(least_chunk_ways=9, chunk_ways_alone=1)
    mind.hear(e.JobOpened(1, e.JobSpec(timeout=0.2), 1))
    mind.finish(1, busy=0.01)
    mind.now = 0.0
    assert sent(offer(mind, 20)) == [8]
    mind.hear(call(2))
    assert mind.at(0.2) == [e.Look(1)]


def test_what_is_overdue_when_its_worker_is_to_end_puts_nothing_off() -> None:
    mind = eight(kill_grace=1.5)
    assert mind.hear(e.TerminateAsked())[-1] == e.Terminate(1)
    assert mind.at(1.5) == [e.Kill(1)]


def test_a_chunk_that_nobody_else_could_do_has_twice_the_budget() -> None:
    mind = eight()
    assert mind.at(0.363) == [e.Look(1)]
    assert mind.scheduler.next_deadline() == pytest.approx(2 * (0.1 + 0.1))
    assert mind.at(0.41) == BACK


def test_an_idle_lane_without_a_worker_is_nobody_who_could_do_something() -> None:
    mind = far(1, 2, least_chunk_ways=9, chunk_ways=1)
    mind.hear(call(2, 2, chunksize=1))
    while busy := [slot for slot in mind.scheduler.slots.values() if slot.items]:
        mind.finish(busy[0].number)
    mind.now = 0.0
    assert sent(offer(mind, 8)) == [8]
    assert {slot.phase for slot in mind.scheduler.slots.values()} == {Phase.BUSY, Phase.IDLE}
    [last] = [slot for slot in mind.scheduler.slots.values() if slot.items]
    assert last.overdue < last.overrun
    assert mind.at(last.overdue) == [e.Look(last.number)]


def test_a_chunk_that_waits_behind_another_has_time_for_that() -> None:
    mind = far(1, 2, least_chunk_ways=9, chunk_ways=1)
    mind.now = 0.0
    assert sent(offer(mind, 20)) == [8, 8]
    first, second = sorted(slot.overdue for slot in mind.scheduler.slots.values())
    assert second == pytest.approx(first + 2 * 0.1)


def test_those_that_wait_behind_others_share_the_workers() -> None:
    mind = far(2, 4, least_chunk_ways=9, chunk_ways=1)
    mind.now = 0.0
    assert sent(offer(mind, 40)) == [8, 8, 8, 8]
    first, *others = sorted(slot.overdue for slot in mind.scheduler.slots.values())
    assert others == [pytest.approx(first), *[pytest.approx(first + 2 * 0.1)] * 2]


def test_a_chunk_has_the_time_that_others_took_lately_for_their_way() -> None:
    mind = far(1, 1, least_chunk_ways=9, chunk_ways_alone=1)
    for way in (0.1, 1.0, 1.0):
        offer(mind, 1)
        mind.finish(1, busy=0.01, way=way)
    mind.now = 0.0
    assert sent(offer(mind, 20)) == [8]
    assert mind.scheduler.slots[1].overdue == pytest.approx(2 * (0.08 + 1.0) + 0.002)


def test_neither_what_has_done_nothing_nor_a_process_of_its_own_tells_of_the_way() -> None:
    mind = eight()
    mind.at(0.41)
    mind.finish(1, 0, busy=0.0, way=9.0)
    own = e.JobSpec(dedicated=True, name="own")
    mind.hear(e.JobOpened(2, own, 1, sealed=True))
    mind.finish(2, busy=0.0, way=9.0)
    assert mind.scheduler._pace._way.usual == pytest.approx(0.1)


def test_what_has_not_begun_at_a_look_goes_to_others() -> None:
    mind = eight()
    mind.at(0.41)
    mind.hear(e.Looked(1, 3, None, False))
    assert list(mind.scheduler.slots[1].items) == [1, 2, 3]
    assert mind.scheduler.waiting == 17


def test_a_look_before_a_chunk_is_asked_back_takes_nothing() -> None:
    mind = eight()
    mind.hear(e.Looked(1, 3, None, False))
    mind.at(0.363)
    assert mind.hear(e.Looked(1, 3, None, False)) == []
    assert len(mind.scheduler.slots[1].items) == 8


def test_to_be_asked_back_is_no_surprise_by_itself() -> None:
    """The way took longer."""
    mind = eight()
    mind.at(0.41)
    assert sent(mind.finish(1, 0, busy=0.0)) == [8]


def test_a_worker_far_away_is_not_looked_at_in_between() -> None:
    mind = eight()
    assert mind.at(0.05) == []
    mind = Mind()
    mind.hear(call(1, 10, chunksize=10))
    assert mind.scheduler.next_deadline() is None


def test_a_lone_item_may_wait_far_away_and_is_withdrawn() -> None:
    mind = Mind()
    mind.hear(e.JobOpened(1, e.JobSpec(), 1))
    assert mind.hear(e.JobStopped(1)) == [e.Withdraw(1)]


@pytest.mark.parametrize(("begun", "size"), [(3, 3), (0, 8)])
def test_what_is_behind_an_item_that_takes_long_is_a_surprise_and_what_has_not_begun_is_none(
    begun: int, size: int
) -> None:
    mind = eight()
    mind.at(0.41)
    mind.hear(e.Looked(1, begun, None, False))
    assert sent(mind.finish(1, begun or 1, busy=0.001)) == [size]


def shared(workers: int, seconds: float = 10.0) -> list[e.Order]:
    """Let one of two chunks come back when the other, which has told of one item, is as slow.

    Returns:
        list[e.Order]: What follows.
    """
    mind = far(2, 2, seconds=0.1, least_chunk_ways=9)
    assert sent(offer(mind, 16)) == [8, 8]
    mind.hear(e.RoomChanged(workers, 2))
    mind.hear(e.Recorded(2, [DONE]))
    return mind.finish(1, 8, busy=seconds)


def test_an_idle_worker_gets_of_what_another_has_before_it() -> None:
    assert shared(2)[-2:] == [e.Withdraw(2), e.Look(2)]


@pytest.mark.parametrize(("seconds", "asked"), [(0.64, False), (0.68, True)])
def test_what_is_shared_is_worth_two_ways_more(seconds: float, asked: bool) -> None:
    """Twice the least chunk of 0.9 s, and the ways back and there again, 0.2 s: six items at half of that time each."""
    assert (e.Withdraw(2) in shared(2, seconds)) is asked


def test_one_chunk_is_shared_at_a_time_until_it_could_have_come_back() -> None:
    mind = far(3, 3, seconds=0.1, least_chunk_ways=9)
    assert sent(offer(mind, 24)) == [8, 8, 8]
    mind.hear(e.Recorded(2, [DONE]), e.Recorded(3, [DONE]))
    asked = [mind.finish(1, 8, busy=0.7), mind.at(mind.now + 0.01), mind.at(mind.now + 0.2)]
    slots = [[order.slot for order in orders if isinstance(order, e.Withdraw)] for orders in asked]
    assert slots in ([[2], [], [3]], [[3], [], [2]])


def test_an_idle_lane_without_a_worker_gets_nothing() -> None:
    assert e.Withdraw(2) not in shared(1)


def test_what_was_asked_back_to_be_shared_is_no_surprise() -> None:
    mind = far(2, 2, seconds=0.1, least_chunk_ways=9)
    assert sent(offer(mind, 16)) == [8, 8]
    mind.hear(e.Recorded(2, [DONE]))
    assert e.Withdraw(2) in mind.finish(1, 8, busy=0.7)
    assert sent(mind.hear(e.Looked(2, 3, None, False))) == [5]


def test_what_two_chunks_had_before_them_is_one_surprise() -> None:
    mind = far(2, 2, least_chunk_ways=9)
    assert sent(offer(mind, 16)) == [8, 8]
    mind.hear(call(2))
    mind.at(2.0)
    mind.hear(e.Looked(1, 4, None, False), e.Looked(2, 2, None, False))
    assert sent(mind.finish(1, 4, busy=0.01)) == [4]


def test_nothing_is_shared_as_long_as_items_wait() -> None:
    mind = far(100, 100, seconds=0.1, least_chunk_ways=9)
    assert sent(offer(mind, 8)) == [8]
    mind.hear(e.Recorded(1, [DONE]))
    mind.now += 5.0
    orders = mind.hear(call(2, 1000))
    assert mind.scheduler.waiting > 900
    assert e.Withdraw(1) not in orders
    assert e.Withdraw(1) in mind.hear(e.JobCancelled(2))


def test_the_next_is_shared_as_soon_as_what_was_asked_back_is_there() -> None:
    mind = far(3, 3, seconds=0.1, least_chunk_ways=9)
    assert sent(offer(mind, 24)) == [8, 8, 8]
    mind.hear(e.Recorded(2, [DONE]), e.Recorded(3, [DONE]))
    [first] = [order.slot for order in mind.finish(1, 8, busy=0.7) if isinstance(order, e.Withdraw)]
    orders = mind.finish(first, 0, busy=0.0, way=0.001)
    assert [order.slot for order in orders if isinstance(order, e.Withdraw)] == [5 - first]


def test_two_jobs_share_a_room() -> None:
    mind = Mind(2, 2)
    assert sent(mind.hear(call(1, 5), call(2, 5))) == [1, 1]
    mind.finish(1)
    mind.finish(2)
    assert {slot.job for slot in mind.scheduler.slots.values()} == {1, 2}


def test_a_chunk_that_waited_for_an_only_worker_does_not_make_the_way_longer() -> None:
    mind = Mind(1, 2)
    mind.hear(e.JobOpened(1, e.JobSpec(chunksize=1), 1))
    mind.finish(1)
    offer(mind, 100)
    for slot in [1, 2] * 20:
        mind.finish(slot, way=0.1)  # and the one that was sent with it had to wait for as long
    assert mind.scheduler._pace._way.seconds == pytest.approx(0.1)
