"""A stream that keeps what it has done in a file, and skips what is done already: see `_checkpoints.run`.

    inputs --> decided --> (skipped, or reported: their results are there)
                  |
                  +--> handed over ... workers ... outcomes --> recorded, and given

Outcomes are recorded as they arrive, whether or not anybody takes the results; so those of items that still run when
the call has ended are, too.
"""

from __future__ import annotations

import pickle
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, assert_never

import attrs
from typing_extensions import override

from procorch._arrivals import Arrival, InputFailed
from procorch._checkpoints.decisions import Go, Refuse, Report, Skip
from procorch._checkpoints.in_band import hold
from procorch._checkpoints.journal import Entry, Known, Plainly
from procorch._checkpoints.run import Run
from procorch._engine import Function
from procorch._errors import Task, TaskInterrupted
from procorch._events import Dropped, Outcome, Outcomes, TimedOut
from procorch._intake import Intake
from procorch._items import ranges
from procorch._job import Job
from procorch._messages import PROTOCOL, Failure, Pack, Payload, Plain, Style, Value
from procorch._options import TaskOptions
from procorch._shape import Shape
from procorch._stream import Stream
from procorch._supervisor import Supervisor
from procorch._verdict import Place, fault_of
from procorch._watched_stream import WatchedStream

_LATE_SECONDS = 5.0
"""How long a call's end waits for outcomes that other threads are about to deliver, before it leaves them in doubt."""

_NONE = pickle.dumps(None, PROTOCOL)


@attrs.define(eq=False)
class _HandedOver(Job):
    """A job whose workers cannot note what they begin: it is noted here, of all that they get, when they get it."""

    note: Callable[[Sequence[int]], None] = lambda numbers: None

    @override
    def load(self, numbers: Sequence[int]) -> list[Payload] | Pack:
        self.note(numbers)
        return super().load(numbers)


