"""Turns what a group's scheduler hears and orders into the events that users are told. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import attrs

from procorch import _events as e
from procorch import events
from procorch._messages import Plain, Value
from procorch._restarted import told


@attrs.define
class _Process:
    name: str
    pid: int | None


@attrs.define
class _Chunk:
    job: int
    task: str
    first: int
    began: float
    items: int = 0
    failed: int = 0


class Observer:
    """Keeps what is under way, so that each event tells the whole."""

    def __init__(self, group: str, tell: Callable[[events.Event], object], task_of: Callable[[int], str]) -> None:
        """Begin before any work.

        Args:
            group (str): The group's name.
            tell (Callable[[events.Event], object]): Takes each event.
            task_of (Callable[[int], str]): Names the function of a job.
        """
        self._group = group
        self._tell = tell
        self._task_of = task_of
        self._tasks: dict[int, str] = {}
        self._processes: dict[int, _Process] = {}
        self._chunks: dict[int, _Chunk] = {}
        self._is_there = False

    def began(self, now: float, *, wall: float, pid: int) -> None:
        """Tell that there is work, once.

        Args:
            now (float): Monotonic seconds, as all times here.
            wall (float): Seconds since the epoch.
            pid (int): Of this process.
        """
        if not self._is_there:
            self._is_there = True
            self._tell(events.GroupBegan(now, self._group, wall, pid))

    def ended(self, now: float) -> None:
        """Tell that all is over.

        Args:
            now (float): When.
        """
        for slot in list(self._processes):  # whose death an interrupt has let nobody see
            self._chunk_ended(slot, now)
            self._died(e.WorkerDied(slot, None, 0), now)
        self._tell(events.GroupEnded(now, self._group))

    def started(self, slot: int, name: str, pid: int | None, now: float) -> None:
        """Tell of a process.

        Args:
            slot (int): Where it is.
            name (str): Its name.
            pid (int | None): Its process id.
            now (float): When it was started.
        """
        self._processes[slot] = _Process(name, pid)
        self._tell(events.ProcessStarted(now, slot, name, pid))

    def serves(self, slot: int, now: float) -> None:
        """Tell that a service is ready.

        Args:
            slot (int): Where it is.
            now (float): When it was heard of.
        """
        process = self._processes.get(slot)
        if process is not None:
            self._tell(events.ServiceReady(now, slot, process.name, process.pid))

    def signalled(self, order: e.Terminate | e.Kill, now: float) -> None:
        """Tell of a signal.

        Args:
            order (e.Terminate | e.Kill): To a process that was started.
            now (float): When it is sent.
        """
        process = self._processes.get(order.slot)
        if process is not None:
            name: Literal["SIGTERM", "SIGKILL"] = "SIGKILL" if isinstance(order, e.Kill) else "SIGTERM"
            self._tell(events.ProcessSignalled(now, order.slot, process.name, process.pid, name))

    def saw(self, event: e.Event, orders: Sequence[e.Order], now: float) -> None:
        """Tell what users are to know of something that happened, and of what came of it.

        Args:
            event (e.Event): What happened.
            orders (Sequence[e.Order]): What the scheduler made of it.
            now (float): When.
        """
        match event:
            case e.JobOpened(job):
                self._tasks[job] = self._task_of(job)
            case e.WorkerReady(slot) if (process := self._processes.get(slot)) is not None:
                self._tell(events.ProcessReady(now, slot, process.name, process.pid))
            case e.Recorded(slot, outcomes) if (chunk := self._chunks.get(slot)) is not None:
                chunk.items += len(outcomes)
                if not isinstance(outcomes, Plain):
                    chunk.failed += sum(type(one) is not Value for one in outcomes)
            case e.ChunkEnded(slot):
                self._chunk_ended(slot, now)
            case e.WorkerDied():
                self._chunk_ended(event.slot, now)
                self._died(event, now)
            case _:
                pass
        for order in orders:
            self._ordered(order, now)

    def _chunk_ended(self, slot: int, now: float) -> None:
        chunk = self._chunks.pop(slot, None)
        if chunk is not None:
            self._tell(
                events.ChunkEnded(now, slot, chunk.job, chunk.task, chunk.first, chunk.items, chunk.failed, chunk.began)
            )

    def _died(self, died: e.WorkerDied, now: float) -> None:
        process = self._processes.pop(died.slot, None)
        if process is not None:
            self._tell(events.ProcessEnded(now, died.slot, process.name, process.pid, died.exitcode))

    def _ordered(self, order: e.Order, now: float) -> None:
        match order:
            case e.Send(slot, job, items):
                chunk = self._chunks[slot] = _Chunk(job, self._tasks[job], items[0], now)
                self._tell(events.ChunkBegan(now, slot, job, chunk.task, chunk.first, len(items)))
            case e.Restarted():
                self._tell(told(order, now))
            case e.CountRetry(slot, job, item, attempts, reason):
                self._tell(events.ItemRetried(now, slot, job, self._tasks[job], item, attempts, reason))
            case e.Resolve(job, items, outcomes, slot) if slot is not None and not isinstance(outcomes, Plain):
                for item, outcome in zip(items, outcomes, strict=True):
                    if type(outcome) is not Value:
                        self._failed(slot, job, item, outcome, now)
            case e.JobDone(job):
                del self._tasks[job]
            case _:
                pass

    def _failed(self, slot: int, job: int, item: int, outcome: e.Outcome, now: float) -> None:
        reason: events.Reason
        match outcome:
            case e.Dropped():
                return
            case e.GivenUp(reason=reason):
                pass
            case e.TimedOut():
                reason = "timed out"
            case e.Lost():
                reason = "crashed"
            case e.NotStarted():
                reason = "not started"
            case _:
                reason = "raised"
        self._tell(events.ItemFailed(now, slot, job, self._tasks[job], item, reason))
