"""A process of its own that makes rows, as `start` gives it out for a generator function.

    consumer: room for n rows --> n items --> scheduler --> the process, which makes a row for each
    consumer <-- rows that have come <----------------------'

There is no more to backpressure than that: a row is only begun when there is room for it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import CancelledError, InvalidStateError
from contextlib import suppress
from types import TracebackType
from typing import Any, Generic, NamedTuple, Self, cast

import attrs
from typing_extensions import TypeVar, override

from procorch._ahead import Ahead
from procorch._engine import Function
from procorch._errors import NotPicklable, Task
from procorch._events import Dropped, GivenUp, Lost, NotStarted, Outcome, Outcomes, TimedOut
from procorch._handle import HandleSink, ProcessHandle
from procorch._job import Job
from procorch._messages import Failure, Last, Payload, Plain, Style, Value
from procorch._notes import annotate
from procorch._options import TaskOptions
from procorch._parcel import Parcel
from procorch._pickles import Pickles
from procorch._policy import check_limit
from procorch._public import public
from procorch._restart import Restart
from procorch._supervisor import Supervisor
from procorch._verdict import Ending, Place, fault_of, open_value, settle

OutcomeT = TypeVar("OutcomeT", bound=Outcome)
T = TypeVar("T")
R = TypeVar("R", default=Any)


class _Segment(NamedTuple):
    """Neighbours, as they came."""

    start: int
    """Number of the first."""
    rows: Sequence[Outcome | NotPicklable] | Plain
    place: Place | None


@public
class ProcessStream(ProcessHandle[R], Generic[T, R]):
    """A process that runs a generator function, and the rows that come from it: ``for row in stream``.

    Made by `ProcessGroup.start`. The process begins at once, and makes rows only as far as there is room for them. The
    rows are for one consumer; leaving its loop, in whatever way, closes the stream. The other methods may be called
    from any thread.

    A `ProcessHandle` as well: `ProcessHandle.result` gives what the generator returned, which is known once it has come
    to its end, and so only after its rows have been taken. Of a stream that was closed before it raises
    `concurrent.futures.CancelledError`.
    """

    def __init__(
        self,
        supervisor: Supervisor,
        name: str,
        pickles: Callable[[], Pickles],
        task: Callable[[], Task],
        buffersize: int | None,
    ) -> None:
        """Not for users: `ProcessGroup.start` makes streams.

        Args:
            supervisor (Supervisor): Of the group.
            name (str): The process's name.
            pickles (Callable[[], Pickles]): Pickle messages.
            task (Callable[[], Task]): Names the work.
            buffersize (int | None): See `ProcessGroup.start`.
        """
        super().__init__(supervisor, name, pickles, task)
        self._ahead = Ahead(supervisor, buffersize)
        self._job: Job | None = None
        self._iterated = False
        self._closed = False
        # From here on under the lock of `_change`.
        self._segments: deque[_Segment] = deque()
        self._heard = 0  # rows that have come
        self._ended = False  # the generator has
        self._done = False  # nothing more will come

    # --- for the consumer ---------------------------------------------------------------------------------------------

    def __iter__(self) -> Iterator[T]:
        """Give the rows, in their order.

        Returns:
            Iterator[T]: Raises what the generator raised, after the rows before; `WorkerCrashed` likewise, if the
            process died; `TaskTimeout`, if a row took longer than ``options(timeout=)``; `NotPicklable`, if a row could
            not cross; `GroupClosed`, if the group was closed, left or terminated. The stream is closed with that.

        Raises:
            RuntimeError: Somebody else iterates. Raised when the first row is asked for.
        """
        return self._rows()

    def close(self) -> None:
        """Want no more rows, and end the process. Does not wait, see `join`; may be called again.

        A generator that is between two rows is closed: its ``finally`` blocks run. One that makes a row may finish that
        row before; if that takes longer than 5 s, the process gets SIGTERM, and SIGKILL 1.5 s later.
        """
        self._closed = self._collected = True
        if not self._future.done():
            with suppress(InvalidStateError):  # it has ended in this moment
                self._future.set_exception(CancelledError(f"the stream {self._name!r} was closed before its end"))
        if self._job is not None and not self._done:
            self._supervisor.stop(self._job)
        with self._change:
            segments, self._segments = self._segments, deque()
            self._change.notify_all()
        del segments  # only now: what the user's finalizers do is not to be done under a lock

    @override
    def stop(self, grace: float | None = None) -> None:
        """Close the stream: see `close`. A generator that runs finds `CurrentProcess.stopping` set.

        Args:
            grace (float | None): Seconds, more than 0, or None; for a stream they are always 5.
        """
        check_limit("grace", grace)
        self.close()

    def __enter__(self) -> Self:
        """Enter a block.

        Returns:
            Self: This stream.
        """
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Leave the block: close the stream.

        Args:
            exc_type (type[BaseException] | None): Type of the exception that leaves it.
            exc (BaseException | None): The exception.
            traceback (TracebackType | None): Its traceback.
        """
        self.close()

    def _rows(self) -> Generator[T, None, None]:
        self._begin_iterating()
        try:
            while (segment := self._next()) is not None:
                rows = segment.rows
                if isinstance(rows, Plain):
                    for row in rows.values:
                        self._gave(1)
                        yield row
                else:
                    for number, outcome in enumerate(rows, segment.start):
                        self._gave(1)
                        yield self._open(number, outcome, segment.place)
        finally:
            self.close()

    def _begin_iterating(self) -> None:
        with self._change:
            if self._iterated and not self._closed:
                raise RuntimeError(f"the stream {self._name!r} has a consumer already")
            self._iterated = True

    def _batch(self) -> tuple[list[T], BaseException | None] | None:
        """Give the next rows that have come, and what comes after them; None at the end. For `procorch.aio`.

        They count as given when `_gave` is called.
        """
        rows: list[T] = []
        try:
            segment = self._next()
            if segment is None:
                return None
            if isinstance(segment.rows, Plain):
                rows += segment.rows.values
            else:
                for number, outcome in enumerate(segment.rows, segment.start):
                    rows.append(self._open(number, outcome, segment.place))
        except BaseException as error:  # noqa: BLE001 - raised in the loop
            return rows, error
        return rows, None

    def _gave(self, count: int) -> None:
        """Take in that the consumer gets rows."""
        if self._job is not None and not (self._done or self._closed):
            self._ahead.give(count, self._job)

    def _next(self) -> _Segment | None:
        """Wait for rows.

        Returns:
            _Segment | None: None if there are no more.
        """
        while True:
            with self._change:
                segments = self._segments  # the same for both: the handler of a signal may close the stream in between
                if segments:
                    return segments.popleft()
                if self._has_news():
                    break
            if self._job is not None:
                self._ahead.wait(self._job)
            with self._change:
                self._change.wait_for(self._has_news)
        if not (self._ended or self._closed):
            raise self._fault(self._fate())
        return None

    def _has_news(self) -> bool:
        """Whether there are rows, or will be no more and it is known why."""
        return bool(self._segments) or self._closed or self._ended or (self._done and (self._over or self._is_cut))

    # --- what becomes of it -------------------------------------------------------------------------------------------

    @property
    def _is_cut(self) -> bool:
        """Whether the group takes no more work, and so wants no more rows."""
        return self._supervisor.state != "open"

    def _fate(self) -> Dropped | Lost:
        """Tell why there are no more rows if no row tells it: the group, or its process died between two of them."""
        return Dropped() if self._is_cut else Lost(0, self._exitcode, 0)

    def _seen(self, outcome: OutcomeT) -> OutcomeT | Lost:
        """Give an outcome as the consumer sees it: the generator was begun, if not that row."""
        if isinstance(outcome, Lost) and self._heard and not outcome.attempts:
            return attrs.evolve(outcome, attempts=1)
        return outcome

    def _place(self) -> Place:
        return Place(self._name, self._pid)

    def _fault(
        self, outcome: Failure | Lost | TimedOut | NotStarted | Dropped | GivenUp, place: Place | None = None
    ) -> BaseException:
        return fault_of(self._seen(outcome), self._task, place or self._place(), self._supervisor.ending)

    def _open(self, number: int, outcome: Outcome | NotPicklable, place: Place | None) -> T:
        if isinstance(outcome, Dropped):
            raise self._fault(outcome)
        fault: BaseException
        if isinstance(outcome, Value):
            try:
                return cast("T", open_value(outcome, self._task))
            except NotPicklable as error:
                fault = error
        elif isinstance(outcome, NotPicklable):
            raise outcome
        else:
            fault = self._fault(outcome, place)
        where = self._place() if place is None else place
        annotate(fault, f"procorch: row {number} of process {where.name!r} (pid {where.pid})")
        raise fault

    # --- for the group, in its threads --------------------------------------------------------------------------------

    @override
    def _job_for(self, function: Function, payload: Payload, options: TaskOptions, restart: Restart | None) -> Job:
        """Make its job, with the rows that there is room for at first; the first of them brings the arguments."""
        spec = options.spec(dedicated=True, streaming=True, stop_on_failure=True, name=self._name)
        sink = _RowSink(self, self._task, self._supervisor.ending)
        job = Job(function, Style.ONE, spec, sink, self._talk_for_job)
        self._ahead.begin(job, payload)
        return job

    @override
    def _bind(self, job: Job) -> None:
        super()._bind(job)
        # Only now: the two keep each other, and with the job of a group that has refused it a descriptor, maybe.
        self._job = job

    @override
    def _refuse(self, error: NotPicklable) -> None:
        self._segments.append(_Segment(0, [error], None))
        super()._refuse(error)

    def _arrived(self, items: Sequence[int], outcomes: Outcomes, place: Place | None) -> None:
        end: Outcome | None = None
        rows: Sequence[Outcome] | Plain = outcomes
        if not isinstance(outcomes, Plain):
            # What is dropped has never begun, and what else is under way comes after it.
            rows = [one for one in outcomes if type(one) is not Dropped]
            self._ahead.has_large |= any(isinstance(one, Value) and isinstance(one.payload, Parcel) for one in rows)
            if rows and type(rows[-1]) is not Value:
                end = rows[-1]
            if isinstance(end, Last):
                rows = rows[:-1]
        with self._change:
            if items[0] < self._heard or not (rows or end):
                return  # told twice, since a call was interrupted
            self._heard = items[0] + len(rows) + isinstance(end, Last)
            if rows and not self._closed:
                self._segments.append(_Segment(items[0], rows, place))
        if end is not None:
            self._settle(end, place)  # before the consumer learns that there is no more
        with self._change:
            self._ended |= isinstance(end, Last)
            self._change.notify_all()

    def _settle(self, outcome: Outcome, place: Place | None) -> None:
        if not self._future.done():
            with suppress(InvalidStateError):  # it is closed in this moment
                settle(self._future, self._seen(outcome), self._task, place, self._supervisor.ending)

    def _set_done(self) -> None:
        with self._change:
            self._done = True
            self._change.notify_all()

    @override
    def _set_over(self, exitcode: int | None) -> None:
        self._exitcode = exitcode
        self._settle(self._fate(), self._place())
        super()._set_over(exitcode)


class _RowSink(HandleSink):
    """Brings what becomes known of a process to its stream."""

    tells_end = True

    def __init__(self, stream: ProcessStream[Any, Any], task: Callable[[], Task], ending: Ending) -> None:
        super().__init__(stream, task, ending)
        self._stream = stream

    @override
    def deliver(self, items: Sequence[int], outcomes: Outcomes, place: Place | None) -> None:
        self._stream._arrived(items, outcomes, place)

    @override
    def over(self) -> None:
        self._stream._set_done()
