"""How far a process that makes rows may be ahead of their consumer, and how it learns of that.

Called by the consumer alone.
"""

from __future__ import annotations

from procorch._chunks import Window
from procorch._job import Batch, Job, Packed
from procorch._memory import is_crowded
from procorch._messages import Payload
from procorch._supervisor import Supervisor

_AHEAD = 4
"""Rows that a process makes ahead of its consumer at first, and of large ones always."""

_GROWTH = 1024
"""How many times as many it may become."""


class Ahead:
    """The room for rows: each that there is room for is an item of the job."""

    def __init__(self, supervisor: Supervisor, buffersize: int | None) -> None:
        """Begin with no row.

        Args:
            supervisor (Supervisor): Of the group.
            buffersize (int | None): An exact bound; None for one that adapts.
        """
        self._supervisor = supervisor
        self._exact = buffersize is not None
        self._window = Window(buffersize, buffersize) if buffersize else Window(_AHEAD, _AHEAD * _GROWTH)
        self.has_large = False
        """Whether a row was large; set by whoever sees that first."""

    @property
    def given(self) -> int:
        """Rows given to the consumer."""
        return self._window.given

    def begin(self, job: Job, payload: Payload) -> None:
        """Want as many rows as there is room for at first, of a job that is not open yet.

        Args:
            job (Job): The job.
            payload (Payload): The generator function's arguments, which the first item brings.
        """
        count = self._window.taken = self._window.room
        job.deck.append(Batch([Packed(payload)], plain=False))
        if count > 1:
            job.deck.append(Batch([None] * (count - 1), plain=True))

    def give(self, count: int, job: Job) -> None:
        """Take in that the consumer gets rows, and want others, though not one by one.

        Args:
            count (int): How many.
            job (Job): The job.
        """
        window = self._window
        window.given += count
        if 2 * window.room >= window.size:  # before the process has nothing to do
            self.fill(job)

    def fill(self, job: Job) -> None:
        """Want as many rows as there is room for.

        Args:
            job (Job): Opened; nothing happens if it is over.
        """
        window = self._window
        if self.has_large and not self._exact and window.size > _AHEAD:
            window.size = window.most = _AHEAD
        count = window.room
        if self.has_large and count > 0 and is_crowded():
            count = int(window.taken == window.given)  # no further ahead than memory allows
        if count > 0:
            window.taken += count
            job.deck.append(Batch([None] * count, plain=True))
            self._supervisor.offer(job)

    def wait(self, job: Job) -> None:
        """Want more rows at a time, maybe, since the consumer has to wait for one.

        Args:
            job (Job): Opened.
        """
        self.fill(job)
        self._window.waited(0)
        self.fill(job)
        self._supervisor.come_back()
