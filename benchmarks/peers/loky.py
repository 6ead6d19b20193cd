"""loky, and joblib, which uses it."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, ClassVar

from typing_extensions import override

from peers.base import Call, Peer, Pending


class Loky(Peer):
    """loky's executor. Tuned: the chunk size is given; and the executor is reused, so closing it leaves the workers."""

    name = "loky"
    library = "loky"
    distribution = "loky"
    tunes: ClassVar[frozenset[Call]] = frozenset({"map", "stream", "open"})
    one_by_one = True
    # It has others, but its own is the one that it is made for: a fresh interpreter without the main module.
    methods = ("spawn",)

    def __init__(self, workers: int, method: str, *, tuned: bool) -> None:
        super().__init__(workers, method, tuned=tuned)
        self._loky: Any = importlib.import_module("loky")

    @override
    def open(self) -> None:
        make = self._loky.get_reusable_executor if self.tuned else self._loky.ProcessPoolExecutor
        self._pool = make(max_workers=self.workers)

    @override
    def close(self) -> None:
        if not self.tuned:
            self._pool.shutdown(wait=True)

    @override
    def stream(self, fn: Callable[[Any], Any], items: Iterable[Any], chunk: int) -> Iterator[Any]:
        results: Iterator[Any] = self._pool.map(fn, items, chunksize=chunk if self.tuned else 1)
        return results

    @override
    def submit(self, fn: Callable[[Any], Any], item: Any) -> Pending:
        pending: Pending = self._pool.submit(fn, item)
        return pending


class Joblib(Peer):
    """`joblib.Parallel`, kept open. Tuned: ``batch_size`` is given, and all of the input dispatched at once."""

    name = "joblib"
    library = "joblib"
    distribution = "joblib"
    tunes: ClassVar[frozenset[Call]] = frozenset({"map", "stream"})
    methods = ("spawn",)

    def __init__(self, workers: int, method: str, *, tuned: bool) -> None:
        super().__init__(workers, method, tuned=tuned)
        self._joblib: Any = importlib.import_module("joblib")
        self._pool: Any = None
        self._made_for = ("", 0)

    @override
    def close(self) -> None:
        if self._pool is not None:
            self._pool.__exit__(None, None, None)
            self._pool = None
        # Its workers outlive it for some minutes, unless one asks for this.
        importlib.import_module("joblib.externals.loky").get_reusable_executor().shutdown(wait=True)

    @override
    def map(self, fn: Callable[[Any], Any], items: Sequence[Any], chunk: int) -> list[Any]:
        results: list[Any] = self._parallel("list", chunk)(map(self._joblib.delayed(fn), items))
        return results

    @override
    def stream(self, fn: Callable[[Any], Any], items: Iterable[Any], chunk: int) -> Iterator[Any]:
        results: Iterator[Any] = self._parallel("generator", chunk)(map(self._joblib.delayed(fn), items))
        return results

    def _parallel(self, kind: str, chunk: int) -> Any:
        """Give the one that is open for this kind of call: these are settings of the whole. The workers stay."""
        if self._pool is None or (kind, chunk) != self._made_for:
            self._made_for = (kind, chunk)
            if self._pool is not None:
                self._pool.__exit__(None, None, None)
            settings: dict[str, Any] = {"batch_size": chunk, "pre_dispatch": "all"} if self.tuned else {}
            self._pool = self._joblib.Parallel(n_jobs=self.workers, return_as=kind, **settings)
            self._pool.__enter__()
        return self._pool
