"""Checks of what a group tells its users, against what the simulated hands know. See `simulated`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import assert_never

import attrs

from procorch import _events as e
from procorch import events
from procorch._messages import Failure, Value
from procorch._observer import Observer
from procorch._slot import Slot
from procorch._tally import Tally


@attrs.define
class Told:
    """What users know by the events so far; each must fit to those before."""

    began: bool = False
    ended: bool = False
    at: float = 0.0
    processes: dict[int, events.ProcessStarted] = attrs.field(factory=dict[int, events.ProcessStarted])
    ready: set[int] = attrs.field(factory=set[int])
    chunks: dict[int, events.ChunkBegan] = attrs.field(factory=dict[int, events.ChunkBegan])
    finished: int = 0
    retried: Counter[tuple[int, int]] = attrs.field(factory=Counter[tuple[int, int]])
    failed: dict[tuple[int, int], events.Reason] = attrs.field(factory=dict[tuple[int, int], events.Reason])
    signals: int = 0
    restarted: list[events.ServiceRestarted] = attrs.field(factory=list[events.ServiceRestarted])

    def __call__(self, event: events.Event) -> None:
        assert self.at <= event.at
        assert not self.ended
        assert self.began or isinstance(event, events.GroupBegan)
        self.at = event.at
        match event:
            case events.GroupBegan():
                assert not self.began
                self.began = True
            case events.GroupEnded():
                assert not self.processes
                self.ended = True
            case events.ProcessStarted(_, slot):
                assert slot not in self.processes
                self.processes[slot] = event
            case events.ProcessReady(_, slot, name, pid):
                assert (name, pid) == (self.processes[slot].name, self.processes[slot].pid)
                assert slot not in self.ready
                self.ready.add(slot)
            case events.ProcessSignalled(_, slot, name, pid):
                assert (name, pid) == (self.processes[slot].name, self.processes[slot].pid)
                self.signals += 1
            case events.ProcessEnded(_, slot, name, pid):
                assert (name, pid) == (self.processes[slot].name, self.processes[slot].pid)
                assert slot not in self.chunks
                del self.processes[slot]
                self.ready.discard(slot)
            case events.ChunkBegan(_, slot, _, _, _, items):
                assert slot in self.ready
                assert slot not in self.chunks
                assert items > 0
                self.chunks[slot] = event
            case events.ChunkEnded(at, slot, job, task, first, items, failed, began):
                chunk = self.chunks.pop(slot)
                assert (job, task, first, began) == (chunk.job, chunk.task, chunk.first, chunk.at)
                assert 0 <= failed <= items <= chunk.items
                assert began <= at
                self.finished += items
            case events.ItemRetried(_, _, job, _, item, attempts):
                self.retried[job, item] += 1
                assert self.retried[job, item] == attempts
                assert (job, item) not in self.failed
            case events.ItemFailed(_, _, job, _, item, reason):
                assert (job, item) not in self.failed
                self.failed[job, item] = reason
            case events.ServiceRestarted(_, slot, _, restarts):
                self.restarted.append(event)
                assert restarts == sum(one.slot == slot for one in self.restarted)  # each has a slot of its own
            case events.ServiceReady():
                raise AssertionError(event)
            case _:
                assert_never(event)


class Watch:
    """The parts of a group that count and tell, with what they have told."""

    def __init__(self) -> None:
        self.told = Told()
        self.tally = Tally()
        self.observer = Observer("w", self.told, lambda job: f"task {job}")
        self.observer.began(0.0, wall=1e9, pid=1)

    def hear(self, event: e.Event, slots: Mapping[int, Slot], now: float) -> None:
        self.tally.hear(event, slots, now)

    def see(self, event: e.Event, orders: Sequence[e.Order], now: float) -> None:
        self.tally.see(orders, now)
        self.observer.saw(event, orders, now)

    def signalled(self, order: e.Terminate | e.Kill, now: float) -> None:
        if order.slot in self.told.processes:  # else there is none yet
            self.tally.signals += 1
            self.observer.signalled(order, now)

    def check(self, outcomes: Mapping[tuple[int, int], e.Outcome], slots: Iterable[Slot], waiting: int) -> None:
        """Compare with the outcomes of all items so far."""
        stats = self.tally.stats(slots, waiting, self.told.at)
        kinds = Counter(type(outcome) for outcome in outcomes.values())
        assert stats.done == kinds[Value]
        given_up = Counter(outcome.reason for outcome in outcomes.values() if isinstance(outcome, e.GivenUp))
        assert stats.raised == kinds[Failure] + given_up["raised"] + given_up["returned"]
        assert stats.crashed == kinds[e.Lost] + kinds[e.NotStarted] + given_up["crashed"]
        assert stats.timed_out == kinds[e.TimedOut] + given_up["timed out"]
        assert stats.dropped == kinds[e.Dropped]
        assert stats.failed == len(self.told.failed)
        assert stats.retried == self.told.retried.total()
        assert stats.signals == self.told.signals
        assert stats.restarted == len(self.told.restarted)
        assert stats.restarts == tuple(self.told.restarted[-100:])
        assert stats.running <= len(self.told.processes)
        reasons: dict[type, events.Reason] = {
            Failure: "raised", e.Lost: "crashed", e.NotStarted: "not started", e.TimedOut: "timed out",
        }  # fmt: skip
        expected = {key: reasons[type(one)] for key, one in outcomes.items() if type(one) in reasons}
        expected |= {key: one.reason for key, one in outcomes.items() if isinstance(one, e.GivenUp)}
        assert self.told.failed == expected
