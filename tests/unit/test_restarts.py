"""Unit tests, no process: when a service is started again, when it is given up, and how functions are stopped."""

from __future__ import annotations

import math
import pickle
from collections.abc import Sequence
from typing import Any

import pytest
from minds import AGAIN, DONE, DROPPED, FAILED, Mind, call, finish, looked, of, outcomes, ready, sent

from procorch import Restart, events
from procorch import _events as e
from procorch._messages import Failure, Plain, Report
from procorch._observer import Observer
from procorch._restarted import told
from procorch._services import Services
from procorch._slot import Phase
from procorch._tally import Tally

NOW = Restart(backoff=0.0)
"""At once."""
LATER = Restart(backoff=2.0)
ONCE = Restart(max_restarts=1, backoff=0.0)
NEVER = Restart(max_restarts=0)
ALWAYS = Restart(on="always", backoff=0.0)

CLOSE, TERMINATE = e.CloseAsked(), e.TerminateAsked()


def up(job: int, restart: Restart = NOW, **spec: Any) -> e.JobOpened:
    """Start a service; the first gets slot 1, the second slot 2 and so on."""
    return e.JobOpened(job, e.JobSpec(dedicated=True, name=f"s-{job}", restart=restart, **spec), 1, sealed=True)


def dies(slot: int, exitcode: int | None = -9, begun: int = 1) -> e.WorkerDied:
    return e.WorkerDied(slot, exitcode, begun)


def running(*restarts: Restart, **limits: Any) -> Keeper:
    """Services, each with its function running."""
    mind = Keeper(**limits)
    for number, restart in enumerate(restarts, 1):
        mind.hear(up(number, restart), *ready(number))
    return mind


def restarted(orders: Sequence[e.Order]) -> list[tuple[int, float, events.Reason]]:
    return [(order.restarts, order.seconds, order.reason) for order in of(e.Restarted, orders)]


class Keeper(Mind):
    """A mind with services. That one is to come to its end, which its handle is told first, stands apart."""

    stopping: tuple[int, ...] = ()
    """The jobs of which that was told, in this order."""
    resting: tuple[int, ...] = ()
    """Those of them whose functions did not run."""

    def hear(self, *heard: e.Event) -> list[e.Order]:
        orders = super().hear(*heard)
        self.stopping += tuple(order.job for order in of(e.Stopping, orders))
        self.resting += tuple(order.job for order in of(e.Stopping, orders) if order.rests)
        return [order for order in orders if not isinstance(order, e.Stopping)]


# --- Restart ----------------------------------------------------------------------------------------------------------


def test_a_restart_has_defaults() -> None:
    assert Restart() == Restart("failure", 5, 60.0, 0.1)
    assert repr(Restart()) == "Restart(on='failure', max_restarts=5, within=60.0, backoff=0.1)"


@pytest.mark.parametrize(
    ("given", "kind", "text"),
    [
        ({"on": "success"}, ValueError, 'on must be "failure" or "always", not \'success\''),
        ({"on": None}, ValueError, 'on must be "failure" or "always", not None'),
        ({"on": []}, ValueError, 'on must be "failure" or "always", not []'),
        ({"max_restarts": -1}, ValueError, "max_restarts must be at least 0, not -1"),
        ({"max_restarts": 1.0}, TypeError, "max_restarts must be an int of at least 0, not 1.0"),
        ({"max_restarts": True}, TypeError, "max_restarts must be an int of at least 0, not True"),
        ({"within": None}, ValueError, "within must be a number of seconds, not None"),
        ({"within": math.inf}, ValueError, "within must be a number of seconds, not inf"),
        ({"within": 0}, ValueError, "within must be more than 0 seconds, not 0"),
        ({"within": math.nan}, ValueError, "within must be at least 0 seconds, not nan"),
        ({"within": "1"}, TypeError, "within must be a number of seconds or None, not '1'"),
        ({"backoff": -1}, ValueError, "backoff must be at least 0 seconds and finite, not -1"),
        ({"backoff": []}, ValueError, "backoff must have at least one number of seconds"),
        ({"backoff": ""}, TypeError, "backoff must be a number of seconds or a sequence of them, not ''"),
        ({"backoff": "1"}, TypeError, "backoff must be a number of seconds or a sequence of them, not '1'"),
        ({"backoff": None}, TypeError, "backoff must be a number of seconds or a sequence of them, not None"),
    ],
)
def test_what_cannot_be_meant_is_refused(given: dict[str, Any], kind: type[Exception], text: str) -> None:
    with pytest.raises(kind) as caught:
        Restart(**given)
    assert str(caught.value) == text


@pytest.mark.parametrize("given", [{"max_restarts": None}, {"max_restarts": 0}, {"within": 1}, {"backoff": (0, 1.5)}])
def test_what_can_be_meant_is_taken(given: dict[str, Any]) -> None:
    restart = Restart(**given)
    assert {name: getattr(restart, name) for name in given} == given
    assert restart.wait((), 0.0) is not None or restart.max_restarts == 0


