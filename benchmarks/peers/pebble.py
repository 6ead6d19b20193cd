"""Pebble."""

from __future__ import annotations

import importlib
import multiprocessing
from collections.abc import Callable, Iterable, Iterator
from typing import Any, ClassVar

from typing_extensions import override

from peers.base import Call, Peer, Pending


class Pebble(Peer):
    """`pebble.ProcessPool`. Tuned: the chunk size is given; by default it is 1."""

    name = "pebble"
    library = "pebble"
    distribution = "pebble"
    tunes: ClassVar[frozenset[Call]] = frozenset({"map", "stream"})
    one_by_one = True

    def __init__(self, workers: int, method: str, *, tuned: bool) -> None:
        super().__init__(workers, method, tuned=tuned)
        self._pebble: Any = importlib.import_module("pebble")

    @override
    def open(self) -> None:
        self._pool = self._pebble.ProcessPool(self.workers, context=multiprocessing.get_context(self.method))

    @override
    def close(self) -> None:
        self._pool.close()
        self._pool.join()

    @override
    def stream(self, fn: Callable[[Any], Any], items: Iterable[Any], chunk: int) -> Iterator[Any]:
        results: Iterator[Any] = self._pool.map(fn, items, chunksize=chunk if self.tuned else 1).result()
        return results

    @override
    def submit(self, fn: Callable[[Any], Any], item: Any) -> Pending:
        pending: Pending = self._pool.schedule(fn, args=(item,))
        return pending
