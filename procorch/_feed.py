"""Inputs of a stream that come when they come: another thread puts them here, and the stream never waits for one.

An ordinary iterator is asked for its next input in the thread that takes results, so one that is long in coming keeps
back results that are there. A stream looks first whether there is something here, and is told when there is.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, Self, TypeVar

T = TypeVar("T")


class Feed(Generic[T]):
    """The inputs of one stream. One thread puts, one takes; `halt` is for any."""

    def __init__(self) -> None:
        """Begin without any input."""
        self._items: deque[T] = deque()  # whose methods are each done in one step of the interpreter
        self._over = False
        self._error: Exception | None = None
        self._hear: Callable[[], None] = _hear_nothing
        self.halted = False
        """Whether nothing more is to be begun."""

    # --- who puts -----------------------------------------------------------------------------------------------------

    def put(self, items: Sequence[T]) -> None:
        """Put inputs behind those that are there.

        Args:
            items (Sequence[T]): The inputs.
        """
        self._items.extend(items)
        self._hear()

    def end(self, error: Exception | None = None) -> None:
        """Tell that there will be no further input.

        Args:
            error (Exception | None): What is raised in the place of the next one; None if all went well.
        """
        self._error, self._over = error, True
        self._hear()

    def halt(self) -> None:
        """Let nothing more be begun. What runs has its results; items that never began have none, and are left out."""
        self.halted = self._over = True
        self._hear()

    # --- who takes ----------------------------------------------------------------------------------------------------

    def listen(self, hear: Callable[[], None]) -> None:
        """Say who takes.

        Args:
            hear (Callable[[], None]): Called whenever there is news, in the thread that brings it.
        """
        self._hear = hear

    @property
    def waiting(self) -> int:
        """How many inputs are there for the taking."""
        return 0 if self.halted else len(self._items)

    @property
    def is_over(self) -> bool:
        """Whether no further input will be put."""
        return self._over

    @property
    def is_dry(self) -> bool:
        """Whether nothing is there yet, not even the end."""
        return not self._over and not self._items

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> T:
        """Give the next input; called only if it is not dry.

        Returns:
            T: The input.

        Raises:
            Exception: What `end` was given.
        """
        if self.waiting:
            return self._items.popleft()
        error, self._error = self._error, None
        if error is not None:
            raise error
        raise StopIteration


def _hear_nothing() -> None:
    """Nobody takes yet; who comes looks first."""
