"""Unit tests, no process: the scheduler among simulated hands, which may do whatever the real ones may."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product
from typing import Any, Literal

import attrs
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from simulated import Ending, Hands, Job, Nature, Process

from procorch import _events as e
from procorch._chunks import Window
from procorch._messages import Failure
from procorch._policy import Backoff, Limits
from procorch._restart import Restart

_MOST_ROUNDS = 10_000
"""Rounds in which everything must have ended once nothing new comes; the worst case seen is far below."""

_PICK = st.integers(0, 3)
"""Which of those that can; taken modulo their number."""
_EXITCODE = st.sampled_from([0, 1, -9, -11, None])
_ENDINGS: tuple[Ending, ...] = ("value", "failure", "retriable")

# Each draw costs more than what the scheduler makes of it, so what belongs together is drawn at once.
_OPTIONS = st.sampled_from(
    [
        # One limit is shorter than the time between two looks.
        {"retries": retries, "backoff": backoff, "timeout": timeout}
        for retries in (1, 2, 0)
        for backoff in (e.NO_WAIT, Backoff((0.5,)), Backoff((0.0, 0.02), 2.0))
        for timeout in (0.5, None, 0.002)
    ]
)
_NATURES = [Nature(*traits) for traits in product((False, True), repeat=6)]
_ONS: tuple[Literal["failure", "always"], ...] = ("failure", "always")
_BACKOFFS: tuple[float | Sequence[float], ...] = (0.0, 0.5, (0.0, 0.02))
_RESTARTS = st.sampled_from(
    [
        Restart(on, most, within, backoff)
        for most, on, within, backoff in product((1, 0, 2, None), _ONS, (60.0, 0.05), _BACKOFFS)
    ]
)
_GRACE = st.sampled_from([None, 0.3, 10.0])
_LIMITS = st.sampled_from(
    [
        {
            "max_failed_starts": failed,
            "max_killed_starts": killed,
            "max_unbegun_deaths": unbegun,
            # With the second, chunks get several items whatever these take, and are asked back to be shared.
            "chunk_seconds": seconds,
            "least_chunk_seconds": seconds / 4,
            "steal_seconds": seconds / 1000,
        }
        for failed, killed, unbegun, seconds in product((100, 3, 1), (100, 3, 1), (3, 2, 1), (0.01, 1.0))
    ]
)
_STREAM = st.sampled_from(
    [
        e.JobSpec(chunksize, stop_on_failure=kind == "map", streaming=kind == "imap")
        for kind, chunksize in product(("map of exceptions", "map", "imap"), (None, 1, 3))
    ]
)
_LOOK_STEPS = st.sampled_from([list(steps) for count in (0, 1, 2, 4) for steps in product((0, 1, 2), repeat=count)])
_WORK = st.sampled_from(list(product((1, 2, 3, 5, 8), _ENDINGS, (1, 3), (False, True))))


class SchedulerMachine(RuleBasedStateMachine):
    """Events in any order that the real hands may bring."""

    hands: Hands
    calm: bool
    """Whether nothing ends everything before the end."""
    fair: bool
    """Whether nobody loses interest, and nothing dies but by its items."""
    timed: bool
    retrying: bool
    habit: Ending
    """What items come to when nothing new comes any more."""
    late: str
    """What happens then nevertheless."""
    late_in: int | None
    """In which round; None for the first in which something rests, or is being stopped."""

    @initialize(
        max_workers=st.integers(1, 4),
        limits=_LIMITS,
        max_tasks=st.sampled_from([None, None, 1, 4]),
        natures=st.lists(st.sampled_from(_NATURES), min_size=1, max_size=4),
        services=st.lists(_RESTARTS, max_size=2),
        tempo=st.sampled_from([0.0, 0.001, 0.2]),
        flags=st.sampled_from(list(product((False, True), repeat=6))),
        habit=st.sampled_from(_ENDINGS),
        late=st.sampled_from(
            list(product(("", "terminate", "terminate", "cancel", "stop", "ask"), (None, None, None, 1, 4, 15)))
        ),
    )
    def open_group(
        self,
        max_workers: int,
        limits: dict[str, Any],
        max_tasks: int | None,
        natures: list[Nature],
        services: list[Restart],
        tempo: float,
        flags: tuple[bool, ...],
        habit: Ending,
        late: tuple[str, int | None],
    ) -> None:
        self.habit, (self.late, self.late_in) = habit, late
        finalizes, self.calm, self.fair, self.timed, self.retrying, distant = flags
        self.timed &= not distant  # a limit wants to be looked at in time
        self.hands = Hands(
            Limits(
                max_workers=max_workers,
                max_chunk_items=6,
                stack_look=0.1,
                max_tasks=max_tasks,
                finalizes=finalizes,
                distant=distant,
                **limits,
            ),
            natures,
            tempo,
        )
        for restart in services:
            self.start_service(restart, None)

    # --- who is there to act ------------------------------------------------------------------------------------------

    def those(self, test: Callable[[Process], bool]) -> list[Process]:
        return [process for process in self.hands.processes.values() if test(process)]

    def open_jobs(self) -> list[Job]:
        return [job for job in self.hands.jobs.values() if not job.done and not job.sealed]

    def calls(self) -> list[Job]:
        """Those that may be stopped, which the end of a stream does in any case: those that are done, too."""
        jobs = [job for job in self.hands.jobs.values() if not job.spec.dedicated]
        return [job for job in jobs if not job.stopped]

    def row_makers(self) -> list[Job]:
        return [job for job in self.hands.jobs.values() if job.makes_rows and not job.stopped]

    def own_processes(self) -> list[Job]:
        return [job for job in self.hands.jobs.values() if job.spec.dedicated and not job.over]

    def askable(self) -> list[Job]:
        """Those whose functions can be asked to stop; streams are closed."""
        return [job for job in self.own_processes() if not job.makes_rows]

    def takes_jobs(self) -> bool:
        return not self.hands.closed and not self.hands.terminated and len(self.hands.jobs) < 12

    def ordered(self) -> list[Process]:
        return self.those(lambda one: not one.launched)

    def starting(self) -> list[Process]:
        return self.those(lambda one: one.launched and not one.ready and not one.setup_failed)

    def at_work(self) -> list[Process]:
        return self.those(lambda one: one.chunk is not None and (one.chunk.may_begin or one.chunk.runs))

    def with_news(self) -> list[Process]:
        return self.those(lambda one: one.chunk is not None and one.chunk.read < len(one.chunk.results))

    def between_items(self) -> list[Process]:
        return self.those(lambda one: one.chunk is not None and not one.chunk.runs)

    def launched(self) -> list[Process]:
        return self.those(lambda one: one.launched)

    def finalizing(self) -> list[Process]:
        if not self.hands.limits.finalizes:
            return []
        return self.those(lambda one: one.asked and not one.finalized)

    def looked_for(self) -> list[Process]:
        return self.those(lambda one: one.looked_for)

    def is_late(self) -> bool:
        """Whether enough has happened for what ends everything."""
        return not self.calm and len(self.hands.jobs) > 2

    # --- callers ------------------------------------------------------------------------------------------------------

    def open(self, spec: e.JobSpec, options: dict[str, Any], window: Window, count: int, *, sealed: bool) -> None:
        if self.retrying:
            spec = attrs.evolve(spec, retries=options["retries"], backoff=options["backoff"])
        if self.timed:
            spec = attrs.evolve(spec, timeout=options["timeout"])
        job = Job(len(self.hands.jobs) + 1, spec, window, sealed=sealed)
        window.taken = min(count, window.room)
        self.hands.jobs[job.number] = job
        events = (e.JobOpened(job.number, spec), e.ItemsOffered(job.number, window.taken), e.JobSealed(job.number))
        self.hands.tell(*events[: 3 if sealed else 2])

    def seal(self, job: Job) -> None:
        job.sealed = True
        self.hands.tell(e.JobSealed(job.number))

    @precondition(lambda self: self.takes_jobs())
    @rule(options=_OPTIONS)
    def submit(self, options: dict[str, Any]) -> None:
        self.open(e.JobSpec(), options, Window(1, 1), 1, sealed=True)

    @precondition(lambda self: self.takes_jobs())
    @rule(spec=_STREAM, options=_OPTIONS, size=st.integers(1, 20), count=st.integers(1, 20), exact=st.booleans())
    def open_stream(self, spec: e.JobSpec, options: dict[str, Any], size: int, count: int, exact: bool) -> None:
        self.open(spec, options, Window(size, size if exact else size * 4), count, sealed=False)

    @precondition(lambda self: self.takes_jobs() and len(self.own_processes()) < 3)
    @rule(options=_OPTIONS)
    def start_dedicated(self, options: dict[str, Any]) -> None:
        spec = e.JobSpec(dedicated=True, name=f"d-{len(self.hands.jobs)}")
        self.open(spec, options, Window(1, 1), 1, sealed=True)

    @precondition(lambda self: self.takes_jobs() and len(self.own_processes()) < 3)
    @rule(options=_OPTIONS, size=st.integers(1, 20), exact=st.booleans())
    def start_stream(self, options: dict[str, Any], size: int, exact: bool) -> None:
        spec = e.JobSpec(dedicated=True, streaming=True, stop_on_failure=True, name=f"d-{len(self.hands.jobs)}")
        options = {**options, "retries": 0, "backoff": e.NO_WAIT}
        self.open(spec, options, Window(size, size if exact else size * 4), size, sealed=False)

    @precondition(lambda self: not self.fair and self.row_makers())
    @rule(pick=_PICK)
    def close_stream(self, pick: int) -> None:
        """Also one that is over."""
        jobs = self.row_makers()
        job = jobs[pick % len(jobs)]
        job.stopped = True
        self.hands.tell(e.JobStopped(job.number))
        assert all(process.told_to_end for process in self.hands.own(job))

    @precondition(lambda self: self.takes_jobs() and len(self.own_processes()) < 4)
    @rule(restart=_RESTARTS, timeout=st.sampled_from([None, 0.5]))
    def start_one_more_service(self, restart: Restart, timeout: float | None) -> None:
        self.start_service(restart, timeout)

    def start_service(self, restart: Restart, timeout: float | None) -> None:
        number, window = len(self.hands.jobs) + 1, Window(1, 1)
        spec = e.JobSpec(dedicated=True, name=f"s-{number}", restart=restart, timeout=timeout if self.timed else None)
        self.hands.jobs[number] = Job(number, spec, window, sealed=True)
        window.taken = 1
        self.hands.tell(e.JobOpened(number, spec, 1, sealed=True))

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

    @precondition(lambda self: not self.fair and self.calls())
    @rule(pick=_PICK)
    def stop_one(self, pick: int) -> None:
        jobs = self.calls()
        job = jobs[pick % len(jobs)]
        job.stopped = True
        self.hands.tell(e.JobStopped(job.number))

    @precondition(lambda self: not self.fair and self.calls())
    @rule(pick=_PICK)
    def cancel_one(self, pick: int) -> None:
        """Rather one that has begun, if there is any."""
        begun = [job for job in self.calls() if any(chunk.begun for chunk in self.hands.chunks(job))]
        jobs = begun or self.calls()
        self.cancel(jobs[pick % len(jobs)])

    def cancel(self, job: Job) -> None:
        job.stopped = job.cancelled = True
        outcomes = dict(job.outcomes)
        chunks = self.hands.chunks(job)
        for chunk in chunks:
            chunk.void = True
        self.hands.tell(e.JobCancelled(job.number))
        assert job.done
        for item in range(job.window.taken):
            assert job.outcomes[item] == outcomes.get(item, e.Dropped())
        assert all(process.terminated for process in self.hands.processes.values() if process.chunk in chunks)

    @precondition(lambda self: not self.fair and self.own_processes())
    @rule(pick=_PICK, kill=st.booleans())
    def stop_process(self, pick: int, kill: bool) -> None:
        jobs = self.own_processes()
        self.end_process(jobs[pick % len(jobs)], kill=kill)

    def end_process(self, job: Job, *, kill: bool) -> None:
        job.ended_by_user = True
        alive = self.hands.own(job)
        self.hands.tell(e.ProcessStopped(job.number, kill))
        for process in alive:
            assert process.killed if kill else process.terminated
        if not alive:  # its item rested
            assert job.over
            assert isinstance(job.outcomes[0], e.Lost)

    @precondition(lambda self: not self.fair and self.askable())
    @rule(pick=_PICK, grace=_GRACE)
    def ask_to_stop(self, pick: int, grace: float | None) -> None:
        """Also one that was asked before, and one whose function has ended."""
        jobs = self.askable()
        self.hands.tell(e.StopAsked(jobs[pick % len(jobs)].number, grace))

    @precondition(lambda self: self.is_late() and not self.hands.closed)
    @rule()
    def close(self) -> None:
        self.hands.closed = True
        self.hands.tell(e.CloseAsked())

    @precondition(lambda self: self.is_late() and not self.hands.terminated)
    @rule()
    def terminate(self) -> None:
        self.hands.terminated = True
        self.hands.stop_all()
        self.hands.tell(e.TerminateAsked())
        assert all(process.terminated or process.killed for process in self.hands.processes.values())

    # --- far away -----------------------------------------------------------------------------------------------------

    @rule(workers=st.integers(0, 4), more=st.sampled_from([0, 0, 1, 4]))
    def resize(self, workers: int, more: int) -> None:
        if self.hands.limits.distant:
            self.hands.resize(workers, workers + more)

    @precondition(lambda self: self.looked_for())
    @rule(pick=_PICK, look_steps=_LOOK_STEPS)
    def answer(self, pick: int, look_steps: Sequence[int]) -> None:
        processes = self.looked_for()
        self.hands.look_steps = list(look_steps)
        self.hands.answer(processes[pick % len(processes)])

    # --- time ---------------------------------------------------------------------------------------------------------

    @precondition(lambda self: self.hands.scheduler.next_deadline() is not None or not self.takes_jobs())
    @rule(
        seconds=st.sampled_from([None, None, 0.001, 0.01, 0.3, 6.0]),
        look_steps=_LOOK_STEPS,
    )
    def pass_time(self, seconds: float | None, look_steps: Sequence[int] = ()) -> None:
        """Go on to the next deadline, or by so many seconds. Processes that are looked at go on meanwhile."""
        hands = self.hands
        hands.look_steps = list(look_steps)
        deadline = hands.scheduler.next_deadline()
        if seconds is None and deadline is not None:
            hands.now = max(hands.now, deadline)
        else:
            hands.now += seconds or 0.01
        hands.pass_time()

    # --- processes ----------------------------------------------------------------------------------------------------

    @precondition(lambda self: self.ordered())
    @rule()
    def launch_all(self) -> None:
        for process in self.ordered():
            self.hands.launch(process)

    @precondition(lambda self: not self.fair and self.ordered())
    @rule(pick=_PICK)
    def launch_fails(self, pick: int) -> None:
        processes = self.ordered()
        if self.is_late() or len(self.hands.pool) > 1:
            slot = processes[pick % len(processes)].slot
            del self.hands.processes[slot]
            self.hands.refused = True
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
        process.terminate_at = self.hands.now + self.hands.limits.stop_grace
        self.hands.tell(e.SetupFailed(process.slot, Failure(b"")))
        assert self.hands.refusing

    @precondition(lambda self: self.at_work())
    @rule(pick=_PICK, work=_WORK, exitcode=_EXITCODE)
    def work(self, pick: int, work: tuple[int, Ending, int, bool], exitcode: int | None) -> None:
        """Begin and finish items by turns, whatever the page asks: it may be seen late. Perhaps crash at the end."""
        processes = self.at_work()
        process = processes[pick % len(processes)]
        chunk = process.chunk
        assert chunk is not None
        steps, ending, at, crash = work
        for step in range(steps):
            if chunk.runs:
                self.hands.go_on(process, ending if step == at else "value")
            elif chunk.may_begin:
                self.hands.begin(process)
        if crash:
            self.hands.die(process, exitcode)

    @precondition(lambda self: self.with_news())
    @rule(pick=_PICK, most=st.integers(1, 8))
    def announce(self, pick: int, most: int) -> None:
        processes = self.with_news()
        self.hands.announce(processes[pick % len(processes)], most)

    @precondition(lambda self: self.between_items())
    @rule(pick=_PICK, busy=st.sampled_from([0.0, 0.001, 0.1]), worn=st.sampled_from([False, False, True]))
    def end_chunk(self, pick: int, busy: float, worn: bool) -> None:
        """Also before its last item: the page is full, the process is worn, or the rest was withdrawn."""
        processes = self.between_items()
        self.hands.end_chunk(processes[pick % len(processes)], busy, worn=worn)

    @precondition(lambda self: self.finalizing())
    @rule(pick=_PICK)
    def finalize(self, pick: int) -> None:
        processes = self.finalizing()
        self.hands.finalize(processes[pick % len(processes)])

    @precondition(lambda self: not self.fair and self.launched())
    @rule(pick=_PICK, exitcode=_EXITCODE)
    def die(self, pick: int, exitcode: int | None) -> None:
        processes = self.launched()
        process = processes[pick % len(processes)]
        if self.is_late() or process.ready:
            self.hands.die(process, exitcode)

    @precondition(lambda self: self.launched())
    @rule(rounds=st.sampled_from([1, 2, 10]), ending=st.sampled_from(_ENDINGS))
    def go_on(self, rounds: int, ending: Ending) -> None:
        """Let everything take its usual course for a while, and time pass where nothing else happens."""
        for _ in range(rounds):
            moved = [self.hands.advance(process, ending) for process in self.launched()]
            if not any(moved) and self.hands.scheduler.next_deadline() is not None:
                self.pass_time(None)

    # --- the end ------------------------------------------------------------------------------------------------------

    def teardown(self) -> None:
        if not hasattr(self, "hands") or not self.hands.intact:
            return
        for job in self.open_jobs():
            if not job.spec.streaming:  # with these, closing must do
                self.seal(job)
        self.close()
        if not self.hands.workers:
            self.hands.resize(2, 3)
        for number in range(_MOST_ROUNDS):
            if self.late and (self.is_moment() if self.late_in is None else self.late_in == number):
                self.be_late(self.late)
                self.late = ""
            if self.hands.scheduler.finished:
                break
            lingers = any(process.lingers for process in self.hands.processes.values())
            moved = [self.hands.advance(process, self.habit) for process in list(self.hands.processes.values())]
            if not any(moved) and not lingers:
                assert self.hands.scheduler.next_deadline() is not None, "it would wait for ever"
            if not any(moved) and self.hands.scheduler.next_deadline() is not None:
                self.pass_time(None)
        assert self.hands.scheduler.finished
        assert not self.hands.processes
        assert self.hands.scheduler.next_deadline() is None
        for job in self.hands.jobs.values():
            assert job.done
            assert job.over == job.spec.dedicated
            assert sorted(job.outcomes) == list(range(job.window.taken))
            job.give(job.window.taken)
            assert job.window.given == job.window.taken

    def is_moment(self) -> bool:
        """Whether something is under way that takes its time."""
        rests = any(job.resting and job.spec.dedicated for job in self.hands.jobs.values())
        return rests or bool(self.those(lambda one: one.terminated or one.expired is not None))

    def be_late(self, what: str) -> None:
        self.pass_time(0.001)
        if what == "terminate" and not self.hands.terminated:
            self.terminate()
        for job in list(self.hands.jobs.values()):
            if what == "cancel" and not (job.spec.dedicated or job.done):
                self.cancel(job)
            elif what == "stop" and job.spec.dedicated and not job.over:
                self.end_process(job, kill=False)
            elif what == "ask" and job in self.askable():
                self.hands.tell(e.StopAsked(job.number, 0.3))


pytestmark = pytest.mark.limit(120)

TestScheduler = SchedulerMachine.TestCase
TestScheduler.settings = settings(max_examples=400, stateful_step_count=60, deadline=None)
