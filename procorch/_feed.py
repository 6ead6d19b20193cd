"""Inputs of a stream that come when they come: another thread, or a task in a loop, puts them here.

An ordinary iterator is asked for its next input in the thread that takes results, so one that is long in coming keeps
back results that are there. With a feed the stream takes what is there, never waits for more, and is told when there is
more. Who takes it: `_fed_intake`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any


class Feed:
    """Rows of inputs: one item, or a tuple if there are several iterables. One puts, another takes."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self.rows: deque[Any] = deque()
        """Put, and not taken yet. Each of its methods is one step of the interpreter."""
        self.ended = False
        """Whether no more will be put; set after the last was."""
        self.error: BaseException | None = None
        """Why it ended; None if all went well."""
        self.wake: Callable[[], object] = _nothing
        """Called when there is something new; set by who takes, who looks first."""

    # --- who puts -----------------------------------------------------------------------------------------------------

    def put(self, rows: Iterable[Any]) -> None:
        """Put rows behind those that are there.

        Args:
            rows (Iterable[Any]): At hand.
        """
        self.rows.extend(rows)
        self.wake()

    def end(self, error: BaseException | None = None) -> None:
        """Tell that there will be no further row. Any thread; only the first time counts.

        Args:
            error (BaseException | None): What is raised in the place of the next one; None if all went well.
        """
        if not self.ended:
            self.error = error
            self.ended = True
        self.wake()

    # --- who takes: overridden by feeds that want to know -------------------------------------------------------------

    def allow(self, total: int) -> None:
        """Take in how far to go.

        Args:
            total (int): So many rows may be put in all.
        """

    def taken(self, rows: Sequence[Any]) -> None:
        """Take in that rows have been taken.

        Args:
            rows (Sequence[Any]): These.
        """

    def close(self) -> None:
        """Take in that nobody wants any more."""


def _nothing() -> None:
    """Nobody takes yet."""
