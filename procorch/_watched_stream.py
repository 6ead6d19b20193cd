"""A stream whose progress somebody wants to know: it counts and tells in the consumer's thread, between two steps.

    take, wait, give a result --> look at the clock --> now and then: `Reporter` --> the user's callable

A stream that nobody watches has nothing of this.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from itertools import islice
from typing import Any

from typing_extensions import override

from procorch._progress import Counts, Reporter
from procorch._stream import Stream

_MOST_AT_ONCE = 64
"""Results given between two looks at the clock, to a consumer that takes them quickly. A look costs as much as to give
a few; and one who becomes slow all of a sudden has the next after so many."""

_QUICK_SECONDS = 0.001
"""So long so many may take."""

_TAKES = 16
"""Inputs that come at once, perhaps one by one, are taken so many times between two looks at the clock."""


class WatchedStream(Stream):
    """See the module's text."""

    @override
    def __init__(self, reporter: Reporter, *arguments: Any) -> None:
        """Begin.

        Args:
            reporter (Reporter): Tells the user.
            *arguments (Any): As of `Stream`.
        """
        super().__init__(*arguments)
        self._reporter = reporter
        self._at_once = 1
        self._looked = 0.0  # when last
        self._takes = 0
        self._listens = False  # whether the end of any item is worth to wake up for

    @override
    def series(self) -> Iterator[Iterable[Any]]:
        try:
            self._reporter.begin()
            for values in super().series():
                yield values
                self._reporter.look(self._count)
            self._finish(None)
        except BaseException as error:
            self._finish(error)
            raise

    @override
    def results(self) -> Generator[Any, None, None]:
        series = self.series()  # kept, or an error here would close it before it is known which one it was
        try:
            for values in series:
                each, left = iter(values), self._last
                while left > 0:
                    left -= self._at_once
                    yield from islice(each, self._at_once)
                    self._look_after_giving()
        except BaseException as error:
            self._finish(error)  # one that came of opening a result, not of the series
            raise

    @override
    def collect(self) -> list[Any]:
        collected: list[Any] = []
        series = self.series()  # likewise
        try:
            for values in series:
                collected.extend(values)
        except BaseException as error:
            self._finish(error)
            raise
        return collected

    @override
    def close(self) -> None:
        self._finish(GeneratorExit())

    def _look_after_giving(self) -> None:
        now = self._reporter.look(self._count)
        self._at_once = min(2 * self._at_once, _MOST_AT_ONCE) if now - self._looked < _QUICK_SECONDS else 1
        self._looked = now

    def _finish(self, error: BaseException | None) -> None:
        try:
            super().close()
        finally:
            self._reporter.end(self._count, error)

    @override
    def _take(self) -> None:
        self._takes += 1
        if not self._takes % _TAKES or not self._intake.quick:
            self._reporter.look(self._count)
        super()._take()

    @override
    def _wait(self) -> None:
        super()._wait()
        self._reporter.look(self._count)

    @override
    def _sleep(self) -> None:
        self._listens = False
        if not self._news.wait_for(self._enough, self._reporter.pause):
            self._listens = True
            self._news.wait_for(self._enough, self._reporter.patience)

    @override
    def _enough(self) -> bool:
        return super()._enough() or (self._listens and self._arrivals.finished != self._reporter.done)

    def _count(self) -> Counts:
        with self._news:
            done, failed = self._arrivals.finished, self._arrivals.failures
        # A process that has told of the last item of its chunk may still have to tell that this was all.
        running = min(self._supervisor.running(self._job), max(0, self._window.taken - done))
        return Counts(done, failed, self._job.retried, running)