def test_a_wait_doubles_with_each_restart_within_the_time_up_to_an_hour() -> None:
    restart = Restart(max_restarts=None, within=10.0, backoff=0.5)
    times = [1.0, 2.0, 3.0, 4.0]
    assert [restart.wait(times[:count], 5.0) for count in range(5)] == [0.5, 1.0, 2.0, 4.0, 8.0]
    assert restart.wait([5.0] * 1000, 5.0) == 3600.0
    assert restart.wait(times, 20.0) == 0.5


def test_of_several_waits_the_last_holds_for_all_further_ones() -> None:
    restart = Restart(max_restarts=None, backoff=(0.0, 3.0))
    assert [restart.wait([1.0] * count, 5.0) for count in range(4)] == [0.0, 3.0, 3.0, 3.0]


def test_restarts_are_too_many_within_any_time_of_that_length() -> None:
    restart = Restart(max_restarts=2, within=10.0, backoff=0.0)
    assert restart.wait([1.0, 5.0], 10.999) is None
    assert restart.wait([1.0, 5.0], 11.0) == 0.0
    assert restart.wait([1.0], 1.0) == 0.0
    assert NEVER.wait([], 0.0) is None


# --- Services ---------------------------------------------------------------------------------------------------------


def test_services_are_known_in_the_order_of_their_start() -> None:
    services = Services()
    assert (services.last, services.failed, 7 in services) == (None, False, False)
    for number in (7, 3, 5):
        services.open(number, NOW)
    assert (services.last, 7 in services) == (5, True)
    services.over(5)
    services.over(4)
    assert services.last == 3
    services.over(3)
    services.over(7)
    assert services.last is None


def test_a_restart_is_counted_from_when_it_is_due() -> None:
    services, restart = Services(), Restart(max_restarts=1, within=10.0, backoff=3.0)
    services.open(1, restart)
    assert services.restart(1, restart, 0.0) == (1, 3.0)
    assert services.restart(1, restart, 12.9) is None
    assert services.restart(1, restart, 13.0) == (2, 3.0)
    assert services.restarts(1) == 2


def test_a_service_has_failed_as_long_as_any_is_up() -> None:
    services = Services()
    services.open(1, NEVER)
    services.open(2, NOW)
    assert services.restart(1, NEVER, 0.0) is None
    assert [services.has_given_up(number) for number in (1, 2, 3)] == [True, False, False]
    services.over(1)
    assert services.failed
    services.over(2)
    assert not services.failed


def test_any_number_of_restarts_takes_little_room() -> None:
    services, restart = Services(), Restart(max_restarts=None, backoff=0.0)
    services.open(1, restart)
    for count in range(1, 3001):
        assert services.restart(1, restart, count / 1000) == (count, 0.0)
    assert len(services._times[1]) == 1000


def test_no_number_of_restarts_that_is_allowed_is_too_large_to_be_counted() -> None:
    services, restart = Services(), Restart(max_restarts=2000, backoff=0.0)
    services.open(1, restart)
    assert all(services.restart(1, restart, 0.0) for _ in range(2000))
    assert services.restart(1, restart, 0.0) is None


def test_services_that_are_over_leave_nothing() -> None:
    services = Services()
    services.open(1, NEVER)
    assert services.restart(1, NEVER, 0.0) is None
    services.over(1)
    assert not any(vars(services).values())


# --- when it is started again -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("outcome", [FAILED, AGAIN])
def test_a_service_that_raised_is_started_again_when_its_process_is_gone(outcome: Any) -> None:
    mind = running()
    assert mind.hear(up(1)) == [e.StartWorker(1, "s-1")]
    assert mind.hear(*ready(1)) == [e.Send(1, 1, range(1))]
    failure = Failure(outcome.payload)
    assert mind.hear(e.Recorded(1, [outcome])) == [e.Restarted(1, "s-1", 1, 1, 0.0, "raised", failure)]
    assert mind.hear(e.ChunkEnded(1, 0.1)) == [e.Ask(1)]
    assert mind.hear(dies(1, 0, 0)) == [e.StartWorker(1, "s-1")]
    assert sent(mind.hear(*ready(1))) == [(1, 1, [0])]


def test_a_service_whose_process_died_is_started_again() -> None:
    mind = running(NOW)
    assert mind.hear(dies(1, -11)) == [
        e.Restarted(1, "s-1", 1, 1, 0.0, "crashed", None, -11), e.StartWorker(1, "s-1")
    ]  # fmt: skip


