"""Unit tests, no process: what waits and what rests."""

from __future__ import annotations

from typing import Any

from procorch._backlog import Backlog, Job
from procorch._events import JobSpec
from procorch._policy import Limits


def make(*specs: dict[str, Any]) -> tuple[Backlog, list[Job]]:
    backlog = Backlog(Limits())
    return backlog, [backlog.open(number, JobSpec(**spec)) for number, spec in enumerate(specs, 1)]


def test_jobs_take_turns_and_their_items_keep_their_order() -> None:
    backlog, (one, two) = make({}, {})
    backlog.enqueue(one, range(3), front=False)
    backlog.enqueue(two, range(2), front=False)
    assert backlog.waiting == 5
    taken: list[tuple[int, list[int]]] = []
    while (job := backlog.next_job()) is not None:
        taken.append((job.number, list(backlog.take(job, 1))))
    assert taken == [(1, [0]), (2, [0]), (1, [1]), (2, [1]), (1, [2])]
    assert backlog.waiting == 0


def test_several_are_taken_from_the_front() -> None:
    backlog, (one,) = make({})
    backlog.enqueue(one, range(5), front=False)
    assert list(backlog.take(one, 3)) == [0, 1, 2]
    assert backlog.waiting == 2


def test_what_is_put_in_front_is_taken_first_and_its_job_is_next() -> None:
    backlog, (one, two) = make({}, {})
    backlog.enqueue(two, [0], front=False)
    backlog.enqueue(one, [7, 8], front=True)
    assert backlog.next_job() is one
    backlog.enqueue(one, [5, 6], front=True)
    assert list(backlog.take(one, 4)) == [5, 6, 7, 8]
    assert backlog.next_job() is two


def test_what_is_offered_later_is_taken_later_and_neighbours_are_taken_as_a_range() -> None:
    backlog, (one,) = make({})
    for items in (range(3), range(3, 5), range(8, 9)):
        backlog.enqueue(one, items, front=False)
    assert backlog.take(one, 5) == range(5)
    assert list(backlog.take(one, 1)) == [8]
    assert not one.queue


def test_what_is_put_back_keeps_its_order_and_is_taken_as_a_range_with_its_neighbours() -> None:
    backlog, (one,) = make({})
    backlog.enqueue(one, range(5, 8), front=False)
    backlog.enqueue(one, [0, 3, 4], front=True)
    assert list(one.queue) == [range(1), range(3, 8)]
    assert list(backlog.take(one, 6)) == [0, 3, 4, 5, 6, 7]


def test_what_is_put_back_before_earlier_items_stays_apart_from_what_comes_later() -> None:
    backlog, (one,) = make({})
    backlog.enqueue(one, range(5, 6), front=False)
    backlog.enqueue(one, [7], front=True)
    backlog.enqueue(one, range(8, 10), front=False)
    assert list(backlog.take(one, 4)) == [7, 5, 8, 9]


def test_others_wait_as_soon_as_one_of_them_does() -> None:
    backlog, (one, two) = make({}, {})
    assert not backlog.others_wait(one)
    backlog.enqueue(one, [0], front=False)
    assert (backlog.others_wait(one), backlog.others_wait(two)) == (False, True)
    backlog.enqueue(two, [0], front=False)
    assert backlog.others_wait(one)


def test_what_waits_for_a_process_of_its_own_is_in_nobody_s_turn() -> None:
    backlog, (own,) = make({"dedicated": True})
    backlog.enqueue(own, [0], front=False)
    assert backlog.next_job() is None
    assert backlog.waiting == 0
    assert list(backlog.take(own, 1)) == [0]


def test_what_rests_waits_when_its_time_has_come() -> None:
    backlog, (one, two) = make({}, {})
    backlog.rest(one, 4, 3.0)
    backlog.rest(two, 0, 1.0)
    backlog.rest(one, 2, 2.0)
    assert one.active
    assert backlog.next_wake() == 1.0
    assert backlog.wake(0.9) == []
    assert backlog.wake(2.0) == [two, one]
    assert (list(one.queue), one.resting, list(two.queue)) == ([range(2, 3)], {4}, [range(1)])
    assert backlog.waiting == 2
    assert backlog.next_wake() == 3.0


def test_what_rests_may_rest_again() -> None:
    backlog, (one,) = make({})
    for until in (1.0, 2.0, 3.0):
        backlog.rest(one, 0, until)
        assert backlog.wake(until) == [one]
        assert list(backlog.take(one, 1)) == [0]
    assert backlog.next_wake() is None


def test_what_is_cleared_neither_waits_nor_rests() -> None:
    backlog, (one, two) = make({}, {})
    backlog.enqueue(one, [1, 0], front=False)
    backlog.enqueue(two, [0], front=False)
    for item in (8, 3):
        backlog.rest(one, item, 1.0)
    assert backlog.clear(one) == (1, 0, 3, 8)
    assert not one.active
    assert backlog.next_wake() is None
    assert backlog.waiting == 1
    assert backlog.next_job() is two
    assert backlog.clear(one) == ()


def test_what_rests_for_a_job_that_is_gone_is_forgotten() -> None:
    backlog, (one, two) = make({}, {})
    backlog.rest(one, 0, 1.0)
    backlog.rest(two, 0, 2.0)
    del backlog.jobs[1]
    assert backlog.next_wake() == 2.0
    assert backlog.wake(1.5) == []


def test_a_job_is_active_as_long_as_a_chunk_of_it_is_out() -> None:
    _, (one,) = make({})
    assert not one.active
    one.chunks = 1
    assert one.active