class RecordedStream(Stream):
    """See the module's text."""

    tells_end = True

    @override
    def __init__(
        self,
        run: Run,
        supervisor: Supervisor,
        function: Function,
        style: Style,
        intake: Intake,
        shape: Shape,
        options: TaskOptions,
        *arguments: Any,
    ) -> None:
        """Begin.

        Args:
            run (Run): Not opened yet.
            supervisor (Supervisor): As of `Stream`, like the others.
            function (Function): What to call.
            style (Style): How items are passed on to it.
            intake (Intake): The items.
            shape (Shape): How results are wanted.
            options (TaskOptions): How each item is treated.
            *arguments (Any): The others.
        """
        # What is not recorded yet is to be bounded.
        bounded = attrs.evolve(shape, eager=False)
        super().__init__(supervisor, function, Style.MANY if run.here else style, intake, bounded, options, *arguments)
        self._run = run
        self._parts = style is Style.MANY
        self._left = False  # by the consumer
        self._is_over = False
        self._has_lost_tries = False  # whether an item was dropped that had begun in vain, and waited for another try
        self._reports: dict[int, list[Entry]] = {}  # by index: what is to be recorded once the consumer has got it
        self._reported: list[list[Entry]] = []  # the same, of those that the consumer gets now
        self._under_way: dict[int, tuple[Known, int]] = {}  # by index: what has been handed over and is not recorded
        if not run.here:
            self._job = _HandedOver(function, style, self._job.spec, self, note=self._note)

    def _note(self, numbers: Sequence[int]) -> None:
        self._run.ledger.note([self._arrivals.index_of(number) for number in numbers])

    # --- from beginning to end ----------------------------------------------------------------------------------------

    @override
    def series(self) -> Iterator[Iterable[Any]]:
        self._run.open(self._supervisor.name, self._journal_failed)
        for values in super().series():
            self._run.check()
            yield values
            if not self._shape.whole:
                self._record_reports()  # whoever asks for more has got them
        self._run.flush()
        self._run.check()  # a map that raises this tells nobody what is in doubt
        self._record_reports()
        RecordedStream.close(self)
        self._supervisor.come_back()
        self._run.wait()
        self._run.check()

    @override
    def close(self) -> None:
        try:
            super().close()
            if not (self._shape.whole and self._shape.return_exceptions):
                self._record_reports()  # what was opened has been given, or raised
        finally:
            self._left = self._run.closing = True
            if not self._job.number or self._is_over:
                self._end_run()

    @override
    def over(self) -> None:
        self._is_over = True
        # Also if the consumer may come back for what has arrived: nothing stays open for its sake but what it is to be
        # told, which is recorded once it has been.
        self._run.flush()
        if self._left or not (self._reports or self._reported):
            self._end_run()

    def _end_run(self) -> None:
        # Who was told to end may not have yet, and may begin something before it does.
        clean = not (self._abandoned or self._has_lost_tries) and self._supervisor.ending.is_orderly
        clean = clean and self._run.error is None
        if clean and self._run.is_open:
            with self._news:  # another thread may be about to deliver what came just before
                clean = self._news.wait_for(self._is_all_recorded, _LATE_SECONDS)
        self._run.finish(clean=clean)
        self._run.wait()

    def _is_all_recorded(self) -> bool:
        """Tell whether nothing that has begun is without an outcome."""
        going = self._under_way.copy().items()
        return not going or all(self._run.begun_at(index) <= begun for index, (_, begun) in going)

    def _record_reports(self) -> None:
        """Record that what is in doubt has been reported: only now, or it might never have been."""
        while self._reported:
            self._run.record(self._reported.pop())

    def _journal_failed(self) -> None:
        if self._job.number:
            self._supervisor.stop(self._job)
        self.look_again()

    @property
    @override
    def _is_stopped(self) -> bool:
        return self._run.error is not None or super()._is_stopped

    @override
    def _enough(self) -> bool:
        return self._run.error is not None or super()._enough()

    @override
    def _wait(self) -> None:
        super()._wait()
        self._run.check()

    # --- inputs -------------------------------------------------------------------------------------------------------

    @override
    def _take_each(self) -> Exception | None:
        intake = self._intake
        taken, error = intake.take(min(intake.how_many(alone=False), self._room), self._now)
        if taken:
            self._put(taken)
        return error

    @override
    def _put(self, taken: list[Any]) -> None:
        if not self._run.is_open:
            super()._put(taken)  # the group has ended the job, and nothing more of it is begun
            return
        at = first = self._window.taken
        for decision in self._run.decisions.decide(first, taken, parts=self._parts):
            place = at - first
            match decision:
                case Go(knowns):
                    self._go(at, decision, taken[place : place + len(knowns)])
                case Skip(results):
                    values = [Value(_NONE if result is None else result) for result in results]
                    self._intake.took_plain()  # nothing is to be pickled: so many more may be taken at a time
                    self._keep(taken[place : place + len(values)])
                    with self._news:
                        self._arrivals.settle(at, values, self._kept)
                case Report():
                    self._keep([taken[place]])
                    self._report(at, decision, taken[place])
                case Refuse(error):
                    self._intake.over = True
                    self._put_failed(InputFailed(error))
                    return
                case _:
                    assert_never(decision)
            at = self._window.taken

    def _keep(self, items: list[Any]) -> None:
        """Take in items that do not go to the workers."""
        self._window.taken += len(items)
        with self._news:
            self._kept.add(items, plain=self._intake.plain)
            self._arrivals.skip(self._numbers, len(items))

    def _go(self, at: int, go: Go, items: list[Any]) -> None:
        self._run.prepare(at, go)
        self._under_way.update((index, (known, go.begun)) for index, known in enumerate(go.knowns, at))
        number = self._numbers
        if go.begun:
            self._job.begun[number] = go.begun
        super()._put(items)
        if go.begun and self._numbers == number:
            self._job.begun[number] = 0  # it could not be pickled, and the next one gets its number

    def _report(self, index: int, report: Report, item: Any) -> None:
        others = self._run.decisions.other_doubts(index) if self._stops else []
        attempts = report.begun if report.certain else 0
        places = tuple(one.mark for one in others if isinstance(one.mark, int))
        error = TaskInterrupted(self._task(index, item), attempts, self._run.path, report.certain, places)
        self._reports[index] = [_reported(one, attempts, error) for one in (report.known, *others)]
        self._fail(index, error)

    @override
    def _open(self, index: int, arrival: Arrival, place: Place | None) -> Any:
        if self._reports and isinstance(arrival, TaskInterrupted):
            self._reported.append(self._reports.pop(index))
        return super()._open(index, arrival, place)

    @override
    def _fail(self, index: int, error: Any) -> None:
        self._under_way.pop(index, None)
        super()._fail(index, error)

    @override
    def _sent_as(self, taken: list[Any], first: int) -> list[Any]:
        if not self._run.here:
            return taken
        if self._parts:
            return [(index, *item) for index, item in enumerate(taken, first)]
        return list(enumerate(taken, first))

    # --- outcomes -----------------------------------------------------------------------------------------------------

    @override
    def deliver(self, items: Sequence[int], outcomes: Outcomes, place: Place | None) -> None:
        indexes = [self._arrivals.index_of(number) for number in items]
        each: Iterable[Any] = map(Plainly, outcomes.values) if isinstance(outcomes, Plain) else outcomes
        self._record(indexes, list(each), place)
        super().deliver(items, outcomes, place)
        if self._is_over:
            with self._news:
                self._news.notify_all()

    def _record(self, indexes: list[int], outcomes: list[Outcome | Plainly], place: Place | None) -> None:
        now, entries = time.time(), list[Entry]()
        going = [self._under_way.get(index) for index in indexes]  # None if it is told twice
        if not any(going):
            return
        try:
            counts = [count for run in ranges(indexes) for count in self._run.ledger.counts(run)]
        except (OSError, MemoryError) as error:
            self._run.fail(error)  # they stay in doubt, and whoever waits for them is told of this
            return
        for index, one, outcome, count in zip(indexes, going, outcomes, counts, strict=True):
            if one is None:
                continue
            if not isinstance(outcome, Dropped):
                entries.append(self._entry(index, one[0], outcome, count, now, place))
            elif count > one[1] and self._run.here:  # elsewhere, it may not have begun where it was handed to
                self._has_lost_tries = True
        self._run.record(entries)
        for index in indexes:
            self._under_way.pop(index, None)  # only now: the end waits for it

    def _entry(self, index: int, known: Known, outcome: Any, attempts: int, now: float, place: Place | None) -> Entry:
        held: Any = None
        match outcome:
            case Plainly():
                state, held = "done", outcome
            case Value(payload):
                state, held = "done", hold(payload)
            case Failure():
                state, held = "failed", outcome
            case _:
                state = "timed out" if isinstance(outcome, TimedOut) else "crashed"
                task = Task(self._job.function.name, known.item or "", index)
                held = fault_of(outcome, lambda: task, place, self._supervisor.ending)
        if state == "done" and not self._run.keeps_results:
            held = None
        return Entry(known, state, attempts, now, place.name if place is not None else None, held)


class WatchedRecordedStream(WatchedStream, RecordedStream):
    """One whose progress somebody wants to know, too. What is skipped counts as done."""


def _reported(known: Known, attempts: int, error: BaseException) -> Entry:
    return Entry(known, "interrupted", attempts, time.time(), None, error)