def test_a_service_that_was_stopped_for_its_time_is_started_again() -> None:
    mind = Keeper()
    mind.hear(up(1, timeout=5.0), *ready(1))
    mind.at(5.0)
    mind.hear(looked(1, 1, 0.0), looked(1, 1, 0.0), looked(1, 1, 0.0, stack=True))
    assert restarted(mind.hear(dies(1, -15))) == [(1, 0.0, "timed out")]


def test_a_service_that_makes_an_error_of_the_end_of_its_time_is_started_again() -> None:
    mind = Keeper(kill_grace=1.5)
    mind.hear(up(1, timeout=5.0), *ready(1))
    mind.at(5.0)
    mind.hear(looked(1, 1, 0.0), looked(1, 1, 0.0), looked(1, 1, 0.0, stack=True))
    assert mind.hear(*finish(1, FAILED)) == [e.Restarted(1, "s-1", 1, 1, 0.0, "timed out", FAILED), e.Ask(1)]
    assert mind.at(6.5) == [e.Kill(1)]
    assert mind.hear(dies(1, -9, 0)) == [e.StartWorker(1, "s-1")]


def test_a_service_that_returned_has_its_value_and_the_others_go_on() -> None:
    mind = running(NOW, NOW)
    assert mind.hear(*finish(2, DONE)) == [e.Resolve(2, range(1), [DONE], 2), e.JobDone(2), e.Ask(2)]
    assert mind.scheduler.next_deadline() is None
    assert mind.hear(dies(2, 0, 0)) == [e.ProcessOver(2, 0)]
    assert restarted(mind.hear(dies(1))) == [(1, 0.0, "crashed")]


@pytest.mark.parametrize("value", [[DONE], Plain([5])])
def test_a_service_that_is_always_up_is_started_again_after_it_returned(value: Any) -> None:
    mind = running(ALWAYS)
    assert mind.hear(e.Recorded(1, value)) == [e.Restarted(1, "s-1", 1, 1, 0.0, "returned")]
    assert mind.hear(e.ChunkEnded(1, 0.1), dies(1, 0, 0)) == [e.Ask(1), e.StartWorker(1, "s-1")]


def test_plain_values_of_a_service_that_returned_stay_what_they_are() -> None:
    mind, value = running(NOW), Plain([5])
    [resolved] = of(e.Resolve, mind.hear(e.Recorded(1, value)))
    assert resolved.outcomes is value


def test_a_service_rests_before_its_restart_ever_longer() -> None:
    mind = running(LATER)
    assert mind.hear(dies(1)) == [e.Restarted(1, "s-1", 1, 1, 2.0, "crashed", None, -9)]
    assert (mind.scheduler.next_deadline(), mind.phase(1)) == (2.0, Phase.GONE)
    assert mind.at(1.9) == []
    assert mind.at(2.0) == [e.StartWorker(1, "s-1")]
    assert restarted(mind.hear(*ready(1), dies(1))) == [(2, 4.0, "crashed")]


def test_a_service_that_has_rested_waits_for_the_end_of_its_process() -> None:
    mind = running(LATER, stop_grace=5.0, kill_grace=1.5)
    assert mind.hear(*finish(1, FAILED))[1:] == [e.Ask(1)]
    assert mind.at(2.0) == []
    assert mind.at(5.0) == [e.Terminate(1)]
    assert mind.at(6.4) == []
    assert mind.at(6.5) == [e.Kill(1)]
    assert mind.hear(dies(1, -9, 0)) == [e.StartWorker(1, "s-1")]


def test_a_finalizer_takes_its_time_but_nothing_that_outlives_it_keeps_a_restart() -> None:
    mind = running(NOW, finalizes=True, stop_grace=5.0)
    assert mind.hear(*finish(1, FAILED))[1:] == [e.Ask(1)]
    assert mind.scheduler.next_deadline() is None
    mind.now = 100.0
    assert mind.hear(e.Finalized(1, None)) == []
    assert mind.at(105.0) == [e.Terminate(1)]


@pytest.mark.parametrize("stop", [e.StopAsked(1, 3.0), CLOSE])
@pytest.mark.parametrize("early", [False, True])
def test_the_finalizer_of_a_function_that_was_stopped_takes_its_time(stop: e.Event, early: bool) -> None:
    mind = running(NOW, finalizes=True, stop_grace=5.0)
    mind.hear(*((stop, *finish(1, DONE)) if early else (*finish(1, DONE), stop)))
    assert mind.scheduler.next_deadline() is None
    mind.now = 100.0
    assert mind.hear(e.Finalized(1, None)) == []
    assert mind.at(105.0) == [e.Terminate(1)]


def test_each_process_has_its_time_for_its_own_finalizer() -> None:
    mind = running(NOW, finalizes=True)
    mind.hear(*finish(1, FAILED), e.Finalized(1, None), dies(1, 0, 0), *ready(1), *finish(1, DONE), e.StopAsked(1))
    assert mind.scheduler.next_deadline() is None


