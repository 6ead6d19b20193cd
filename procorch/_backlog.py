"""What is still to be done: a group's jobs, and their items that wait for a worker or rest before another try.

A part of the scheduler, and as pure: it knows nothing of workers.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Sequence
from functools import cached_property
from itertools import chain

import attrs

from procorch._chunks import ChunkSizer
from procorch._events import JobSpec
from procorch._items import ranges
from procorch._policy import Limits


@attrs.define(eq=False)
class Job:
    """One call, as the scheduler knows it."""

    number: int
    spec: JobSpec
    _limits: Limits
    only: bool
    """Whether it has one item, ever: then nobody asks how large its chunks should be."""
    offered: int = 0
    """Items so far."""
    queue: deque[range] = attrs.field(factory=deque[range])
    """The items that wait for a worker, in ranges."""
    waiting: int = 0
    """How many these are."""
    resting: set[int] = attrs.field(factory=set[int])
    """Items that wait for their time to be tried again."""
    chunks: int = 0
    """Chunks with workers. Until the last has ended, the job is not done: that end is still to be heard."""
    tries: dict[int, int] = attrs.field(factory=dict[int, int])
    """How often an item was begun in vain, for those that were."""
    unbegun: dict[int, int] = attrs.field(factory=dict[int, int])
    """How often a process has died with an item before it, as the next one, began; for those where one has."""
    sealed: bool = False
    stopped: bool = False

    @cached_property
    def sizer(self) -> ChunkSizer:
        """Says how large its chunks should be."""
        limits = self._limits
        return ChunkSizer(
            limits.chunk_seconds, limits.max_chunk_items, limits.least_chunk_seconds, limits.chunk_seconds_per_worker
        )

    @property
    def makes_rows(self) -> bool:
        """Whether it is a stream that a process of its own makes, each item being the next row."""
        return self.spec.dedicated and self.spec.streaming

    @property
    def can_restart(self) -> bool:
        """Whether another process can begin what waits, if its own is gone: not in the middle of a stream."""
        return not (self.makes_rows and self.queue and self.queue[0].start)

    @property
    def to_be_replaced(self) -> bool:
        """Whether another process is to take the place of its own, whose function has ended."""
        return self.spec.restart is not None and self.active

    @property
    def active(self) -> bool:
        """Whether items of it wait, rest or run."""
        return bool(self.waiting or self.resting or self.chunks)


class Backlog:
    """All jobs, and which of them is next."""

    def __init__(self, limits: Limits) -> None:
        """Begin empty.

        Args:
            limits (Limits): For the size of chunks.
        """
        self._limits = limits
        self.jobs: dict[int, Job] = {}
        """By number."""
        self.waiting = 0
        """Items that wait for a worker of the pool; those of dedicated jobs do not."""
        self._ready: deque[Job] = deque()  # jobs with such items, in turn
        self._resting: list[tuple[float, int, int]] = []  # heap of (when, job, item), also of jobs that are gone

    def open(self, number: int, spec: JobSpec, *, only: bool = False) -> Job:
        """Begin a job.

        Args:
            number (int): Its number.
            spec (JobSpec): What it is like.
            only (bool): Whether it has one item, ever.

        Returns:
            Job: Without items.
        """
        job = Job(number, spec, self._limits, only)
        self.jobs[number] = job
        return job

    def enqueue(self, job: Job, items: Sequence[int], *, front: bool) -> None:
        """Let items wait.

        Args:
            job (Job): Theirs.
            items (Sequence[int]): Their numbers; at least one.
            front (bool): Before those that wait already, and the job before others.
        """
        if not job.spec.dedicated:
            self.waiting += len(items)
            if not job.waiting and front:
                self._ready.appendleft(job)
            elif not job.waiting:
                self._ready.append(job)
        job.waiting += len(items)
        new, queue = ranges(items), job.queue
        if front:
            if queue and new[-1].stop == queue[0].start:
                new[-1] = range(new[-1].start, queue.popleft().stop)
            queue.extendleft(reversed(new))
        else:
            if queue and queue[-1].stop == new[0].start:
                new[0] = range(queue.pop().start, new[0].stop)
            queue.extend(new)

    def rest(self, job: Job, item: int, until: float) -> None:
        """Let an item rest.

        Args:
            job (Job): Its job.
            item (int): Its number.
            until (float): Monotonic seconds.
        """
        job.resting.add(item)
        heapq.heappush(self._resting, (until, job.number, item))

    def next_wake(self) -> float | None:
        """Tell when `wake` must be called at the latest.

        Returns:
            float | None: Monotonic seconds; None if nothing rests.
        """
        resting = self._resting
        while resting:
            until, number, item = resting[0]
            job = self.jobs.get(number)
            if job is not None and item in job.resting:
                return until
            heapq.heappop(resting)
        return None

    def wake(self, now: float) -> list[Job]:
        """Let items wait that have rested long enough.

        Args:
            now (float): Monotonic seconds.

        Returns:
            list[Job]: Theirs.
        """
        woken: list[Job] = []
        while (until := self.next_wake()) is not None and until <= now:
            _, number, item = heapq.heappop(self._resting)
            job = self.jobs[number]
            job.resting.remove(item)
            self.enqueue(job, (item,), front=True)
            woken.append(job)
        return woken

    def next_job(self) -> Job | None:
        """Tell whose turn it is.

        Returns:
            Job | None: A job of the pool with items that wait; None if there is none.
        """
        return self._ready[0] if self._ready else None

    def others_wait(self, job: Job) -> bool:
        """Tell whether items of other jobs wait for a worker of the pool.

        Args:
            job (Job): Whose items do not count.

        Returns:
            bool: Of this moment.
        """
        return bool(self._ready) and (len(self._ready) > 1 or self._ready[0] is not job)

    def take(self, job: Job, count: int) -> Sequence[int]:
        """Take items that wait, from the front; then it is the next job's turn.

        Args:
            job (Job): The one whose turn it is, or a dedicated one.
            count (int): At most as many as wait.

        Returns:
            Sequence[int]: Their numbers; a range where that is possible.
        """
        first = _cut(job.queue, count)
        items: Sequence[int] = first
        if len(first) < count:
            items = list(first)
            while len(items) < count:
                items += _cut(job.queue, count - len(items))
        job.waiting -= count
        if not job.spec.dedicated:
            self.waiting -= count
            if job.waiting:
                self._ready.rotate(-1)
            else:
                self._ready.popleft()
        return items

    def clear(self, job: Job) -> Sequence[int]:
        """Take all items that wait or rest.

        Args:
            job (Job): Theirs.

        Returns:
            Sequence[int]: Their numbers.
        """
        if job.waiting and not job.spec.dedicated:
            self._ready.remove(job)
            self.waiting -= job.waiting
        items = (*chain.from_iterable(job.queue), *sorted(job.resting))
        job.queue.clear()
        job.waiting = 0
        job.resting.clear()
        return items


def _cut(queue: deque[range], most: int) -> range:
    """Take as many numbers from the front as are neighbours."""
    first = queue[0]
    if len(first) <= most:
        return queue.popleft()
    queue[0] = first[most:]
    return first[:most]
