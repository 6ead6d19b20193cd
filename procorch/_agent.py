"""Runs chunks in processes of ours, within a process of somebody else's: a small group beside each of its threads.

    engine's worker: thread --chunk--> agent: a group of one process --> page, runner, item
                                       |
          a crash, a limit, a cancellation costs the item that ran, and that process, not the engine's worker

Everything that a group promises on one machine is kept by the same code there. What the engine's worker loses when it
dies itself is the chunk.
"""

from __future__ import annotations

import itertools
import os
import pickle
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import attrs
from typing_extensions import override

from procorch import _far
from procorch import _messages as m
from procorch._assignments import Answer, Assignment, Crossed, Given, Gone, Preparation, Progress, Returned
from procorch._configured import start_methods
from procorch._crates import pack, to_file
from procorch._daemon import Daemon
from procorch._engine import Function
from procorch._errors import ProcorchError
from procorch._events import Dropped, JobSpec, Lost, NotStarted, Outcome, Outcomes, TimedOut
from procorch._job import Job, Sink
from procorch._local import LocalEngine
from procorch._messages import PROTOCOL
from procorch._outcome import capture, read_report
from procorch._policy import Limits
from procorch._shares import Shares
from procorch._supervisor import Supervisor
from procorch._verdict import Place

_IDLE_SECONDS = 10.0
"""How long a process is kept for the next chunk where nobody tells that none will come."""

_WANTED_SECONDS = 2.0
"""How often it is asked whether somebody still waits for a chunk. No event tells: the engine's own threads have other
things to do."""

_DELIVERY_SECONDS = 1.0
"""Longest wait for the outcomes of a chunk that no worker has any more: they are on their way."""


@attrs.define(eq=False)
class _ChunkJob(Job):
    """A chunk that came from elsewhere, with all its items."""

    given: Sequence[m.Payload] | m.Pack = ()
    count: int = 0
    done: set[int] = attrs.field(factory=set[int])

    @override
    def take(self) -> int:
        return self.count

    @override
    def drop(self, numbers: Sequence[int]) -> None:
        self.done.update(numbers)

    @override
    def left(self) -> list[int]:
        return [number for number in range(self.count) if number not in self.done]

    @override
    def load(self, numbers: Sequence[int]) -> list[m.Payload] | m.Pack:
        given = self.given
        if not isinstance(given, m.Pack):
            return [given[number] for number in numbers]
        if len(numbers) == given.items:
            return given
        values: list[Any] = pickle.loads(given.payload)
        return m.Pack(len(numbers), pickle.dumps([values[number] for number in numbers], PROTOCOL))


class _Collector(Sink):
    """Keeps the outcomes of a chunk's items until it is over."""

    tells_end = True

    def __init__(self) -> None:
        self.whole = threading.Event()
        """Set when nothing more will come."""
        self._found: dict[int, tuple[Outcomes, Place | None]] = {}  # by the first of the items that they are of

    @override
    def deliver(self, items: Sequence[int], outcomes: Outcomes, place: Place | None) -> None:
        if isinstance(outcomes, m.Plain):
            self._found[items[0]] = outcomes, place
        else:
            for item, outcome in zip(items, outcomes, strict=True):
                self._found[item] = [outcome], place

    @override
    def over(self) -> None:
        self.whole.set()

    @property
    def finished(self) -> int:
        """Items that have an outcome."""
        return sum(len(outcomes) for outcomes, _ in list(self._found.values()) if not _is_dropped(outcomes))

    def first(self) -> Iterator[tuple[Outcomes, Place | None]]:
        """Give the outcomes of the first items, up to one that was not begun."""
        at = 0
        while at in self._found:
            outcomes, place = self._found[at]
            if _is_dropped(outcomes):
                return
            yield outcomes, place
            at += len(outcomes)


def _is_dropped(outcomes: Outcomes) -> bool:
    return not isinstance(outcomes, m.Plain) and isinstance(outcomes[0], Dropped | NotStarted)


_UNPREPARED = Preparation(m.NO_SETUP)