def test_a_function_that_was_sent_a_signal_gains_no_time_by_its_finalizer() -> None:
    mind = running(NOW, finalizes=True, kill_grace=1.5)
    mind.hear(e.StopAsked(1, 3.0))
    assert mind.at(3.0) == [e.Terminate(1)]
    mind.hear(*finish(1, FAILED))
    assert mind.at(4.5) == [e.Kill(1)]


def test_who_is_stopped_after_its_finalizer_has_no_more_than_its_time() -> None:
    mind = running(NOW, finalizes=True, stop_grace=5.0)
    mind.hear(*finish(1, DONE), e.Finalized(1, None), e.StopAsked(1))
    assert mind.at(5.0) == [e.Terminate(1)]


@pytest.mark.parametrize(
    ("heard", "rests"),
    [
        ((), False),
        (finish(1, DONE), False),
        (finish(1, FAILED), True),
        ((dies(1),), True),
        ((dies(1), e.TimePassed()), True),
    ],
)
def test_a_handle_is_told_whether_its_function_rests_when_it_is_stopped(
    heard: tuple[e.Event, ...], rests: bool
) -> None:
    mind = running(LATER)
    mind.hear(*heard, e.StopAsked(1))
    assert mind.stopping == (1,)
    assert bool(mind.resting) is rests


def test_a_handle_is_told_that_its_function_does_not_run_while_its_next_process_starts() -> None:
    mind = running(NOW)
    mind.hear(dies(1), e.StopAsked(1))
    assert mind.resting == (1,)


def test_a_service_that_returned_may_outlive_its_finalizer() -> None:
    mind = running(NOW, finalizes=True)
    mind.hear(*finish(1, DONE), e.Finalized(1, None))
    assert mind.scheduler.next_deadline() is None


def test_a_process_that_died_before_the_function_began_is_no_restart() -> None:
    mind = running(NEVER, NOW, max_unbegun_deaths=3)
    for _ in range(2):
        assert mind.hear(dies(1, -9, 0), *ready(1)) == [e.StartWorker(1, "s-1"), e.Send(1, 1, range(1))]
    orders = mind.hear(dies(1, -9, 0))
    assert outcomes(orders) == {0: e.Lost(1, -9, 0)}
    assert of(e.Cease, orders) == [e.Cease(2)]  # it has failed for good


# --- when it is given up ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("restart", "last", "reason", "outcome"),
    [
        (NEVER, e.Recorded(1, [FAILED]), "raised", FAILED),
        (NEVER, dies(1, -11), "crashed", e.Lost(1, -11, 1)),
        (Restart("always", 0), e.Recorded(1, [DONE]), "returned", DONE),
    ],
)
def test_a_service_is_given_up_with_what_became_of_it_at_last(
    restart: Restart, last: e.Event, reason: events.Reason, outcome: Any
) -> None:
    mind = running(restart)
    orders = mind.hear(last)
    assert restarted(orders) == []
    assert outcomes(orders) == {0: e.GivenUp(1, restart, 0, reason, outcome)}


def test_a_service_that_returned_a_plain_value_too_often_is_given_up() -> None:
    mind, value = running(Restart("always", 0)), Plain([5])
    [given_up] = outcomes(mind.hear(e.Recorded(1, value))).values()
    assert isinstance(given_up, e.GivenUp)
    assert given_up.last is value


def test_a_service_whose_time_was_up_too_often_is_given_up() -> None:
    mind = Keeper()
    mind.hear(up(1, NEVER, timeout=5.0), *ready(1))
    mind.at(5.0)
    mind.hear(looked(1, 1, 0.0), looked(1, 1, 0.0), looked(1, 1, 0.0, stack=True))
    assert outcomes(mind.hear(dies(1, -15))) == {0: e.GivenUp(1, NEVER, 0, "timed out", e.TimedOut(1, 5.0, 1))}


def test_the_restarts_of_a_service_that_is_given_up_are_counted_over_all() -> None:
    restart = Restart(max_restarts=1, within=10.0, backoff=0.0)
    mind = running(restart)
    for now in (0.0, 10.0, 20.0):
        mind.at(now)
        assert len(restarted(mind.hear(dies(1), *ready(1)))) == 1
    mind.at(29.9)
    assert outcomes(mind.hear(dies(1))) == {0: e.GivenUp(1, restart, 3, "crashed", e.Lost(1, -9, 4))}


