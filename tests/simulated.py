"""Simulated hands for the scheduler: processes that may do whatever real ones may, and checks of each order."""

from __future__ import annotations

import itertools
import math
import pickle
from collections import Counter, deque
from collections.abc import Sequence
from typing import Literal, TypeAlias, assert_never

import attrs
from watched import Watch

from procorch import _events as e
from procorch._chunks import Window
from procorch._messages import Failure, Plain, Report, Retriable, Value
from procorch._policy import Limits
from procorch._restart import Restart
from procorch._scheduler import Scheduler
from procorch.events import Reason

Result: TypeAlias = Value | Failure | Retriable

Ending: TypeAlias = Literal["value", "failure", "retriable"]
"""What an item comes to; ``"retriable"`` is a failure where its job has no retries, as with real hands."""

_OWN_ENDS = 4
"""How often the function of a service ends by itself in the usual course; after that it serves until it is told."""

_LINGERS = 3
"""How often a stubborn process with a job of its own is waited for in vain."""

SLACK = 1e-6
"""Seconds by which sums of floats may differ."""


@attrs.frozen
class Nature:
    """What a process is like."""

    stubborn: bool = False
    """It takes no notice of SIGTERM, and lives on when asked to end."""
    catches: bool = False
    """Its items make an exception of SIGTERM."""
    deaf: bool = False
    """It writes no stack: it hangs in the system."""
    slow: bool = False
    """Its items that have a limit do not end by themselves, nor do those that are told to come to their end."""
    finalizer_fails: bool = False
    listens: bool = False
    """Its items can be told to come to their end."""


@attrs.define(eq=False)
class Chunk:
    """A chunk on its way through a process."""

    job: Job
    items: list[int]
    hands: Hands
    begun: int = 0
    results: list[Result] = attrs.field(factory=list[Result])
    """Of the finished items, a first part of those begun."""
    read: int = 0
    """How many of them the hands have read."""
    told: int = 0
    """How many of them the scheduler has heard of."""
    withdrawn_at: float | None = None
    seconds: float | None = None
    """Work after which it is to begin no further item."""
    seen: bool = False
    """Whether a process that is far away has seen that it was withdrawn."""
    void: bool = False
    """Whether its job was cancelled: the scheduler is not interested any more."""
    since: float | None = None
    """Since when its item runs; None if it has not been loaded yet, or none runs."""
    since_of: dict[int, float] = attrs.field(factory=dict[int, float])
    """The same for all its items so far."""

    @property
    def timed(self) -> bool:
        """Whether its items have a limit."""
        return self.job.spec.timeout is not None

    @property
    def withdrawn(self) -> bool:
        return self.withdrawn_at is not None

    @property
    def runs(self) -> bool:
        """Whether an item is being worked on; there is one at most."""
        return self.begun > len(self.results)

    @property
    def may_begin(self) -> bool:
        """Whether the process may go on to the next item: a withdrawal may be seen late, unless it is timed."""
        failed = self.job.spec.stop_on_failure and any(isinstance(one, Failure) for one in self.results)
        hands, since = self.hands, self.withdrawn_at
        kept = since is not None and (self.timed or hands.now >= since + hands.limits.recall_look)
        if hands.limits.distant:
            kept = self.seen
        return not self.runs and self.begun < len(self.items) and not failed and not kept

    @property
    def unheard(self) -> list[int]:
        """Those items that the scheduler takes for unfinished."""
        return [] if self.void else self.items[self.told :]


def payload_of(job: Job, item: int, slot: int | None, *, fails: bool) -> bytes:
    """What an item that was begun in vain so often comes to in a slot; of a service it is read."""
    text = f"{job.number} {item} {slot} {job.begins[item]}"
    if fails and job.spec.restart is not None:
        return pickle.dumps(tuple(Report("raised", "OSError", text, "", [], None, None)))
    return text.encode()