class _Agent:
    """A group of one process."""

    def __init__(self, preparation: Preparation | None) -> None:
        self.preparation = preparation or _UNPREPARED
        self.shares = Shares("")
        limits = Limits(max_workers=1, max_tasks=self.preparation.max_tasks)
        self._supervisor = Supervisor("Process", self._make_engine, limits)
        self._functions: dict[tuple[str, int], Function] = {}
        self.engine = ""
        """Whose chunk it did last."""
        self.used = 0.0
        """When."""

    def _make_engine(self) -> LocalEngine:
        return LocalEngine(start_methods()[0], self.preparation.setup, forward_logs=True, shares=self.shares)

    def suits(self, assignment: Assignment) -> bool:
        """Tell whether its process has got ready as a chunk wants it."""
        return (assignment.preparation or _UNPREPARED) == self.preparation and (
            assignment.preparation is None or assignment.engine == self.engine  # what an initializer does is its own
        )

    @property
    def is_broken(self) -> bool:
        """Whether it takes no more work."""
        return self._supervisor.state != "open"

    def job(self, assignment: Assignment, collector: _Collector) -> _ChunkJob:
        """Make a chunk a job."""
        items = assignment.items
        given = items if isinstance(items, m.Pack) else [to_file(one) for one in items]
        count = assignment.size
        spec = JobSpec(chunksize=count, timeout=assignment.limit, stop_on_failure=assignment.stop_on_error)
        return _ChunkJob(self._function(assignment), assignment.style, spec, collector, given=given, count=count)

    def _function(self, assignment: Assignment) -> Function:
        sent = assignment.function
        known = self._functions.get((assignment.engine, sent.key))
        if known is None:
            if not sent.by_reference or len(self._functions) >= _far.MOST_FUNCTIONS:
                self._functions.clear()
            known = Function(next(_keys), sent.payload, sent.name, sent.by_reference)
            self._functions[assignment.engine, sent.key] = known
        return known

    def do(self, assignment: Assignment, is_wanted: Callable[[], bool] | None) -> Answer:
        """Do a chunk and wait for its end."""
        self.engine = assignment.engine
        collector = _Collector()
        try:
            for given in assignment.shared:
                self.shares.pass_on(_shared_here(assignment.engine, given))
            for key in assignment.closed:
                self.shares.drop(key)
                _files.get(assignment.engine, {}).pop(key, None)
            job = self.job(assignment, collector)
        except Exception as error:  # noqa: BLE001 - there is no room for its data here
            return Answer(*_far.where(), [], 0.0, None, broken=f"{type(error).__name__}: {error}")
        before = self._supervisor.busy_seconds()
        under = _Under(self._supervisor, job, collector)
        with _far.under_way(assignment, under):
            if under.begin():
                self._wait(assignment, under, is_wanted)
        self.used = time.monotonic()
        busy = self._supervisor.busy_seconds() - before
        return self._explain(_answer(collector, busy), job.count)

    def _wait(self, assignment: Assignment, under: _Under, is_wanted: Callable[[], bool] | None) -> None:
        began = time.monotonic() if under.count > 1 and assignment.seconds is not None else None
        while True:
            seconds = None if is_wanted is None else _WANTED_SECONDS
            if began is not None and assignment.seconds is not None:
                left = max(0.0, began + assignment.seconds - time.monotonic())
                seconds = left if seconds is None else min(left, seconds)
            if under.wait(seconds):
                return
            if began is not None and time.monotonic() >= began + (assignment.seconds or 0.0):
                # If nothing has begun, its process is only starting: then the time begins now.
                began = None if under.stop_if_begun() else time.monotonic()
            if is_wanted is not None and not is_wanted():
                under.kill()
                is_wanted = None

    def _explain(self, answer: Answer, count: int) -> Answer:
        """Say why not all has begun, if it is because nothing more can."""
        cause = self._supervisor.ending.cause
        if cause is None or sum(len(one) if isinstance(one, list) else 1 for one in answer.outcomes) == count:
            return answer
        error = cause()
        if isinstance(error, ProcorchError):
            return answer._replace(broken=str(error))
        del error.__notes__[-1:]  # ours, which is added where it arrives
        return answer._replace(unprepared=capture(error, "raised"))

    def close(self) -> None:
        """End its process."""
        self._supervisor.terminate()

    def join(self) -> None:
        """Wait until it has ended."""
        self._supervisor.join(None)


class _Under(_far.Under):
    """A chunk that an agent does."""

    def __init__(self, supervisor: Supervisor, job: _ChunkJob, collector: _Collector) -> None:
        self._supervisor = supervisor
        self._job = job
        self._collector = collector
        self._lock = threading.Lock()
        self._begins = True

    @property
    def count(self) -> int:
        """Its items."""
        return self._job.count

    def wait(self, seconds: float | None) -> bool:
        """Wait for its end; tell whether it came."""
        return self._collector.whole.wait(seconds)

    def stop_if_begun(self) -> bool:
        """Let nothing more begin of it if something has; tell whether that is so."""
        far = self._supervisor.how_far(self._job)
        begun = bool(self._collector.finished or (far is not None and far[0]))
        if begun:
            self.stop()
        return begun

    def begin(self) -> bool:
        """Begin, unless it was stopped before; tell whether it has."""
        with self._lock:
            if self._begins:
                self._supervisor.open(self._job, sealed=True)
            return self._begins

    @override
    def stop(self) -> None:
        with self._lock:
            self._begins = False
        if self._job.number:
            self._supervisor.drop(self._job)

    @override
    def kill(self) -> None:
        self.stop()
        if self._job.number:
            self._supervisor.cancel(self._job)

    @override
    def look(self) -> Progress:
        if not self._job.number:
            return Progress(0, None)
        far = self._supervisor.how_far(self._job)
        if far is not None:
            return Progress(far[0], None if far[1] is None else time.monotonic() - far[1])
        if not self._begins and not self._collector.whole.wait(_DELIVERY_SECONDS):
            return Progress(self._job.count, None)  # as far as anybody can say: what is not known may have begun
        return Progress(self._collector.finished, None)