def test_the_others_are_stopped_one_after_the_other_the_last_first() -> None:
    mind = running(NOW, NEVER, NOW, NOW)
    mind.hear(*call(5), *ready(5))
    orders = mind.hear(dies(2))
    assert of(e.ProcessOver, orders) == [e.ProcessOver(2, -9)]
    assert orders[-1] == e.Cease(4)
    assert of(e.Cease, orders) == [e.Cease(4)]
    assert mind.hear(*finish(4, DONE)) == [e.Resolve(4, range(1), [DONE], 4), e.JobDone(4), e.Ask(4)]
    assert mind.hear(dies(4, 0, 0)) == [e.ProcessOver(4, 0), e.Cease(3)]
    assert restarted(mind.hear(dies(1))) == [(1, 0.0, "crashed")]  # it is not its turn
    assert of(e.Terminate, mind.hear(dies(3))) == [e.Terminate(1)]  # it is starting
    assert mind.hear(dies(1, -15, 0))[-1] == e.ProcessOver(1, -15)
    assert outcomes(mind.hear(*finish(5, DONE))) == {0: DONE}  # the pool goes on


def test_one_that_fails_for_good_is_itself_seen_to_its_end() -> None:
    mind = running(NEVER, stop_grace=5.0)
    mind.hear(*finish(1, FAILED))
    assert mind.at(5.0) == [e.Terminate(1)]


def test_services_that_are_started_after_all_have_been_stopped_stay_up() -> None:
    mind = running(NEVER)
    mind.hear(dies(1), up(2), *ready(2))
    assert restarted(mind.hear(dies(2))) == [(1, 0.0, "crashed")]


def test_other_dedicated_processes_go_on_when_a_service_is_given_up() -> None:
    mind = running(NEVER)
    mind.hear(*call(2, dedicated=True, name="own"), *ready(2))
    assert of(e.Cease, mind.hear(dies(1))) == []


# --- a function is asked to stop --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("grace", "seconds"), [(None, 5.0), (0.5, 0.5), (20.0, 20.0)])
def test_a_function_that_runs_is_told_and_has_its_time(grace: float | None, seconds: float) -> None:
    mind = running(NOW, stop_grace=5.0, kill_grace=1.5)
    mind.at(10.0)
    assert mind.hear(e.StopAsked(1, grace)) == [e.Cease(1)]
    assert mind.at(10.0 + seconds - 0.1) == []
    assert mind.at(10.0 + seconds) == [e.Terminate(1)]
    assert mind.at(11.4 + seconds) == []
    assert mind.at(11.5 + seconds) == [e.Kill(1)]
    orders = mind.hear(dies(1))
    assert restarted(orders) == []
    assert orders == [e.Resolve(1, (0,), (e.Lost(1, -9, 1),), 1), e.JobDone(1), e.ProcessOver(1, -9)]


@pytest.mark.parametrize("restart", [NOW, ALWAYS, NEVER, Restart("always", 0)])
@pytest.mark.parametrize("outcome", [DONE, FAILED])
def test_a_function_that_ends_while_it_is_stopped_keeps_its_outcome(restart: Restart, outcome: Any) -> None:
    mind = running(restart)
    mind.hear(e.StopAsked(1))
    orders = mind.hear(*finish(1, outcome))
    assert outcomes(orders) == {0: outcome}
    assert orders[-2:] == [e.JobDone(1), e.Ask(1)]
    assert mind.hear(dies(1, 0, 0)) == [e.ProcessOver(1, 0)]


def test_a_process_has_the_time_of_its_function_for_its_end_too() -> None:
    mind = running(NOW, stop_grace=5.0)
    mind.hear(e.StopAsked(1, 20.0), *finish(1, DONE))
    assert mind.scheduler.next_deadline() == 20.0


def test_any_dedicated_process_can_be_asked_to_stop() -> None:
    mind = Keeper()
    mind.hear(*call(1, dedicated=True, name="own", retries=5), *ready(1))
    assert mind.hear(e.StopAsked(1)) == [e.Cease(1)]
    assert outcomes(mind.hear(dies(1))) == {0: e.Lost(1, -9, 1)}


def test_a_function_that_does_not_listen_gets_a_signal_at_once() -> None:
    mind = running(NOW, kill_grace=1.5)
    mind.hear(e.StopAsked(1, 100.0))
    mind.at(1.0)
    assert mind.hear(e.Unheard(1)) == [e.Terminate(1)]
    assert mind.at(2.5) == [e.Kill(1)]


@pytest.mark.parametrize("meanwhile", [(dies(1, 0, 0),), finish(1, DONE), finish(1, DONE)[:1]])
def test_that_it_did_not_listen_is_nothing_once_it_has_ended(meanwhile: tuple[e.Event, ...]) -> None:
    mind = running(NOW)
    mind.hear(e.StopAsked(1), *meanwhile)
    assert mind.hear(e.Unheard(1)) == []


def test_a_process_that_is_starting_gets_the_ladder_at_once() -> None:
    mind = Keeper(kill_grace=1.5)
    mind.hear(up(1))
    assert mind.hear(e.StopAsked(1, 100.0)) == [e.Terminate(1)]
    assert mind.at(1.5) == [e.Kill(1)]
    assert mind.hear(dies(1, -9, 0)) == [
        e.Resolve(1, (0,), [e.Lost(1, -9, 0)], 1), e.JobDone(1), e.ProcessOver(1, -9)
    ]  # fmt: skip


