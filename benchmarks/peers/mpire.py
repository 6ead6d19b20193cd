"""mpire."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, ClassVar

from typing_extensions import override

from peers.base import Call, Peer, Pending
from peers.standard import PoolResult


class Mpire(Peer):
    """`mpire.WorkerPool`. Tuned: the chunk size is given, and workers are kept: else each map has its own."""

    name = "mpire"
    library = "mpire"
    distribution = "mpire"
    tunes: ClassVar[frozenset[Call]] = frozenset({"map", "stream", "close"})

    def __init__(self, workers: int, method: str, *, tuned: bool) -> None:
        super().__init__(workers, method, tuned=tuned)
        self._mpire: Any = importlib.import_module("mpire")

    @override
    def open(self) -> None:
        self._pool = self._mpire.WorkerPool(self.workers, start_method=self.method, keep_alive=self.tuned)

    @override
    def close(self) -> None:
        self._pool.stop_and_join()
        # Leaving its block does the same; it ends what `stop_and_join` leaves.
        self._pool.terminate()

    @override
    def map(self, fn: Callable[[Any], Any], items: Sequence[Any], chunk: int) -> list[Any]:
        # Without the last one it would join results that are arrays to one array.
        results: list[Any] = self._pool.map(fn, items, chunk_size=self._chunk(chunk), concatenate_numpy_output=False)
        return results

    @override
    def stream(self, fn: Callable[[Any], Any], items: Iterable[Any], chunk: int) -> Iterator[Any]:
        results: Iterator[Any] = self._pool.imap(fn, items, chunk_size=self._chunk(chunk))
        return results

    @override
    def submit(self, fn: Callable[[Any], Any], item: Any) -> Pending:
        return PoolResult(self._pool.apply_async(fn, (item,)))

    def _chunk(self, chunk: int) -> int | None:
        return chunk if self.tuned else None
