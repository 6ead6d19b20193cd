"""What unit tests of the scheduler share: a mind with a clock wound by hand, and the events and orders in few words."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, TypeVar, cast

from procorch import _events as e
from procorch._messages import Failure, Retriable, Value
from procorch._policy import Limits
from procorch._scheduler import Scheduler
from procorch._slot import Phase

OrderT = TypeVar("OrderT")

# Each with a payload of its own, since tuples of different types may be equal.
DONE, FAILED, AGAIN = Value(b"done"), Failure(b"failed"), Retriable(b"again")
GAVE_UP = Failure(b"again")
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


def finish(slot: int, *outcomes: e.ItemOutcome, busy: float = 0.001) -> tuple[e.Event, ...]:
    """End a chunk."""
    return e.Recorded(slot, outcomes), e.ChunkEnded(slot, busy)


def looked(slot: int, begun: int, since: float | None, *, stack: bool = False) -> e.Looked:
    """See how far a worker is."""
    return e.Looked(slot, begun, since, stack)


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
        for item, outcome in zip(order.items, cast("Sequence[e.Outcome]", order.outcomes), strict=True)
    }
