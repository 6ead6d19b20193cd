"""What has come of a group's items so far, counted as it is heard and ordered. A part of the mind, and as pure."""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence

from procorch import _events as e
from procorch._info import GroupStats, SlotStats
from procorch._messages import Plain, Value
from procorch._restarted import told
from procorch._slot import Slot
from procorch.events import ServiceRestarted

_MOST_RESTARTS = 100
"""Of services, that are remembered with what they were for."""

_STEPS = 16
"""Parts of a doubling: so fine are times kept, whatever their number."""


class Durations:
    """Times of items, to a few per cent, in little memory."""

    def __init__(self) -> None:
        """Begin with none."""
        self._counts: Counter[int] = Counter()

    def add(self, seconds: float, items: int) -> None:
        """Take in the time of items that ran together.

        Args:
            seconds (float): Of all of them.
            items (int): How many; at least 1.
        """
        # A clock may stand still for an item.
        self._counts[round(math.log2(max(seconds / items, 1e-9)) * _STEPS)] += items

    def quantile(self, part: float) -> float | None:
        """Tell which time a part of the items did not exceed.

        Args:
            part (float): Between 0 and 1.

        Returns:
            float | None: Seconds; None without items.
        """
        left = part * self._counts.total()
        for step, count in sorted(self._counts.items()):
            left -= count
            if left <= 0:
                return float(2.0 ** (step / _STEPS))
        return None


class Tally:
    """Counts. Told of every event before the scheduler is, and of its orders."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self.began: float | None = None
        """When the first work came; monotonic seconds."""
        self.ended: float | None = None
        """When the last process was gone."""
        self.done = 0
        """Items with a value."""
        self.raised = 0
        self.crashed = 0
        self.timed_out = 0
        self.dropped = 0
        self.retried = 0
        self.signals = 0
        """Counted by who sends them."""
        self.durations = Durations()
        self._restarts: deque[ServiceRestarted] = deque(maxlen=_MOST_RESTARTS)
        self.restarted = 0

    def hear(self, event: e.Event, slots: Mapping[int, Slot], now: float) -> None:
        """Take in an event.

        Args:
            event (e.Event): What happened.
            slots (Mapping[int, Slot]): As they are before the scheduler hears of it.
            now (float): Monotonic seconds.
        """
        if type(event) is e.ChunkEnded and (done := slots[event.slot].done):
            self.durations.add(event.busy, done)
        elif self.began is None and type(event) is e.JobOpened:
            self.began = now

    def see(self, orders: Sequence[e.Order], now: float) -> None:
        """Take in what the scheduler orders.

        Args:
            orders (Sequence[e.Order]): In their order.
            now (float): Monotonic seconds.
        """
        for order in orders:
            match order:
                case e.Resolve():
                    self._resolved(order.outcomes)
                case e.CountRetry():
                    self.retried += 1
                case e.Restarted():
                    self.restarted += 1
                    self._restarts.append(told(order, now))
                case _:
                    pass

    def _resolved(self, outcomes: e.Outcomes) -> None:
        if isinstance(outcomes, Plain):
            self.done += len(outcomes)
            return
        for outcome in outcomes:
            if type(outcome) is Value:
                self.done += 1
            else:
                self._failed(outcome)

    def stats(self, slots: Iterable[Slot], waiting: int, now: float) -> GroupStats:
        """Sum up.

        Args:
            slots (Iterable[Slot]): All.
            waiting (int): Items that are with no worker.
            now (float): Monotonic seconds.

        Returns:
            GroupStats: A value.
        """
        several = list(slots)
        elapsed = 0.0 if self.began is None else (now if self.ended is None else self.ended) - self.began
        return GroupStats(
            done=self.done,
            raised=self.raised,
            crashed=self.crashed,
            timed_out=self.timed_out,
            dropped=self.dropped,
            retried=self.retried,
            restarted=self.restarted,
            restarts=tuple(self._restarts),
            waiting=waiting,
            running=sum(slot.job is not None for slot in several),
            signals=self.signals,
            elapsed=elapsed,
            p50=self.durations.quantile(0.5),
            p95=self.durations.quantile(0.95),
            slots=tuple(
                SlotStats(
                    slot.number,
                    slot.name,
                    slot.finished,
                    max(0, slot.starts - 1),
                    slot.busy,
                    slot.busy / elapsed if elapsed else 0.0,
                )
                for slot in several
            ),
        )

    def _failed(self, outcome: e.Outcome) -> None:
        match outcome:
            case e.Dropped():
                self.dropped += 1
            case e.Lost() | e.NotStarted() | e.GivenUp(reason="crashed"):
                self.crashed += 1
            case e.TimedOut() | e.GivenUp(reason="timed out"):
                self.timed_out += 1
            case _:
                self.raised += 1