_lock = threading.Lock()
_idle: list[_Agent] = []
_keys = itertools.count(1)
_reaper: threading.Thread | None = None
_fewer = threading.Event()
"""Set when some were taken from the idle that will not come back."""
_files: dict[str, dict[int, m.Share]] = {}
"""What is shared, by engine and number: each in one file for all processes of this one."""


def _shared_here(engine: str, given: Given) -> m.Share:
    with _lock:
        files = _files.setdefault(engine, {})
        if given.key not in files:
            files[given.key] = m.Share(given.key, given.group, to_file(given.payload, lasting=True))
        return files[given.key]


def run(assignment: Assignment, process: str = "", is_wanted: Callable[[], bool] | None = None) -> Answer:
    """Do a chunk, once, in a process of ours.

    Args:
        assignment (Assignment): The chunk.
        process (str): The engine's name for this process.
        is_wanted (Callable[[], bool] | None): Asked every now and then whether somebody still waits for the chunk: if
            not, what runs of it is stopped. None where nobody can tell.

    Returns:
        Answer: Also where it was refused; this raises nothing of the user's.
    """
    refused = _far.refusal(assignment, process)
    if refused is not None:
        return refused
    with _lock:
        agent = next((one for one in reversed(_idle) if one.suits(assignment)), None)
        if agent is None:
            agent = _Agent(assignment.preparation)
        else:
            _idle.remove(agent)
    try:
        return agent.do(assignment, is_wanted)
    finally:
        _put_back(agent)


def _put_back(agent: _Agent) -> None:
    global _reaper  # noqa: PLW0603 - it belongs to the process
    if agent.is_broken or _far.is_forgotten(agent.engine):
        agent.close()
        return
    with _lock:
        _idle.append(agent)
        if _reaper is None:
            _reaper = Daemon(_reap, "procorch-agents")
            _reaper.start()


def _reap() -> None:
    """End agents that have had nothing to do for a while, until there is none."""
    global _reaper  # noqa: PLW0603 - as above
    while True:
        now = time.monotonic()
        with _lock:
            old = [agent for agent in _idle if now - agent.used >= _IDLE_SECONDS]
            for agent in old:
                _idle.remove(agent)
            if not _idle:
                _reaper = None
            left = bool(_idle)
        for agent in old:
            agent.close()
        if not left:
            return
        _fewer.wait(_IDLE_SECONDS)
        _fewer.clear()


def forget(engine: str) -> None:
    """Let go of all that is kept for an engine, its idle processes too.

    Args:
        engine (str): It will send nothing any more.
    """
    _far.forget(engine)
    with _lock:
        _files.pop(engine, None)
        mine = [agent for agent in _idle if agent.engine == engine]
        for agent in mine:
            _idle.remove(agent)
    _fewer.set()
    for agent in mine:
        agent.close()
    for agent in mine:
        agent.join()


def _after_fork_in_child() -> None:
    """Begin anew: in the copied process there is no other thread, and what is idle serves the process that made it."""
    global _lock, _reaper, _fewer
    _lock, _reaper, _fewer = threading.Lock(), None, threading.Event()
    _idle.clear()
    _files.clear()


os.register_at_fork(after_in_child=_after_fork_in_child)


def _answer(collector: _Collector, busy: float) -> Answer:
    pid, host = _far.where()
    outcomes: list[Crossed] = []
    exitcode: int | None = 0
    for found, place in collector.first():
        pid = place.pid or pid if place is not None else pid
        if isinstance(found, m.Plain):
            outcomes.append(found.values)
            exitcode = 0
        else:
            outcomes.append(_crossed(found[0], pid))
            exitcode = _exitcode_of(found[0])
    return Answer(pid, host, outcomes, busy, exitcode)


def _crossed(outcome: Outcome | m.Retriable, pid: int) -> Crossed:
    if isinstance(outcome, m.Value):
        return Returned(pack(outcome.payload))
    if isinstance(outcome, m.Failure | m.Retriable):
        return outcome
    assert isinstance(outcome, Lost | TimedOut)
    return Gone(pid, outcome)


def _exitcode_of(outcome: Outcome) -> int | None:
    if isinstance(outcome, m.Value):
        return 0
    if isinstance(outcome, Lost):
        return outcome.exitcode
    if isinstance(outcome, m.Failure):
        report = read_report(outcome)
        if report.name == "SystemExit" and report.text.isdigit():
            return int(report.text)
    return 1
