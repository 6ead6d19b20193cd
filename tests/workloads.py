"""Simulated workers in virtual time: they run items that take as long as a workload says, for the real scheduler."""

from __future__ import annotations

import heapq
import itertools
import random
from bisect import bisect_left, bisect_right
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Any, assert_never

import attrs

from procorch import _events as e
from procorch._messages import Plain, Value
from procorch._policy import Limits
from procorch._scheduler import Scheduler

LATENCY = 0.0001
"""Seconds that a message takes, either way."""
FIXED = 0.00005
"""Seconds that a chunk costs a worker beyond its items."""
HANDLING = 0.00003
"""Seconds that an event costs the parent, which hears one at a time."""
NOTE_EVERY = 0.001
"""Seconds between two announcements of results."""

DONE = Value(b"")


# --- workloads --------------------------------------------------------------------------------------------------------


def light_then_heavy(light: int, heavy: int, seconds: float) -> list[float]:
    return [5e-6] * light + [seconds] * heavy


def one_giant(count: int, place: int, seconds: float) -> list[float]:
    return [1e-4] * place + [seconds] + [1e-4] * (count - place - 1)


def pareto(count: int, alpha: float, seconds: float, seed: int = 1) -> list[float]:
    """Most items take a little, and a few nearly all of the time."""
    rng = random.Random(seed)
    return [seconds * rng.paretovariate(alpha) for _ in range(count)]


def bimodal(count: int, every: int, light: float, heavy: float, seed: int = 1) -> list[float]:
    rng = random.Random(seed)
    return [heavy if rng.random() * every < 1 else light for _ in range(count)]


def ramp(count: int, most: float) -> list[float]:
    """Each item takes a little longer than the one before."""
    return [most * (number + 1) / count for number in range(count)]


def one_by_one(costs: Sequence[float], workers: int) -> float:
    """Seconds until the end if each worker took the next item whenever it is free, and that cost nothing.

    Nobody who does not know the costs beforehand can do better on every workload (Graham, 1966).
    """
    free = [0.0] * workers
    for cost in costs:
        heapq.heapreplace(free, free[0] + cost)
    return max(free)


# --- the simulation ---------------------------------------------------------------------------------------------------


@attrs.define(eq=False)
class Run:
    """A chunk with a worker, whose future is known until it is withdrawn."""

    job: int
    items: Sequence[int]
    times: list[float]
    """When the first item begins, and when each ends, or would."""
    stop: int
    """How many items it will begin."""
    read: int = 0

    def finished(self, now: float) -> int:
        return min(max(bisect_right(self.times, now) - 1, 0), self.stop)

    def begun(self, now: float) -> int:
        return min(bisect_right(self.times, now), self.stop)


@attrs.define(eq=False)
class Process:
    """The process in a slot."""

    generation: int
    """Of no other process; another when what it was going to tell does not hold any more."""
    run: Run | None = None


