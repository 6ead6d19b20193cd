"""Unit tests, no process: when chunks are asked back, and what is taken from them."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import pytest

from procorch import _events as e
from procorch._messages import Value
from procorch._policy import Limits
from procorch._scheduler import Scheduler

DONE = Value(b"")
BACK = e.Withdraw(1)


class Mind:
    """A group of ready workers and one job, whose first items have told that one takes 1 ms."""

    def __init__(self, max_workers: int = 1, **limits: Any) -> None:
        self.limits = Limits(max_workers=max_workers, **limits)
        self.scheduler = Scheduler(self.limits, map("w-{}".format, itertools.count(1)))
        self.now = 0.0
        self.hear(e.JobOpened(1, e.JobSpec()), e.ItemsOffered(1, max_workers))
        self.hear(*[e.WorkerReady(slot + 1) for slot in range(max_workers)])
        for slot in range(max_workers):
            self.hear(e.Recorded(slot + 1, [DONE]), e.ChunkEnded(slot + 1, 0.001))

    def hear(self, *events: e.Event) -> list[e.Order]:
        return [order for event in events for order in self.scheduler.handle(event, self.now)]

    def at(self, now: float) -> list[e.Order]:
        self.now = now
        return self.hear(e.TimePassed())

    def look(self, now: float, begun: int) -> list[e.Order]:
        """Let it be later; give what follows from a look at the first worker."""
        self.at(now)
        return self.hear(e.Looked(1, begun, None, False))


def one(**limits: Any) -> Mind:
    """Make a group with one worker, which has eight of twenty items."""
    mind = Mind(least_chunk_seconds=0.5, **limits)
    assert sizes(mind.hear(e.ItemsOffered(1, 20))) == [8]
    return mind


def sizes(orders: Sequence[e.Order]) -> list[int]:
    return [len(order.items) for order in orders if isinstance(order, e.Send)]


def test_a_chunk_is_looked_at_when_it_should_have_ended_twice() -> None:
    mind = one()
    assert mind.scheduler.next_deadline() == pytest.approx(2 * 0.008 + 0.002)


def test_looks_for_news_of_a_chunk_do_not_put_off_when_it_should_have_ended() -> None:
    mind = one(look_after=0.005)
    for now in (0.005, 0.015):
        mind.look(now, 3)
    assert mind.scheduler.next_deadline() == pytest.approx(0.018)


def test_a_chunk_that_nobody_else_could_do_has_twice_the_budget() -> None:
    mind = one(look_after=9.0)
    assert BACK not in mind.look(0.0181, 3)
    assert mind.scheduler.next_deadline() == pytest.approx(0.02)
    assert mind.look(0.0201, 3) == [BACK]


def test_a_chunk_is_asked_back_at_the_very_moment() -> None:
    for others in (0, 1):
        mind = one(look_after=9.0)
        mind.hear(*[e.JobOpened(2, e.JobSpec(), 1)] * others)
        for _ in range(2 - others):
            orders = mind.look(mind.scheduler.next_deadline() or 0.0, 3)
        assert BACK in orders


def test_a_look_before_a_chunk_has_taken_too_long_asks_nothing_back() -> None:
    mind = one(look_after=0.005)
    mind.hear(e.JobOpened(2, e.JobSpec(), 1))
    assert BACK not in mind.look(0.005, 3)


def test_a_chunk_that_has_begun_its_last_item_is_left_alone() -> None:
    mind = one(look_after=9.0)
    mind.look(0.0181, 8)
    assert mind.scheduler.next_deadline() == 9.0


def test_another_job_that_waits_gets_its_turn_soon() -> None:
    mind = one()
    mind.hear(e.JobOpened(2, e.JobSpec()), e.ItemsOffered(2, 1))
    assert mind.look(0.0181, 3) == [BACK]
    orders = mind.hear(e.Recorded(1, [DONE] * 3), e.ChunkEnded(1, 0.018))
    assert [(order.job, list(order.items)) for order in orders if isinstance(order, e.Send)] == [(1, [4])]
    assert sizes(mind.hear(e.Recorded(1, [DONE]), e.ChunkEnded(1, 0.001))) == [1]


@pytest.mark.parametrize("lives", [True, False])
def test_what_takes_too_long_is_asked_back_for_who_is_idle_and_not_for_who_would_have_to_start(lives: bool) -> None:
    mind = Mind(2)
    mind.hear(*[e.WorkerDied(1, -9, 0)] * (not lives))
    mind.hear(e.JobOpened(2, e.JobSpec(), 1), e.Recorded(2, [DONE]), e.ChunkEnded(2, 1e-6))
    assert sizes(mind.hear(e.ItemsOffered(2, 2))) == [2]  # too cheap to be shared at the end
    mind.at(0.0021)
    assert (e.Withdraw(2) in mind.hear(e.Looked(2, 1, None, False))) is lives


def test_after_a_chunk_was_asked_back_items_go_one_by_one() -> None:
    mind = one()
    mind.look(0.0201, 3)
    orders = mind.hear(e.Recorded(1, [DONE] * 3), e.ChunkEnded(1, 0.003))
    assert sizes(orders) == [1]
    assert sizes(mind.hear(e.Recorded(1, [DONE]), e.ChunkEnded(1, 0.001))) == [8]
    mind.look(mind.now + 0.002, 3)
    assert len(mind.scheduler.slots[1].items) == 8  # that was about an earlier chunk


def test_what_is_behind_a_long_item_is_taken_from_it() -> None:
    mind = one()
    mind.look(0.0201, 3)
    assert mind.scheduler.next_deadline() == pytest.approx(0.0211)
    mind.look(0.0212, 3)
    assert list(mind.scheduler.slots[1].items) == [1, 2, 3]
    orders = mind.hear(e.Recorded(1, [DONE] * 3), e.ChunkEnded(1, 9.0))
    assert [list(order.items) for order in orders if isinstance(order, e.Send)] == [[4]]


def test_a_look_too_soon_after_asking_takes_nothing() -> None:
    """What the worker has just begun may not be seen yet."""
    mind = one()
    mind.look(0.0201, 3)
    mind.hear(e.Looked(1, 3, None, False))
    assert len(mind.scheduler.slots[1].items) == 8


def test_one_item_stays_with_a_worker_that_has_not_begun() -> None:
    """If it dies with it, that is counted."""
    mind = one()
    mind.look(0.0201, 0)
    mind.look(0.0212, 0)
    assert list(mind.scheduler.slots[1].items) == [1]
    orders = mind.hear(e.WorkerDied(1, -9, 0), e.WorkerReady(1))
    assert [list(order.items) for order in orders if isinstance(order, e.Send)] == [[1]]


def test_a_chunk_of_a_given_size_is_never_asked_back() -> None:
    mind = Mind(2)
    mind.hear(e.JobOpened(2, e.JobSpec(chunksize=5)), e.ItemsOffered(2, 5))
    assert {order for now in (0.03, 0.1, 1.0) for order in mind.at(now)} == {e.Look(2)}
    mind = one()
    mind.hear(e.JobStopped(1), e.JobOpened(2, e.JobSpec(chunksize=5)), e.ItemsOffered(2, 5))
    assert sizes(mind.hear(e.Recorded(1, [DONE] * 8), e.ChunkEnded(1, 0.008))) == [5]
    assert BACK not in mind.look(1.0, 1)


def two(done: int, *, now: float = 0.015, busy: float = 0.008, **limits: Any) -> tuple[Mind, list[e.Order]]:
    """Two workers have eight items each; at 15 ms one is through, and the other has told of some.

    Returns:
        tuple[Mind, list[e.Order]]: The group, and what follows.
    """
    mind = Mind(2, least_chunk_seconds=0.01, **limits)
    assert sizes(mind.hear(e.ItemsOffered(1, 16))) == [8, 8]
    mind.now = now
    mind.hear(*[e.Recorded(2, [DONE])] * done)
    return mind, mind.hear(e.Recorded(1, [DONE] * 8), e.ChunkEnded(1, busy))


@pytest.mark.parametrize(("done", "asked"), [(0, False), (1, True), (2, True), (6, False)])
def test_an_idle_worker_gets_of_what_another_has_before_it(done: int, asked: bool) -> None:
    """By its pace, if that is slower than planned; not before it has done any, or items could go round for ever."""
    _, orders = two(done)
    assert (e.Withdraw(2) in orders) is asked


@pytest.mark.parametrize(
    ("done", "busy", "now", "asked"),
    [
        (3, 0.080, 0.015, True),
        (5, 0.080, 0.015, False),  # too few are left
        (3, 0.0736, 0.0215, False),  # most of their time may have passed
    ],
)
def test_items_that_turn_out_to_be_heavy_are_shared_by_their_cost(
    done: int, busy: float, now: float, asked: bool
) -> None:
    _, orders = two(done, now=now, busy=busy)
    assert (e.Withdraw(2) in orders) is asked


def test_what_is_not_worth_it_is_not_shared() -> None:
    _, orders = two(1, steal_seconds=1.0)
    assert e.Withdraw(2) not in orders


def test_what_is_overdue_is_shared_though_it_has_done_nothing() -> None:
    mind, _ = two(0)
    assert e.Withdraw(2) in mind.at(0.019)


def test_to_be_shared_is_no_surprise() -> None:
    mind, _ = two(1)
    assert sizes(mind.hear(e.ChunkEnded(2, 0.002))) == [6, 1]


def test_a_worker_that_has_shared_may_share_again() -> None:
    mind, _ = two(1)
    first = next(iter(mind.hear(e.ChunkEnded(2, 0.002))))
    assert isinstance(first, e.Send)
    assert (first.slot, len(first.items)) == (2, 6)
    mind.now = 0.040
    mind.hear(e.Recorded(2, [DONE]))
    assert e.Withdraw(2) in mind.hear(e.Recorded(1, [DONE]), e.ChunkEnded(1, 0.001))


@pytest.mark.parametrize(("most", "other"), [(2, 3), (3, 2)])
def test_the_chunk_with_most_work_left_is_shared(most: int, other: int) -> None:
    mind = Mind(3, least_chunk_seconds=0.01)
    assert sizes(mind.hear(e.ItemsOffered(1, 24))) == [8, 8, 8]
    mind.now = 0.015
    mind.hear(e.Recorded(most, [DONE]), e.Recorded(other, [DONE] * 2))
    orders = mind.hear(e.Recorded(1, [DONE] * 8), e.ChunkEnded(1, 0.008))
    assert [order for order in orders if isinstance(order, e.Withdraw)] == [e.Withdraw(most)]
    assert mind.at(0.0151) == []  # one at a time


def test_closing_ends_who_is_idle_when_there_is_nothing_left_to_share() -> None:
    mind, _ = two(0, steal_seconds=1.0)
    mind.hear(e.JobSealed(1), e.CloseAsked())
    mind.at(0.0181)
    assert e.Ask(1) in mind.hear(e.Looked(2, 8, None, False))
