"""Processes that are to stay up: when each is started again, and whose turn it is to be stopped.

A part of the scheduler, and as pure: knows them by the numbers of their jobs.
"""

from __future__ import annotations

from collections import deque

from procorch._restart import Restart

_MOST_TIMES = 1000
"""Restarts of one that are remembered where no number of them is too many."""


class Services:
    """See the module's text."""

    def __init__(self) -> None:
        """Begin with none."""
        self._times: dict[int, deque[float]] = {}  # of restarts, by job, in the order in which the jobs were opened
        self._counts: dict[int, int] = {}
        self._given_up: set[int] = set()
        self._failed = False

    def __contains__(self, job: object) -> bool:
        """Tell whether a job is one that is to stay up."""
        return job in self._times

    def open(self, job: int, restart: Restart) -> None:
        """Take in that there is one.

        Args:
            job (int): Its number.
            restart (Restart): How it is kept up.
        """
        self._times[job] = deque(maxlen=_MOST_TIMES if restart.max_restarts is None else restart.max_restarts)
        self._counts[job] = 0

    def over(self, job: int) -> None:
        """Take in that its process is over.

        Args:
            job (int): Its number, or that of any other job.
        """
        self._times.pop(job, None)
        self._counts.pop(job, None)
        if not self._times:
            self._given_up.clear()
            self._failed = False

    def restart(self, job: int, restart: Restart, now: float) -> tuple[int, float] | None:
        """Decide whether it is started again.

        Args:
            job (int): Its number.
            restart (Restart): How it is kept up.
            now (float): Monotonic seconds.

        Returns:
            tuple[int, float] | None: How many restarts that makes, and how long to wait before; None if it has failed
            for good.
        """
        times = self._times[job]
        seconds = restart.wait(times, now)
        if seconds is None:
            self._given_up.add(job)
            self.fail(job)
            return None
        times.append(now + seconds)
        self._counts[job] += 1
        return self._counts[job], seconds

    def fail(self, job: int) -> None:
        """Take in that it has failed for good, whatever the reason.

        Args:
            job (int): Its number, or that of any other job.
        """
        self._failed |= job in self._times

    def restarts(self, job: int) -> int:
        """Count how often it was started again.

        Args:
            job (int): Its number.

        Returns:
            int: So far.
        """
        return self._counts[job]

    def has_given_up(self, job: int) -> bool:
        """Tell whether it was started again too often.

        Args:
            job (int): Its number, or that of any other job.

        Returns:
            bool: False for one that is not to stay up.
        """
        return job in self._given_up

    @property
    def failed(self) -> bool:
        """Whether one has failed for good, and others are still up: these are to stop."""
        return self._failed

    @property
    def last(self) -> int | None:
        """The one that was started last: others may rely on those before it. None if there is none."""
        return next(reversed(self._times), None)