@attrs.define(eq=False)
class World:
    """A group at work. Jobs are lists of costs, by number."""

    workers: int
    limits: Limits
    now: float = 0.0
    chunks: int = 0
    """Chunks sent."""
    withdrawn: int = 0
    """Chunks asked back."""
    events: int = 0
    """Events that the parent heard."""
    ended: dict[int, float] = attrs.field(factory=dict[int, float])
    """When each job was done."""
    sizes: list[int] = attrs.field(factory=list[int])
    """Of the chunks."""
    costs: dict[int, Sequence[float]] = attrs.field(factory=dict[int, Sequence[float]])
    outcomes: dict[int, dict[int, e.Outcome]] = attrs.field(factory=dict[int, dict[int, e.Outcome]])
    ran: Counter[tuple[int, int]] = attrs.field(factory=Counter[tuple[int, int]])
    """How often an item of a job began."""
    processes: dict[int, Process] = attrs.field(factory=dict[int, Process])
    """By slot."""
    scheduler: Scheduler = attrs.field(init=False)
    _mailbox: deque[e.Event] = attrs.field(factory=deque[e.Event])
    _todo: list[tuple[float, int, int, int, e.Event | None]] = attrs.field(factory=list[Any])
    """Heap: when, a number, slot and generation, and what is told then; None for what has finished."""
    _numbers: Iterator[int] = attrs.field(factory=itertools.count)

    @scheduler.default
    def _make_scheduler(self) -> Scheduler:
        return Scheduler(self.limits, map("w-{}".format, itertools.count(1)))

    # --- what a test does ---------------------------------------------------------------------------------------------

    def open(self, job: int, costs: Sequence[float], *, offered: int | None = None, **spec: int | None) -> None:
        """Begin a job; without ``offered`` all its items are there."""
        self.costs[job], self.outcomes[job] = costs, {}
        self.tell(e.JobOpened(job, e.JobSpec(streaming=offered is not None, chunksize=spec.get("chunksize"))))
        self.tell(e.ItemsOffered(job, len(costs) if offered is None else offered))
        if offered is None:
            self.tell(e.JobSealed(job))

    def kill(self, slot: int) -> None:
        """Let the process in a slot die just now, with all that it had finished."""
        process = self.processes.pop(slot)
        run, begun = process.run, 0
        if run is not None:
            begun = run.begun(self.now)
            self.tell_finished(slot, run, self.now)
            self.count_runs(run, begun)
        self.tell(e.WorkerDied(slot, -9, begun))

    def go(self, until: float = float("inf")) -> float:
        """Let time pass until nothing is left to happen.

        Returns:
            float: When the last item ended.
        """
        while (when := self.next_event()) <= until and when < float("inf"):
            self.step()
        return self.now

    def next_event(self) -> float:
        deadline = self.scheduler.next_deadline()
        return min(self._todo[0][0] if self._todo else float("inf"), float("inf") if deadline is None else deadline)

    def step(self) -> None:
        deadline = self.scheduler.next_deadline()
        if deadline is not None and (not self._todo or deadline < self._todo[0][0]):
            self.now = max(self.now, deadline)
            self.tell(e.TimePassed())
            return
        when, _, slot, generation, event = heapq.heappop(self._todo)
        process = self.processes.get(slot)
        if process is None or process.generation != generation:
            return
        self.now = max(self.now, when)
        match event:
            case e.ChunkEnded():
                self.end(slot, process)
            case None:
                self.announce(slot, process)
            case _:
                self.tell(event)

    # --- what the parent does -----------------------------------------------------------------------------------------

    def tell(self, event: e.Event) -> None:
        self._mailbox.append(event)
        if len(self._mailbox) > 1:
            return  # the outer call goes on with it
        while self._mailbox:
            orders = self.scheduler.handle(self._mailbox[0], self.now)
            self.events += 1
            self.now += HANDLING
            for order in orders:
                self.carry_out(order)
            self._mailbox.popleft()

    def carry_out(self, order: e.Order) -> None:
        match order:
            case e.StartWorker(slot):
                self.processes[slot] = Process(next(self._numbers))
                self.later(slot, LATENCY, e.WorkerReady(slot))
            case e.Send(slot, job, items):
                self.send(slot, job, items)
            case e.Withdraw(slot):
                self.withdraw(slot)
            case e.Look(slot):
                self.look(slot)
            case e.Resolve(job, items, outcomes):
                assert not isinstance(outcomes, Plain)
                for item, outcome in zip(items, outcomes, strict=True):
                    assert item not in self.outcomes[job]
                    self.outcomes[job][item] = outcome
            case e.JobDone(job):
                self.ended[job] = self.now
            case (
                e.CountRetry()
                | e.Restarted()
                | e.Ask()
                | e.Stopping()
                | e.Cease()
                | e.Terminate()
                | e.Kill()
                | e.ShowStack()
                | e.ProcessOver()
                | e.FinalizerFailed()
                | e.Broken()
            ):
                raise AssertionError(order)
            case _:
                assert_never(order)

    def look(self, slot: int) -> None:
        process = self.processes[slot]
        begun = 0
        if process.run is not None:
            self.tell_finished(slot, process.run, self.now)
            begun = process.run.begun(self.now)
        self.tell(e.Looked(slot, begun, None, False))

    def tell_finished(self, slot: int, run: Run, upto: float) -> None:
        count = run.finished(upto) - run.read
        if count > 0:
            run.read += count
            self.tell(e.Recorded(slot, [DONE] * count))

    # --- what workers do ----------------------------------------------------------------------------------------------

    def later(self, slot: int, delay: float, event: e.Event | None) -> None:
        generation = self.processes[slot].generation
        heapq.heappush(self._todo, (self.now + delay, next(self._numbers), slot, generation, event))

    def send(self, slot: int, job: int, items: Sequence[int]) -> None:
        self.chunks += 1
        self.sizes.append(len(items))
        process = self.processes[slot]
        assert process.run is None
        costs = self.costs[job]
        begin = self.now + LATENCY + FIXED
        times = list(accumulate((costs[item] for item in items), initial=begin))
        process.run = Run(job, items, times, len(items))
        self.plan(slot, process)

    def plan(self, slot: int, process: Process) -> None:
        """Foresee what the worker tells next."""
        run = process.run
        assert run is not None
        process.generation = next(self._numbers)
        ends = run.times[run.stop]
        self.later(slot, ends + LATENCY - self.now, e.ChunkEnded(slot, 0.0))
        # Of what it announces, only the next is planned.
        place = bisect_left(run.times, max(self.now, run.times[0]) + NOTE_EVERY)
        if place < run.stop:
            self.later(slot, run.times[place] + LATENCY - self.now, None)

    def announce(self, slot: int, process: Process) -> None:
        run = process.run
        assert run is not None
        self.tell_finished(slot, run, self.now)
        if self.processes.get(slot) is process and process.run is run:
            self.plan(slot, process)

    def withdraw(self, slot: int) -> None:
        """Begin nothing more: what begins only now does not begin."""
        self.withdrawn += 1
        process = self.processes[slot]
        run = process.run
        if run is not None:
            run.stop = min(run.stop, bisect_left(run.times, self.now))
            self.plan(slot, process)

    def end(self, slot: int, process: Process) -> None:
        run = process.run
        assert run is not None
        self.tell_finished(slot, run, self.now)
        process.run = None
        process.generation = next(self._numbers)
        self.count_runs(run, run.stop)
        busy = run.times[run.stop] - run.times[0] if run.stop else 0.0
        self.tell(e.ChunkEnded(slot, busy))

    def count_runs(self, run: Run, begun: int) -> None:
        for item in run.items[:begun]:
            self.ran[run.job, item] += 1


def simulate(costs: Sequence[float], workers: int, *, chunksize: int | None = None, **limits: float) -> World:
    """Run one job to its end in a group whose workers are there, and check that each item ran once."""
    world = World(workers, Limits(max_workers=workers, **limits))  # type: ignore[arg-type]
    world.open(1, costs, chunksize=chunksize)
    world.go()
    assert world.ended.keys() == {1}
    assert sorted(world.outcomes[1]) == list(range(len(costs)))
    assert all(world.ran[1, item] == 1 for item in range(len(costs)))
    return world
