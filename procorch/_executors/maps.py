"""`Executor.map` on the group's own streams: items, not futures, so that they share chunks and cost little.

    map() --> begin: takes all inputs, or as many as fit the buffer, and hands them over
    next() --> a result, in the order of the input; with a buffer, takes as many inputs as it has room for

Differs from `imap` in that it begins at the call, has one limit on time for all of it, and speaks of its end as the
standard library does.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import CancelledError
from typing import Any

from typing_extensions import override

from procorch._arrivals import Arrival, InputFailed
from procorch._events import Dropped, Outcomes
from procorch._executors.future import broken
from procorch._executors.pending import Pending
from procorch._job import Job
from procorch._shape import Shape
from procorch._stream import Stream
from procorch._verdict import Place


def shape_of(chunksize: int, buffersize: int | None) -> Shape:
    """Tell how such a map wants its results.

    Args:
        chunksize (int): As of `Executor.map`. 1 leaves it to the group: items are on their own in any chunk.
        buffersize (int | None): Likewise.

    Returns:
        Shape: For the stream.
    """
    return Shape(True, False, False, None if chunksize == 1 else chunksize, eager=buffersize is None)


def window_of(chunksize: int, buffersize: int | None) -> int:
    """Tell how many inputs such a map may have taken.

    Args:
        chunksize (int): As of `Executor.map`.
        buffersize (int | None): Likewise: in tasks, and a chunk is one.

    Returns:
        int: Items.
    """
    return sys.maxsize if buffersize is None else buffersize * chunksize


class ExecutorStream(Stream):
    """One call of `GroupExecutor.map`."""

    def begin(
        self, pending: Pending, timeout: float | None, done: Callable[[], object] | None = None
    ) -> Generator[Any, None, None]:
        """Hand over what may be handed over now.

        Args:
            pending (Pending): Of the executor.
            timeout (float | None): Seconds from now until the last result; None for no limit.
            done (Callable[[], object] | None): Called when everything that was taken has its outcome; perhaps twice.

        Returns:
            Generator[Any, None, None]: The results.

        Raises:
            RuntimeError: The executor, or its group, takes no work.
            Exception: What the user's iterable raised; nothing more is begun then.
        """
        self._until = None if timeout is None else time.monotonic() + timeout
        self._executor = pending
        self._resolved = 0  # items that have their outcome; under the lock of `_news`
        self._done = done
        self._ended: Callable[[Job], None] | None = None  # how others did
        self._filling = self._beginning = True
        try:
            pending.enter(self)
            while not self._intake.over and self._room > 0 and self._ended != self._supervisor.cancel:
                # The inputs may be long in coming, or without end; meanwhile others may shut down what they are for.
                pending.check_open()
                self._supervisor.check_open()
                self._take()
            self._hand_over()
            self._beginning = False
            self._filled()
        except BaseException:
            self._beginning = False
            self._done = None
            self._drop_taken()
            self.close()
            self._filled()  # perhaps again: an interrupt of the first would let it stay for ever
            raise
        return self.results()

    def give_up(self) -> None:
        """Drop what has not begun."""
        self._end(self._supervisor.drop)

    def stop(self) -> None:
        """Drop everything, and stop what runs."""
        self._end(self._supervisor.cancel)

    def _end(self, how: Callable[[Job], None]) -> None:
        self._ended = how
        if self._job.number:
            how(self._job)

    @override
    def _tell_again(self) -> None:
        super()._tell_again()
        if self._ended is not None:
            self._ended(self._job)

    def _drop_taken(self) -> None:
        """Begin nothing of what is not handed over, wherever between the two an interrupt has come."""
        self._pending.clear()
        self._supervisor.discard(self._job)
        self._numbers = self._job.items.count  # nobody knows of more

    # --- for the shutdown of the executor -----------------------------------------------------------------------------

    @override
    def deliver(self, items: Sequence[int], outcomes: Outcomes, place: Place | None) -> None:
        super().deliver(items, outcomes, place)
        with self._news:
            self._resolved += len(items)
        self._leave_if_idle()

    def _filled(self) -> None:
        self._filling = False
        self._leave_if_idle()

    def _leave_if_idle(self) -> None:
        with self._news:
            idle = not self._filling and self._resolved >= self._numbers
            done = self._done if idle else None
        if done is not None:
            done()
            self._done = None  # only now: after an interrupt it is called once more rather than never
        if idle:
            self._executor.leave(self)

    # --- the consumer's thread ----------------------------------------------------------------------------------------

    @override
    def _advance(self) -> bool:
        if self._filling or self._intake.over:
            return super()._advance()
        self._filling = True  # what is taken in here may begin, and have its outcome, before it is counted
        try:
            self._executor.enter(self)
            has_result = super()._advance()
            self._filled()
        except BaseException:
            self._drop_taken()
            self._filled()  # perhaps again, as in `begin`
            raise
        return has_result

    @override
    def _put_failed(self, error: InputFailed) -> None:
        if self._beginning:
            raise error.error
        super()._put_failed(error)

    @override
    def _prepare_to_give(self) -> None:
        self._hand_over()  # all of it: who waits for the end of the executor waits for what was taken

    @override
    def _sleep(self) -> None:
        self._news.wait_for(self._enough, self._patience())

    def _patience(self) -> float | None:
        """How many seconds to wait for the next result; None for no limit."""
        return None if self._until is None else max(0.0, self._until - time.monotonic())

    @override
    def _wait(self) -> None:
        super()._wait()
        if self._patience() == 0.0 and not self._arrivals.ready:
            self.give_up()  # now: whoever gets the error may rely on it
            raise TimeoutError

    @override
    def _open(self, index: int, arrival: Arrival, place: Place | None) -> Any:
        if not isinstance(arrival, Dropped):
            return super()._open(index, arrival, place)
        ending = self._supervisor.ending
        raise CancelledError if ending.cause is None else broken(ending)
