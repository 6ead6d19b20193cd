"""A simulated engine in virtual time, far away from the real scheduler: what the way costs, and what hides it.

As a script it prints tables: ``python tests/distant.py``.
"""

from __future__ import annotations

import heapq
import itertools
import math
import random
import sys
from bisect import bisect_left
from collections import deque
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Any, Literal, TypeAlias, assert_never

import attrs
from workloads import light_then_heavy, one_by_one, pareto

from procorch import _events as e
from procorch._messages import Plain, Value
from procorch._policy import Limits
from procorch._scheduler import Scheduler

FIXED = 0.0001
"""Seconds that a chunk costs a worker beyond its items."""

DONE = Value(b"")

Queueing: TypeAlias = Literal["central", "placed"]
QUEUEINGS: tuple[Queueing, ...] = ("central", "placed")
"""Where chunks wait: in one queue for all workers, or each with the worker that had the fewest when it came."""


@attrs.define(eq=False)
class Chunk:
    """A chunk with the engine."""

    slot: int
    items: Sequence[int]
    limit: float
    """Seconds of work after which it begins no further item."""
    worker: int = -1
    """Where it runs or waits; -1 for the common queue, and when it has come back."""
    since: float = -1.0
    """When its first item began; -1 if that is still to come."""
    ends: list[float] = attrs.field(factory=list[float])
    """Seconds of work after which each of its items ends."""
    stop: int = 0
    """How many items it begins."""

    def run(self, costs: Sequence[float], now: float) -> None:
        self.since = now
        first, count = self.items[0], len(self.items)
        if isinstance(self.items, range):
            self.ends = list(accumulate(costs[first : first + count]))
        else:
            self.ends = list(accumulate(costs[item] for item in self.items))
        self.stop = min(bisect_left(self.ends, self.limit) + 1, count)

    def withdraw(self, now: float) -> None:
        self.stop = min(self.stop, self.begun(now))

    def begun(self, now: float) -> int:
        return 0 if self.since < 0 else min(bisect_left(self.ends, now - self.since) + 1, self.stop)

    @property
    def busy(self) -> float:
        return self.ends[self.stop - 1] if self.stop else 0.0