def test_a_service_that_rests_is_over_at_once() -> None:
    mind = running(LATER)
    mind.hear(dies(1, -11))
    assert mind.hear(e.StopAsked(1)) == [
        e.Resolve(1, (0,), [e.Lost(1, -11, 1)], 1), e.JobDone(1), e.ProcessOver(1, -11)
    ]  # fmt: skip
    assert mind.scheduler.next_deadline() is None


def test_a_service_that_is_to_be_replaced_is_not_once_it_is_asked_to_stop() -> None:
    mind = running(NOW)
    mind.hear(*finish(1, FAILED))
    assert mind.hear(e.StopAsked(1)) == []
    assert of(e.StartWorker, mind.hear(dies(1, 0, 0))) == []
    assert mind.scheduler.slots == {}


@pytest.mark.parametrize("timeout", [None, 2.0])
@pytest.mark.parametrize("heard", [(), (e.ChunkEnded(1, 0.1),)])
def test_a_process_whose_function_has_ended_gets_a_deadline(timeout: float | None, heard: tuple[e.Event, ...]) -> None:
    mind = Keeper(stop_grace=5.0)
    mind.hear(up(1, timeout=timeout), *ready(1), e.Recorded(1, [DONE]), *heard)
    assert mind.hear(e.StopAsked(1, 100.0)) == []
    assert mind.at(5.0) == [e.Terminate(1)]


def test_to_ask_twice_does_no_harm_and_is_no_escalation() -> None:
    mind = running(NOW, stop_grace=5.0, kill_grace=1.5)
    mind.hear(e.StopAsked(1, 20.0))
    mind.at(1.0)
    assert mind.hear(e.StopAsked(1, 0.1), e.StopAsked(1)) == []
    assert mind.at(19.9) == []
    assert mind.at(20.0) == [e.Terminate(1)]
    assert mind.hear(e.StopAsked(1)) == []
    assert mind.at(21.5) == [e.Kill(1)]
    assert mind.hear(e.StopAsked(1)) == []
    assert mind.scheduler.next_deadline() is None


def test_to_ask_for_the_stop_of_one_that_was_sent_a_signal_is_to_have_it_ended() -> None:
    mind = running(NOW, stop_grace=5.0)
    assert mind.hear(e.ProcessStopped(1, kill=False)) == [e.Terminate(1)]
    assert mind.hear(e.StopAsked(1)) == [e.Cease(1)]
    assert mind.at(5.0) == [e.Terminate(1)]


def test_a_service_that_is_ended_for_its_time_is_not_put_off_by_being_asked_to_stop() -> None:
    mind = Keeper(stack_look=0.01)
    mind.hear(up(1, timeout=5.0), *ready(1))
    mind.at(5.0)
    mind.hear(looked(1, 1, 0.0), looked(1, 1, 0.0))
    assert mind.hear(e.StopAsked(1, 100.0)) == []
    assert mind.at(5.01) == [e.Look(1)]
    assert mind.hear(looked(1, 1, 0.0, stack=True)) == [e.Terminate(1)]
    assert outcomes(mind.hear(dies(1, -15))) == {0: e.TimedOut(1, 5.0, 1)}


def test_a_process_that_is_over_cannot_be_asked() -> None:
    mind = running(NEVER)
    mind.hear(dies(1))
    assert mind.hear(e.StopAsked(1), e.StopAsked(99), e.Unheard(1), e.Unheard(99)) == []
    assert mind.stopping == ()


@pytest.mark.parametrize("kill", [False, True])
def test_a_service_that_was_sent_a_signal_by_its_user_is_not_started_again(kill: bool) -> None:
    mind = running(NOW)
    mind.hear(e.ProcessStopped(1, kill))
    orders = mind.hear(dies(1, -15))
    assert outcomes(orders) == {0: e.Lost(1, -15, 1)}
    assert of(e.StartWorker, orders) == []


# --- the end of the group ---------------------------------------------------------------------------------------------


def test_closing_stops_services_one_after_the_other_the_last_first() -> None:
    mind = running(NOW, NOW, NOW, stop_grace=5.0)
    assert mind.hear(CLOSE) == [e.Cease(3)]
    assert mind.at(5.0) == [e.Terminate(3)]
    assert mind.hear(dies(3, -15))[-1:] == [e.Cease(2)]
    assert mind.scheduler.next_deadline() == 10.0
    assert mind.hear(*finish(2, DONE), dies(2, 0, 0))[-1:] == [e.Cease(1)]
    mind.hear(*finish(1, FAILED), dies(1, 1, 0))
    assert mind.scheduler.finished
    assert mind.stopping == (3, 2, 1)