@attrs.define(eq=False)
class Process:
    """One process, from the order to start it to the news of its death."""

    slot: int
    job: Job | None
    """The one that it is dedicated to."""
    nature: Nature
    launched: bool = False
    ready: bool = False
    setup_failed: bool = False
    chunk: Chunk | None = None
    looked_for: bool = False
    """Whether somebody waits for a look at it from far away."""
    begun_last: int = 0
    """What its page tells when it has no chunk."""
    finished: int = 0
    """Items it has told of."""
    expired: int | None = None
    """The item for which it was asked for its stack."""
    asked: bool = False
    terminated: bool = False
    killed: bool = False
    ceased: bool = False
    """Whether its item was told to come to its end."""
    finalized: bool = False
    lingered: int = 0
    """How often its end was waited for in vain."""
    terminate_at: float = math.inf
    """From when it must have been sent SIGTERM."""
    kill_at: float = math.inf
    """From when it must have been sent SIGKILL."""

    @property
    def told_to_end(self) -> bool:
        """Whether it is on its way out, as far as the scheduler knows."""
        return (
            self.setup_failed or self.asked or self.terminated or self.killed or self.ceased or self.expired is not None
        )

    @property
    def is_hurried(self) -> bool:
        """Whether something will be done about it if it does not end."""
        return min(self.terminate_at, self.kill_at) < math.inf

    @property
    def lingers(self) -> bool:
        """Whether it will end by itself, though not at once: threads of its item's keep it a while."""
        return (
            self.nature.stubborn
            and self.job is not None
            and self.asked
            and self.lingered < _LINGERS
            and not self.is_hurried
        )

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
    retried: Counter[int] = attrs.field(factory=Counter[int])
    unbegun: Counter[int] = attrs.field(factory=Counter[int])
    """Processes that died with an item as the next one."""
    resting: dict[int, float] = attrs.field(factory=dict[int, float])
    """Until when items rest before another try."""
    sealed: bool = False
    stopped: bool = False
    cancelled: bool = False
    done: bool = False
    over: bool = False
    """Whether its own process is over."""
    ended_by_user: bool = False
    """Whether the user has had its own process ended."""
    asked: bool = False
    """Whether its function was to come to its end: the user wants it, or its turn has come."""
    restarts: list[float] = attrs.field(factory=list[float])
    """When its process was to be started again."""
    restart_due: tuple[int, float, Reason] | None = None
    """What must be ordered now: how many restarts that makes, the seconds before, and what for."""
    own_ends: int = 0
    """How often its function has ended by itself in the usual course."""

    @property
    def is_up(self) -> bool:
        """Whether it is a service that is not over."""
        return self.spec.restart is not None and not self.over

    @property
    def goes_on(self) -> bool:
        """Whether an item that was begun may be begun again."""
        return not (self.stopped or self.ended_by_user or self.asked)

    @property
    def makes_rows(self) -> bool:
        """Whether it is a stream that a process of its own makes."""
        return self.spec.dedicated and self.spec.streaming

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

    def __init__(self, limits: Limits, natures: Sequence[Nature], tempo: float) -> None:
        """Begin without jobs; processes get these natures in turn, and their items take so many seconds."""
        self.limits = limits
        self.tempo = tempo
        self.workers = self.window = limits.max_workers
        self.elastic = limits.distant
        """Whether chunks may wait for their turn at the engine, or there may be no room at all."""
        self.natures = itertools.cycle(natures)
        self.now = 0.0
        self.names = map("w-{}".format, itertools.count(1))
        self.scheduler = Scheduler(limits, self.names)
        self.jobs: dict[int, Job] = {}
        self.processes: dict[int, Process] = {}
        self.slot_names: dict[int, str] = {}
        self.mailbox: deque[e.Event] = deque()
        self.event: e.Event = e.TimePassed()
        """The one that the scheduler hears just now."""
        self.closed = self.terminated = self.broken = self.refused = False
        self.look_steps: list[int] = []
        """How far processes come while they are looked at and after that, for each of the next looks."""
        self.finalizers_failed = 0
        self.given_up = False
        """Whether a service has failed for good, and others are up."""
        self.watch = Watch()
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
        return [chunk for chunk in found if chunk is not None and chunk.job is job and not chunk.void]

    def unsettled(self, job: Job) -> set[int]:
        """Items without an outcome that are with no worker: they wait or rest."""
        held = {item for chunk in self.chunks(job) for item in chunk.unheard}
        return {item for item in range(job.window.taken) if item not in job.outcomes and item not in held}

    def waiting(self, job: Job) -> set[int]:
        return self.unsettled(job) - job.resting.keys()

    def own(self, job: Job) -> list[Process]:
        return [process for process in self.processes.values() if process.job is job]

    # --- the way in and out -------------------------------------------------------------------------------------------

    def tell(self, *events: e.Event) -> None:
        """Tell what happened; several events if the real hands tell them without letting go of the lock."""
        self.intact = False
        self.mailbox.extend(events)
        while self.mailbox:
            self.event = event = self.mailbox.popleft()
            if isinstance(event, e.WorkerDied):
                del self.processes[event.slot]
            if isinstance(event, e.TimePassed):
                self.wake()
            if isinstance(event, e.StopAsked):
                self.jobs[event.job].asked = True
            told = self.hear_results(event) if isinstance(event, e.Recorded) else []
            self.watch.hear(event, self.scheduler.slots, self.now)
            orders = self.scheduler.handle(event, self.now)
            self.watch.see(event, orders, self.now)
            if isinstance(event, e.Looked) and event.slot in self.processes:
                self.cut(self.processes[event.slot])
            for order in orders:
                self.carry_out(order)
            assert all(job.restart_due is None for job in self.jobs.values())
            if isinstance(event, e.StopAsked):
                self.check_asked(self.jobs[event.job])
            self.take_turn()
            for job, item, outcome in told:
                dropped = e.Dropped() if job.stopped and item in job.outcomes else None
                expected = dropped if outcome is None else outcome
                assert job.outcomes.get(item) == expected
                assert type(job.outcomes.get(item)) is type(expected)  # tuples of different types may be equal
        self.check()
        self.intact = True

    def hear_results(self, event: e.Recorded) -> list[tuple[Job, int, e.Outcome | None]]:
        """Tell what must become of items whose results the scheduler is about to hear."""
        process = self.processes[event.slot]
        chunk = process.chunk
        assert chunk is not None
        items = chunk.items[chunk.told : chunk.told + len(event.outcomes)]
        chunk.told += len(items)
        if chunk.void:
            return []
        process.finished += len(items)
        assert not isinstance(event.outcomes, Plain)  # the processes here tell of each by itself
        outcomes = [one for one in event.outcomes if not isinstance(one, e.Lost | e.TimedOut)]  # and of none of these
        pairs = zip(items, outcomes, strict=True)
        return [(chunk.job, item, self.expected(process, chunk, item, one)) for item, one in pairs]

    def wake(self) -> None:
        for job in self.jobs.values():
            job.resting = {item: until for item, until in job.resting.items() if until > self.now}

    def carry_out(self, order: e.Order) -> None:
        match order:
            case e.StartWorker(slot, name):
                self.start(slot, name)
            case e.Send(slot, number, items, seconds):
                self.send(self.processes[slot], self.jobs[number], list(items), seconds)
            case e.Resolve(number, items, outcomes, slot):
                assert not isinstance(outcomes, Plain)
                self.resolve(self.jobs[number], items, outcomes, slot)
            case e.CountRetry(slot, number, item, attempts):
                job = self.jobs[number]
                job.retried[item] += 1
                assert attempts == job.retried[item] == job.begins[item] <= job.spec.retries
                assert item not in job.outcomes
            case e.Restarted(slot, name, number, restarts, seconds, reason):
                job = self.jobs[number]
                assert name == job.spec.name == self.slot_names[slot]
                assert job.restart_due == (restarts, seconds, reason)
                job.restart_due = None
                job.retried[0] += 1
            case e.Stopping(number):
                assert not self.jobs[number].over
            case e.Cease(slot):
                self.cease(self.processes[slot])
            case e.JobDone(number):
                self.job_done(self.jobs[number])
            case e.ProcessOver(number):
                self.process_over(self.jobs[number])
            case e.Withdraw(slot):
                chunk = self.processes[slot].chunk
                assert chunk is not None
                if chunk.withdrawn_at is None:
                    chunk.withdrawn_at = self.now
            case e.Look(slot):
                self.look(self.processes[slot])
            case e.ShowStack(slot):
                self.show_stack(self.processes[slot])
            case e.Ask(slot):
                self.ask(self.processes[slot])
            case e.Terminate(slot):
                self.watch.signalled(order, self.now)
                self.terminate(self.processes[slot])
            case e.Kill(slot):
                self.watch.signalled(order, self.now)
                assert not isinstance(self.event, e.TimePassed) or self.processes[slot].kill_at <= self.now + SLACK
                self.processes[slot].killed = True
                self.forget_unlaunched(self.processes[slot])
            case e.FinalizerFailed(slot):
                assert isinstance(self.event, e.Finalized)
                assert self.event.slot == slot
                self.finalizers_failed -= 1
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
        self.processes[slot] = Process(slot, job, next(self.natures))
        assert job is not None or 0 < len(self.pool) <= self.window
        if job is not None:
            assert not job.over
            assert not job.ended_by_user
            assert not job.asked
            assert not job.resting
            assert name == job.spec.name
            assert len(self.own(job)) == 1

    def launch(self, process: Process) -> None:
        process.launched = True
        slot = process.slot
        self.watch.observer.started(slot, self.slot_names[slot], 1000 + slot, self.now)

    def send(self, process: Process, job: Job, items: list[int], seconds: float | None) -> None:
        assert process.free
        assert process.job is (job if job.spec.dedicated else None)
        assert not job.stopped
        assert not job.done
        waiting = self.waiting(job)
        assert items
        assert len(set(items)) == len(items)
        assert waiting.issuperset(items)
        most = self.limits.max_tasks or math.inf
        assert process.finished + len(items) <= most or job.makes_rows
        if job.makes_rows:
            assert items == list(range(items[0], items[0] + len(items)))
            assert all(item in job.outcomes for item in range(items[0]))
        if job.spec.chunksize is not None:
            assert len(items) == min(job.spec.chunksize, len(waiting), most - process.finished)
        adaptive = self.limits.distant and job.spec.chunksize is None and len(items) > 1
        assert (seconds is not None) == adaptive
        process.chunk = Chunk(job, items, self, seconds=seconds)
        process.looked_for = False
        if process.job is None:
            assert self.workers
            assert len(self.at_work()) <= (self.window if self.limits.distant else self.workers)

    def at_work(self) -> list[Process]:
        """Give those of the pool that have a chunk, as far as the scheduler counts on them."""
        return [one for one in self.pool if one.chunk is not None and not one.told_to_end]

    def resize(self, workers: int, window: int) -> None:
        self.elastic = True
        self.workers, self.window = workers, window if workers else 0
        self.tell(e.RoomChanged(workers, window))

    def ask(self, process: Process) -> None:
        assert process.ready
        if process.job is not None and process.job.makes_rows:
            self.ask_to_close(process, process.job)
            return
        assert process.chunk is None
        process.asked = True
        stopped = process.expired is not None or process.kill_at < math.inf
        if self.limits.finalizes and process.job is not None and process.job.asked and not stopped:
            process.terminate_at = math.inf  # the finalizer has its time
        ended = isinstance(self.event, e.ChunkEnded)
        if not self.limits.finalizes and (process.job is None or (ended and self.is_replaced(process.job))):
            self.must_end(process)

    def is_replaced(self, job: Job) -> bool:
        """Whether another process is to take the place of its own."""
        return job.is_up and bool(self.unsettled(job))

    def must_end(self, process: Process) -> None:
        """Expect the ladder for a process that does not end in time; one that was told to cease has its own so far."""
        if process.ceased and not process.finalized:
            return
        process.terminate_at = min(process.terminate_at, self.now + self.limits.stop_grace)
        if process.terminated and process.kill_at == math.inf:  # by the user, who did not want more than that
            process.kill_at = process.terminate_at + self.limits.kill_grace

    def ask_to_close(self, process: Process, job: Job) -> None:
        """Ask a process that makes rows. One that makes a row in this moment must not do so for ever."""
        assert process.chunk is None or job.stopped or self.closed
        closing = isinstance(self.event, e.JobStopped | e.CloseAsked) or process.asked
        if closing and process.kill_at in {math.inf, process.terminate_at + self.limits.kill_grace}:
            hurries = process.chunk is not None or not self.limits.finalizes
            process.terminate_at = self.now + self.limits.stop_grace if hurries else math.inf
            if process.terminated:  # by the user, who did not want more than that
                process.kill_at = process.terminate_at + self.limits.kill_grace
        process.asked = True

    def terminate(self, process: Process) -> None:
        process.terminated = True
        if isinstance(self.event, e.TimePassed):
            assert process.killed or process.terminate_at <= self.now + SLACK
            process.kill_at = self.now + self.limits.kill_grace
        elif not isinstance(self.event, e.ProcessStopped):
            process.kill_at = min(process.kill_at, self.now + self.limits.kill_grace)
        self.forget_unlaunched(process)

    def forget_unlaunched(self, process: Process) -> None:
        died = e.WorkerDied(process.slot, None, 0)
        if not process.launched and died not in self.mailbox:
            self.mailbox.append(died)

    # --- services -----------------------------------------------------------------------------------------------------

    def cease(self, process: Process) -> None:
        """Tell an item to come to its end, and check that this is what somebody wants."""
        job, chunk, event = process.job, process.chunk, self.event
        assert job is not None
        assert chunk is not None
        assert chunk.unheard
        assert not process.ceased
        assert process.expired is None
        asked = isinstance(event, e.StopAsked) and event.job == job.number
        assert asked or job is self.turn()
        grace = event.grace if isinstance(event, e.StopAsked) and asked else None
        process.ceased = True
        process.terminate_at = self.now + (self.limits.stop_grace if grace is None else grace)
        process.kill_at = math.inf
        if not process.nature.listens:
            self.mailbox.append(e.Unheard(process.slot))

    def turn(self) -> Job | None:
        """Give the service that is to be stopped before any other, if any is to be."""
        jobs = self.jobs.values()
        others = any(not job.done or job.over != job.spec.dedicated for job in jobs if job.spec.restart is None)
        up = [job for job in jobs if job.is_up]
        if not up or self.terminated or not (self.given_up or self.broken or (self.closed and not others)):
            return None
        return up[-1]

    def take_turn(self) -> None:
        job = self.turn()
        if job is not None:
            job.asked = True
            self.check_asked(job)

    def check_asked(self, job: Job) -> None:
        """Check that a job which was asked to stop is about to."""
        processes = self.own(job)
        assert processes or job.over
        for process in processes:
            if not process.ready:
                assert process.terminated or process.killed or process.setup_failed
            elif process.chunk is not None and process.chunk.unheard:
                assert process.ceased or process.killed or process.expired is not None or process.kill_at < math.inf
            if isinstance(self.event, e.Unheard) and self.event.slot == process.slot and process.chunk is not None:
                assert process.terminated
            if not (process.killed or process.is_hurried) and (process.finalized or not self.limits.finalizes):
                self.must_end(process)

    # --- outcomes -----------------------------------------------------------------------------------------------------

    def resolve(self, job: Job, items: Sequence[int], outcomes: Sequence[e.Outcome], slot: int | None) -> None:
        assert not job.done
        for item, outcome in zip(items, outcomes, strict=True):
            assert 0 <= item < job.window.taken
            assert item not in job.outcomes
            assert all(item not in chunk.unheard for chunk in self.chunks(job))
            job.outcomes[item] = outcome
            job.resting.pop(item, None)
            job.stopped |= self.is_failure(job, item, outcome, slot) and job.spec.stop_on_failure

    def is_failure(self, job: Job, item: int, outcome: e.Outcome, slot: int | None) -> bool:
        """Check an outcome.

        Returns:
            bool: Whether a job that stops on failure stops for it.
        """
        match outcome:
            case Value(payload) | Failure(payload):
                assert payload == payload_of(job, item, slot, fails=type(outcome) is Failure)
                return type(outcome) is Failure
            case e.Lost(_, _, attempts):
                assert attempts == job.begins[item]
            case e.TimedOut(where, limit, attempts):
                assert attempts == job.begins[item] > 0
                assert (where, limit) == (slot, job.spec.timeout)
            case e.Dropped():
                assert job.stopped or self.refusing or (self.closed and job.spec.streaming)
                # Only those told to end at once take items with them.
                assert self.unwanted(job) or job.cancelled or job.begins[item] == job.retried[item]
                return False
            case e.NotStarted():
                assert job.spec.dedicated
                self.given_up |= job.spec.restart is not None
                return False
            case e.GivenUp(where, restart, restarts):
                assert (where, restart, restarts) == (slot, job.spec.restart, len(job.restarts))
                self.given_up = True
            case _:
                assert_never(outcome)
        return True

    def job_done(self, job: Job) -> None:
        assert not job.done
        gone = job.makes_rows and not self.own(job)
        assert job.sealed or job.stopped or (self.closed and job.spec.streaming) or gone
        assert len(job.outcomes) == job.window.taken
        assert not self.chunks(job)
        job.done = True

    def process_over(self, job: Job) -> None:
        assert job.spec.dedicated
        assert not job.over
        assert not self.own(job)
        assert len(job.outcomes) == job.window.taken or self.refusing
        job.over = True
        self.given_up &= any(other.is_up for other in self.jobs.values())

    def tried(self, process: Process, job: Job, item: int, last: e.Outcome) -> e.Outcome | None:
        """Tell what must become of an item that was begun in vain, just before the scheduler hears of it.

        Returns:
            e.Outcome | None: None if there is another try; perhaps after a rest, which is noted.
        """
        if self.unwanted(job) and not isinstance(last, Value):
            return e.Dropped()
        tries = job.begins[item]
        if self.refusing or not job.goes_on or (job.spec.restart is None and tries > job.spec.retries):
            return last
        if job.spec.restart is None:
            seconds = job.spec.backoff.seconds(tries)
        else:
            wait = self.restart(process, job, job.spec.restart, last)
            if isinstance(wait, e.GivenUp):
                return wait
            seconds = wait
        if seconds:
            job.resting[item] = self.now + seconds
        return None

    def restart(self, process: Process, job: Job, restart: Restart, last: e.Outcome) -> float | e.GivenUp:
        """Tell how long a service must rest before its restart, or that there must be none."""
        assert isinstance(last, Value | Failure | e.Lost | e.TimedOut)
        recent = [moment for moment in job.restarts if moment > self.now - restart.within]
        reasons: dict[type, Reason] = {
            Value: "returned", Failure: "raised", e.Lost: "crashed", e.TimedOut: "timed out",
        }  # fmt: skip
        reason = reasons[type(last)]
        if restart.max_restarts is not None and len(recent) >= restart.max_restarts:
            return e.GivenUp(process.slot, restart, len(job.restarts), reason, last)
        if isinstance(restart.backoff, Sequence):
            seconds = restart.backoff[min(len(recent), len(restart.backoff) - 1)]
        else:
            seconds = min(restart.backoff * 2.0 ** len(recent), 3600.0)
        job.restarts.append(self.now + seconds)
        job.restart_due = len(job.restarts), seconds, reason
        return seconds

    def expected(self, process: Process, chunk: Chunk, item: int, result: Result) -> e.Outcome | None:
        """Tell what must become of an item whose result the scheduler is about to hear."""
        restart = chunk.job.spec.restart
        if isinstance(result, Value):
            always = restart is not None and restart.on == "always"
            return self.tried(process, chunk.job, item, result) if always else result
        failure = Failure(result.payload)
        if item == process.expired:
            limit = chunk.job.spec.timeout or 0.0
            tries = chunk.job.begins[item]
            return self.tried(
                process, chunk.job, item, e.TimedOut(process.slot, limit, tries, e.Remains(failure=failure))
            )
        if isinstance(result, Retriable) or restart is not None:
            return self.tried(process, chunk.job, item, failure)
        return e.Dropped() if self.unwanted(chunk.job) else failure

    def unwanted(self, job: Job) -> bool:
        """Whether what runs of a job was told to end, so that its failures are none."""
        return self.terminated or (job.makes_rows and (job.stopped or self.closed))

    # --- looking ------------------------------------------------------------------------------------------------------

    def look(self, process: Process) -> None:
        """Tell how far a process is, which goes on meanwhile; later, if ever, if it is far away."""
        if self.limits.distant and process.expired is None:
            process.looked_for = True
            return
        self.mailbox.extend(self.view(process))

    def answer(self, process: Process) -> None:
        """Tell how far a process is that is far away, and knows by now what it was told before."""
        process.looked_for = False
        if process.chunk is not None:
            process.chunk.seen |= process.chunk.withdrawn
        self.tell(*self.view(process))

    def view(self, process: Process) -> list[e.Event]:
        chunk = process.chunk
        stack = process.expired is not None and not process.nature.deaf
        if chunk is None:
            return [e.Looked(process.slot, process.begun_last, None, stack)]
        # As if it was caught between beginning an item and taking that back.
        caught = chunk.withdrawn and not chunk.runs and chunk.begun < len(chunk.items)
        looked = e.Looked(process.slot, chunk.begun + caught, chunk.since if chunk.timed else None, stack)
        self.advance_items(process)
        news = self.news(process, chunk, len(chunk.results))
        self.advance_items(process)
        return [*news, looked]

    def cut(self, process: Process) -> None:
        """Take from a chunk what the scheduler has taken back, and check that it will never begin there."""
        chunk = process.chunk
        if chunk is None or chunk.void:
            return
        kept = len(self.scheduler.slots[process.slot].items)
        if kept < len(chunk.items):
            assert chunk.job.spec.chunksize is None
            assert chunk.begun <= kept
            assert chunk.runs or not chunk.may_begin
            assert chunk.withdrawn_at is not None
            assert chunk.seen or not self.limits.distant
            assert self.limits.distant or self.now >= chunk.withdrawn_at + self.limits.recall_look
            del chunk.items[kept:]

    def advance_items(self, process: Process) -> None:
        chunk = process.chunk
        for _ in range(self.look_steps.pop(0) if self.look_steps else 0):
            if chunk is not None and chunk.runs:
                self.go_on(process)
            elif chunk is not None and chunk.may_begin:
                self.begin(process)

    def show_stack(self, process: Process) -> None:
        """Check that an item has run too long indeed, when the scheduler says so."""
        chunk = process.chunk
        assert chunk is not None
        assert chunk.job.spec.timeout is not None
        assert process.expired is None
        # Whoever the user has stopped may take no notice of it, until its time is up.
        assert not process.told_to_end or chunk.job.ended_by_user
        assert chunk.withdrawn
        item = self.scheduler.slots[process.slot].expired
        assert item is not None
        # It was running at the last look; since then it may have finished.
        assert item in chunk.items[chunk.told : chunk.begun]
        assert self.now - chunk.since_of[item] >= chunk.job.spec.timeout - SLACK
        process.expired = item
        process.terminate_at = min(
            process.terminate_at, self.now + self.limits.stack_grace + self.limits.stack_look + SLACK
        )

    # --- what must hold between any two events ------------------------------------------------------------------------

    def check(self) -> None:
        waiting = 0
        for job in self.jobs.values():
            assert self.scheduler.knows(job.number) != job.done
            if job.done:
                continue  # for good: any order about it would have been an error
            self.check_job(job)
            if not job.spec.dedicated:
                waiting += len(self.waiting(job))
        self.check_pool(waiting)
        for process in self.processes.values():
            self.check_process(process)
        self.check_time()
        quiet = not self.processes and all(job.done for job in self.jobs.values())
        assert self.scheduler.finished == (quiet and (self.closed or self.terminated))
        assert self.scheduler.waiting == sum(len(self.unsettled(job)) for job in self.jobs.values() if not job.done)
        outcomes = {(job.number, item): one for job in self.jobs.values() for item, one in job.outcomes.items()}
        self.watch.check(outcomes, self.scheduler.slots.values(), self.scheduler.waiting)

    def check_job(self, job: Job) -> None:
        rest, chunks = self.unsettled(job), self.chunks(job)
        assert job.resting.keys() <= rest
        assert job.window.taken - job.window.given <= job.window.size <= job.window.most
        assert (self.scheduler.slot_of(job.number) is not None) == bool(chunks)
        assert not (rest and (job.stopped or self.refusing))
        over = job.sealed or job.stopped or (self.closed and job.spec.streaming)
        assert not over or rest or chunks

    def check_pool(self, waiting: int) -> None:
        pool, free = self.pool, [process for process in self.pool if process.free]
        starting = [process for process in pool if not process.ready and not process.told_to_end]
        deadline = self.scheduler.next_deadline()
        goes_on = self.elastic and deadline is not None and deadline <= self.now
        if waiting and self.workers:
            assert not free or goes_on or (self.elastic and len(self.at_work()) >= self.workers)
            assert pool
            assert self.refused or len(pool) >= self.window or len(starting) >= waiting
        assert not (free and len([one for one in pool if not one.told_to_end]) > self.window)
        if self.refusing or (self.closed and all(job.done for job in self.jobs.values())):
            assert not free
        for job in self.jobs.values():
            if job.spec.dedicated:
                alive = bool(self.own(job))
                assert alive != job.over or (job.resting and not alive)

    def check_process(self, process: Process) -> None:
        job = process.job
        assert not (process.free and job is not None) or (job.makes_rows and not job.done and not self.waiting(job))
        chunk = process.chunk
        if chunk is not None and chunk.void:
            assert process.terminated or process.killed
        if process.finished == self.limits.max_tasks and chunk is None and not (job and job.makes_rows):
            assert process.told_to_end
        finalizing = process.asked and self.limits.finalizes and not (process.finalized or process.chunk)
        if finalizing and not (process.terminated or process.killed or process.is_hurried):
            assert self.scheduler.slots[process.slot].deadline is None

    def check_time(self) -> None:
        deadline = self.scheduler.next_deadline()
        for process in self.processes.values():
            due = self.due(process)
            assert due == math.inf or (deadline is not None and deadline <= max(due, self.now) + SLACK)
        busy = any(process.chunk or process.told_to_end for process in self.processes.values())
        resting = [until for job in self.jobs.values() for until in job.resting.values()]
        if resting:
            assert deadline is not None
            assert deadline <= min(resting)
        elif not busy:
            assert deadline is None or (self.elastic and deadline <= self.now)

    def due(self, process: Process) -> float:
        """Tell until when something must be done about a process."""
        if process.killed:
            return math.inf
        chunk = process.chunk
        due = process.kill_at if process.terminated else min(process.terminate_at, process.kill_at)
        if chunk is None or chunk.since is None or not chunk.timed or process.told_to_end:
            return due
        return min(due, chunk.since + max(chunk.job.spec.timeout or 0.0, self.limits.limit_look))

    def pass_time(self) -> None:
        """Tell that it is later, and check that what is due by now has been done."""
        self.tell(e.TimePassed())
        later = self.scheduler.next_deadline()
        assert later is None or later > self.now, "it would never sleep"
        for process in self.processes.values():
            assert self.now < self.due(process) + SLACK, "too late"

    # --- what processes do --------------------------------------------------------------------------------------------

    def begin(self, process: Process) -> None:
        chunk = process.chunk
        assert chunk is not None
        job, item = chunk.job, chunk.items[chunk.begun]
        chunk.begun += 1
        if chunk.begun > 1:
            chunk.since = chunk.since_of[item] = self.now  # the first has its function to load before it runs
        if chunk.void:
            return
        assert item not in job.outcomes
        assert sum(other.unheard.count(item) for other in self.chunks(job)) == 1  # one live attempt
        assert item not in job.resting
        assert job.retried[item] == job.begins[item]  # what is begun again has been counted
        job.begins[item] += 1
        assert job.begins[item] <= job.spec.retries + 1 or job.spec.restart is not None

    def go_on(self, process: Process, ending: Ending = "value") -> None:
        """Load the function of the item that has begun, or else finish it."""
        chunk = process.chunk
        assert chunk is not None
        if chunk.since is None and chunk.timed and ending == "value":
            chunk.since = chunk.since_of[chunk.items[chunk.begun - 1]] = self.now
        else:
            self.finish(process, chunk, ending)

    @staticmethod
    def finish(process: Process, chunk: Chunk, ending: Ending) -> None:
        item = chunk.items[chunk.begun - 1]
        text = payload_of(chunk.job, item, process.slot, fails=ending != "value")
        chunk.since = None
        if ending == "value":
            chunk.results.append(Value(text))
        elif ending == "retriable" and chunk.job.spec.retries:
            chunk.results.append(Retriable(text))
        else:
            chunk.results.append(Failure(text))

    @staticmethod
    def news(process: Process, chunk: Chunk, upto: int) -> list[e.Event]:
        """Read what has finished."""
        results = chunk.results[chunk.read : upto]
        chunk.read = upto
        return [e.Recorded(process.slot, results)] if results else []

    def announce(self, process: Process, most: int = 1 << 30) -> None:
        chunk = process.chunk
        if chunk is not None and chunk.read < len(chunk.results):
            self.tell(*self.news(process, chunk, min(chunk.read + most, len(chunk.results))))

    def end_chunk(self, process: Process, busy: float, *, worn: bool = False) -> None:
        self.announce(process)
        chunk = process.chunk
        assert chunk is not None
        process.chunk, process.begun_last = None, chunk.begun
        self.tell(e.ChunkEnded(process.slot, busy, worn))
        if (worn or process.finished == self.limits.max_tasks) and not chunk.job.makes_rows:
            assert process.told_to_end

    def die(self, process: Process, exitcode: int | None) -> None:
        self.announce(process)
        chunk = process.chunk
        if chunk is None or chunk.void:
            self.tell(e.WorkerDied(process.slot, exitcode, chunk.begun if chunk is not None else process.begun_last))
            return
        job, rest = chunk.job, chunk.items[chunk.begun :]
        if job.makes_rows:
            self.die_in_stream(process, chunk, exitcode)
            return
        wanted = not (job.stopped or self.refusing)
        expected: dict[int, e.Outcome | None] = {}
        for item in chunk.items[chunk.told : chunk.begun]:
            last: e.Outcome = e.Lost(process.slot, exitcode, job.begins[item])
            if item == process.expired:
                last = e.TimedOut(process.slot, job.spec.timeout or 0.0, job.begins[item])
            expected[item] = self.tried(process, job, item, last)
        if chunk.begun == 0:
            job.unbegun[rest[0]] += 1
            lost = not job.stopped and job.unbegun[rest[0]] >= self.limits.max_unbegun_deaths
            self.given_up |= job.is_up and lost
        self.tell(e.WorkerDied(process.slot, exitcode, chunk.begun))
        for item, outcome in expected.items():
            assert job.outcomes.get(item) == outcome
        if chunk.begun == 0:
            given_up = job.unbegun[rest[0]] == self.limits.max_unbegun_deaths
            if wanted and (given_up or not job.goes_on):
                item = rest.pop(0)
                assert job.outcomes[item] == e.Lost(process.slot, exitcode, job.begins[item])
        for item in rest:
            assert job.outcomes.get(item) == (e.Dropped() if job.stopped or self.refusing else None)

    def die_in_stream(self, process: Process, chunk: Chunk, exitcode: int | None) -> None:
        """The same for one that makes rows: what it has told is known, and nothing comes after it."""
        job, told = chunk.job, chunk.items[chunk.told] if chunk.told < len(chunk.items) else None
        unbegun = chunk.items[0] == 0 and not chunk.begun
        unwanted = self.unwanted(job)
        running = chunk.begun > chunk.told
        self.tell(e.WorkerDied(process.slot, exitcode, chunk.begun))
        if unbegun and not job.done:
            assert not job.outcomes  # another process begins with the first row
            assert self.own(job)
            return
        assert job.done
        if told is not None:
            outcome = job.outcomes[told]
            limit = job.spec.timeout or 0.0
            if unwanted:
                assert outcome == e.Dropped()
            elif running and told == process.expired:
                assert outcome == e.TimedOut(process.slot, limit, 1)
            else:
                assert outcome == e.Lost(process.slot, exitcode, job.begins[told])

    def finalize(self, process: Process) -> None:
        """Run a process's finalizer."""
        process.finalized = True
        failure = Failure(b"") if process.nature.finalizer_fails else None
        self.finalizers_failed += failure is not None
        if process.job is None or process.job.asked or self.is_replaced(process.job):
            self.must_end(process)
        self.tell(e.Finalized(process.slot, failure))
        assert not self.finalizers_failed

    def advance(self, process: Process, ending: Ending = "value") -> bool:
        """Let a process take its next step towards its end.

        Returns:
            bool: Whether it could.
        """
        if self.processes.get(process.slot) is not process:
            return False
        chunk, nature = process.chunk, process.nature
        if process.killed:
            self.die(process, -9)
        elif not process.launched:
            self.launch(process)
        elif process.terminated and not nature.stubborn and not (nature.catches and chunk is not None):
            self.die(process, -15)
        elif process.setup_failed or (process.asked and chunk is None):
            return self.advance_to_end(process, nature)
        elif not process.ready:
            process.ready = True
            self.tell(e.WorkerReady(process.slot))
        elif chunk is None or self.serves(process, chunk):
            return False
        elif chunk.runs:
            if not (chunk.timed and nature.slow and chunk.since is not None):
                self.let_it_take_time()
            if not chunk.runs:
                pass  # it finished while it was looked at
            elif process.terminated and nature.catches:
                self.go_on(process, "retriable")
            elif chunk.timed and nature.slow and chunk.since is not None:
                return False
            else:
                chunk.job.own_ends += 1
                self.go_on(process, ending)
        elif chunk.may_begin and not chunk.withdrawn:
            self.begin(process)
        else:
            self.end_chunk(process, 0.001 * len(chunk.results))
        return True

    @staticmethod
    def serves(process: Process, chunk: Chunk) -> bool:
        """Whether its function goes on until something is done about it."""
        if not chunk.runs or (process.terminated and process.nature.catches):
            return False
        if process.ceased and process.nature.listens:
            return process.nature.slow
        return chunk.job.is_up and chunk.job.own_ends >= _OWN_ENDS

    def let_it_take_time(self) -> None:
        self.now += self.tempo
        deadline = self.scheduler.next_deadline()
        if self.tempo and deadline is not None and deadline <= self.now:
            self.pass_time()

    def advance_to_end(self, process: Process, nature: Nature) -> bool:
        if self.limits.finalizes and process.ready and not process.finalized:
            self.finalize(process)
        elif process.lingers or (nature.stubborn and (process.job is None or process.is_hurried)):
            process.lingered += 1
            return False  # what an item left running keeps it; one of its own is not hurried
        else:
            self.die(process, 0)
        return True
