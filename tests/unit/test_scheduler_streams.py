"""Unit tests, no process: how the scheduler treats a process of its own that makes rows."""

from __future__ import annotations

from typing import Any

import pytest
from minds import DONE, DROPPED, FAILED, Mind, finish, looked, of, outcomes, ready, sent

from procorch import _events as e
from procorch._messages import Last
from procorch._slot import Phase

LAST = Last(b"last")


def rows(count: int, **spec: Any) -> tuple[e.Event, ...]:
    """Open a stream with the rows that there is room for at first."""
    spec = {"dedicated": True, "streaming": True, "stop_on_failure": True, "name": "rows", **spec}
    return (e.JobOpened(1, e.JobSpec(**spec), count),)


def standing_by(count: int = 1, **limits: Any) -> Mind:
    """A mind with a stream whose process has made its first rows."""
    mind = Mind(**limits)
    mind.hear(*rows(count), *ready(1))
    for _ in range(count):
        if mind.phase(1) is Phase.BUSY:
            mind.hear(*finish(1, *[DONE] * len(mind.scheduler.slots[1].items)))
    assert mind.phase(1) is Phase.IDLE
    return mind


def test_a_process_that_has_made_all_rows_stands_by_and_gets_the_next() -> None:
    mind = Mind()
    assert mind.hear(*rows(1)) == [e.StartWorker(1, "rows")]
    assert mind.hear(*ready(1)) == [e.Send(1, 1, range(1))]
    assert mind.hear(*finish(1, DONE)) == [e.Resolve(1, range(1), (DONE,), 1)]
    assert mind.scheduler.unoccupied
    assert mind.scheduler.next_deadline() is None
    assert sent(mind.hear(e.ItemsOffered(1, 2))) == [(1, 1, [1])]
    assert sent(mind.hear(*finish(1, DONE))) == [(1, 1, [2])]


def test_rows_wanted_while_it_is_busy_are_sent_when_it_is_not() -> None:
    mind = Mind(8)
    mind.hear(*rows(1), *ready(1))
    assert mind.hear(e.ItemsOffered(1, 100)) == []
    assert sent(mind.hear(*finish(1, DONE, busy=1e-6))) == [(1, 1, list(range(1, 9)))]


def test_how_many_workers_there_are_does_not_matter_for_its_chunks() -> None:
    mind = Mind(1000)
    mind.hear(*rows(64), *ready(1))
    assert len(sent(mind.hear(*finish(1, DONE, busy=0.005)))[0][2]) == 2


def test_max_tasks_is_not_for_it() -> None:
    mind = standing_by(max_tasks=1)
    assert sent(mind.hear(e.ItemsOffered(1, 1))) == [(1, 1, [1])]


def test_its_end_ends_the_process_and_drops_what_was_wanted_beyond() -> None:
    mind = Mind()
    mind.hear(*rows(3), *ready(1))
    orders = mind.hear(e.Recorded(1, [LAST]))
    assert outcomes(orders) == {0: LAST, 1: DROPPED, 2: DROPPED}
    assert mind.hear(e.ChunkEnded(1, 0.1)) == [e.JobDone(1), e.Ask(1)]
    assert mind.scheduler.next_deadline() is None  # threads of its own may keep it, as any process of start
    assert mind.hear(e.WorkerDied(1, 0, 1)) == [e.ProcessOver(1, 0)]


def test_one_that_the_user_has_ended_makes_no_more_rows_whatever_it_makes_of_the_signal() -> None:
    mind = Mind()
    mind.hear(*rows(2), *ready(1))
    assert mind.hear(e.ProcessStopped(1, kill=False)) == [e.Terminate(1)]
    assert mind.hear(*finish(1, DONE)) == [e.Resolve(1, range(1), (DONE,), 1), e.Ask(1)]
    standby = standing_by()
    assert standby.hear(e.ProcessStopped(1, kill=False)) == [e.Terminate(1), e.Ask(1)]
    assert standby.hear(e.ItemsOffered(1, 1)) == []
    assert outcomes(standby.hear(e.WorkerDied(1, 0, 1))) == {1: e.Lost(1, 0, 0)}