def test_closing_waits_for_all_other_jobs_and_processes_first() -> None:
    mind = running(NOW)
    mind.hear(*call(2), *ready(2), *call(3, dedicated=True, name="own"), *ready(3))
    assert of(e.Cease, mind.hear(CLOSE)) == []
    assert of(e.Cease, mind.hear(*finish(2, DONE))) == []
    assert of(e.Cease, mind.hear(*finish(3, DONE))) == []  # its process lives on
    assert of(e.Cease, mind.hear(dies(3, 0, 0))) == [e.Cease(1)]


def test_closing_waits_for_a_job_of_the_pool() -> None:
    mind = running(NOW)
    mind.hear(*call(2, 2, chunksize=1), *ready(2), CLOSE)
    assert of(e.Cease, mind.hear(*finish(2, DONE))) == []
    assert of(e.Cease, mind.hear(*finish(2, DONE))) == [e.Cease(1)]


def test_closing_does_not_wait_for_a_stream_whose_consumer_asks_for_nothing() -> None:
    mind = running(NOW)
    mind.hear(e.JobOpened(2, e.JobSpec(streaming=True)))
    assert of(e.Cease, mind.hear(CLOSE)) == [e.Cease(1)]


def test_a_service_that_crashes_before_its_turn_is_started_again_though_the_group_is_closed() -> None:
    mind = running(NOW, NOW)
    mind.hear(CLOSE)
    assert mind.hear(dies(1))[1:] == [e.StartWorker(1, "s-1")]
    assert sent(mind.hear(*ready(1))) == [(1, 1, [0])]
    assert mind.hear(dies(2, 0))[-1:] == [e.Cease(1)]


def test_services_that_rest_when_their_turn_comes_are_over_at_once() -> None:
    mind = running(LATER, LATER, NOW)
    mind.hear(dies(1), dies(2), CLOSE)
    orders = mind.hear(dies(3))
    assert of(e.ProcessOver, orders) == [e.ProcessOver(number, -9) for number in (3, 2, 1)]
    assert mind.scheduler.finished
    assert mind.scheduler.next_deadline() is None


def test_a_service_that_was_asked_to_stop_keeps_its_time_when_its_turn_comes() -> None:
    mind = running(NOW, NOW)
    mind.hear(e.StopAsked(2, 20.0))
    assert mind.hear(CLOSE) == []
    assert mind.scheduler.next_deadline() == 20.0
    assert mind.hear(dies(2))[-1:] == [e.Cease(1)]


def test_a_service_that_took_no_notice_of_its_user_s_signal_is_stopped_when_its_turn_comes() -> None:
    mind = running(NOW, stop_grace=5.0, kill_grace=1.5)
    mind.hear(e.ProcessStopped(1, kill=False))
    assert mind.hear(CLOSE) == [e.Cease(1)]
    assert mind.at(5.0) == [e.Terminate(1)]
    assert mind.at(6.5) == [e.Kill(1)]


def test_a_service_that_has_returned_may_keep_nobody_from_closing() -> None:
    mind = running(NOW, stop_grace=5.0)
    mind.hear(*finish(1, DONE))
    assert mind.hear(CLOSE) == []
    assert mind.at(5.0) == [e.Terminate(1)]


def test_terminating_ends_all_services_at_once() -> None:
    mind = running(NOW, LATER, NOW, kill_grace=1.5)
    mind.hear(dies(2), CLOSE)
    orders = mind.hear(TERMINATE)
    assert of(e.ProcessOver, orders) == [e.ProcessOver(2, -9)]
    assert of(e.Terminate, orders) == [e.Terminate(1), e.Terminate(3)]
    assert mind.at(1.5) == [e.Kill(1), e.Kill(3)]
    for last in (dies(3), dies(1)):
        assert outcomes(mind.hear(last)) == {0: DROPPED}
        assert mind.scheduler.next_deadline() is None
    assert mind.scheduler.finished


def test_a_service_that_fails_because_its_group_is_terminated_is_dropped() -> None:
    mind = running(NEVER)
    mind.hear(TERMINATE)
    orders = mind.hear(*finish(1, FAILED))
    assert outcomes(orders) == {0: DROPPED}
    assert restarted(orders) == []


def test_without_workers_that_can_start_there_are_no_restarts_and_nothing_hangs() -> None:
    mind = running(NOW, LATER, NOW)
    mind.hear(dies(2), *call(4))
    orders = mind.hear(e.SetupFailed(4, FAILED))
    assert of(e.ProcessOver, orders) == [e.ProcessOver(2, -9)]
    assert of(e.Cease, orders) == [e.Cease(3)]  # nobody keeps them up any more
    orders = mind.hear(dies(3))
    assert outcomes(orders) == {0: e.Lost(3, -9, 1)}
    assert orders[-1] == e.Cease(1)
    mind.hear(dies(4, 1, 0), CLOSE)
    assert outcomes(mind.hear(*finish(1, FAILED))) == {0: FAILED}
    mind.hear(dies(1, 1, 0))
    assert mind.scheduler.finished


