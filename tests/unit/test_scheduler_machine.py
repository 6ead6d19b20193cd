"""Unit tests, no process: the scheduler among simulated hands, which may do whatever the real ones may."""

from __future__ import annotations

import itertools
import math
from collections import Counter, deque
from collections.abc import Callable, Sequence
from typing import assert_never

import attrs
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from procorch import _events as e
from procorch._chunks import Window
from procorch._messages import Failure, Value
from procorch._policy import Limits
from procorch._scheduler import Scheduler

_MOST_ROUNDS = 2000
"""Rounds in which everything must have ended once nothing new comes; the worst case seen is far below."""


@attrs.define(eq=False)
class Chunk:
    """A chunk on its way through a process."""

    job: Job
    items: list[int]
    begun: int = 0
    results: list[Value | Failure] = attrs.field(factory=list[Value | Failure])
    """Of the finished items, a first part of those begun."""
    told: int = 0
    """How many of them the scheduler has heard of."""
    withdrawn: bool = False

    @property
    def runs(self) -> bool:
        """Whether an item is being worked on; there is one at most."""
        return self.begun > len(self.results)

    @property
    def may_begin(self) -> bool:
        """Whether the process would go on to the next item, as far as the chunk is concerned."""
        failed = self.job.spec.stop_on_failure and any(isinstance(one, Failure) for one in self.results)
        return not self.runs and self.begun < len(self.items) and not failed


@attrs.define(eq=False)
class Process:
    """One process, from the order to start it to the news of its death."""

    slot: int
    job: Job | None
    """The one that it is dedicated to."""
    launched: bool = False
    stubborn: bool = False
    """Whether it takes no notice of SIGTERM, and lives on when asked to end."""
    ready: bool = False
    setup_failed: bool = False
    chunk: Chunk | None = None
    asked: bool = False
    terminated: bool = False
    killed: bool = False

    @property
    def told_to_end(self) -> bool:
        """Whether it is on its way out, as far as the scheduler knows."""
        return self.setup_failed or self.asked or self.terminated or self.killed

    @property
    def free(self) -> bool:
        """Whether the scheduler must believe that it could begin an item now."""
        return self.ready and self.chunk is None and not self.told_to_end


@attrs.define(eq=False)
class Job:
    """One call, with its consumer."""

    number: int
    spec: e.JobSpec
    window: Window
    outcomes: dict[int, e.Outcome] = attrs.field(factory=dict[int, e.Outcome])
    begins: Counter[int] = attrs.field(factory=Counter[int])
    unbegun: Counter[int] = attrs.field(factory=Counter[int])
    """Processes that died with an item as the next one."""
    sealed: bool = False
    stopped: bool = False
    done: bool = False
    over: bool = False
    """Whether its own process is over."""
    ended_by_user: bool = False
    """Whether the user has had its own process ended."""

    def give(self, most: int) -> None:
        """Let the consumer have what is its turn."""
        for _ in range(most):
            if self.window.given not in self.outcomes:
                break
            self.window.given += 1

    def take(self) -> int:
        """Let the consumer take inputs as far as there is room, and then wait if it has to."""
        before = self.window.taken
        self.window.taken += max(self.window.room, 0)
        if self.window.given not in self.outcomes:
            self.window.waited(len(self.outcomes) - self.window.given)
            self.window.taken += max(self.window.room, 0)
        return self.window.taken - before


