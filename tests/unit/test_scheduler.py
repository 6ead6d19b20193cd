"""Unit tests, no process: one example for each race and each decision of the scheduler."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, TypeVar

import pytest

from procorch import _events as e
from procorch._messages import Failure, Value
from procorch._policy import Limits
from procorch._roster import Phase
from procorch._scheduler import Scheduler

OrderT = TypeVar("OrderT")

DONE, FAILED = Value(b""), Failure(b"")
DROPPED = e.Dropped()


class Mind:
    """A scheduler with a clock wound by hand."""

    def __init__(self, max_workers: int = 1, **limits: Any) -> None:
        self.limits = Limits(max_workers=max_workers, **limits)
        self.scheduler = Scheduler(self.limits, map("w-{}".format, itertools.count(1)))
        self.now = 0.0

    def hear(self, *events: e.Event) -> list[e.Order]:
        """Tell events; give all orders."""
        return [order for event in events for order in self.scheduler.handle(event, self.now)]

    def at(self, now: float) -> list[e.Order]:
        """Let it be later."""
        self.now = now
        return self.hear(e.TimePassed())

    def phase(self, slot: int) -> Phase:
        return self.scheduler.slots[slot].phase


def call(job: int, count: int = 1, **spec: Any) -> tuple[e.Event, ...]:
    """Open a job whose items are known."""
    return e.JobOpened(job, e.JobSpec(**spec)), e.ItemsOffered(job, count), e.JobSealed(job)


def stream(job: int, count: int, **spec: Any) -> tuple[e.Event, ...]:
    """Open a job that may get further items."""
    return call(job, count, **spec)[:2]


def own(job: int, **spec: Any) -> tuple[e.Event, ...]:
    """Open a job with a process of its own."""
    return call(job, dedicated=True, name="own", **spec)


def ready(*slots: int) -> list[e.Event]:
    return [e.WorkerReady(slot) for slot in slots]


def finish(slot: int, *outcomes: Value | Failure, busy: float = 0.001) -> tuple[e.Event, ...]:
    """End a chunk."""
    return e.Recorded(slot, outcomes), e.ChunkEnded(slot, busy)


def of(kind: type[OrderT], orders: Sequence[object]) -> list[OrderT]:
    """Pick the orders of one kind."""
    return [order for order in orders if isinstance(order, kind)]


def sent(orders: Sequence[e.Order]) -> list[tuple[int, int, list[int]]]:
    """Collect slot, job and items of each `Send`."""
    return [(order.slot, order.job, list(order.items)) for order in of(e.Send, orders)]


def outcomes(orders: Sequence[e.Order]) -> dict[int, e.Outcome]:
    """Collect what was resolved, by item."""
    return {
        item: outcome
        for order in of(e.Resolve, orders)
        for item, outcome in zip(order.items, order.outcomes, strict=True)
    }


# --- who runs what ----------------------------------------------------------------------------------------------------


def test_an_item_starts_a_worker_and_is_sent_when_it_is_ready() -> None:
    mind = Mind()
    assert mind.hear(*call(1)) == [e.StartWorker(1, "w-1")]
    assert mind.hear(*ready(1)) == [e.Send(1, 1, [0])]
    assert mind.hear(*finish(1, DONE)) == [e.Resolve(1, [0], (DONE,), 1), e.JobDone(1)]


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


def test_chunks_double_while_items_are_cheap_and_shrink_at_the_end() -> None:
    mind = Mind()
    orders = sent(mind.hear(*call(1, 40), *ready(1)))
    while mind.scheduler.slot_of(1):
        count = len(orders[-1][2])
        orders += sent(mind.hear(*finish(1, *[DONE] * count, busy=0.0001 * count)))
    assert [len(items) for _, _, items in orders] == [1, 2, 4, 8, 13, 6, 3, 2, 1]


def test_a_chunk_is_no_more_than_its_worth_of_work() -> None:
    mind = Mind(chunk_seconds=0.01)
    mind.hear(*call(1, 1000), *ready(1))
    sizes = [len(sent(mind.hear(*finish(1, *[DONE] * size, busy=0.003 * size)))[0][2]) for size in (1, 2, 3)]
    assert sizes == [2, 3, 3]


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
    assert mind.hear(*finish(1, DONE)) == [e.Resolve(1, [0], (DONE,), 1), e.JobDone(1)]


def test_an_item_that_no_worker_lives_to_begin_is_given_up() -> None:
    mind = Mind(max_unbegun_deaths=3)
    mind.hear(*call(1, 2, chunksize=2))
    for _ in range(2):
        assert outcomes(mind.hear(*ready(1), e.WorkerDied(1, -9, 0))) == {}
    assert outcomes(mind.hear(*ready(1), e.WorkerDied(1, -9, 0))) == {0: e.Lost(1, -9, 0)}
    assert sent(mind.hear(*ready(1))) == [(1, 1, [1])]


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
    assert mind.scheduler.waits(2)
    assert mind.hear(e.JobStopped(2)) == [e.Resolve(2, (0,), [DROPPED], None), e.JobDone(2)]
    assert not mind.scheduler.waits(2)


def test_an_item_that_was_sent_cannot_be_cancelled() -> None:
    mind = Mind()
    mind.hear(*call(1), *ready(1))
    assert not mind.scheduler.waits(1)
    assert mind.scheduler.slot_of(1)


def test_the_worker_for_a_cancelled_item_stays_for_the_next() -> None:
    mind = Mind()
    mind.hear(*call(1), e.JobStopped(1))
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


def test_stopping_does_not_bother_a_worker_with_one_item() -> None:
    mind = Mind()
    mind.hear(*call(1), *ready(1))
    assert mind.hear(e.JobStopped(1)) == []


def test_a_crash_in_a_stopped_job_is_not_retried() -> None:
    mind = Mind()
    mind.hear(*call(1, 3, chunksize=3, retries=5), *ready(1), e.JobStopped(1))
    assert outcomes(mind.hear(e.WorkerDied(1, -9, 1))) == {0: e.Lost(1, -9, 1), 1: DROPPED, 2: DROPPED}


def test_events_for_a_job_that_is_over_are_nothing() -> None:
    mind = Mind()
    mind.hear(*call(1), *ready(1), *finish(1, DONE))
    assert mind.hear(e.JobSealed(1), e.JobStopped(1), e.ProcessStopped(1, kill=True)) == []


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


def test_a_failure_does_not_end_another_job() -> None:
    mind = Mind()
    mind.hear(*call(1, 3, chunksize=1), *ready(1))
    assert sent(mind.hear(*finish(1, FAILED))) == [(1, 1, [1])]


# --- processes of their own -------------------------------------------------------------------------------------------


def test_a_dedicated_process_is_named_and_comes_on_top() -> None:
    mind = Mind()
    mind.hear(*call(1), *ready(1))
    assert mind.hear(*own(2)) == [e.StartWorker(2, "own")]
    assert mind.hear(*ready(2)) == [e.Send(2, 2, [0])]
    assert mind.hear(*finish(2, DONE)) == [e.Resolve(2, [0], (DONE,), 2), e.JobDone(2), e.Ask(2)]
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


@pytest.mark.parametrize("before", [[], ready(1)])
def test_a_dedicated_process_that_dies_before_its_item_begins_starts_again(before: list[e.Event]) -> None:
    mind = Mind()
    mind.hear(*own(1), *before)
    assert mind.hear(e.WorkerDied(1, -9, 0)) == [e.StartWorker(1, "own")]


def test_a_dedicated_process_starts_again_for_a_retry() -> None:
    mind = Mind()
    mind.hear(*own(1, retries=1), *ready(1))
    assert mind.hear(e.WorkerDied(1, -9, 1)) == [e.StartWorker(1, "own")]
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


# --- closing ----------------------------------------------------------------------------------------------------------


def test_closing_ends_idle_workers_at_once() -> None:
    mind = Mind()
    mind.hear(*call(1), *ready(1), *finish(1, DONE))
    assert mind.hear(e.CloseAsked()) == [e.Ask(1)]
    assert not mind.scheduler.finished
    assert mind.hear(e.WorkerDied(1, 0, 0)) == []
    assert mind.scheduler.finished


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


def test_terminating_twice_is_terminating_once() -> None:
    mind = Mind()
    mind.hear(*call(1), *ready(1), e.TerminateAsked())
    assert mind.hear(e.TerminateAsked(), e.CloseAsked()) == []


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
    assert outcomes(mind.hear(*call(1))) == {0: DROPPED}
    assert of(e.ProcessOver, mind.hear(*own(2))) == [e.ProcessOver(2, None)]
    assert mind.scheduler.finished


# --- starts that fail -------------------------------------------------------------------------------------------------


def test_the_group_gives_up_after_some_failed_starts() -> None:
    mind = Mind(max_failed_starts=3)
    mind.hear(*call(1))
    for _ in range(2):
        assert mind.hear(e.WorkerDied(1, 1, 0)) == [e.StartWorker(1, "w-1")]
    orders = mind.hear(e.WorkerDied(1, 1, 0))
    assert orders == [e.Broken(1, None, 1, ""), e.Resolve(1, (0,), [DROPPED], None), e.JobDone(1)]


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
