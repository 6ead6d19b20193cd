"""The serial run, and the two pools of the standard library."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from multiprocessing.pool import AsyncResult
from typing import Any, ClassVar

from typing_extensions import override

from peers.base import Call, NotOffered, Peer, Pending


class Serial(Peer):
    """A loop in this process."""

    name = "serial"

    def __init__(self, workers: int, method: str, *, tuned: bool) -> None:
        super().__init__(1, method, tuned=tuned)

    @override
    def map(self, fn: Callable[[Any], Any], items: Sequence[Any], chunk: int) -> list[Any]:
        return [fn(item) for item in items]

    @override
    def stream(self, fn: Callable[[Any], Any], items: Iterable[Any], chunk: int) -> Iterator[Any]:
        return map(fn, items)

    @override
    def submit(self, fn: Callable[[Any], Any], item: Any) -> Pending:
        future: Future[Any] = Future()
        future.set_result(fn(item))
        return future


class PoolResult:
    """A result of `multiprocessing.Pool` or of one like it, which calls it ``get``."""

    def __init__(self, result: AsyncResult[Any]) -> None:
        self._result = result

    def result(self, timeout: float | None = None) -> Any:
        """As `Pending.result`."""
        try:
            return self._result.get(timeout)
        except multiprocessing.TimeoutError as error:
            raise TimeoutError from error


class Pool(Peer):
    """`multiprocessing.Pool`. Tuned: the chunk size is given; by default `map` makes four chunks for each worker."""

    name = "pool"
    tunes: ClassVar[frozenset[Call]] = frozenset({"map", "stream"})

    @override
    def open(self) -> None:
        self._pool = multiprocessing.get_context(self.method).Pool(self.workers)

    @override
    def close(self) -> None:
        self._pool.close()
        self._pool.join()

    @override
    def map(self, fn: Callable[[Any], Any], items: Sequence[Any], chunk: int) -> list[Any]:
        return self._pool.map(fn, items, chunksize=chunk if self.tuned else None)

    @override
    def stream(self, fn: Callable[[Any], Any], items: Iterable[Any], chunk: int) -> Iterator[Any]:
        return self._pool.imap(fn, items, chunksize=chunk if self.tuned else 1)

    @override
    def submit(self, fn: Callable[[Any], Any], item: Any) -> Pending:
        return PoolResult(self._pool.apply_async(fn, (item,)))


class Executor(Peer):
    """`concurrent.futures.ProcessPoolExecutor`. Tuned: the chunk size is given; by default it is 1."""

    name = "executor"
    tunes: ClassVar[frozenset[Call]] = frozenset({"map", "stream"})
    one_by_one = True

    @override
    def open(self) -> None:
        context = multiprocessing.get_context(self.method)
        self._pool = ProcessPoolExecutor(self.workers, mp_context=context)

    @override
    def close(self) -> None:
        self._pool.shutdown()

    @override
    def stream(self, fn: Callable[[Any], Any], items: Iterable[Any], chunk: int) -> Iterator[Any]:
        return self._pool.map(fn, items, chunksize=chunk if self.tuned else 1)

    @override
    def submit(self, fn: Callable[[Any], Any], item: Any) -> Pending:
        return self._pool.submit(fn, item)


class Limit(Peer):
    """What the machine itself can do; the cases that have such a bound measure it without a peer."""

    name = "limit"

    @override
    def open(self) -> None:
        raise NotOffered