@attrs.define(eq=False)
class Far:
    """A group whose workers are far away, and one parent who hears and sends one chunk after the other."""

    workers: int
    window: int
    way: float
    """Seconds to the engine and back."""
    toll: float
    """Seconds that a chunk costs the parent, one half when it is sent and the other when it comes back."""
    limits: Limits
    queueing: Queueing = "central"
    recalls: bool = True
    """Whether the engine can ask a chunk back, and look at it."""
    now: float = 0.0
    """By the parent's clock: what comes while it does something waits."""
    hands_busy: float = 0.0
    """Seconds that the parent has worked."""
    chunks: int = 0
    recalled: int = 0
    ran: int = 0
    """Items that workers have run."""
    sizes: list[int] = attrs.field(factory=list[int])
    costs: dict[int, Sequence[float]] = attrs.field(factory=dict[int, Sequence[float]])
    done: dict[int, list[Sequence[int]]] = attrs.field(factory=dict[int, list[Sequence[int]]])
    """Items that have their outcome, by job."""
    ended: dict[int, float] = attrs.field(factory=dict[int, float])
    """When each job was done."""
    scheduler: Scheduler = attrs.field(init=False)
    _jobs: dict[int, int] = attrs.field(factory=dict[int, int])
    """Of the slots."""
    _there: dict[int, Chunk] = attrs.field(factory=dict[int, Chunk])
    """Chunks by slot."""
    _todo: list[tuple[float, int, str, Any]] = attrs.field(factory=list[Any])
    """Heap of what happens at the engine and of what comes to the parent: when, a number, what."""
    _numbers: Iterator[int] = attrs.field(factory=itertools.count)
    _sent: dict[int, Chunk] = attrs.field(factory=dict[int, Chunk])
    """The last chunk of each slot."""
    _inbox: deque[tuple[Chunk, tuple[e.Event, ...]]] = attrs.field(factory=deque[Any])
    _free: list[int] = attrs.field(init=False)
    _loads: list[tuple[int, int]] = attrs.field(init=False)
    """Heap of chunks and worker, with entries that hold no longer."""
    _load: list[int] = attrs.field(init=False)
    _queues: list[deque[Chunk]] = attrs.field(init=False)
    """Of each worker; the last is the common one."""

    @scheduler.default
    def _make_scheduler(self) -> Scheduler:
        return Scheduler(self.limits, map("w-{}".format, itertools.count(1)))

    def __attrs_post_init__(self) -> None:
        self._free = list(range(self.workers))
        self._load = [0] * self.workers
        self._loads = [(0, worker) for worker in range(self.workers)]
        self._queues = [deque[Chunk]() for _ in range(self.workers + 1)]
        self.tell(e.RoomChanged(self.workers, self.window))

    # --- the parent ---------------------------------------------------------------------------------------------------

    def open(self, job: int, costs: Sequence[float], *, chunksize: int | None = None) -> None:
        self.costs[job], self.done[job] = costs, []
        self.tell(e.JobOpened(job, e.JobSpec(chunksize=chunksize), len(costs), sealed=True))

    def go(self) -> float:
        """Let time pass until nothing is left to happen.

        Returns:
            float: Until then; seconds.
        """
        while self.step():
            pass
        return self.now

    def step(self) -> bool:
        """Let the parent do the next thing."""
        self.arrive()
        deadline = self.scheduler.next_deadline()
        come = len(self._inbox)
        for _ in range(come):
            chunk, events = self._inbox.popleft()
            if chunk is self._sent[chunk.slot]:  # else a look came after the end of what was looked at
                self.work(self.toll / 2)
                self.tell(*events)
        if come:
            pass  # as the real one, it hears all that has come before it looks at the clock
        elif self._todo and (deadline is None or self._todo[0][0] <= deadline):
            self.now = max(self.now, self._todo[0][0])
        elif deadline is None:
            return False
        else:
            self.now = max(self.now, deadline)
        deadline = self.scheduler.next_deadline()
        if deadline is not None and deadline <= self.now:
            self.tell(e.TimePassed())
        return True

    def work(self, seconds: float) -> None:
        self.now += seconds
        self.hands_busy += seconds

    def tell(self, *events: e.Event) -> None:
        todo = deque(events)
        while todo:
            for order in self.scheduler.handle(todo.popleft(), self.now):
                self.carry_out(order, todo)

    def carry_out(self, order: e.Order, todo: deque[e.Event]) -> None:
        match order:
            case e.StartWorker(slot):
                todo.append(e.WorkerReady(slot))
            case e.Send(slot, job, items, seconds):
                self.work(self.toll / 2)
                self.chunks += 1
                self.sizes.append(len(items))
                self._jobs[slot] = job
                chunk = Chunk(slot, items, float("inf") if seconds is None else seconds)
                self._there[slot] = self._sent[slot] = chunk
                self.later(self.way / 2, "arrives", chunk)
            case e.Withdraw(slot):
                self.recalled += 1
                if self.recalls:
                    self.later(self.way / 2, "withdraw", self._sent[slot])
            case e.Look(slot):
                if self.recalls:
                    self.later(self.way / 2, "look", self._sent[slot])
            case e.Resolve(job, items, outcomes):
                assert not isinstance(outcomes, Plain)
                self.done[job].append(items)
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

    # --- the engine ---------------------------------------------------------------------------------------------------

    def later(self, delay: float, what: str, which: object) -> None:
        self.at(self.now + delay, what, which)

    def at(self, when: float, what: str, which: object) -> None:
        heapq.heappush(self._todo, (when, next(self._numbers), what, which))

    def arrive(self) -> None:
        """Let happen what has happened by now."""
        while self._todo and self._todo[0][0] <= self.now:
            when, _, what, which = heapq.heappop(self._todo)
            match what:
                case "arrives":
                    self.place(which, when)
                case "ends":
                    self.end(which[0], which[1], when)
                case "withdraw":
                    self.withdraw(which, when)
                case "look":
                    self.look(which, when)
                case _:
                    self._inbox.append(which)

    def place(self, chunk: Chunk, when: float) -> None:
        if self.queueing == "central":
            chunk.worker = self._free.pop() if self._free else -1
        else:
            chunk.worker = self.least_loaded()
        if chunk.worker >= 0:
            self.add_load(chunk.worker, 1)
        if chunk.worker >= 0 and self._load[chunk.worker] == 1:
            self.run(chunk, when)
        else:
            self._queues[chunk.worker].append(chunk)

    def least_loaded(self) -> int:
        while True:
            load, worker = self._loads[0]
            if self._load[worker] == load:
                return worker
            heapq.heappop(self._loads)

    def add_load(self, worker: int, more: int) -> None:
        self._load[worker] += more
        if self.queueing == "placed":
            heapq.heappush(self._loads, (self._load[worker], worker))

    def run(self, chunk: Chunk, when: float) -> None:
        chunk.run(self.costs[self._jobs[chunk.slot]], when + FIXED)
        self.at(when + FIXED + chunk.busy, "ends", (chunk, chunk.stop))

    def end(self, chunk: Chunk, stop: int, when: float) -> None:
        if stop != chunk.stop:
            return  # it was withdrawn meanwhile, and ended sooner
        worker = chunk.worker
        self.add_load(worker, -1)
        self.give_back(chunk, when)
        queue = self._queues[worker if self.queueing == "placed" else -1]
        if queue:
            follower = queue.popleft()
            if self.queueing == "central":
                follower.worker = worker
                self.add_load(worker, 1)
            self.run(follower, when)
        elif self.queueing == "central":
            self._free.append(worker)

    def give_back(self, chunk: Chunk, when: float) -> None:
        self.ran += chunk.stop
        done = (e.Recorded(chunk.slot, [DONE] * chunk.stop),) if chunk.stop else ()
        del self._there[chunk.slot]
        self.at(when + self.way / 2, "told", (chunk, (*done, e.ChunkEnded(chunk.slot, chunk.busy))))

    def withdraw(self, chunk: Chunk, when: float) -> None:
        if self._there.get(chunk.slot) is not chunk:
            return  # it has ended
        if chunk.since < 0:
            self._queues[chunk.worker if self.queueing == "placed" else -1].remove(chunk)
            if chunk.worker >= 0:
                self.add_load(chunk.worker, -1)
            self.give_back(chunk, when)
        elif chunk.begun(when) < chunk.stop:
            chunk.withdraw(when)
            self.at(max(when, chunk.since + chunk.busy), "ends", (chunk, chunk.stop))

    def look(self, chunk: Chunk, when: float) -> None:
        if self._there.get(chunk.slot) is chunk:
            self.at(when + self.way / 2, "told", (chunk, (e.Looked(chunk.slot, chunk.begun(when), None, False),)))


