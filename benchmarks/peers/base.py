"""What a peer must offer to be measured. Each method is the way that the peer's own documentation shows first."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, ClassVar, Literal, Protocol, Self, TypeAlias

Call: TypeAlias = Literal["map", "stream", "submit", "open", "close"]
"""What a case uses of a peer."""


class NotOffered(Exception):
    """The peer has no such thing; the text says more."""


class Pending(Protocol):
    """One call whose result is not known yet. `concurrent.futures.Future` is one."""

    def result(self, timeout: float | None = None) -> Any:
        """Wait for the result; `TimeoutError` after ``timeout`` seconds."""
        ...


class Peer:
    """One way to run functions in processes, with its workers; open in a ``with`` block."""

    name: ClassVar[str]
    """As in the tables and for ``--peers``."""
    library: ClassVar[str] = ""
    """The module that must be there; empty for what Python has."""
    distribution: ClassVar[str] = ""
    """Under which name its version is known."""
    tunes: ClassVar[frozenset[Call]] = frozenset()
    """The calls for which its documentation has settings that depend on the work."""
    one_by_one: ClassVar[bool] = False
    """Whether its chunks are of one item unless it is tuned."""
    methods: ClassVar[tuple[str, ...]] = ("forkserver", "spawn", "fork")
    """The start methods that one can choose."""

    def __init__(self, workers: int, method: str, *, tuned: bool) -> None:
        """Load the library, and start nothing.

        Args:
            workers (int): Number of worker processes.
            method (str): Start method; a peer that has only its own takes that.
            tuned (bool): Whether to use the settings that its documentation has for the work at hand.
        """
        self.workers = workers
        self.method = method
        self.tuned = tuned

    @classmethod
    def is_installed(cls) -> bool:
        """Tell whether its library can be imported."""
        return not cls.library or importlib.util.find_spec(cls.library) is not None

    def open(self) -> None:
        """Make the pool. Many start their workers only with the first work."""

    def close(self) -> None:
        """End the pool in the orderly way, and wait until its workers have ended where the peer offers that."""

    def map(self, fn: Callable[[Any], Any], items: Sequence[Any], chunk: int) -> list[Any]:
        """Run a function on every item.

        Args:
            fn (Callable[[Any], Any]): Of `work`.
            items (Sequence[Any]): Its arguments, one each.
            chunk (int): How many items an informed user would send at once; for a tuned peer.

        Returns:
            list[Any]: In the order of the items. A peer that has no other way collects a stream.
        """
        return list(self.stream(fn, items, chunk))

    def stream(self, fn: Callable[[Any], Any], items: Iterable[Any], chunk: int) -> Iterator[Any]:
        """Run a function on every item, and give the results in order as they come.

        Args:
            fn (Callable[[Any], Any]): Of `work`.
            items (Iterable[Any]): May have no length.
            chunk (int): As for `map`.

        Returns:
            Iterator[Any]: The results.
        """
        raise NotOffered

    def submit(self, fn: Callable[[Any], Any], item: Any) -> Pending:
        """Run a function on one item, and do not wait."""
        raise NotOffered

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
