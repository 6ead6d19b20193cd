"""Unit tests, no process: one example for each race and each decision of the scheduler."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
from minds import (
    AGAIN,
    DONE,
    DROPPED,
    FAILED,
    GAVE_UP,
    Mind,
    call,
    finish,
    looked,
    of,
    outcomes,
    own,
    ready,
    sent,
    stream,
)

from procorch import _events as e
from procorch._messages import Failure, Plain
from procorch._policy import Backoff
from procorch._slot import Phase
from procorch.events import Reason

# --- who runs what ----------------------------------------------------------------------------------------------------


def test_an_item_starts_a_worker_and_is_sent_when_it_is_ready() -> None:
    mind = Mind()
    assert mind.hear(*call(1)) == [e.StartWorker(1, "w-1")]
    assert mind.hear(*ready(1)) == [e.Send(1, 1, range(1))]
    assert mind.hear(*finish(1, DONE)) == [e.Resolve(1, range(1), (DONE,), 1), e.JobDone(1)]


def test_an_idle_worker_gets_an_item_at_once() -> None:
    mind = Mind()
    mind.hear(*call(1), *ready(1), *finish(1, DONE))
    assert sent(mind.hear(*call(2))) == [(1, 2, [0])]


def test_as_many_workers_start_as_items_wait() -> None:
    mind = Mind(4)
    assert [order.name for order in of(e.StartWorker, mind.hear(*call(1, 2)))] == ["w-1", "w-2"]
    mind.hear(*ready(1))
    assert [order.name for order in of(e.StartWorker, mind.hear(*call(2, 9)))] == ["w-3", "w-4"]


def test_a_worker_that_starts_is_counted_on() -> None:
    mind = Mind(4)
    assert of(e.StartWorker, mind.hear(*call(1))) == [e.StartWorker(1, "w-1")]
    assert of(e.StartWorker, mind.hear(*call(2))) == [e.StartWorker(2, "w-2")]
    mind.hear(*ready(1), *finish(1, DONE))
    assert of(e.StartWorker, mind.hear(*call(3))) == []


def test_the_worker_that_was_busy_last_is_taken_first() -> None:
    mind = Mind(2)
    mind.hear(*call(1, 2), *ready(1, 2), *finish(2, DONE), *finish(1, DONE))
    assert sent(mind.hear(*call(2))) == [(1, 2, [0])]


def test_jobs_take_turns() -> None:
    mind = Mind()
    mind.hear(*call(1, 3, chunksize=1), *call(2, 3, chunksize=1), *call(3))
    order = sent(mind.hear(*ready(1)))
    for _ in range(6):
        order += sent(mind.hear(*finish(1, DONE)))
    assert [(job, items) for _, job, items in order] == [
        (1, [0]), (2, [0]), (3, [0]), (1, [1]), (2, [1]), (1, [2]), (2, [2])
    ]  # fmt: skip


def test_a_single_item_does_not_wait_for_a_long_map() -> None:
    mind = Mind()
    mind.hear(*call(1, 1000, chunksize=10), *ready(1), *call(2))
    assert sent(mind.hear(*finish(1, *[DONE] * 10))) == [(1, 1, list(range(10, 20)))]
    assert sent(mind.hear(*finish(1, *[DONE] * 10))) == [(1, 2, [0])]


@pytest.mark.parametrize(("size", "chunks"), [(1, [1, 1, 1]), (2, [2, 1]), (5, [3])])
def test_a_given_chunksize_is_obeyed(size: int, chunks: list[int]) -> None:
    mind = Mind()
    orders = sent(mind.hear(*call(1, 3, chunksize=size), *ready(1)))
    for count in chunks:
        orders += sent(mind.hear(*finish(1, *[DONE] * count)))
    assert [len(items) for _, _, items in orders] == chunks


def test_chunks_grow_while_items_are_cheap_and_shrink_at_the_end() -> None:
    mind = Mind()
    orders = sent(mind.hear(*call(1, 100), *ready(1)))
    while mind.scheduler.slot_of(1):
        count = len(orders[-1][2])
        orders += sent(mind.hear(*finish(1, *[DONE] * count, busy=0.0001 * count)))
    assert [len(items) for _, _, items in orders] == [1, 8, 46, 23, 11, 6, 5]


def test_a_chunk_is_no_more_than_its_worth_of_work() -> None:
    mind = Mind(chunk_seconds=0.01)
    mind.hear(*call(1, 1000), *ready(1))
    sizes = [len(sent(mind.hear(*finish(1, *[DONE] * size, busy=0.003 * size)))[0][2]) for size in (1, 3, 3)]
    assert sizes == [3, 3, 3]


def test_a_chunk_leaves_the_other_workers_their_share() -> None:
    mind = Mind(4)
    orders = sent(mind.hear(*call(1, 100), *ready(1)))
    for _ in range(3):
        count = len(orders[-1][2])
        orders += sent(mind.hear(*finish(1, *[DONE] * count, busy=0.0001 * count)))
    assert [len(items) for _, _, items in orders] == [1, 8, 12, 10]


@pytest.mark.parametrize("spec", [{}, {"retries": 1}, {"stop_on_failure": True}])
def test_plain_results_stay_together(spec: dict[str, Any]) -> None:
    mind = Mind()
    mind.hear(*call(1, 3, chunksize=3, **spec), *ready(1))
    assert mind.hear(e.Recorded(1, Plain([5, 6]))) == [e.Resolve(1, range(2), Plain([5, 6]), 1)]
    assert outcomes(mind.hear(e.WorkerDied(1, -9, 2))) == {}
    assert sent(mind.hear(*ready(1))) == [(1, 1, [2])]


def test_what_waits_is_what_is_with_no_worker_though_it_rests() -> None:
    mind = Mind()
    mind.hear(*call(1, 5, chunksize=2, **RESTING), *ready(1), e.Recorded(1, [AGAIN]))
    assert mind.scheduler.waiting == 4


def test_hungry_is_whether_one_more_item_would_not_wait_for_another() -> None:
    mind = Mind(2)
    seen = [mind.scheduler.hungry]
    for events in (call(1), call(2), [*ready(1), *ready(2)], finish(1, DONE), call(3)):
        mind.hear(*events)
        seen.append(mind.scheduler.hungry)
    assert seen == [True, True, False, False, True, False]


# --- what a death costs -----------------------------------------------------------------------------------------------


def test_a_crash_costs_the_item_that_ran() -> None:
    mind = Mind()
    mind.hear(*call(1, 4, chunksize=4), *ready(1), e.Recorded(1, [DONE, DONE]))
    orders = mind.hear(e.WorkerDied(1, -11, 3))
    assert outcomes(orders) == {2: e.Lost(1, -11, 1)}
    assert of(e.StartWorker, orders) == [e.StartWorker(1, "w-1")]
    assert sent(mind.hear(*ready(1))) == [(1, 1, [3])]


def test_a_crash_between_two_items_costs_nothing() -> None:
    mind = Mind()
    mind.hear(*call(1, 3, chunksize=3), *ready(1), e.Recorded(1, [DONE]))
    assert outcomes(mind.hear(e.WorkerDied(1, -9, 1))) == {}
    assert sent(mind.hear(*ready(1))) == [(1, 1, [1, 2])]


def test_a_crash_after_the_last_item_costs_nothing() -> None:
    mind = Mind()
    mind.hear(*call(1), *ready(1), e.Recorded(1, [DONE]))
    assert mind.hear(e.WorkerDied(1, -9, 1)) == [e.JobDone(1)]


def test_what_has_finished_is_not_begun_again_though_nothing_is_known_of_its_process() -> None:
    mind = Mind()
    mind.hear(*call(1, 3, chunksize=3), *ready(1), e.Recorded(1, [DONE]))
    assert outcomes(mind.hear(e.WorkerDied(1, None, 0))) == {}
    assert sent(mind.hear(*ready(1))) == [(1, 1, [1, 2])]


def test_of_several_that_may_have_begun_each_is_charged_and_they_keep_their_order() -> None:
    mind = Mind()
    mind.hear(*call(1, 4, chunksize=3, retries=1), *ready(1))
    assert [order.item for order in of(e.CountRetry, mind.hear(e.WorkerDied(1, None, 3)))] == [2, 1, 0]
    assert sent(mind.hear(*ready(1))) == [(1, 1, [0, 1, 2])]


@pytest.mark.parametrize("begun", [0, 1])
def test_the_time_of_a_process_that_died_was_spent(begun: int) -> None:
    mind = Mind()
    mind.now = 3.0
    mind.hear(*call(1), *ready(1), *finish(1, DONE, busy=1.0), *call(2))
    mind.now = 5.0
    mind.hear(e.WorkerDied(1, -9, begun))
    assert mind.scheduler.slots[1].busy == 3.0


def test_a_crash_before_the_chunk_was_taken_costs_nothing() -> None:
    mind = Mind()
    mind.hear(*call(1, 2, chunksize=2), *ready(1))
    assert mind.hear(e.WorkerDied(1, -9, 0)) == [e.StartWorker(1, "w-1")]
    assert sent(mind.hear(*ready(1))) == [(1, 1, [0, 1])]


def test_items_that_never_began_go_before_those_that_wait() -> None:
    mind = Mind(2)
    mind.hear(*call(1, 6, chunksize=3), *call(2), *ready(1), e.WorkerDied(1, -9, 1))
    assert sent(mind.hear(*ready(2))) == [(2, 2, [0])]
    assert sent(mind.hear(*finish(2, DONE))) == [(2, 1, [1, 2, 3])]


def test_the_death_of_an_idle_worker_costs_nothing_and_it_is_replaced_when_needed() -> None:
    mind = Mind()
    mind.hear(*call(1), *ready(1), *finish(1, DONE))
    assert mind.hear(e.WorkerDied(1, -9, 0)) == []
    assert mind.hear(*call(2)) == [e.StartWorker(1, "w-1")]


def test_what_begins_again_is_counted() -> None:
    mind = Mind()
    mind.hear(*call(1, 2, chunksize=2, retries=1), *ready(1))
    assert outcomes(mind.hear(e.WorkerDied(1, 1, 1))) == {}
    assert sent(mind.hear(*ready(1))) == [(1, 1, [0, 1])]
    assert outcomes(mind.hear(e.WorkerDied(1, 1, 1))) == {0: e.Lost(1, 1, 2)}
    assert sent(mind.hear(*ready(1))) == [(1, 1, [1])]


def test_a_retry_that_works_leaves_no_trace() -> None:
    mind = Mind()
    mind.hear(*call(1, retries=1), *ready(1), e.WorkerDied(1, -9, 1), *ready(1))
    assert mind.hear(*finish(1, DONE)) == [e.Resolve(1, [0], [DONE], 1), e.JobDone(1)]


def test_an_item_that_no_worker_lives_to_begin_is_given_up() -> None:
    mind = Mind(max_unbegun_deaths=3)
    mind.hear(*call(1, 2, chunksize=2))
    for _ in range(2):
        assert outcomes(mind.hear(*ready(1), e.WorkerDied(1, -9, 0))) == {}
    assert outcomes(mind.hear(*ready(1), e.WorkerDied(1, -9, 0))) == {0: e.Lost(1, -9, 0)}
    assert sent(mind.hear(*ready(1))) == [(1, 1, [1])]


def test_an_item_that_fails_after_its_stream_was_stopped_has_failed() -> None:
    mind = Mind()
    mind.hear(*stream(1, 1, streaming=True), *ready(1), e.JobStopped(1))
    assert outcomes(mind.hear(e.Recorded(1, [FAILED]))) == {0: FAILED}


def test_a_worker_may_end_its_chunk_early() -> None:
    mind = Mind()
    mind.hear(*call(1, 3, chunksize=3), *ready(1))
    assert sent(mind.hear(*finish(1, DONE))) == [(1, 1, [1, 2])]


def test_a_job_is_done_only_when_its_last_chunk_has_ended() -> None:
    mind = Mind()
    mind.hear(*stream(1, 1), *ready(1), e.Recorded(1, [DONE]))
    assert mind.hear(e.JobSealed(1), e.JobStopped(1)) == []
    assert mind.hear(e.ChunkEnded(1, 0.001)) == [e.JobDone(1)]


def test_a_chunk_that_is_finished_but_not_ended_keeps_its_job_though_another_ends() -> None:
    mind = Mind(2)
    mind.hear(*call(1, 2), *ready(1, 2), e.Recorded(1, [DONE]))
    assert of(e.JobDone, mind.hear(*finish(2, DONE))) == []
    assert mind.hear(e.WorkerDied(1, -9, 1)) == [e.JobDone(1)]


# --- what nobody wants any more ---------------------------------------------------------------------------------------


def test_a_cancelled_item_is_dropped_while_it_waits() -> None:
    mind = Mind()
    mind.hear(*call(1), *call(2))
    assert mind.scheduler.knows(2)
    assert mind.hear(e.JobCancelled(2)) == [e.Resolve(2, (0,), [DROPPED], None), e.JobDone(2)]
    assert not mind.scheduler.knows(2)


def test_the_worker_for_a_cancelled_item_stays_for_the_next() -> None:
    mind = Mind()
    mind.hear(*call(1), e.JobCancelled(1))
    assert mind.hear(*ready(1)) == []
    assert sent(mind.hear(*call(2))) == [(1, 2, [0])]


def test_stopping_drops_what_waits_and_withdraws_what_has_not_begun() -> None:
    mind = Mind()
    mind.hear(*stream(1, 6, chunksize=4), *ready(1))
    orders = mind.hear(e.JobStopped(1))
    assert outcomes(orders) == {4: DROPPED, 5: DROPPED}
    assert of(e.Withdraw, orders) == [e.Withdraw(1)]
    orders = mind.hear(*finish(1, DONE))
    assert outcomes(orders) == {0: DONE, 1: DROPPED, 2: DROPPED, 3: DROPPED}
    assert of(e.JobDone, orders) == [e.JobDone(1)]


def test_stopping_a_job_leaves_the_chunks_of_others_alone() -> None:
    mind = Mind(2)
    mind.hear(*call(1, 2, chunksize=2), *call(2, 2, chunksize=2), *ready(1, 2))
    assert mind.hear(e.JobStopped(1)) == [e.Withdraw(1)]


def test_stopping_does_not_bother_a_worker_with_one_item() -> None:
    mind = Mind()
    mind.hear(*call(1), *ready(1))
    assert mind.hear(e.JobStopped(1)) == []


def test_a_crash_in_a_stopped_job_is_not_retried() -> None:
    mind = Mind()
    mind.hear(*call(1, 3, chunksize=3, retries=5), *ready(1), e.JobStopped(1))
    assert outcomes(mind.hear(e.WorkerDied(1, -9, 1))) == {0: e.Lost(1, -9, 1), 1: DROPPED, 2: DROPPED}


def test_an_item_of_a_stopped_job_that_no_worker_lives_to_begin_is_nobodys_fault() -> None:
    mind = Mind(max_unbegun_deaths=1)
    mind.hear(*call(1), *ready(1), e.JobStopped(1))
    assert outcomes(mind.hear(e.WorkerDied(1, -9, 0))) == {0: DROPPED}


def test_events_for_a_job_that_is_over_are_nothing() -> None:
    mind = Mind()
    mind.hear(*call(1), *ready(1), *finish(1, DONE))
    assert mind.hear(e.JobSealed(1), e.JobStopped(1), e.JobCancelled(1), e.ProcessStopped(1, kill=True)) == []


def test_items_offered_after_the_end_of_a_closed_stream_are_dropped() -> None:
    mind = Mind()
    mind.hear(*stream(1, 1, streaming=True), *ready(1), e.CloseAsked())
    assert outcomes(mind.hear(e.ItemsOffered(1, 2))) == {1: DROPPED, 2: DROPPED}


@pytest.mark.parametrize("last", [e.Recorded(1, [FAILED]), e.WorkerDied(1, -9, 1)])
def test_a_failure_ends_a_job_that_stops_on_failure(last: e.Event) -> None:
    mind = Mind(2)
    mind.hear(*stream(1, 9, chunksize=2, stop_on_failure=True), *ready(1, 2))
    orders = mind.hear(last)
    assert set(range(4, 9)) <= outcomes(orders).keys()
    assert e.Withdraw(2) in orders
    assert sent(mind.hear(*finish(2, DONE, DONE))) == []


@pytest.mark.parametrize("last", [e.Recorded(2, [FAILED]), e.WorkerDied(2, -9, 1)])
def test_a_job_that_stops_on_failure_is_stopped_once(last: e.Event) -> None:
    mind = Mind(3)
    mind.hear(*call(1, 9, chunksize=3, stop_on_failure=True), *ready(1, 2, 3), e.Recorded(1, [FAILED]))
    assert of(e.Withdraw, mind.hear(last)) == []


def test_a_failure_does_not_end_another_job() -> None:
    mind = Mind()
    mind.hear(*call(1, 3, chunksize=1), *ready(1))
    assert sent(mind.hear(*finish(1, FAILED))) == [(1, 1, [1])]


def test_what_a_worker_did_of_a_cancelled_job_was_work() -> None:
    mind = Mind()
    mind.now = 3.0
    mind.hear(*call(1), *ready(1), *finish(1, DONE, busy=1.0), *call(2))
    mind.now = 5.0
    mind.hear(e.JobCancelled(2))
    assert mind.scheduler.slots[1].busy == 3.0


# --- items that run too long ------------------------------------------------------------------------------------------


def late(mind: Mind, slot: int, begun: int, since: float) -> list[e.Order]:
    """Let an item be seen running twice; this is what is ordered after that."""
    assert mind.hear(looked(slot, begun, since)) == [e.Withdraw(slot), e.Look(slot)]
    return mind.hear(looked(slot, begun, since))


def test_an_item_with_a_limit_may_have_to_go_alone() -> None:
    mind = Mind(timed_alone=True)
    mind.hear(*call(1, 6, chunksize=3, timeout=5.0), *call(2, 6, chunksize=3))
    assert sent(mind.hear(*ready(1))) == [(1, 1, [0])]
    assert sent(mind.hear(*finish(1, DONE))) == [(1, 2, [0, 1, 2])]


def test_a_limit_that_is_kept_elsewhere_is_not_looked_after() -> None:
    mind = Mind(limits_elsewhere=True)
    mind.hear(*call(1, timeout=5.0), *ready(1))
    assert mind.scheduler.next_deadline() is None


def test_an_item_that_runs_too_long_is_stopped_step_by_step() -> None:
    mind = Mind(stack_look=0.01, kill_grace=2.0)
    mind.hear(*call(1, timeout=5.0), *ready(1))
    assert mind.at(4.9) == []
    assert mind.at(5.0) == [e.Look(1)]
    assert late(mind, 1, 1, 0.0) == [e.ShowStack(1)]
    assert mind.scheduler.next_deadline() == 5.01
    assert mind.at(5.01) == [e.Look(1)]
    assert mind.scheduler.next_deadline() is None
    assert mind.hear(looked(1, 1, 0.0, stack=True)) == [e.Terminate(1)]
    assert mind.at(7.01) == [e.Kill(1)]
    remains = e.Remains("a stack", "a cause")
    orders = mind.hear(e.WorkerDied(1, -9, 1, remains))
    assert orders == [e.Resolve(1, (0,), (e.TimedOut(1, 5.0, 1, remains),), 1), e.JobDone(1)]
    assert mind.scheduler.next_deadline() is None


def test_the_time_begins_with_the_item_and_not_with_its_chunk() -> None:
    mind = Mind()
    mind.hear(*call(1, timeout=5.0), *ready(1))
    mind.at(5.0)
    assert mind.hear(looked(1, 1, 3.0)) == []
    assert mind.scheduler.next_deadline() == 8.0
    assert mind.at(8.0) == [e.Look(1)]
    assert late(mind, 1, 1, 3.0) == [e.ShowStack(1)]


def test_to_start_and_to_wait_for_a_worker_take_no_item_s_time() -> None:
    mind = Mind()
    mind.hear(*call(1, 2, timeout=5.0))
    assert mind.scheduler.next_deadline() is None
    assert mind.at(100.0) == []
    mind.hear(*ready(1))
    assert mind.scheduler.next_deadline() == 105.0
    mind.now = 104.0
    mind.hear(*finish(1, DONE))
    assert mind.scheduler.next_deadline() == 109.0


@pytest.mark.parametrize("begun", [0, 1])
def test_an_item_that_does_not_run_yet_has_all_its_time_before_it(begun: int) -> None:
    mind = Mind()
    mind.hear(*call(1, timeout=5.0), *ready(1))
    for _ in range(3):  # its chunk was not taken, or its function is still being loaded
        assert mind.at(mind.now + 5.0) == [e.Look(1)]
        assert mind.hear(looked(1, begun, None)) == []
    assert mind.scheduler.next_deadline() == 20.0


def test_each_item_of_a_chunk_has_its_own_time() -> None:
    mind = Mind(look_after=100.0)
    mind.hear(*call(1, 3, chunksize=3, timeout=5.0), *ready(1))
    for second in (5.0, 9.0, 13.0):
        mind.at(second)
        assert mind.hear(looked(1, 2, second - 1.0)) == []
        assert mind.scheduler.next_deadline() == second + 4.0


def test_finished_neighbours_keep_their_results_and_the_others_move() -> None:
    mind = Mind()
    mind.hear(*call(1, 4, chunksize=4, timeout=5.0), *ready(1))
    mind.at(5.0)
    assert outcomes(mind.hear(e.Recorded(1, [DONE, FAILED]))) == {0: DONE, 1: FAILED}
    assert late(mind, 1, 3, 0.0) == [e.ShowStack(1)]
    orders = mind.hear(e.WorkerDied(1, -15, 3))
    assert outcomes(orders) == {2: e.TimedOut(1, 5.0, 1)}
    assert sent(mind.hear(*ready(1))) == [(1, 1, [3])]


def test_an_item_that_finishes_between_two_looks_is_not_blamed() -> None:
    mind = Mind()
    mind.hear(*call(1, 3, chunksize=3, timeout=5.0), *ready(1))
    mind.at(5.0)
    assert mind.hear(looked(1, 1, 0.0)) == [e.Withdraw(1), e.Look(1)]
    assert mind.hear(e.Recorded(1, [DONE]), looked(1, 1, None))[1:] == []
    assert sent(mind.hear(e.ChunkEnded(1, 5.0))) == [(1, 1, [1, 2])]


def test_the_next_item_has_its_own_time_though_it_began_before_the_second_look() -> None:
    mind = Mind()
    mind.hear(*call(1, 3, chunksize=3, timeout=5.0), *ready(1))
    mind.at(5.0)
    mind.hear(looked(1, 1, 0.0), e.Recorded(1, [DONE]))
    assert mind.hear(looked(1, 2, 4.9)) == []
    mind.at(9.9)
    # Its chunk is withdrawn already: one look is enough.
    assert mind.hear(looked(1, 2, 4.9)) == [e.ShowStack(1)]
    assert mind.scheduler.slots[1].expired == 1


def test_an_item_that_finished_while_it_was_looked_at_is_not_blamed() -> None:
    mind = Mind()
    mind.hear(*call(1, 2, chunksize=2, timeout=5.0), *ready(1))
    mind.at(5.0)
    assert mind.hear(e.Recorded(1, [DONE]), looked(1, 1, 0.0))[1:] == []


def test_a_limit_below_the_time_between_looks_is_looked_at_that_often() -> None:
    mind = Mind(limit_look=0.25)
    mind.hear(*call(1, timeout=0.125), *ready(1))
    looks = []
    while mind.now < 1:
        looks.append(mind.scheduler.next_deadline())
        assert mind.at(looks[-1] or 0.0) == [e.Look(1)]
        mind.hear(looked(1, 1, None))
    assert looks == [0.125, 0.375, 0.625, 0.875, 1.125]


def test_a_limit_is_looked_after_beside_the_news_of_a_chunk() -> None:
    mind = Mind(look_after=0.5)
    mind.hear(*call(1, 2, chunksize=2, timeout=1.0), *ready(1))
    looks = []
    while mind.now < 3.5:
        looks.append(mind.scheduler.next_deadline())
        assert mind.at(looks[-1] or 0.0) == [e.Look(1)]
        mind.hear(looked(1, 1, None))
    # Until the second, which tells of nothing that runs, the time was counted from the sending.
    assert looks == [0.5, 1.5, 2.5, 3.5]


def test_a_late_look_at_an_earlier_chunk_blames_nobody() -> None:
    mind = Mind()
    mind.hear(*call(1, 4, chunksize=2, timeout=5.0), *ready(1))
    mind.at(50.0)
    mind.hear(*finish(1, DONE, DONE))
    assert of(e.ShowStack, mind.hear(looked(1, 2, 0.0), looked(1, 0, None))) == []
    mind.hear(*finish(1, DONE, DONE))
    assert mind.hear(looked(1, 2, 0.0), looked(9, 2, 0.0)) == []


def test_a_look_means_nothing_without_a_limit() -> None:
    mind = Mind()
    mind.hear(*call(1, 2, chunksize=2), *ready(1))
    mind.now = 1000.0
    assert mind.hear(looked(1, 1, 0.0), looked(1, 1, 0.0)) == []


def test_a_stack_is_waited_for_only_so_long() -> None:
    mind = Mind(stack_look=0.125, stack_grace=0.25)
    mind.hear(*call(1, timeout=1.0), *ready(1))
    mind.at(1.0)
    late(mind, 1, 1, 0.0)
    assert mind.at(1.125) == [e.Look(1)]
    assert mind.hear(looked(1, 1, 0.0)) == []
    assert mind.scheduler.next_deadline() == 1.25
    assert mind.at(1.25) == [e.Look(1)]
    assert mind.hear(looked(1, 1, 0.0)) == [e.Terminate(1)]


def test_an_item_that_makes_an_exception_of_its_end_has_timed_out_and_shows_it() -> None:
    mind = stopped_for_time()
    orders = mind.hear(e.Recorded(1, [Failure(b"trace")]))
    timed_out = e.TimedOut(1, 1.0, 1, e.Remains(failure=Failure(b"trace")))
    assert orders == [e.Resolve(1, (0,), (timed_out,), 1)]
    assert mind.hear(e.ChunkEnded(1, 1.0)) == [e.Ask(1)]
    assert outcomes(mind.hear(e.WorkerDied(1, 0, 1))) == {}
    assert sent(mind.hear(*ready(1))) == [(1, 1, [1])]


def test_a_value_that_comes_late_counts() -> None:
    mind = stopped_for_time()
    assert outcomes(mind.hear(e.Recorded(1, [DONE]))) == {0: DONE}
    assert outcomes(mind.hear(e.WorkerDied(1, -15, 1))) == {}


def test_a_process_that_finishes_late_is_ended_all_the_same() -> None:
    mind = stopped_for_time(told=False)
    assert mind.hear(*finish(1, DONE))[-1] == e.Ask(1)
    assert mind.at(1.01) == [e.Look(1)]
    assert mind.hear(looked(1, 1, None, stack=True)) == [e.Terminate(1)]


def test_an_item_that_took_too_long_stops_a_job_that_stops_on_failure() -> None:
    mind = Mind()
    mind.hear(*call(1, 5, chunksize=2, timeout=1.0, stop_on_failure=True), *ready(1))
    mind.at(1.0)
    late(mind, 1, 1, 0.0)
    orders = mind.hear(e.WorkerDied(1, -9, 1))
    assert outcomes(orders) == {0: e.TimedOut(1, 1.0, 1)} | dict.fromkeys(range(1, 5), DROPPED)


def test_an_item_of_a_dedicated_process_has_its_limit_too() -> None:
    mind = Mind()
    mind.hear(*own(1, timeout=1.0), *ready(1))
    mind.at(1.0)
    assert late(mind, 1, 1, 0.0) == [e.ShowStack(1)]
    orders = mind.hear(e.WorkerDied(1, -9, 1))
    assert orders == [e.Resolve(1, (0,), (e.TimedOut(1, 1.0, 1),), 1), e.JobDone(1), e.ProcessOver(1, -9)]


def stopped_for_time(*, told: bool = True, **spec: Any) -> Mind:
    """Let item 0 of two in a chunk run too long, and its process be told to end."""
    mind = Mind(stack_look=0.01, kill_grace=2.0)
    mind.hear(*call(1, 2, chunksize=2, timeout=1.0, **spec), *ready(1))
    mind.at(1.0)
    late(mind, 1, 1, 0.0)
    if told:
        mind.at(1.01)
        assert mind.hear(looked(1, 1, 0.0, stack=True)) == [e.Terminate(1)]
    return mind


# --- what an engine deals with by itself ------------------------------------------------------------------------------

CRASHED, TOO_LONG = e.Lost(0, -9, 1), e.TimedOut(0, 5.0, 1)
"""As an engine tells of it: in no slot, and after one try."""


@pytest.mark.parametrize("told", [CRASHED, TOO_LONG])
def test_a_process_of_the_engine_s_costs_the_item_that_ran(told: e.Lost | e.TimedOut) -> None:
    mind = Mind()
    mind.hear(*call(1, 2, chunksize=2), *ready(1))
    assert mind.hear(e.Recorded(1, [told])) == [e.Resolve(1, [0], [attrs.evolve(told, slot=1)], 1)]
    assert outcomes(mind.hear(e.Recorded(1, [DONE]))) == {1: DONE}


@pytest.mark.parametrize(("told", "reason"), [(CRASHED, "crashed"), (TOO_LONG, "timed out")])
def test_what_an_engine_tells_is_tried_again_and_counted(told: e.Lost | e.TimedOut, reason: Reason) -> None:
    mind = Mind()
    mind.hear(*call(1, retries=1), *ready(1))
    assert mind.hear(e.Recorded(1, [told])) == [e.CountRetry(1, 1, 0, 1, reason)]
    assert sent(mind.hear(e.ChunkEnded(1, 0.1))) == [(1, 1, [0])]
    assert outcomes(mind.hear(e.Recorded(1, [told]))) == {0: attrs.evolve(told, slot=1, attempts=2)}


def test_an_item_that_an_engine_could_not_begin_is_not_tried_again() -> None:
    mind = Mind()
    mind.hear(*call(1, 2, chunksize=1, retries=3), *ready(1))
    assert outcomes(mind.hear(*finish(1, e.Lost(0, None, 0)))) == {0: e.Lost(1, None, 0)}
    mind.hear(*finish(1, e.Lost(0, -9, 1)))
    assert outcomes(mind.hear(*finish(1, e.Lost(0, None, 0)))) == {1: e.Lost(1, None, 1)}


# --- another try ------------------------------------------------------------------------------------------------------


def test_a_retriable_failure_is_tried_again_and_counted() -> None:
    mind = Mind()
    mind.hear(*call(1, retries=2), *ready(1))
    for _ in range(2):
        orders = mind.hear(e.Recorded(1, [AGAIN]))
        assert outcomes(orders) == {}
        assert sent(mind.hear(e.ChunkEnded(1, 0.1))) == [(1, 1, [0])]
    orders = mind.hear(e.Recorded(1, [AGAIN]))
    assert outcomes(orders) == {0: GAVE_UP}
    assert type(outcomes(orders)[0]) is Failure


def test_a_failure_of_another_kind_is_final() -> None:
    mind = Mind()
    mind.hear(*call(1, retries=2), *ready(1))
    assert outcomes(mind.hear(e.Recorded(1, [FAILED]))) == {0: FAILED}


def test_among_several_only_the_retriable_one_is_tried_again() -> None:
    mind = Mind()
    mind.hear(*call(1, 3, chunksize=3, retries=1), *ready(1))
    assert outcomes(mind.hear(e.Recorded(1, [DONE, AGAIN, FAILED]))) == {0: DONE, 2: FAILED}
    assert sent(mind.hear(e.ChunkEnded(1, 0.1))) == [(1, 1, [1])]


def test_an_item_may_be_tried_again_elsewhere_before_its_chunk_has_ended() -> None:
    mind = Mind(2)
    mind.hear(*call(1, 2, chunksize=2, retries=1), *call(2), *ready(1, 2), *finish(2, DONE))
    assert sent(mind.hear(e.Recorded(1, [AGAIN]))) == [(2, 1, [0])]
    assert mind.hear(*finish(2, DONE))[0] == e.Resolve(1, [0], [DONE], 2)


def test_what_is_tried_again_does_not_stop_a_job_that_stops_on_failure() -> None:
    mind = Mind()
    mind.hear(*call(1, 3, chunksize=1, retries=1, stop_on_failure=True), *ready(1))
    assert sent(mind.hear(*finish(1, AGAIN))) == [(1, 1, [0])]
    assert outcomes(mind.hear(*finish(1, AGAIN))) == {0: GAVE_UP, 1: DROPPED, 2: DROPPED}


def test_crashes_limits_and_failures_count_alike() -> None:
    mind = stopped_for_time(retries=2)
    assert outcomes(mind.hear(e.WorkerDied(1, -15, 1))) == {}
    assert sent(mind.hear(*ready(1))) == [(1, 1, [0, 1])]
    assert outcomes(mind.hear(e.WorkerDied(1, -11, 1))) == {}
    mind.hear(*ready(1))
    assert outcomes(mind.hear(e.Recorded(1, [AGAIN]))) == {0: GAVE_UP}


def test_an_item_that_takes_too_long_again_tells_how_often_it_was_begun() -> None:
    mind = stopped_for_time(retries=1)
    mind.hear(e.WorkerDied(1, -15, 1), *ready(1))
    mind.at(9.0)
    late(mind, 1, 1, 2.0)
    assert outcomes(mind.hear(e.WorkerDied(1, -9, 1))) == {0: e.TimedOut(1, 1.0, 2)}


def test_an_item_that_makes_a_retriable_exception_of_its_end_is_tried_again() -> None:
    mind = stopped_for_time(retries=1)
    assert outcomes(mind.hear(e.Recorded(1, [AGAIN]))) == {}
    mind.hear(e.ChunkEnded(1, 1.0), e.WorkerDied(1, 0, 1))
    assert sent(mind.hear(*ready(1))) == [(1, 1, [1, 0])]


def test_a_crash_of_another_item_in_the_next_process_is_a_crash() -> None:
    mind = stopped_for_time()
    mind.hear(e.WorkerDied(1, -15, 1), *ready(1))
    assert outcomes(mind.hear(e.WorkerDied(1, -11, 1))) == {1: e.Lost(1, -11, 1)}


# --- rest before another try ------------------------------------------------------------------------------------------

RESTING: dict[str, Any] = {"retries": 3, "backoff": Backoff((2.0,), 2.0)}


def test_an_item_rests_ever_longer() -> None:
    mind = Mind()
    mind.hear(*call(1, **RESTING), *ready(1))
    for until in (2.0, 6.0, 14.0):
        assert sent(mind.hear(*finish(1, AGAIN))) == []
        assert mind.scheduler.next_deadline() == until
        assert sent(mind.at(until - 0.1)) == []
        assert sent(mind.at(until)) == [(1, 1, [0])]


def test_a_crash_rests_too_and_its_neighbours_do_not() -> None:
    mind = Mind()
    mind.hear(*call(1, 3, chunksize=3, **RESTING), *ready(1), e.WorkerDied(1, -9, 1))
    assert sent(mind.hear(*ready(1))) == [(1, 1, [1, 2])]
    mind.hear(*finish(1, DONE, DONE))
    assert sent(mind.at(2.0)) == [(1, 1, [0])]


def test_what_has_rested_goes_first() -> None:
    mind = Mind()
    mind.hear(*call(1, 3, chunksize=1, **RESTING), *call(2), *ready(1), *finish(1, AGAIN))
    mind.at(2.0)
    assert sent(mind.hear(*finish(1, DONE))) == [(1, 1, [0])]


def test_other_items_run_while_one_rests() -> None:
    mind = Mind()
    mind.hear(*call(1, 2, chunksize=1, **RESTING), *ready(1))
    assert sent(mind.hear(*finish(1, AGAIN))) == [(1, 1, [1])]


def test_a_worker_is_started_for_an_item_that_has_rested() -> None:
    mind = Mind()
    mind.hear(*call(1, **RESTING), *ready(1))
    assert of(e.StartWorker, mind.hear(e.WorkerDied(1, -9, 1))) == []
    assert mind.at(2.0) == [e.StartWorker(1, "w-1")]


def test_the_earlier_of_all_deadlines_is_next() -> None:
    mind = Mind(2)
    mind.hear(*call(1, 2, chunksize=1, timeout=5.0, **RESTING), *ready(1, 2), *finish(1, AGAIN))
    assert mind.scheduler.next_deadline() == 2.0
    mind.at(2.0)
    assert mind.scheduler.next_deadline() == 5.0


def test_what_rests_is_dropped_with_its_job() -> None:
    for event in (e.JobStopped(1), e.JobCancelled(1), e.TerminateAsked()):
        mind = Mind()
        mind.hear(*call(1, **RESTING), *ready(1), *finish(1, AGAIN))
        orders = mind.hear(event)
        assert orders[:2] == [e.Resolve(1, (0,), [DROPPED], None), e.JobDone(1)]
        assert of(e.Send, mind.at(2.0)) == []


def test_what_rests_is_dropped_if_the_group_breaks() -> None:
    mind = Mind(2)
    mind.hear(*call(1, **RESTING), *ready(1), *finish(1, AGAIN), *call(2, 2))
    assert outcomes(mind.hear(e.SetupFailed(2, FAILED)))[0] == DROPPED


def test_closing_waits_for_what_rests() -> None:
    mind = Mind()
    mind.hear(*call(1, **RESTING), *ready(1), *finish(1, AGAIN), e.CloseAsked(), e.WorkerDied(1, 0, 0))
    assert not mind.scheduler.finished
    assert mind.at(2.0) == [e.StartWorker(1, "w-1")]
    mind.hear(*ready(1), *finish(1, DONE), e.WorkerDied(1, 0, 0))
    assert mind.scheduler.finished


def test_a_worker_may_be_due_before_an_item_that_rests() -> None:
    mind = Mind(2)
    mind.hear(*call(1, 2, chunksize=1, timeout=1.0, **RESTING), *ready(1, 2), *finish(1, AGAIN))
    assert mind.scheduler.next_deadline() == 1.0


def test_a_stream_that_rests_is_busy() -> None:
    mind = Mind()
    mind.hear(*stream(1, 1, streaming=True, **RESTING), *ready(1), *finish(1, AGAIN))
    assert not mind.scheduler.unoccupied


def test_a_dedicated_process_starts_again_when_its_item_has_rested() -> None:
    mind = Mind()
    mind.hear(*own(1, **RESTING), *ready(1))
    assert mind.hear(e.WorkerDied(1, -9, 1)) == [e.CountRetry(1, 1, 0, 1, "crashed")]
    assert not mind.scheduler.unoccupied
    assert mind.at(2.0) == [e.StartWorker(1, "own")]
    assert sent(mind.hear(*ready(1))) == [(1, 1, [0])]


def test_a_dedicated_process_that_outlives_its_item_s_rest_is_followed_by_the_next() -> None:
    mind = Mind()
    mind.hear(*own(1, **RESTING), *ready(1), *finish(1, AGAIN))
    assert mind.at(2.0) == []
    assert mind.hear(e.WorkerDied(1, 1, 1)) == [e.StartWorker(1, "own")]


@pytest.mark.parametrize("last", [[], [e.Finalized(1, None)]])
def test_another_try_waits_for_the_threads_that_a_dedicated_process_has_left_running(last: list[e.Event]) -> None:
    mind = Mind(finalizes=bool(last))
    mind.hear(*own(1, retries=1), *ready(1), *finish(1, AGAIN), *last)
    assert mind.scheduler.next_deadline() is None
    assert mind.hear(e.WorkerDied(1, 0, 1)) == [e.StartWorker(1, "own")]


def test_the_user_ends_a_process_whose_item_rests() -> None:
    mind = Mind()
    mind.hear(*own(1, **RESTING), *ready(1), e.WorkerDied(1, -9, 1))
    orders = mind.hear(e.ProcessStopped(1, kill=False))
    assert orders == [e.Resolve(1, (0,), [e.Lost(1, -9, 1)], 1), e.JobDone(1), e.ProcessOver(1, -9)]
    assert mind.scheduler.next_deadline() is None
    assert mind.scheduler.unoccupied


def test_the_user_ends_a_process_whose_item_rests_before_it_has_ended_itself() -> None:
    mind = Mind()
    mind.hear(*own(1, **RESTING), *ready(1), *finish(1, AGAIN))
    assert mind.hear(e.ProcessStopped(1, kill=True)) == [e.Kill(1)]
    assert outcomes(mind.hear(e.WorkerDied(1, -9, 1))) == {0: e.Lost(1, -9, 1)}


@pytest.mark.parametrize("last", [e.TerminateAsked(), e.SetupFailed(2, FAILED)])
def test_the_end_of_the_group_ends_a_dedicated_process_whose_item_rests(last: e.Event) -> None:
    mind = Mind()
    mind.hear(*own(1, **RESTING), *ready(1), e.WorkerDied(1, -9, 1), *call(2))
    orders = mind.hear(last)
    assert e.ProcessOver(1, -9) in orders
    assert outcomes(orders) == {0: DROPPED}


@pytest.mark.parametrize("last", [e.TerminateAsked(), e.SetupFailed(2, FAILED)])
@pytest.mark.parametrize("ended", [False, True])
def test_a_dedicated_process_whose_item_rests_is_over_only_when_it_is_gone(last: e.Event, ended: bool) -> None:
    mind = Mind()
    events = finish(1, AGAIN) if ended else [e.Recorded(1, [AGAIN])]
    mind.hear(*own(1, **RESTING), *ready(1), *events, *call(2))
    assert of(e.ProcessOver, mind.hear(last)) == []
    assert of(e.ProcessOver, mind.hear(e.WorkerDied(1, -15, 1))) == [e.ProcessOver(1, -15)]


# --- cancelling what runs ---------------------------------------------------------------------------------------------


def test_an_item_that_runs_is_cancelled_with_its_process() -> None:
    mind = Mind(kill_grace=2.0)
    mind.hear(*call(1), *ready(1))
    assert mind.hear(e.JobCancelled(1)) == [e.Resolve(1, range(1), [DROPPED], None), e.JobDone(1), e.Terminate(1)]
    assert mind.at(2.0) == [e.Kill(1)]
    assert mind.hear(e.WorkerDied(1, -9, 1)) == []


def test_the_next_item_waits_for_the_place_of_a_cancelled_one() -> None:
    mind = Mind()
    mind.hear(*call(1), *ready(1), *call(2), e.JobCancelled(1))
    assert mind.hear(e.WorkerDied(1, -15, 1)) == [e.StartWorker(1, "w-1")]
    assert sent(mind.hear(*ready(1))) == [(1, 2, [0])]


def test_what_a_cancelled_item_still_tells_is_of_no_interest() -> None:
    mind = Mind()
    mind.hear(*call(1, 3, chunksize=3, retries=1), *ready(1))
    assert outcomes(mind.hear(e.Recorded(1, [DONE]), e.JobCancelled(1))) == {0: DONE, 1: DROPPED, 2: DROPPED}
    for event in (e.Recorded(1, [AGAIN]), e.Recorded(1, [FAILED]), looked(1, 3, 0.0), e.WorkerDied(1, -15, 3)):
        assert mind.hear(event) == []
    assert mind.scheduler.slots[1].finished == 1


def test_a_cancelled_item_that_makes_something_else_of_its_end_lets_its_process_be_asked() -> None:
    mind = Mind(kill_grace=2.0)
    mind.hear(*call(1), *ready(1), e.JobCancelled(1))
    assert mind.hear(*finish(1, DONE)) == [e.Ask(1)]
    assert mind.at(2.0) == [e.Kill(1)]


def test_all_chunks_of_a_cancelled_job_are_stopped() -> None:
    mind = Mind(2)
    mind.hear(*call(1, 9, chunksize=2), *ready(1, 2))
    orders = mind.hear(e.JobCancelled(1))
    assert outcomes(orders) == dict.fromkeys(range(9), DROPPED)
    assert of(e.Terminate, orders) == [e.Terminate(1), e.Terminate(2)]
    assert of(e.JobDone, orders) == [e.JobDone(1)]


def test_an_item_that_is_being_stopped_for_its_time_can_be_cancelled() -> None:
    mind = stopped_for_time()
    orders = mind.hear(e.JobCancelled(1))
    assert outcomes(orders) == {0: DROPPED, 1: DROPPED}
    assert mind.at(3.0) == []
    assert mind.at(3.01) == [e.Kill(1)]
    assert mind.hear(e.WorkerDied(1, -9, 1)) == []


def test_an_item_whose_stack_is_waited_for_can_be_cancelled() -> None:
    mind = stopped_for_time(told=False)
    assert of(e.Terminate, mind.hear(e.JobCancelled(1))) == [e.Terminate(1)]
    assert mind.hear(looked(1, 1, 0.0, stack=True)) == []
    assert mind.at(3.0) == [e.Kill(1)]


# --- recycling --------------------------------------------------------------------------------------------------------


def test_a_process_is_replaced_after_so_many_items() -> None:
    mind = Mind(max_tasks=2)
    mind.hear(*call(1, 3, chunksize=1), *ready(1))
    assert sent(mind.hear(*finish(1, DONE))) == [(1, 1, [1])]
    assert mind.hear(*finish(1, DONE))[1:] == [e.Ask(1)]
    assert mind.hear(e.WorkerDied(1, 0, 1)) == [e.StartWorker(1, "w-1")]
    assert sent(mind.hear(*ready(1))) == [(1, 1, [2])]


def test_a_chunk_is_no_larger_than_what_is_left_of_a_process() -> None:
    mind = Mind(max_tasks=5)
    orders = sent(mind.hear(*call(1, 12, chunksize=3), *ready(1)))
    orders += sent(mind.hear(*finish(1, DONE, DONE, DONE)))
    mind.hear(*finish(1, DONE, DONE), e.WorkerDied(1, 0, 2))
    orders += sent(mind.hear(*ready(1)))
    assert [items for _, _, items in orders] == [[0, 1, 2], [3, 4], [5, 6, 7]]


def test_only_what_a_process_has_run_is_counted() -> None:
    mind = Mind(max_tasks=3)
    mind.hear(*call(1, 9, chunksize=3), *ready(1))
    assert sent(mind.hear(*finish(1, DONE))) == [(1, 1, [1, 2])]
    assert mind.hear(*finish(1, FAILED, DONE))[1:] == [e.Ask(1)]


def test_a_process_that_is_worn_is_replaced_when_there_is_work() -> None:
    mind = Mind()
    mind.hear(*call(1), *ready(1))
    assert mind.hear(e.Recorded(1, [DONE]), e.ChunkEnded(1, 0.1, worn=True))[2:] == [e.Ask(1)]
    assert mind.hear(e.WorkerDied(1, 0, 1)) == []
    assert mind.hear(*call(2)) == [e.StartWorker(1, "w-1")]


def test_a_worn_process_hands_back_what_it_has_not_begun() -> None:
    mind = Mind()
    mind.hear(*call(1, 3, chunksize=3), *ready(1), e.Recorded(1, [DONE]), e.ChunkEnded(1, 0.1, worn=True))
    mind.hear(e.WorkerDied(1, 0, 1))
    assert sent(mind.hear(*ready(1))) == [(1, 1, [1, 2])]


def test_a_process_that_is_to_be_replaced_is_not_waited_for_without_end() -> None:
    mind = Mind(max_tasks=1, stop_grace=5.0, kill_grace=2.0)
    mind.hear(*call(1, 2), *ready(1), *finish(1, DONE))
    assert mind.at(5.0) == [e.Terminate(1)]
    assert mind.at(7.0) == [e.Kill(1)]


def test_a_dedicated_process_is_not_recycled_but_over() -> None:
    mind = Mind(max_tasks=1)
    mind.hear(*own(1), *ready(1))
    assert mind.hear(e.Recorded(1, [DONE]), e.ChunkEnded(1, 0.1, worn=True))[2:] == [e.Ask(1)]
    assert mind.scheduler.next_deadline() is None


# --- finalizers -------------------------------------------------------------------------------------------------------


def test_a_finalizer_takes_as_long_as_it_takes() -> None:
    mind = Mind(finalizes=True, stop_grace=5.0, kill_grace=2.0)
    mind.hear(*call(1), *ready(1), *finish(1, DONE), e.CloseAsked())
    assert mind.phase(1) is Phase.ENDING
    assert mind.scheduler.next_deadline() is None
    mind.now = 100.0
    assert mind.hear(e.Finalized(1, None)) == []
    assert mind.at(105.0) == [e.Terminate(1)]
    assert mind.at(107.0) == [e.Kill(1)]


def test_a_finalizer_that_fails_is_told() -> None:
    mind = Mind(finalizes=True)
    mind.hear(*call(1), *ready(1), *finish(1, DONE), e.CloseAsked())
    assert mind.hear(e.Finalized(1, FAILED)) == [e.FinalizerFailed(1, FAILED)]


def test_terminating_hurries_a_finalizer() -> None:
    mind = Mind(finalizes=True, stop_grace=5.0, kill_grace=2.0)
    mind.hear(*call(1), *ready(1), *finish(1, DONE), e.CloseAsked())
    assert mind.hear(e.TerminateAsked()) == [e.Terminate(1)]
    assert mind.hear(e.Finalized(1, None)) == []
    assert mind.at(2.0) == [e.Kill(1)]


def test_a_process_that_is_replaced_has_time_for_its_finalizer() -> None:
    mind = Mind(finalizes=True, max_tasks=1)
    assert mind.hear(*call(1, 2), *ready(1), *finish(1, DONE))[-1] == e.Ask(1)
    assert mind.scheduler.next_deadline() is None


def test_a_dedicated_process_may_outlive_its_finalizer() -> None:
    mind = Mind(finalizes=True)
    mind.hear(*own(1), *ready(1), *finish(1, DONE))
    assert mind.hear(e.Finalized(1, FAILED)) == [e.FinalizerFailed(1, FAILED)]
    assert mind.scheduler.next_deadline() is None


# --- processes of their own -------------------------------------------------------------------------------------------


def test_a_dedicated_process_is_named_and_comes_on_top() -> None:
    mind = Mind()
    mind.hear(*call(1), *ready(1))
    assert mind.hear(*own(2)) == [e.StartWorker(2, "own")]
    assert mind.hear(*ready(2)) == [e.Send(2, 2, range(1))]
    assert mind.hear(*finish(2, DONE)) == [e.Resolve(2, range(1), (DONE,), 2), e.JobDone(2), e.Ask(2)]
    assert mind.hear(e.WorkerDied(2, 0, 0)) == [e.ProcessOver(2, 0)]


def test_a_dedicated_process_serves_nobody_else() -> None:
    mind = Mind()
    mind.hear(*own(1), *ready(1))
    assert mind.hear(*call(2)) == [e.StartWorker(2, "w-1")]
    assert sent(mind.hear(*finish(1, DONE))) == []


def test_a_dedicated_process_may_outlive_its_item() -> None:
    mind = Mind()
    mind.hear(*own(1), *ready(1), *finish(1, DONE), e.CloseAsked())
    assert mind.scheduler.next_deadline() is None
    assert not mind.scheduler.unoccupied
    assert not mind.scheduler.finished


def test_the_outcome_is_known_before_the_process_is_over() -> None:
    mind = Mind()
    mind.hear(*own(1), *ready(1))
    orders = mind.hear(e.WorkerDied(1, -11, 1))
    assert orders == [e.Resolve(1, (0,), (e.Lost(1, -11, 1),), 1), e.JobDone(1), e.ProcessOver(1, -11)]


def test_a_dedicated_process_that_runs_goes_on_when_nothing_more_of_its_job_is_wanted() -> None:
    mind = Mind()
    mind.hear(*own(1), *ready(1))
    assert mind.hear(e.JobStopped(1)) == []
    assert outcomes(mind.hear(*finish(1, DONE))) == {0: DONE}


@pytest.mark.parametrize("before", [[], ready(1)])
def test_a_dedicated_process_that_dies_before_its_item_begins_starts_again(before: list[e.Event]) -> None:
    mind = Mind()
    mind.hear(*own(1), *before)
    assert mind.hear(e.WorkerDied(1, -9, 0)) == [e.StartWorker(1, "own")]


def test_a_dedicated_process_starts_again_for_a_retry() -> None:
    mind = Mind()
    mind.hear(*own(1, retries=1), *ready(1))
    counted = e.CountRetry(1, 1, 0, 1, "crashed")
    assert mind.hear(e.WorkerDied(1, -9, 1)) == [counted, e.StartWorker(1, "own")]
    assert outcomes(mind.hear(*ready(1), e.WorkerDied(1, -9, 1))) == {0: e.Lost(1, -9, 2)}


def test_a_dedicated_process_that_never_lives_to_begin_is_given_up() -> None:
    mind = Mind(max_unbegun_deaths=2)
    mind.hear(*own(1), *ready(1), e.WorkerDied(1, -9, 0))
    orders = mind.hear(*ready(1), e.WorkerDied(1, -9, 0))
    assert orders[1:] == [e.Resolve(1, (0,), (e.Lost(1, -9, 0),), 1), e.JobDone(1), e.ProcessOver(1, -9)]


@pytest.mark.parametrize(("kill", "order"), [(False, e.Terminate(1)), (True, e.Kill(1))])
def test_the_user_ends_a_process_that_runs(kill: bool, order: e.Order) -> None:
    mind = Mind()
    mind.hear(*own(1, retries=3), *ready(1))
    assert mind.hear(e.ProcessStopped(1, kill)) == [order]
    assert outcomes(mind.hear(e.WorkerDied(1, -15, 1))) == {0: e.Lost(1, -15, 1)}
    assert mind.scheduler.unoccupied


def test_the_user_ends_a_process_that_is_not_ready() -> None:
    mind = Mind(max_failed_starts=1)
    mind.hear(*own(1))
    assert mind.hear(e.ProcessStopped(1, kill=False)) == [e.Terminate(1)]
    orders = mind.hear(e.WorkerDied(1, None, 0))
    assert orders == [e.Resolve(1, (0,), [e.Lost(1, None, 0)], 1), e.JobDone(1), e.ProcessOver(1, None)]


def test_a_process_that_ignored_its_end_while_it_started_is_asked_to_end() -> None:
    mind = Mind()
    mind.hear(*own(1), e.ProcessStopped(1, kill=False))
    assert mind.hear(*ready(1)) == [e.Ask(1)]


def test_a_process_that_ignores_its_end_may_finish() -> None:
    mind = Mind()
    mind.hear(*own(1), *ready(1), e.ProcessStopped(1, kill=False))
    assert outcomes(mind.hear(*finish(1, DONE))) == {0: DONE}
    assert mind.hear(e.WorkerDied(1, 0, 0)) == [e.ProcessOver(1, 0)]


def test_the_user_ends_a_process_whose_item_makes_a_retriable_exception_of_that() -> None:
    mind = Mind()
    mind.hear(*own(1, retries=3), *ready(1), e.ProcessStopped(1, kill=False))
    assert outcomes(mind.hear(*finish(1, AGAIN))) == {0: GAVE_UP}
    assert mind.hear(e.WorkerDied(1, 0, 1)) == [e.ProcessOver(1, 0)]


def test_the_user_ends_a_process_that_is_to_start_again() -> None:
    mind = Mind()
    mind.hear(*own(1, retries=1), *ready(1), e.WorkerDied(1, -9, 1))
    assert mind.hear(e.ProcessStopped(1, kill=True)) == [e.Kill(1)]
    assert outcomes(mind.hear(e.WorkerDied(1, None, 0))) == {0: e.Lost(1, None, 1)}


# --- closing ----------------------------------------------------------------------------------------------------------


def test_closing_ends_idle_workers_at_once() -> None:
    mind = Mind()
    mind.hear(*call(1), *ready(1), *finish(1, DONE))
    assert mind.hear(e.CloseAsked()) == [e.Ask(1)]
    assert not mind.scheduler.finished
    assert mind.hear(e.WorkerDied(1, 0, 0)) == []
    assert mind.scheduler.finished


def test_closing_ends_workers_that_nobody_needs_any_more_before_they_are_ready() -> None:
    mind = Mind(3)
    mind.hear(*call(1, 3), *ready(1), *finish(1, DONE), *finish(1, DONE))
    assert of(e.Kill, mind.hear(e.CloseAsked())) == []  # one item is still running
    assert of(e.Kill, mind.hear(*finish(1, DONE))) == [e.Kill(2), e.Kill(3)]
    assert mind.hear(*ready(2)) == [e.Ask(2)]  # it became ready just before
    mind.hear(e.WorkerDied(1, 0, 0), e.WorkerDied(2, -9, 0), e.WorkerDied(3, -9, 0))
    assert mind.scheduler.finished


@pytest.mark.parametrize("which", ["initializes", "finalizes"])
def test_closing_waits_for_workers_that_have_something_to_do_at_their_start_or_end(which: str) -> None:
    mind = Mind(2, **{which: True})
    mind.hear(*call(1, 2), *ready(1), *finish(1, DONE), *finish(1, DONE))
    assert of(e.Kill, mind.hear(e.CloseAsked())) == []
    assert mind.hear(*ready(2)) == [e.Ask(2)]


def test_closing_ends_a_worker_whose_last_chunk_could_have_been_shared() -> None:
    mind = Mind()
    mind.hear(*call(1, 5), *ready(1), *finish(1, DONE), *finish(1, DONE, DONE), *finish(1, DONE), *finish(1, DONE))
    assert mind.hear(e.CloseAsked()) == [e.Ask(1)]


def test_closing_without_any_work_is_finished() -> None:
    mind = Mind()
    assert not mind.scheduler.finished
    assert mind.hear(e.CloseAsked()) == []
    assert mind.scheduler.finished


def test_closing_waits_for_the_work() -> None:
    mind = Mind()
    mind.hear(*call(1, 2, chunksize=1), *ready(1))
    assert mind.hear(e.CloseAsked()) == []
    assert sent(mind.hear(*finish(1, DONE))) == [(1, 1, [1])]
    assert mind.hear(*finish(1, DONE))[-1] == e.Ask(1)


def test_closing_does_not_wait_for_a_consumer() -> None:
    mind = Mind()
    mind.hear(*stream(1, 1, streaming=True), *ready(1))
    assert mind.hear(e.CloseAsked()) == []
    assert mind.hear(*finish(1, DONE))[1:] == [e.JobDone(1), e.Ask(1)]


def test_closing_waits_for_the_items_that_a_stream_has_taken() -> None:
    mind = Mind()
    mind.hear(*stream(1, 3, chunksize=1, streaming=True), *ready(1), e.CloseAsked())
    orders = [order for _ in range(3) for order in mind.hear(*finish(1, DONE))]
    assert outcomes(orders) == dict.fromkeys(range(3), DONE)
    assert orders[-1] == e.Ask(1)


def test_closing_waits_for_the_rest_of_a_map() -> None:
    mind = Mind()
    mind.hear(*stream(1, 1), *ready(1), e.CloseAsked(), *finish(1, DONE))
    assert sent(mind.hear(e.ItemsOffered(1, 1))) == [(1, 1, [1])]
    mind.hear(*finish(1, DONE))
    assert mind.hear(e.JobSealed(1)) == [e.JobDone(1), e.Ask(1)]


def test_a_worker_that_becomes_ready_too_late_is_asked_to_end() -> None:
    mind = Mind()
    mind.hear(*call(1), e.JobStopped(1), e.CloseAsked())
    assert mind.hear(*ready(1)) == [e.Ask(1)]


def test_a_crash_while_closing_is_made_good() -> None:
    mind = Mind()
    mind.hear(*call(1, 2, chunksize=2), *ready(1), e.CloseAsked())
    assert e.StartWorker(1, "w-1") in mind.hear(e.WorkerDied(1, -9, 1))


def test_the_ladder_ask_terminate_kill() -> None:
    mind = Mind(stop_grace=5.0, kill_grace=2.0)
    mind.hear(*call(1), *ready(1), *finish(1, DONE), e.CloseAsked())
    assert mind.at(4.9) == []
    assert mind.at(5.0) == [e.Terminate(1)]
    assert mind.at(6.9) == []
    assert mind.at(7.0) == [e.Kill(1)]
    assert mind.scheduler.next_deadline() is None


def test_a_worker_that_ends_in_time_is_left_alone() -> None:
    mind = Mind()
    mind.hear(*call(1), *ready(1), *finish(1, DONE), e.CloseAsked(), e.WorkerDied(1, 0, 0))
    assert mind.scheduler.next_deadline() is None
    assert mind.at(100.0) == []


# --- terminating ------------------------------------------------------------------------------------------------------


def test_terminating_ends_all_and_drops_what_had_begun() -> None:
    mind = Mind(2)
    mind.hear(*call(1, 3, retries=2), *ready(1), *own(2))
    orders = mind.hear(e.TerminateAsked())
    assert of(e.Terminate, orders) == [e.Terminate(1), e.Terminate(2), e.Terminate(3)]
    assert outcomes(mind.hear(e.WorkerDied(1, -15, 1))) == {0: DROPPED}
    mind.hear(e.WorkerDied(2, -15, 0), e.WorkerDied(3, -15, 0))
    assert mind.scheduler.finished


def test_a_result_that_came_before_the_end_counts() -> None:
    mind = Mind()
    mind.hear(*call(1, 2, chunksize=2), *ready(1), e.TerminateAsked())
    assert outcomes(mind.hear(e.Recorded(1, [DONE]), e.WorkerDied(1, -15, 2))) == {0: DONE, 1: DROPPED}


def test_terminating_kills_in_the_end() -> None:
    mind = Mind(kill_grace=2.0)
    mind.hear(*call(1), *ready(1), e.TerminateAsked())
    assert mind.at(2.0) == [e.Kill(1)]


def test_terminating_ends_an_idle_worker_and_nothing_puts_that_off() -> None:
    mind = Mind(kill_grace=2.0)
    mind.hear(*call(1), *ready(1), *finish(1, DONE))
    assert mind.hear(e.TerminateAsked()) == [e.Terminate(1)]
    assert mind.at(2.0) == [e.Kill(1)]


def test_terminating_has_nothing_to_do_for_a_worker_that_is_gone() -> None:
    mind = Mind()
    mind.hear(*call(1), *ready(1), *finish(1, DONE), e.WorkerDied(1, -9, 0))
    assert mind.hear(e.TerminateAsked()) == []
    assert mind.scheduler.finished


def test_terminating_twice_is_terminating_once() -> None:
    mind = Mind()
    mind.hear(*call(1), *ready(1), e.TerminateAsked())
    assert mind.hear(e.TerminateAsked(), e.CloseAsked()) == []


def test_terminating_a_second_time_puts_nothing_off() -> None:
    mind = Mind(kill_grace=2.0)
    mind.hear(*call(1), *ready(1), e.TerminateAsked())
    mind.now = 1.5
    mind.hear(e.TerminateAsked())
    assert mind.at(2.0) == [e.Kill(1)]


def test_terminating_does_not_put_off_what_is_due_for_an_item_that_took_too_long() -> None:
    mind = stopped_for_time()
    mind.now = 2.0
    assert mind.hear(e.TerminateAsked()) == [e.Terminate(1)]
    assert mind.at(3.0) == []
    assert mind.at(3.01) == [e.Kill(1)]
    assert outcomes(mind.hear(e.WorkerDied(1, -9, 1))) == {0: DROPPED, 1: DROPPED}


def test_terminating_does_not_wait_for_a_stack() -> None:
    mind = stopped_for_time(told=False)
    assert mind.hear(e.TerminateAsked()) == [e.Terminate(1)]
    assert mind.hear(looked(1, 1, 0.0, stack=False)) == []
    assert mind.at(3.0) == [e.Kill(1)]


@pytest.mark.parametrize("retries", [0, 1])
def test_what_an_item_makes_of_being_terminated_is_no_failure_of_its_own(retries: int) -> None:
    mind = Mind()
    mind.hear(*call(1, 3, chunksize=3, retries=retries), *ready(1), e.TerminateAsked())
    assert outcomes(mind.hear(e.Recorded(1, [DONE, FAILED]))) == {0: DONE, 1: DROPPED}
    assert outcomes(mind.hear(e.Recorded(1, [AGAIN]))) == {2: DROPPED}
    assert mind.hear(e.ChunkEnded(1, 0.1)) == [e.JobDone(1), e.Ask(1)]


def test_terminating_hurries_a_worker_that_was_asked() -> None:
    mind = Mind(stop_grace=5.0, kill_grace=2.0)
    mind.hear(*call(1), *ready(1), *finish(1, DONE), e.CloseAsked())
    assert mind.hear(e.TerminateAsked()) == [e.Terminate(1)]
    assert mind.at(2.0) == [e.Kill(1)]


def test_a_setup_that_fails_while_terminating_gains_no_time() -> None:
    mind = Mind(stop_grace=5.0, kill_grace=2.0)
    mind.hear(*call(1), e.TerminateAsked(), e.SetupFailed(1, FAILED))
    assert mind.at(2.0) == [e.Kill(1)]


def test_after_terminating_nothing_is_taken() -> None:
    mind = Mind()
    mind.hear(e.TerminateAsked())
    assert mind.hear(*call(1)) == [e.Resolve(1, range(1), [DROPPED], None), e.JobDone(1)]
    assert of(e.ProcessOver, mind.hear(*own(2))) == [e.ProcessOver(2, None)]
    assert mind.scheduler.finished


def test_a_stream_that_is_opened_after_terminating_is_waited_for() -> None:
    mind = Mind()
    mind.hear(e.TerminateAsked(), e.JobOpened(1, e.JobSpec(streaming=True)))
    assert not mind.scheduler.finished
    assert mind.hear(e.JobSealed(1)) == [e.JobDone(1)]
    assert mind.scheduler.finished


def test_what_is_forgotten_needs_nothing_more() -> None:
    mind = Mind()
    mind.hear(*call(1, 2, timeout=1.0), *own(2), *ready(1), e.TerminateAsked())
    mind.scheduler.forget_all()
    assert mind.scheduler.finished
    assert not mind.scheduler.knows(1)
    assert mind.scheduler.next_deadline() is None
    assert mind.scheduler.slot_of(1) is None
    assert [slot.phase for slot in mind.scheduler.slots.values()] == [Phase.GONE]


# --- starts that fail -------------------------------------------------------------------------------------------------


def test_the_group_gives_up_after_some_failed_starts() -> None:
    mind = Mind(max_failed_starts=3)
    mind.hear(*call(1))
    for _ in range(2):
        assert mind.hear(e.WorkerDied(1, 1, 0)) == [e.StartWorker(1, "w-1")]
    orders = mind.hear(e.WorkerDied(1, 1, 0))
    assert orders == [e.Broken(1, None, 1, ""), e.Resolve(1, (0,), [DROPPED], None), e.JobDone(1)]


@pytest.mark.parametrize(("exitcode", "broken"), [(0, True), (1, True), (None, True), (-1, False), (-9, False)])
def test_a_start_has_failed_if_its_process_ended_by_itself(exitcode: int | None, broken: bool) -> None:
    mind = Mind(max_failed_starts=1)
    mind.hear(*call(1))
    assert bool(of(e.Broken, mind.hear(e.WorkerDied(1, exitcode, 0)))) is broken


def test_starts_that_were_killed_are_borne_longer() -> None:
    mind = Mind(max_failed_starts=1, max_killed_starts=3)
    mind.hear(*call(1))
    assert of(e.Broken, mind.hear(*[e.WorkerDied(1, -9, 0)] * 2)) == []
    assert of(e.Broken, mind.hear(e.WorkerDied(1, -9, 0))) == [e.Broken(1, None, -9, "")]


def test_a_start_that_works_makes_up_for_those_before() -> None:
    mind = Mind(max_failed_starts=2)
    mind.hear(*call(1), e.WorkerDied(1, 1, 0), *ready(1), e.WorkerDied(1, -9, 0))
    assert of(e.Broken, mind.hear(e.WorkerDied(1, 1, 0))) == []


def test_a_failed_setup_breaks_the_group_at_once() -> None:
    mind = Mind(stop_grace=5.0, kill_grace=2.0)
    mind.hear(*call(1))
    assert of(e.Broken, mind.hear(e.SetupFailed(1, FAILED))) == [e.Broken(1, FAILED, None, "")]
    assert mind.at(5.0) == [e.Terminate(1)]
    assert mind.at(7.0) == [e.Kill(1)]
    assert mind.hear(e.WorkerDied(1, -9, 0)) == []


def test_a_group_breaks_only_once_and_lets_finish_what_runs() -> None:
    mind = Mind(3)
    mind.hear(*call(1, 4), *ready(1))
    mind.hear(e.SetupFailed(2, FAILED))
    assert of(e.Broken, mind.hear(e.SetupFailed(3, FAILED))) == []
    orders = mind.hear(*finish(1, DONE))
    assert outcomes(orders) == {0: DONE}
    assert orders[-1] == e.Ask(1)


def test_a_broken_group_lets_idle_workers_go_though_others_have_work_that_they_could_share() -> None:
    mind = Mind(2, max_failed_starts=1)
    mind.hear(*stream(1, 2), *ready(1, 2), *finish(1, DONE, busy=1e-6), *finish(2, DONE, busy=1e-6))
    assert sent(mind.hear(e.ItemsOffered(1, 2))) == [(2, 1, [2, 3])]
    mind.hear(*own(2))
    assert e.Ask(1) in mind.hear(e.WorkerDied(3, 1, 0))


def test_a_broken_group_takes_nothing() -> None:
    mind = Mind()
    mind.hear(*call(1), e.SetupFailed(1, FAILED), e.WorkerDied(1, 0, 0))
    assert outcomes(mind.hear(*call(2))) == {0: DROPPED}
    assert of(e.StartWorker, mind.hear(*own(3))) == []


def test_a_refused_process_leaves_the_group_with_those_it_has() -> None:
    mind = Mind(4)
    mind.hear(*call(1, 8, chunksize=1), *ready(1, 2))
    assert mind.hear(e.LaunchFailed(3, "no room")) == []
    assert mind.hear(e.LaunchFailed(4, "no room")) == []
    assert sent(mind.hear(*finish(1, DONE))) == [(1, 1, [2])]
    assert of(e.StartWorker, mind.hear(e.WorkerDied(2, -9, 1))) == [e.StartWorker(2, "w-2")]


def test_what_the_system_refused_is_asked_for_again_with_the_next_job() -> None:
    mind = Mind(2)
    mind.hear(*call(1, 4, chunksize=1), *ready(1), e.LaunchFailed(2, "no room"))
    assert mind.scheduler.slots[2].starts == 0
    assert of(e.StartWorker, mind.hear(*call(2, 2))) == [e.StartWorker(2, "w-2")]


def test_a_chunk_may_have_more_where_fewer_workers_than_wanted_share_the_items() -> None:
    mind = Mind(4)
    mind.hear(*stream(1, 4), *ready(1), *[e.LaunchFailed(slot, "no room") for slot in (2, 3, 4)])
    assert sent(mind.hear(*finish(1, DONE, busy=0.005))) == [(1, 1, [1, 2])]


def test_a_group_without_any_worker_is_broken() -> None:
    mind = Mind(2)
    mind.hear(*call(1, 2))
    assert of(e.Broken, mind.hear(e.LaunchFailed(1, "no room"))) == []
    assert of(e.Broken, mind.hear(e.LaunchFailed(2, "no room"))) == [e.Broken(2, None, None, "no room")]


def test_a_refused_dedicated_process_costs_its_item_only() -> None:
    mind = Mind()
    mind.hear(*own(1))
    orders = mind.hear(e.LaunchFailed(1, "no room"))
    refused = e.NotStarted(1, "no room")
    assert orders == [e.Resolve(1, (0,), [refused], 1), e.JobDone(1), e.ProcessOver(1, None)]
    assert mind.hear(*call(2)) == [e.StartWorker(2, "w-1")]


def test_a_refused_dedicated_process_costs_the_pool_no_worker() -> None:
    mind = Mind(2)
    mind.hear(*stream(1, 1, chunksize=1), *ready(1), *own(2), e.LaunchFailed(2, "no room"))
    assert mind.hear(e.ItemsOffered(1, 1)) == [e.StartWorker(3, "w-2")]


def test_a_dedicated_process_may_be_refused_after_its_job_was_dropped() -> None:
    mind = Mind()
    mind.hear(*call(1), *own(2), e.SetupFailed(1, FAILED))
    assert mind.hear(e.LaunchFailed(2, "no room")) == [e.ProcessOver(2, None)]


# --- looking ----------------------------------------------------------------------------------------------------------


def test_a_worker_with_several_items_is_looked_at_ever_less_often() -> None:
    mind = Mind(look_after=0.5)
    mind.hear(*call(1, 2, chunksize=2), *ready(1))
    looks = []
    while mind.now < 15:
        looks.append(mind.scheduler.next_deadline())
        assert mind.at(looks[-1] or 0.0) == [e.Look(1)]
    assert looks == [0.5, 1.5, 3.5, 7.5, 15.5]


def test_nobody_looks_at_a_worker_with_one_item_or_none() -> None:
    mind = Mind()
    mind.hear(*call(1, 3, chunksize=2), *ready(1), *finish(1, DONE, DONE))
    assert mind.scheduler.next_deadline() is None
    mind.hear(*finish(1, DONE))
    assert mind.scheduler.next_deadline() is None


def test_each_chunk_is_looked_at_anew() -> None:
    mind = Mind(look_after=0.5)
    mind.hear(*call(1, 4, chunksize=2), *ready(1))
    mind.at(0.5)
    mind.hear(*finish(1, DONE, DONE))
    assert mind.scheduler.next_deadline() == 1.0


def test_too_early_is_no_harm() -> None:
    mind = Mind(look_after=0.5)
    mind.hear(*call(1, 2, chunksize=2), *ready(1))
    assert mind.at(0.4) == []
    assert mind.scheduler.next_deadline() == 0.5


# --- what the owner sees ----------------------------------------------------------------------------------------------


def test_a_slot_tells_of_its_life() -> None:
    mind = Mind()
    phases = []
    for events in (call(1), ready(1), finish(1, DONE), [e.CloseAsked()], [e.WorkerDied(1, 0, 0)]):
        mind.hear(*events)
        phases.append(mind.phase(1))
    assert phases == [Phase.STARTING, Phase.BUSY, Phase.IDLE, Phase.ENDING, Phase.GONE]
    slot = mind.scheduler.slots[1]
    assert (slot.finished, slot.busy, slot.starts) == (1, 0.001, 1)


def test_names_stay_and_gone_slots_are_used_again() -> None:
    mind = Mind(2)
    mind.hear(*call(1, 2), *ready(1, 2), e.WorkerDied(1, -9, 1), e.WorkerDied(2, -9, 1))
    assert mind.hear(*call(2)) == [e.StartWorker(1, "w-1")]
    assert mind.hear(*call(3)) == [e.StartWorker(2, "w-2")]


def test_unoccupied_is_without_work_and_without_processes_of_their_own() -> None:
    mind = Mind()
    seen = [mind.scheduler.unoccupied]
    for events in ([*call(1), *ready(1)], finish(1, DONE), [*own(2), *ready(2), *finish(2, DONE)]):
        mind.hear(*events)
        seen.append(mind.scheduler.unoccupied)
    mind.hear(e.WorkerDied(2, 0, 0))
    assert [*seen, mind.scheduler.unoccupied] == [True, False, True, False, True]
    assert mind.phase(1) is Phase.IDLE


def test_a_worker_that_has_done_what_a_stream_has_taken_is_there_for_others() -> None:
    mind = Mind()
    mind.hear(*stream(1, 1, streaming=True), *ready(1), *finish(1, DONE))
    assert sent(mind.hear(*call(2))) == [(1, 2, [0])]


def test_a_map_that_may_get_more_items_occupies_its_group_and_a_stream_does_not() -> None:
    mind = Mind()
    mind.hear(*stream(1, 1, streaming=True), *ready(1), *finish(1, DONE))
    assert mind.scheduler.unoccupied
    mind.hear(*stream(2, 1), *finish(1, DONE))
    assert not mind.scheduler.unoccupied


# --- items that had begun before the job ------------------------------------------------------------------------------


def test_tries_of_before_count() -> None:
    mind = Mind()
    mind.hear(e.JobOpened(1, e.JobSpec(chunksize=1, retries=2)))
    mind.hear(e.ItemsOffered(1, 2, {0: 2, 1: 1, 5: 2}), e.JobSealed(1), *ready(1))
    assert outcomes(mind.hear(e.WorkerDied(1, -9, 1))) == {0: e.Lost(1, -9, 3)}
    assert of(e.CountRetry, mind.hear(*ready(1), e.WorkerDied(1, -9, 1))) == [e.CountRetry(1, 1, 1, 2, "crashed")]
    assert outcomes(mind.hear(*ready(1), e.WorkerDied(1, -9, 1))) == {1: e.Lost(1, -9, 3)}


def test_tries_of_before_count_of_the_first_items_too() -> None:
    mind = Mind()
    mind.hear(e.JobOpened(1, e.JobSpec(retries=1), 1, True, {0: 1}), *ready(1))
    assert outcomes(mind.hear(e.WorkerDied(1, -9, 1))) == {0: e.Lost(1, -9, 2)}


# --- what is unfinished -----------------------------------------------------------------------------------------------


def test_an_item_is_unfinished_until_it_has_its_outcome() -> None:
    mind = Mind()
    seen = [mind.scheduler.unfinished]
    for event in (*call(1, 2, chunksize=1), *ready(1), *finish(1, DONE), *finish(1, DONE)):
        mind.hear(event)
        seen.append(mind.scheduler.unfinished)
    #               opened offered sealed ready recorded ended recorded ended
    assert seen == [False, False, True, True, True, True, True, False, False]


def test_an_item_that_rests_is_unfinished() -> None:
    mind = Mind()
    mind.hear(*call(1, **RESTING), *ready(1), *finish(1, AGAIN))
    assert mind.scheduler.unfinished
    mind.at(2.0)
    mind.hear(*finish(1, DONE))
    assert not mind.scheduler.unfinished


def test_a_job_that_may_get_items_is_unfinished_while_it_has_some() -> None:
    mind = Mind()
    mind.hear(*stream(1, 2, chunksize=2), *ready(1), e.Recorded(1, (DONE,)))
    assert mind.scheduler.unfinished
    mind.hear(e.Recorded(1, (DONE,)))  # the chunk has not ended yet
    assert not mind.scheduler.unfinished
    mind.hear(*call(2))
    assert mind.scheduler.unfinished, "another has one"


@pytest.mark.parametrize("waits", [True, False])
def test_the_items_of_a_stream_are_nobodys_unfinished_work(*, waits: bool) -> None:
    mind = Mind()
    mind.hear(*stream(1, 1, streaming=True))
    if not waits:
        mind.hear(*ready(1))
    assert not mind.scheduler.unfinished
    mind.hear(*call(2))
    assert mind.scheduler.unfinished, "that of a call is"


def test_a_process_of_its_own_is_unfinished_until_it_has_returned() -> None:
    mind = Mind()
    mind.hear(*own(1), *ready(1))
    assert mind.scheduler.unfinished
    mind.hear(*finish(1, DONE))
    assert not mind.scheduler.unfinished
