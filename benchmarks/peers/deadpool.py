"""deadpool-executor."""

from __future__ import annotations

import importlib
import multiprocessing
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from typing_extensions import override

from peers.base import Peer, Pending


class Deadpool(Peer):
    """`deadpool.Deadpool`, an executor whose `map` knows no chunks."""

    name = "deadpool"
    library = "deadpool"
    distribution = "deadpool-executor"

    def __init__(self, workers: int, method: str, *, tuned: bool) -> None:
        super().__init__(workers, method, tuned=tuned)
        self._deadpool: Any = importlib.import_module("deadpool")

    @override
    def open(self) -> None:
        context = multiprocessing.get_context(self.method)
        self._pool = self._deadpool.Deadpool(max_workers=self.workers, mp_context=context)

    @override
    def close(self) -> None:
        self._pool.shutdown(wait=True)

    @override
    def stream(self, fn: Callable[[Any], Any], items: Iterable[Any], chunk: int) -> Iterator[Any]:
        results: Iterator[Any] = self._pool.map(fn, items)
        return results

    @override
    def submit(self, fn: Callable[[Any], Any], item: Any) -> Pending:
        pending: Pending = self._pool.submit(fn, item)
        return pending