def test_a_failure_does_too() -> None:
    mind = standing_by()
    mind.hear(e.ItemsOffered(1, 2))
    assert outcomes(mind.hear(e.Recorded(1, [FAILED]))) == {1: FAILED, 2: DROPPED}
    assert mind.hear(e.ChunkEnded(1, 0.1)) == [e.JobDone(1), e.Ask(1)]


# --- closing ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("event", [e.JobStopped(1), e.CloseAsked()])
def test_closing_asks_a_process_that_stands_by(event: e.Event) -> None:
    mind = standing_by()
    assert mind.hear(event) == [e.Ask(1), e.JobDone(1)]
    assert mind.at(mind.limits.stop_grace) == [e.Terminate(1)]
    assert mind.at(mind.limits.stop_grace + mind.limits.kill_grace) == [e.Kill(1)]
    assert mind.hear(e.WorkerDied(1, -9, 1)) == [e.ProcessOver(1, -9)]


@pytest.mark.parametrize("event", [e.JobStopped(1), e.CloseAsked()])
@pytest.mark.parametrize("finalizes", [False, True])
def test_closing_gives_a_row_that_is_being_made_its_time(event: e.Event, *, finalizes: bool) -> None:
    mind = standing_by(finalizes=finalizes)
    mind.hear(e.ItemsOffered(1, 3))
    assert mind.hear(event) == [e.Withdraw(1), e.Ask(1), e.Resolve(1, (3,), [DROPPED], None)]
    mind.now = 3.0
    orders = mind.hear(*finish(1, DONE))
    assert outcomes(orders) == {1: DONE, 2: DROPPED}
    assert orders[2:] == [e.JobDone(1), e.Ask(1)]
    # From here on it runs what closes the generator; a finalizer of the user's may take its time.
    assert mind.scheduler.next_deadline() == (None if finalizes else 3.0 + mind.limits.stop_grace)


def test_a_row_that_takes_too_long_to_end_is_stopped_and_is_nobodys_fault() -> None:
    mind = standing_by()
    mind.hear(e.ItemsOffered(1, 1))
    assert mind.hear(e.JobStopped(1)) == [e.Ask(1)]  # it has nothing else that could be withdrawn
    assert mind.at(mind.limits.stop_grace) == [e.Terminate(1)]
    assert outcomes(mind.hear(e.WorkerDied(1, -15, 1))) == {1: DROPPED}


def test_a_chunk_of_several_is_withdrawn() -> None:
    mind = Mind()
    mind.hear(*rows(20), *ready(1), *finish(1, DONE, busy=1e-6))
    assert of(e.Withdraw, mind.hear(e.JobStopped(1))) == [e.Withdraw(1)]
    assert mind.hear(e.CloseAsked()) == []  # once is enough


def test_closing_before_the_process_is_ready_stops_it() -> None:
    mind = Mind()
    mind.hear(*rows(2))
    orders = mind.hear(e.JobStopped(1))
    assert orders[0] == e.Terminate(1)
    assert outcomes(orders) == {0: DROPPED, 1: DROPPED}
    assert mind.hear(e.WorkerDied(1, -15, 0)) == [e.ProcessOver(1, -15)]


def test_closing_the_group_does_not_wait_for_rows_that_are_not_wanted_yet() -> None:
    mind = standing_by()
    mind.hear(e.CloseAsked(), e.WorkerDied(1, 0, 0))
    assert mind.scheduler.finished


def test_a_broken_group_lets_its_process_go() -> None:
    mind = standing_by(max_failed_starts=1)
    mind.hear(*[e.JobOpened(2, e.JobSpec(), 1, True)])
    orders = mind.hear(e.WorkerDied(2, 1, 0))
    assert e.Ask(1) in orders
    assert e.JobDone(1) in orders


