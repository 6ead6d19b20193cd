"""How far a call of `map` or `imap` has come: what its ``progress=`` is told, and when.

Pure, but for the clock that it is given and the user's callable. Who counts, and who waits: `_watched_stream`.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from typing import NamedTuple

import attrs

from procorch._notes import annotate
from procorch._public import public

_LEAST_SECONDS = 0.1
"""Between two calls, however fast results come: a person sees no more, and an item of a microsecond must not wait for
it."""

_TICK_SECONDS = 1.0
"""Between two calls when nothing comes: for clocks that show seconds."""


@public
@attrs.frozen
class Progress:
    """How far a call of `map` or `imap` has come, for its ``progress=``.

    Attributes:
        done (int): Items that have come to an end, in vain or not. With an ordered stream it may be ahead of the
            results that have been given.
        total (int | None): Items that there are, by the ``len`` of the shortest iterable; None if one of them has no
            length.
        failed (int): How many of the done ones failed for good.
        retried (int): How often an item was begun in vain, and begun again.
        running (int): Items that run at this moment: processes that are at work on this call.
        elapsed (float): Seconds since the call began: for `imap`, since its first result was asked for.
        last (bool): Whether this is the last one of the call, which has ended in whatever way.
    """

    done: int
    total: int | None
    failed: int
    retried: int
    running: int
    elapsed: float
    last: bool


class Counts(NamedTuple):
    """What a stream has counted, as of `Progress`."""

    done: int
    failed: int
    retried: int
    running: int


class Reporter:
    """Tells the user's callable of one call. Everything here is called by the thread that consumes the results."""

    def __init__(
        self,
        tell: Callable[[Progress], object],
        total: int | None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begin; nothing is told yet.

        Args:
            tell (Callable[[Progress], object]): The user's.
            total (int | None): As of `Progress`.
            clock (Callable[[], float]): Tells the time in seconds.
        """
        self._tell = tell
        self._total = total
        self._clock = clock
        self._pid = os.getpid()
        self._began: float | None = None
        self._told = 0.0  # when
        self._ended = False
        self.done = 0
        """What was told last."""

    def begin(self) -> None:
        """Tell that the call begins."""
        self._began = self._clock()
        self._report(Counts(0, 0, 0, 0), last=False)

    def look(self, count: Callable[[], Counts]) -> float:
        """Tell how far it has come, if the last time is long enough ago.

        Args:
            count (Callable[[], Counts]): Counts; called only if it is.

        Returns:
            float: What the clock says, in seconds.
        """
        now = self._clock()
        if now - self._told >= _LEAST_SECONDS:
            self._report(count(), last=False)
        return now

    def end(self, count: Callable[[], Counts], error: BaseException | None) -> None:
        """Tell that the call has ended; once, whoever calls how often.

        Args:
            count (Callable[[], Counts]): As above.
            error (BaseException | None): By which it has ended; a ``GeneratorExit`` if nobody wanted the rest. It is
                what the caller gets: if the user's callable raises now, a note of it tells that.
        """
        if self._ended or self._began is None:
            return
        self._ended = True
        try:
            self._report(count(), last=True)
        except Exception as raised:
            if error is None or isinstance(error, GeneratorExit):
                raise
            annotate(error, f"procorch: at the end, progress raised {raised!r}")

    def _report(self, counts: Counts, *, last: bool) -> None:
        if os.getpid() != self._pid:
            return  # a forked copy: the call is its parent's
        assert self._began is not None
        now = self._told = self._clock()
        self.done = counts.done
        self._tell(Progress(counts.done, self._total, *counts[1:], elapsed=now - self._began, last=last))

    @property
    def pause(self) -> float:
        """Seconds until it may be told again."""
        return max(0.0, self._told + _LEAST_SECONDS - self._clock())

    @property
    def patience(self) -> float:
        """Seconds until it is to be told again, if nothing comes."""
        return max(0.0, self._told + _TICK_SECONDS - self._clock())


def total_of(iterables: Iterable[object]) -> int | None:
    """Tell how many items there are, without taking any.

    Args:
        iterables (Iterable[object]): The user's.

    Returns:
        int | None: The length of the shortest; None if one of them does not tell its own.
    """
    try:
        return min(len(iterable) for iterable in iterables)  # type: ignore[arg-type]
    except Exception:  # noqa: BLE001 - lazy collections have odd ways to say that they do not know
        return None
