"""Waiting for what mostly comes at once: to look for it a few times costs less than to sleep and be woken.

An idle processor takes some 50 microseconds to wake, and the way to a worker and back has two such sleeps. So who has
just been kept waiting for no longer than that does not sleep at once the next time. It is what adaptive locks do: after
one wait that was long there is no looking until another was short. Loaded in every worker.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from procorch._cpus import usable_cpus

T = TypeVar("T")

_SPIN_SECONDS = 0.0002
"""How long to look before sleeping: as long as it takes if the other side slept, so that both come out of it."""

_SHORT_SECONDS = 0.0004
"""A wait after which it is worth looking the next time; with the sleep that it took, if it did."""

_MOST_RESTS = 256
"""Waits without looking after one in which that was in vain, at most."""


class Spin:
    """Decides whether to look, by how long the wait before was."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        """Begin without looking; where there is one processor only, never look: the other side could not run.

        Args:
            clock (Callable[[], float]): Tells the time in seconds.
        """
        self._clock = clock
        self._allowed = usable_cpus() > 1
        self._was_short = False
        self._rests = 1  # waits without looking after the next one in which it is in vain
        self._resting = 0  # how many of these are left

    def wait(self, look: Callable[[], T], sleep: Callable[[], T]) -> T:
        """Wait for something.

        Args:
            look (Callable[[], T]): Gives what there is, false if nothing; takes some microseconds.
            sleep (Callable[[], T]): Sleeps until there is something, and gives it.

        Returns:
            T: What ``look`` or ``sleep`` gave.
        """
        began = self._clock()
        found = None
        if self._resting:
            self._resting -= 1
        elif self._was_short:
            found = self._look(look, began)
        result = found or sleep()
        self._was_short = self._allowed and self._clock() - began < _SHORT_SECONDS
        return result

    def _look(self, look: Callable[[], T], began: float) -> T | None:
        while not (found := look()):
            if self._clock() - began > _SPIN_SECONDS:
                # The processors have other things to do, and looking takes one from those who do them.
                self._resting = self._rests
                self._rests = min(2 * self._rests, _MOST_RESTS)
                return None
        self._rests = max(1, self._rests // 2)
        return found