class Hands:
    """Carries out orders and checks each against what it knows of the world."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.now = 0.0
        self.names = map("w-{}".format, itertools.count(1))
        self.scheduler = Scheduler(limits, self.names)
        self.jobs: dict[int, Job] = {}
        self.processes: dict[int, Process] = {}
        self.slot_names: dict[int, str] = {}
        self.mailbox: deque[e.Event] = deque()
        self.closed = self.terminated = self.broken = False
        self.last_moment = math.inf
        """When nothing may be alive any more that was not told so by SIGKILL."""
        self.intact = True
        """False after a failure: then there is no sense in going on to the end."""

    # --- what is the case ---------------------------------------------------------------------------------------------

    @property
    def refusing(self) -> bool:
        return self.terminated or self.broken

    @property
    def pool(self) -> list[Process]:
        return [process for process in self.processes.values() if process.job is None]

    def chunks(self, job: Job) -> list[Chunk]:
        found = [process.chunk for process in self.processes.values()]
        return [chunk for chunk in found if chunk is not None and chunk.job is job]

    def waiting(self, job: Job) -> set[int]:
        held = {item for chunk in self.chunks(job) for item in chunk.items}
        return {item for item in range(job.window.taken) if item not in job.outcomes and item not in held}

    # --- the way in and out -------------------------------------------------------------------------------------------

    def tell(self, *events: e.Event) -> None:
        """Tell what happened; several events if the real hands tell them without letting go of the lock."""
        self.intact = False
        self.mailbox.extend(events)
        while self.mailbox:
            event = self.mailbox.popleft()
            if isinstance(event, e.WorkerDied):
                del self.processes[event.slot]
            for order in self.scheduler.handle(event, self.now):
                self.carry_out(order)
        self.check()
        self.intact = True

    def carry_out(self, order: e.Order) -> None:
        match order:
            case e.StartWorker(slot, name):
                self.start(slot, name)
            case e.Send(slot, number, items):
                self.send(self.processes[slot], self.jobs[number], list(items))
            case e.Resolve(number, items, outcomes, slot):
                self.resolve(self.jobs[number], items, outcomes, slot)
            case e.JobDone(number):
                self.job_done(self.jobs[number])
            case e.ProcessOver(number):
                self.process_over(self.jobs[number])
            case e.Withdraw(slot):
                chunk = self.processes[slot].chunk
                assert chunk is not None
                chunk.withdrawn = True
            case e.Look(slot):
                self.look(self.processes[slot])
            case e.Ask(slot):
                process = self.processes[slot]
                assert process.ready
                assert process.chunk is None
                process.asked = True
            case e.Terminate(slot):
                self.processes[slot].terminated = True
                self.forget_unlaunched(self.processes[slot])
            case e.Kill(slot):
                self.processes[slot].killed = True
                self.forget_unlaunched(self.processes[slot])
            case e.Broken():
                assert not self.refusing
                self.broken = True
                self.stop_all()
            case _:
                assert_never(order)

    def stop_all(self) -> None:
        for job in self.jobs.values():
            job.stopped = True

    def start(self, slot: int, name: str) -> None:
        assert slot not in self.processes
        assert not self.refusing
        assert self.slot_names.setdefault(slot, name) == name
        number = self.scheduler.slots[slot].dedicated
        job = None if number is None else self.jobs[number]
        self.processes[slot] = Process(slot, job)
        assert len(self.pool) <= self.limits.max_workers
        if job is not None:
            assert not job.over
            assert not job.ended_by_user
            assert name == job.spec.name
            assert [process.job for process in self.processes.values()].count(job) == 1

    def send(self, process: Process, job: Job, items: list[int]) -> None:
        assert process.free
        assert process.job is (job if job.spec.dedicated else None)
        assert not job.stopped
        assert not job.done
        waiting = self.waiting(job)
        assert items
        assert len(set(items)) == len(items)
        assert waiting.issuperset(items)
        if job.spec.chunksize is not None:
            assert len(items) == min(job.spec.chunksize, len(waiting))
        process.chunk = Chunk(job, items)

    def resolve(self, job: Job, items: Sequence[int], outcomes: Sequence[e.Outcome], slot: int | None) -> None:
        assert not job.done
        for item, outcome in zip(items, outcomes, strict=True):
            assert 0 <= item < job.window.taken
            assert item not in job.outcomes
            job.outcomes[item] = outcome
            match outcome:
                case Value(payload) | Failure(payload):
                    assert payload == f"{job.number} {item} {slot} {job.begins[item]}".encode()
                    failed = isinstance(outcome, Failure)
                case e.Lost(_, _, attempts):
                    assert attempts == job.begins[item]
                    failed = True
                case e.Dropped():
                    assert job.stopped or self.refusing or (self.closed and job.spec.streaming)
                    # Only those told to end at once take items with them.
                    assert self.terminated or job.begins[item] <= job.spec.retries
                    failed = False
                case e.NotStarted():
                    assert job.spec.dedicated
                    failed = False
                case _:
                    assert_never(outcome)
            if not isinstance(outcome, Value | Failure):
                assert all(item not in chunk.items for chunk in self.chunks(job))
            job.stopped |= failed and job.spec.stop_on_failure

    def job_done(self, job: Job) -> None:
        assert not job.done
        assert job.sealed or job.stopped or (self.closed and job.spec.streaming)
        assert len(job.outcomes) == job.window.taken
        assert not self.chunks(job)
        job.done = True

    def process_over(self, job: Job) -> None:
        assert job.spec.dedicated
        assert not job.over
        assert all(process.job is not job for process in self.processes.values())
        assert len(job.outcomes) == job.window.taken or self.refusing
        job.over = True

    def look(self, process: Process) -> None:
        chunk = process.chunk
        assert chunk is not None
        if chunk.told < len(chunk.results):
            self.mailbox.append(self.news(process.slot, chunk, len(chunk.results)))

    def forget_unlaunched(self, process: Process) -> None:
        died = e.WorkerDied(process.slot, None, 0)
        if not process.launched and died not in self.mailbox:
            self.mailbox.append(died)

    # --- what must hold between any two events ------------------------------------------------------------------------

    def check(self) -> None:
        waiting = 0
        for job in self.jobs.values():
            if job.done:
                continue  # for good: any order about it would have been an error
            rest = self.waiting(job)
            assert job.window.taken - job.window.given <= job.window.size <= job.window.most
            assert self.scheduler.waits(job.number) == bool(rest)
            assert self.scheduler.runs(job.number) == bool(self.chunks(job))
            assert not (rest and (job.stopped or self.refusing))
            over = job.sealed or job.stopped or (self.closed and job.spec.streaming)
            assert not over or rest or self.chunks(job)
            if not job.spec.dedicated:
                waiting += len(rest)
        pool, free = self.pool, [process for process in self.pool if process.free]
        if waiting:
            assert not free
            assert pool
        if self.refusing or (self.closed and all(job.done for job in self.jobs.values())):
            assert not free
        assert not any(process.free for process in self.processes.values() if process.job is not None)
        if not any(process.chunk or process.told_to_end for process in self.processes.values()):
            assert self.scheduler.next_deadline() is None
        owned = {process.job.number for process in self.processes.values() if process.job is not None}
        assert owned == {job.number for job in self.jobs.values() if job.spec.dedicated and not job.over}
        quiet = not self.processes and all(job.done for job in self.jobs.values())
        assert self.scheduler.finished == (quiet and (self.closed or self.terminated))

    # --- what processes do --------------------------------------------------------------------------------------------

    def begin(self, chunk: Chunk) -> None:
        job, item = chunk.job, chunk.items[chunk.begun]
        assert item not in job.outcomes
        assert sum(other.items.count(item) for other in self.chunks(job)) == 1  # one live attempt
        chunk.begun += 1
        job.begins[item] += 1
        assert job.begins[item] <= job.spec.retries + 1

    def finish(self, process: Process, *, failing: bool) -> None:
        chunk = process.chunk
        assert chunk is not None
        item = chunk.items[chunk.begun - 1]
        text = f"{chunk.job.number} {item} {process.slot} {chunk.job.begins[item]}"
        chunk.results.append((Failure if failing else Value)(text.encode()))

    @staticmethod
    def news(slot: int, chunk: Chunk, upto: int) -> e.Recorded:
        event = e.Recorded(slot, chunk.results[chunk.told : upto])
        chunk.told = upto
        return event

    def announce(self, process: Process, most: int = 1 << 30) -> None:
        chunk = process.chunk
        if chunk is not None and chunk.told < len(chunk.results):
            event = self.news(process.slot, chunk, min(chunk.told + most, len(chunk.results)))
            self.tell(event)
            for item, outcome in zip(chunk.items[: chunk.told], chunk.results, strict=False):
                assert chunk.job.outcomes[item] is outcome

    def end_chunk(self, process: Process, busy: float) -> None:
        self.announce(process)
        assert process.chunk is not None
        process.chunk = None
        self.tell(e.ChunkEnded(process.slot, busy))

    def die(self, process: Process, exitcode: int | None) -> None:
        self.announce(process)
        chunk = process.chunk
        if chunk is None:
            self.tell(e.WorkerDied(process.slot, exitcode, 0))
            return
        wanted = not (chunk.job.stopped or self.refusing)
        job, rest = chunk.job, chunk.items[chunk.begun :]
        self.tell(e.WorkerDied(process.slot, exitcode, chunk.begun))
        for item in chunk.items[chunk.told : chunk.begun]:
            tries = job.begins[item]
            if wanted and tries <= job.spec.retries and not job.ended_by_user:
                assert item not in job.outcomes
            elif self.terminated:
                assert job.outcomes[item] == e.Dropped()
            else:
                assert job.outcomes[item] == e.Lost(process.slot, exitcode, tries)
        if chunk.begun == 0:
            job.unbegun[rest[0]] += 1
            given_up = job.unbegun[rest[0]] == self.limits.max_unbegun_deaths
            if wanted and (given_up or job.ended_by_user):
                item = rest.pop(0)
                assert job.outcomes[item] == e.Lost(process.slot, exitcode, job.begins[item])
        for item in rest:
            assert job.outcomes.get(item) == (e.Dropped() if job.stopped or self.refusing else None)


_PICK = st.integers(0, 3)
"""Which of those that can; taken modulo their number."""
_EXITCODE = st.sampled_from([0, 1, -9, -11, None])


class SchedulerMachine(RuleBasedStateMachine):
    """Events in any order that the real hands may bring."""

    hands: Hands
    calm: bool

    @initialize(
        max_workers=st.integers(1, 4),
        failed_starts=st.sampled_from([1, 3, 100]),
        killed_starts=st.sampled_from([1, 3, 100]),
        unbegun_deaths=st.integers(1, 3),
        calm=st.booleans(),
    )
    def open_group(
        self, max_workers: int, failed_starts: int, killed_starts: int, unbegun_deaths: int, calm: bool
    ) -> None:
        limits = Limits(
            max_workers=max_workers,
            max_chunk_items=6,
            max_failed_starts=failed_starts,
            max_killed_starts=killed_starts,
            max_unbegun_deaths=unbegun_deaths,
        )
        self.hands = Hands(limits)
        self.calm = calm

    # --- who is there to act ------------------------------------------------------------------------------------------

    def those(self, test: Callable[[Process], bool]) -> list[Process]:
        return [process for process in self.hands.processes.values() if test(process)]

    def open_jobs(self) -> list[Job]:
        return [job for job in self.hands.jobs.values() if not job.done and not job.sealed]

    def calls(self) -> list[Job]:
        """Those that may be stopped, which the end of a stream does in any case: those that are done, too."""
        jobs = [job for job in self.hands.jobs.values() if not job.spec.dedicated]
        return [job for job in jobs if not job.stopped]

    def own_processes(self) -> list[Job]:
        return [job for job in self.hands.jobs.values() if job.spec.dedicated and not job.over]

    def takes_jobs(self) -> bool:
        return not self.hands.closed and not self.hands.terminated and len(self.hands.jobs) < 12

    def ordered(self) -> list[Process]:
        return self.those(lambda one: not one.launched)

    def starting(self) -> list[Process]:
        return self.those(lambda one: one.launched and not one.ready and not one.setup_failed)

    def at_work(self) -> list[Process]:
        return self.those(lambda one: one.chunk is not None and (one.chunk.may_begin or one.chunk.runs))

    def with_news(self) -> list[Process]:
        return self.those(lambda one: one.chunk is not None and one.chunk.told < len(one.chunk.results))

    def between_items(self) -> list[Process]:
        return self.those(lambda one: one.chunk is not None and not one.chunk.runs)

    def launched(self) -> list[Process]:
        return self.those(lambda one: one.launched)

    def is_late(self) -> bool:
        """Whether enough has happened for what ends everything."""
        return not self.calm and len(self.hands.jobs) > 2

    # --- callers ------------------------------------------------------------------------------------------------------

    def open(self, spec: e.JobSpec, window: Window, count: int, *, sealed: bool) -> None:
        job = Job(len(self.hands.jobs) + 1, spec, window, sealed=sealed)
        window.taken = min(count, window.room)
        self.hands.jobs[job.number] = job
        events = (e.JobOpened(job.number, spec), e.ItemsOffered(job.number, window.taken), e.JobSealed(job.number))
        self.hands.tell(*events[: 3 if sealed else 2])

    def seal(self, job: Job) -> None:
        job.sealed = True
        self.hands.tell(e.JobSealed(job.number))

    @precondition(lambda self: self.takes_jobs())
    @rule(retries=st.integers(0, 2))
    def submit(self, retries: int) -> None:
        self.open(e.JobSpec(retries=retries), Window(1, 1), 1, sealed=True)

    @precondition(lambda self: self.takes_jobs())
    @rule(
        spec=st.builds(
            lambda chunksize, retries, kind: e.JobSpec(chunksize, retries, kind == "map", kind == "imap"),
            st.sampled_from([None, 1, 3]),
            st.integers(0, 1),
            st.sampled_from(["map", "map of exceptions", "imap"]),
        ),
        size=st.integers(1, 20),
        exact=st.booleans(),
        count=st.integers(1, 20),
    )
    def open_stream(self, spec: e.JobSpec, size: int, exact: bool, count: int) -> None:
        self.open(spec, Window(size, size if exact else size * 4), count, sealed=False)

    @precondition(lambda self: self.takes_jobs() and len(self.own_processes()) < 2)
    @rule(retries=st.integers(0, 1))
    def start_dedicated(self, retries: int) -> None:
        name = f"d-{len(self.hands.jobs)}"
        self.open(e.JobSpec(retries=retries, dedicated=True, name=name), Window(1, 1), 1, sealed=True)

    @precondition(lambda self: self.open_jobs())
    @rule(pick=_PICK, most=st.integers(0, 40))
    def pull(self, pick: int, most: int) -> None:
        jobs = self.open_jobs()
        job = jobs[pick % len(jobs)]
        job.give(most)
        first, count = job.window.taken, job.take()
        if count:
            self.hands.tell(e.ItemsOffered(job.number, count))
        if self.hands.closed and job.spec.streaming:
            assert all(job.outcomes[item] == e.Dropped() for item in range(first, first + count))

    @precondition(lambda self: self.open_jobs())
    @rule(pick=_PICK)
    def seal_one(self, pick: int) -> None:
        jobs = self.open_jobs()
        self.seal(jobs[pick % len(jobs)])

    @precondition(lambda self: self.calls())
    @rule(pick=_PICK, cancel=st.booleans())
    def stop_one(self, pick: int, cancel: bool) -> None:
        jobs = self.calls()
        job = jobs[pick % len(jobs)]
        waits = self.hands.scheduler.waits(job.number)
        if cancel and not waits:
            return
        job.stopped = True
        self.hands.tell(e.JobStopped(job.number))
        if waits and job.window.taken == 1:
            assert job.done
            assert job.outcomes == {0: e.Dropped()}

    @precondition(lambda self: self.own_processes())
    @rule(pick=_PICK, kill=st.booleans())
    def stop_process(self, pick: int, kill: bool) -> None:
        jobs = self.own_processes()
        job = jobs[pick % len(jobs)]
        job.ended_by_user = True
        self.hands.tell(e.ProcessStopped(job.number, kill))

    @precondition(lambda self: self.is_late() and not self.hands.closed)
    @rule()
    def close(self) -> None:
        self.hands.closed = True
        self.hands.tell(e.CloseAsked())

    @precondition(lambda self: self.is_late() and not self.hands.terminated)
    @rule()
    def terminate(self) -> None:
        self.hands.terminated = True
        self.hands.last_moment = self.hands.now + self.hands.limits.kill_grace
        self.hands.stop_all()
        self.hands.tell(e.TerminateAsked())
        assert all(process.terminated or process.killed for process in self.hands.processes.values())

    # --- time ---------------------------------------------------------------------------------------------------------

    @precondition(lambda self: self.hands.scheduler.next_deadline() is not None or not self.takes_jobs())
    @rule(exactly=st.booleans())
    def pass_time(self, exactly: bool) -> None:
        hands = self.hands
        deadline = hands.scheduler.next_deadline()
        exactly &= deadline is not None
        hands.now = max(hands.now, deadline or 0.0) if exactly else hands.now + 0.01
        hands.tell(e.TimePassed())
        later = hands.scheduler.next_deadline()
        assert later is None or later > hands.now
        if hands.now >= hands.last_moment:
            assert all(process.killed for process in hands.processes.values())

    # --- processes ----------------------------------------------------------------------------------------------------

    @precondition(lambda self: self.ordered())
    @rule(stubborn=st.booleans())
    def launch_all(self, stubborn: bool) -> None:
        for process in self.ordered():
            process.launched, process.stubborn = True, stubborn

    @precondition(lambda self: self.ordered())
    @rule(pick=_PICK)
    def launch_fails(self, pick: int) -> None:
        processes = self.ordered()
        if self.is_late() or len(self.hands.pool) > 1:
            slot = processes[pick % len(processes)].slot
            del self.hands.processes[slot]
            self.hands.tell(e.LaunchFailed(slot, "no room"))

    @precondition(lambda self: self.starting())
    @rule(pick=_PICK)
    def becomes_ready(self, pick: int) -> None:
        processes = self.starting()
        process = processes[pick % len(processes)]
        process.ready = True
        self.hands.tell(e.WorkerReady(process.slot))

    @precondition(lambda self: self.starting() and self.is_late())
    @rule(pick=_PICK)
    def setup_fails(self, pick: int) -> None:
        processes = self.starting()
        process = processes[pick % len(processes)]
        process.setup_failed = True
        self.hands.tell(e.SetupFailed(process.slot, Failure(b"")))
        assert self.hands.refusing

    @precondition(lambda self: self.at_work())
    @rule(
        pick=_PICK,
        steps=st.integers(1, 8),
        failing=st.sampled_from([None, 1, 3]),
        crash=st.booleans(),
        exitcode=_EXITCODE,
    )
    def work(self, pick: int, steps: int, failing: int | None, crash: bool, exitcode: int | None) -> None:
        """Begin and finish items by turns, whatever the page asks: it may be seen late. Perhaps crash at the end."""
        processes = self.at_work()
        process = processes[pick % len(processes)]
        chunk = process.chunk
        assert chunk is not None
        for step in range(steps):
            if chunk.runs:
                self.hands.finish(process, failing=failing == step)
            elif chunk.may_begin:
                self.hands.begin(chunk)
        if crash:
            self.hands.die(process, exitcode)

    @precondition(lambda self: self.with_news())
    @rule(pick=_PICK, most=st.integers(1, 8))
    def announce(self, pick: int, most: int) -> None:
        processes = self.with_news()
        self.hands.announce(processes[pick % len(processes)], most)

    @precondition(lambda self: self.between_items())
    @rule(pick=_PICK, busy=st.floats(0, 0.1))
    def end_chunk(self, pick: int, busy: float) -> None:
        """Also before its last item: the page is full, or the rest was withdrawn."""
        processes = self.between_items()
        self.hands.end_chunk(processes[pick % len(processes)], busy)

    @precondition(lambda self: self.launched())
    @rule(pick=_PICK, exitcode=_EXITCODE)
    def die(self, pick: int, exitcode: int | None) -> None:
        processes = self.launched()
        process = processes[pick % len(processes)]
        if self.is_late() or process.ready:
            self.hands.die(process, exitcode)

    @precondition(lambda self: self.launched())
    @rule(rounds=st.sampled_from([1, 2, 10]), failing=st.booleans())
    def go_on(self, rounds: int, failing: bool) -> None:
        """Let everything take its usual course for a while."""
        for _ in range(rounds):
            for process in self.launched():
                self.advance(process, failing=failing)

    # --- the end ------------------------------------------------------------------------------------------------------

    def teardown(self) -> None:
        if not hasattr(self, "hands") or not self.hands.intact:
            return
        for job in self.open_jobs():
            if not job.spec.streaming:  # with these, closing must do
                self.seal(job)
        self.close()
        for _ in range(_MOST_ROUNDS):
            if self.hands.scheduler.finished:
                break
            moved = [self.advance(process) for process in list(self.hands.processes.values())]
            if not any(moved):
                assert self.hands.scheduler.next_deadline() is not None, "it would wait for ever"
                self.pass_time(exactly=True)
        assert self.hands.scheduler.finished
        assert not self.hands.processes
        assert self.hands.scheduler.next_deadline() is None
        for job in self.hands.jobs.values():
            assert job.done
            assert job.over == job.spec.dedicated
            assert sorted(job.outcomes) == list(range(job.window.taken))
            job.give(job.window.taken)
            assert job.window.given == job.window.taken

    def advance(self, process: Process, *, failing: bool = False) -> bool:
        """Let a process take its next step towards its end.

        Returns:
            bool: Whether it could.
        """
        if self.hands.processes.get(process.slot) is not process:
            return False
        chunk = process.chunk
        if process.killed:
            self.hands.die(process, -9)
        elif process.terminated and not process.stubborn:
            self.hands.die(process, -15)
        elif process.setup_failed or process.asked:
            # What an item left running may keep a process; one of its own is not hurried.
            if process.stubborn and process.job is None:
                return False
            self.hands.die(process, 0)
        elif not process.launched:
            process.launched = True
        elif not process.ready:
            process.ready = True
            self.hands.tell(e.WorkerReady(process.slot))
        elif chunk is None:
            return False
        elif chunk.runs:
            self.hands.finish(process, failing=failing)
        elif chunk.may_begin and not chunk.withdrawn:
            self.hands.begin(chunk)
        else:
            self.hands.end_chunk(process, 0.001 * len(chunk.results))
        return True


pytestmark = pytest.mark.limit(120)

TestScheduler = SchedulerMachine.TestCase
TestScheduler.settings = settings(max_examples=400, stateful_step_count=60, deadline=None)
