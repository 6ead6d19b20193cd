"""dask and ray, for those who have them. They are made for clusters, and here run on this machine alone."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, ClassVar

from typing_extensions import override

from peers.base import Call, Peer, Pending


class Dask(Peer):
    """`dask.distributed` with a local cluster. Tuned: ``batch_size`` is given."""

    name = "dask"
    library = "distributed"
    distribution = "distributed"
    tunes: ClassVar[frozenset[Call]] = frozenset({"map"})
    methods = ("spawn",)

    def __init__(self, workers: int, method: str, *, tuned: bool) -> None:
        super().__init__(workers, method, tuned=tuned)
        self._dask: Any = importlib.import_module("distributed")

    @override
    def open(self) -> None:
        self._cluster = self._dask.LocalCluster(
            n_workers=self.workers, threads_per_worker=1, processes=True, dashboard_address=None
        )
        self._client = self._dask.Client(self._cluster)

    @override
    def close(self) -> None:
        self._client.close()
        self._cluster.close()

    @override
    def map(self, fn: Callable[[Any], Any], items: Sequence[Any], chunk: int) -> list[Any]:
        futures = self._client.map(fn, items, pure=False, batch_size=chunk if self.tuned else None)
        results: list[Any] = self._client.gather(futures)
        return results

    @override
    def submit(self, fn: Callable[[Any], Any], item: Any) -> Pending:
        pending: Pending = self._client.submit(fn, item, pure=False)
        return pending


class Ray(Peer):
    """`ray`, through its own `multiprocessing.Pool`. Tuned: the chunk size is given."""

    name = "ray"
    library = "ray"
    distribution = "ray"
    tunes: ClassVar[frozenset[Call]] = frozenset({"map", "stream"})
    methods = ("spawn",)

    def __init__(self, workers: int, method: str, *, tuned: bool) -> None:
        super().__init__(workers, method, tuned=tuned)
        self._ray: Any = importlib.import_module("ray")
        self._pools: Any = importlib.import_module("ray.util.multiprocessing")

    @override
    def open(self) -> None:
        self._ray.init(num_cpus=self.workers, include_dashboard=False, log_to_driver=False)
        self._pool = self._pools.Pool(self.workers)

    @override
    def close(self) -> None:
        self._pool.close()
        self._pool.join()
        self._ray.shutdown()

    @override
    def map(self, fn: Callable[[Any], Any], items: Sequence[Any], chunk: int) -> list[Any]:
        results: list[Any] = self._pool.map(fn, items, chunksize=chunk if self.tuned else None)
        return results

    @override
    def stream(self, fn: Callable[[Any], Any], items: Iterable[Any], chunk: int) -> Iterator[Any]:
        results: Iterator[Any] = self._pool.imap(fn, items, chunksize=chunk if self.tuned else 1)
        return results

    @override
    def submit(self, fn: Callable[[Any], Any], item: Any) -> Pending:
        return _RayResult(self._ray, self._ray.remote(fn).remote(item))


class _RayResult:
    """A result of a task of ray, which is asked for in another way."""

    def __init__(self, ray: Any, reference: Any) -> None:
        self._ray, self._reference = ray, reference

    def result(self, timeout: float | None = None) -> Any:
        """As `Pending.result`."""
        return self._ray.get(self._reference, timeout=timeout)