def test_a_service_of_a_group_that_takes_nothing_is_over_at_once() -> None:
    mind = Keeper()
    mind.hear(TERMINATE)
    orders = mind.hear(up(1))
    assert of(e.ProcessOver, orders) == [e.ProcessOver(1, None)]
    assert outcomes(orders) == {0: DROPPED}
    assert mind.scheduler.finished


def test_a_service_that_the_system_refuses_a_process_has_failed_for_good() -> None:
    mind = running(NOW, NOW)
    mind.hear(dies(1))
    orders = mind.hear(e.LaunchFailed(1, "no room"))
    assert outcomes(orders) == {0: e.NotStarted(1, "no room")}
    assert of(e.Cease, orders) == [e.Cease(2)]
    mind.hear(*finish(2, DONE), dies(2, 0, 0), CLOSE)
    assert mind.scheduler.finished


# --- what is told -----------------------------------------------------------------------------------------------------

RAISED = Failure(pickle.dumps(tuple(Report("raised", "app.Broken", "no disk", "", [], None, None))))


@pytest.mark.parametrize(
    ("reason", "failure", "exitcode", "detail"),
    [
        ("raised", RAISED, None, "app.Broken: no disk"),
        ("crashed", None, -11, "was killed by SIGSEGV"),
        ("crashed", RAISED, 3, "ended with exit code 3"),
        ("timed out", None, -15, ""),
        ("timed out", RAISED, None, ""),
        ("returned", None, None, ""),
    ],
)
def test_a_restart_is_put_into_words(
    reason: events.Reason, failure: Failure | None, exitcode: int | None, detail: str
) -> None:
    order = e.Restarted(4, "web", 9, 3, 0.5, reason, failure, exitcode)
    assert told(order, 7.0) == events.ServiceRestarted(7.0, 4, "web", 3, 0.5, reason, detail)


def test_restarts_are_counted_and_the_last_hundred_remembered() -> None:
    tally = Tally()
    for count in range(1, 151):
        tally.see([e.Restarted(4, "web", 9, count, 0.0, "crashed", None, -9)], float(count))
    stats = tally.stats((), 0, 200.0)
    assert stats.restarted == 150
    assert [one.restarts for one in stats.restarts] == list(range(51, 151))
    assert stats.restarts[-1] == events.ServiceRestarted(150.0, 4, "web", 150, 0.0, "crashed", "was killed by SIGKILL")


@pytest.mark.parametrize(
    ("reason", "counted"),
    [("raised", (1, 0, 0)), ("crashed", (0, 1, 0)), ("timed out", (0, 0, 1)), ("returned", (1, 0, 0))],
)
def test_a_service_that_is_given_up_is_counted_as_what_became_of_it(
    reason: events.Reason, counted: tuple[int, int, int]
) -> None:
    tally = Tally()
    tally.see([e.Resolve(1, (0,), [e.GivenUp(1, NOW, 5, reason, FAILED)], 1)], 1.0)
    stats = tally.stats((), 0, 2.0)
    assert (stats.raised, stats.crashed, stats.timed_out) == counted
    assert stats.failed == 1


def watched() -> tuple[Observer, list[events.Event]]:
    seen: list[events.Event] = []
    observer = Observer("g", seen.append, lambda job: f"task {job}")
    observer.started(4, "web", 77, 1.0)
    observer.saw(up(9), [], 1.0)
    seen.clear()
    return observer, seen


def test_users_are_told_that_a_service_is_ready() -> None:
    observer, seen = watched()
    observer.serves(4, 2.0)
    observer.serves(5, 2.0)  # whose process has ended meanwhile
    assert seen == [events.ServiceReady(2.0, 4, "web", 77)]


def test_users_are_told_of_the_restart_of_a_service_whose_process_has_died() -> None:
    observer, seen = watched()
    observer.saw(dies(4), [e.Restarted(4, "web", 9, 1, 0.5, "crashed", None, -9)], 2.0)
    assert seen == [
        events.ProcessEnded(2.0, 4, "web", 77, -9),
        events.ServiceRestarted(2.0, 4, "web", 1, 0.5, "crashed", "was killed by SIGKILL"),
    ]


def test_users_are_told_why_a_service_was_given_up() -> None:
    observer, seen = watched()
    given_up = e.GivenUp(4, NOW, 5, "returned", DONE)
    observer.saw(e.TimePassed(), [e.Resolve(9, (0,), [given_up], 4), e.JobDone(9)], 2.0)
    assert seen == [events.ItemFailed(2.0, 4, 9, "task 9", 0, "returned")]