# --- crashes ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("chunksize", [1, 3])
def test_a_process_that_dies_before_its_first_row_is_replaced(chunksize: int) -> None:
    mind = Mind()
    mind.hear(*rows(3, chunksize=chunksize), *ready(1))
    assert mind.hear(e.WorkerDied(1, -9, 0)) == [e.StartWorker(1, "rows")]
    assert sent(mind.hear(*ready(1))) == [(1, 1, list(range(chunksize)))]


def test_one_that_dies_in_a_row_is_not() -> None:
    mind = standing_by()
    mind.hear(e.ItemsOffered(1, 3))
    orders = mind.hear(e.WorkerDied(1, -9, 1))
    assert outcomes(orders) == {1: e.Lost(1, -9, 1), 2: DROPPED, 3: DROPPED}
    assert orders[-2:] == [e.JobDone(1), e.ProcessOver(1, -9)]


@pytest.mark.parametrize("count", [1, 3])
def test_nor_one_that_dies_before_it_takes_its_chunk(count: int) -> None:
    """Another process would begin again with the first row."""
    mind = standing_by()
    mind.hear(e.ItemsOffered(1, count))
    orders = mind.hear(e.WorkerDied(1, -9, 0))
    assert outcomes(orders) == {1: e.Lost(1, -9, 0)} | dict.fromkeys(range(2, 1 + count), DROPPED)
    assert orders[-1] == e.ProcessOver(1, -9)


def test_nor_one_that_dies_when_its_chunk_is_over_and_more_is_wanted() -> None:
    mind = Mind()
    mind.hear(*rows(1), *ready(1), e.ItemsOffered(1, 2), e.Recorded(1, [DONE]))
    orders = mind.hear(e.WorkerDied(1, -9, 1))
    assert outcomes(orders) == {1: e.Lost(1, -9, 0), 2: e.Lost(1, -9, 0)}
    assert orders[-2:] == [e.JobDone(1), e.ProcessOver(1, -9)]


def test_one_that_dies_while_it_stands_by_ends_the_stream() -> None:
    mind = standing_by()
    assert mind.hear(e.WorkerDied(1, -9, 0)) == [e.JobDone(1), e.ProcessOver(1, -9)]
    assert not mind.scheduler.knows(1)


def test_a_process_that_the_system_refuses_ends_the_stream() -> None:
    mind = Mind()
    mind.hear(*rows(1))
    orders = mind.hear(e.LaunchFailed(1, "no room"))
    assert outcomes(orders) == {0: e.NotStarted(1, "no room")}
    assert orders[-2:] == [e.JobDone(1), e.ProcessOver(1, None)]


def test_a_row_has_its_limit() -> None:
    mind = Mind()
    mind.hear(*rows(3, timeout=1.0), *ready(1), *finish(1, DONE))
    mind.at(2.0)
    mind.hear(looked(1, 1, 0.5), looked(1, 1, 0.5))
    mind.hear(looked(1, 1, 0.5, stack=True))
    assert outcomes(mind.hear(e.WorkerDied(1, -15, 1))) == {1: e.TimedOut(1, 1.0, 1), 2: DROPPED}


def test_idle_workers_do_not_share_what_only_it_can_do() -> None:
    mind = Mind(2, chunk_seconds=1.0, steal_seconds=0.001)
    mind.hear(e.JobOpened(2, e.JobSpec(), 1, True), *ready(1), *finish(1, DONE))
    mind.hear(e.JobOpened(3, e.JobSpec(dedicated=True, streaming=True, stop_on_failure=True, name="rows"), 64))
    mind.hear(*ready(2), *finish(2, DONE, busy=0.01))
    assert len(mind.scheduler.slots[2].items) == 8
    mind.hear(e.Recorded(2, [DONE]))
    assert of(e.Withdraw, mind.at(0.02)) == []
