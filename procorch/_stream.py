"""What `map` and `imap` do in the caller's thread: take inputs, hand them over, give results back in their order.

    inputs --> `_supply` ... workers ... --> arrived --> consumer

Inputs are taken, pickled and results opened here, in the thread that asks for the next result, so that the user's code
runs where the user expects it and nothing runs ahead of the consumer by more than the window.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Sequence
from typing import Any

from procorch._arrivals import Arrival, InputFailed, Segment
from procorch._errors import NotPicklable, TaskError
from procorch._events import Dropped
from procorch._items import Items
from procorch._messages import Plain, Value
from procorch._notes import annotate
from procorch._revived import open_value
from procorch._supply import Supply
from procorch._verdict import Place, fault_of, shorten

_TAKE_SECONDS = 0.001
"""How long further inputs are waited for while a result is there to be given."""


class Stream(Supply):
    """One call of `map` or `imap`. One thread consumes it; outcomes arrive from others."""

    def results(self) -> Generator[Any, None, None]:
        """Give the results.

        Yields:
            Any: What the function returned, or an exception if the caller wants these as values.

        Raises:
            BaseException: What an item raised, or taking the next input; an error of ours.
        """
        try:
            for values in self.series():
                yield from values
        finally:
            self.close()

    def collect(self) -> list[Any]:
        """Give all results.

        Returns:
            list[Any]: As `results` gives them.

        Raises:
            BaseException: As there.
        """
        collected: list[Any] = []
        try:
            for values in self.series():
                collected.extend(values)
        finally:
            self.close()
        return collected

    def series(self) -> Iterator[Iterable[Any]]:
        """Give the results of some neighbours, then of the next. Whoever stops in between has to `close`.

        Yields:
            Iterable[Any]: Taken to its end, as `results` gives them, before the next is asked for.
        """
        while self._advance():
            start, values = self._next()
            yield values
            self._window.given += self._last
            with self._news:
                self._kept.drop(range(start, start + self._last))

    # Whoever keeps an error keeps, by its traceback, the frames that were running, to the caller of the outermost. None
    # of these is to hold what has arrived, or is on its way: files of large data would stay as long as the error.

    def _next(self) -> tuple[int, Iterable[Any]]:
        """Give the index of the first of the results whose turn it is, and them."""
        with self._news:
            segment = self._arrivals.pop()
        arrivals = segment.arrivals
        self._last = len(arrivals)
        return segment.start, arrivals.values if isinstance(arrivals, Plain) else self._opened(segment, arrivals)

    def _opened(self, segment: Segment, arrivals: Sequence[Arrival]) -> Iterator[Any]:
        first, place = segment.start, segment.place
        try:
            for index, arrival in enumerate(arrivals, first):
                if isinstance(arrival, Dropped) and self._is_stopped:
                    continue  # an error further on is known, and this one was never begun
                yield self._open(index, arrival, place)
        finally:
            del segment, arrivals

    def _advance(self) -> bool:
        """Take inputs as far as there is room, until it is some result's turn.

        Returns:
            bool: False if there are no more results.
        """
        window, arrivals = self._window, self._arrivals
        # Two inputs for each result keep a full window full and fill an empty one, without making a result that is
        # there wait for an input that is not.
        enough = window.taken + 2 * self._last
        until = self._now() + _TAKE_SECONDS
        while not self._abandoned:
            self._allow()
            may_take = self._may_take()
            if arrivals.ready and (not may_take or window.taken >= enough or self._is_late(until)):
                self._prepare_to_give()
                return True
            if may_take:
                self._take()
                continue
            self._hand_over()
            if arrivals.ready:
                return True
            if window.taken == window.given and (self._intake.over or self._is_stopped or not self._intake.fed):
                return False
            self._wait()
        return False

    def _is_late(self, until: float) -> bool:
        return not self._intake.ready and self._now() > until

    def _prepare_to_give(self) -> None:
        """See to it that nothing lies in the deck while the consumer is busy with a result."""
        if self._intake.over:
            self._hand_over()
        elif self._job.number and self._job.deck and not self._shape.whole and self._supervisor.hungry:
            # Without a number, less than one chunk is there: an item that cannot be pickled came to its turn first.
            self._supervisor.rouse()

    def _wait(self) -> None:
        with self._news:
            self._window.waited(self._arrivals.held)
            self._allow()
            if self._may_take():
                return
            self._supervisor.come_back()
            self._waiting = True
            try:
                self._sleep()
            finally:
                self._waiting = False

    def _sleep(self) -> None:
        """Wait for what is worth to wake up for. Called under the lock of `_news`."""
        self._news.wait_for(self._enough)

    def _open(self, index: int, arrival: Arrival, place: Place | None) -> Any:
        if isinstance(arrival, Dropped):
            raise self._supervisor.ending.error()
        if isinstance(arrival, InputFailed):
            raise arrival.error
        # Only what became of the item is ever given as a value: what comes in between (a Ctrl-C) goes its own way.
        fault: BaseException
        if isinstance(arrival, TaskError):
            fault = arrival
        elif isinstance(arrival, Value):
            try:
                return open_value(arrival, lambda: self._task(index, self._kept[index]))
            except NotPicklable as error:
                fault = error
        else:
            fault = fault_of(arrival, lambda: self._task(index, self._kept[index]), place, self._supervisor.ending)
        where = f" in process {place.name!r} (pid {place.pid})" if place is not None else ""
        annotate(fault, f"procorch: item {index} ({shorten(self._kept[index])}){where}")
        if self._shape.return_exceptions:
            return fault
        raise fault

    def close(self) -> None:
        """Want nothing more: begin no further item, close the input."""
        if self._job.number and not (self._sealed and self._window.taken == self._window.given):
            self._supervisor.stop(self._job)
        inputs = self._kept
        with self._news:
            # This and the job refer to each other, and an error that was raised refers to this: results that nobody has
            # taken, inputs that nobody will get, and the files of large ones, would stay. What is still to come is not
            # kept any more.
            self._kept = Items()
            self._arrivals.clear()
            self._pending.clear()
        self._supervisor.let_go(self._job)
        del inputs  # only now: what the user's finalizers do is not to be done under a lock
        self._owner = None  # for the same reason: a group that nobody else refers to closes now
        self._intake.close()