def simulate(
    costs: Sequence[float],
    workers: int,
    *,
    way: float,
    toll: float = 0.0005,
    depth: float = 2.0,
    chunksize: int | None = None,
    queueing: Queueing = "central",
    recalls: bool = True,
    **limits: Any,
) -> Far:
    """Run one job to its end, and check that each item ran once."""
    chosen = Limits(max_workers=workers, distant=True, **limits)
    far = Far(workers, int(workers * depth), way, toll, chosen, queueing, recalls)
    far.open(1, costs, chunksize=chunksize)
    far.go()
    assert far.ended.keys() == {1}
    assert sum(map(len, far.done[1])) == len(costs)
    assert len(set(itertools.chain.from_iterable(far.done[1]))) == len(costs)
    return far


# --- tables -----------------------------------------------------------------------------------------------------------

NOT_LARGER = {"chunk_ways": 0.0, "chunk_ways_alone": 0.0, "least_chunk_ways": 0.0}
"""Limits for chunks as large as near by."""

VARIANTS: dict[str, dict[str, Any]] = {
    "neither": {"depth": 1, **NOT_LARGER},
    "larger chunks": {"depth": 1},
    "prefetch": NOT_LARGER,
    "both": {},
    "1 way": {"chunk_ways": 1.0},
    "3 ways": {"chunk_ways": 3.0},
    "10 ways": {"chunk_ways": 10.0},
    "3 each": {"depth": 3},
}
"""What is compared: columns of a table, by their heads."""


def lognormal(count: int, mean: float, sigma: float = 1.0, seed: int = 1) -> list[float]:
    rng = random.Random(seed)
    mu = math.log(mean) - sigma**2 / 2
    return [rng.lognormvariate(mu, sigma) for _ in range(count)]


def loads(workers: int, most: int = 2_000_000) -> dict[str, Sequence[float]]:
    """Make workloads of some seconds for each worker."""
    return {
        "1 ms": [1e-3] * min(workers * 5000, most),
        "10 ms": [1e-2] * min(workers * 1000, most),
        "100 ms": [1e-1] * min(workers * 100, most),
        "lognormal, 10 ms": lognormal(min(workers * 1000, most // 4), 1e-2),
        "Pareto 1.5, 10 ms": pareto(min(workers * 1000, most // 4), 1.5, 1e-2 / 3),
        "light then heavy": light_then_heavy(min(workers * 2000, most), workers * 10, 0.2),
    }


def table(workers: int, way: float, toll: float) -> None:
    """Print a table: time over the bound, chunks, and the parent's busy share."""
    for name, costs in loads(workers).items():
        bound = one_by_one(costs, workers)
        cells = list[str]()
        for variant in VARIANTS.values():
            for queueing in QUEUEINGS:
                far = simulate(costs, workers, way=way, toll=toll, queueing=queueing, **variant)
                cells.append(f"{far.ended[1] / bound:.2f}, {far.chunks}, {far.hands_busy / far.ended[1]:.2f}")
        rate = len(costs) / bound
        print(f"| {workers} | {way * 1e3:g} | {toll * 1e3:g} | {name} | {rate:.0f} | {' | '.join(cells)} |", flush=True)


def main() -> None:
    """Print all tables, or those for the numbers of workers that are given."""
    heads = [f"{name}, {queueing}" for name in VARIANTS for queueing in QUEUEINGS]
    print("Time over dealing items one by one for nothing; chunks; the parent's busy share. Items/s are of that bound.")
    print("| workers | way, ms | parent, ms | items | items/s |", " | ".join(heads), "|")
    for workers in map(int, sys.argv[1:] or ("2", "100", "1000", "10000")):
        for way in (0.001, 0.01, 0.1):
            for toll in (5e-5, 1e-3):
                table(workers, way, toll)


if __name__ == "__main__":
    main()
