"""The engine that any executor makes: of `concurrent.futures.Executor` it uses ``submit`` alone, with a window of our own.

An executor decides by itself where a chunk runs and what becomes of the others when a process dies. So what is not
known is said to be not known: a chunk whose future fails may have begun.
"""

from __future__ import annotations

import concurrent.futures
from concurrent.futures import Executor, Future, ThreadPoolExecutor

from typing_extensions import override

from procorch import _far
from procorch._engine import Capabilities, Room
from procorch._far import Answer, Assignment
from procorch._lanes import Died, Lane, LaneEngine, Untouched
from procorch._policy import check_count

_SIZES = ("_max_workers", "max_workers", "num_workers")
"""Where executors keep how many workers they have; there is no standard for it."""

_DEPTH = 2
"""Chunks with the executor for each of its workers: one that runs, and one that is there when it ends."""


class ExecutorEngine(LaneEngine):
    """Runs a group's items by any executor. Never shuts it down."""

    capabilities = Capabilities()

    def __init__(self, executor: Executor, *, max_workers: int | None = None) -> None:
        """Take an executor; it is used when the group has work.

        Args:
            executor (Executor): Open. Its processes have procorch installed. What it runs again by itself, it runs
                again; with its own retries at 0, nothing runs twice.
            max_workers (int | None): How many items it runs at once, at least 1; None asks the executor, and takes the
                group's ``max_workers`` if it does not tell.

        Raises:
            TypeError: It is no executor, or ``max_workers`` no number.
            ValueError: ``max_workers`` is below 1.
        """
        super().__init__()
        if not isinstance(executor, Executor):
            raise TypeError(f"executor must be a concurrent.futures.Executor, not {executor!r}")
        self._executor = executor
        self._futures: dict[int, Future[Answer]] = {}
        self._refusal = ""
        self.has_main = isinstance(executor, ThreadPoolExecutor)
        workers = _workers_of(executor) if max_workers is None else check_count("max_workers", max_workers, least=1)
        self._room = None if workers is None else Room(workers, _DEPTH * workers)

    @property
    @override
    def room(self) -> Room | None:
        return self._room

    @override
    def launch(self, lane: Lane, assignment: Assignment) -> None:
        number = assignment.number
        try:
            future = self._executor.submit(_far.run, assignment)
        except Exception as error:  # noqa: BLE001 - each executor has ways of its own to refuse
            self._refusal = _text_of(error)
            lane.tell(number, Died(f"the executor took no more work: {self._refusal}", begun=False))
            return
        self._futures[number] = future

        def done(future: Future[Answer]) -> None:
            if not future.cancelled():
                lane.tell(number, _news_of(future))

        future.add_done_callback(done)

    @override
    def take_back(self, lane: Lane) -> None:
        if self._futures[lane.number].cancel():
            lane.tell(lane.number, Untouched())

    @override
    def has_begun(self, lane: Lane) -> bool:
        future = self._futures.get(lane.number)
        return future is not None and (future.running() or future.done())

    @override
    def done_with(self, lane: Lane) -> None:
        self._futures.pop(lane.number, None)

    @override
    def refusal(self) -> str:
        return self._refusal

    @override
    def close(self) -> None:
        super().close()
        self._futures.clear()
        self._refusal = ""

    def __repr__(self) -> str:
        """Name the executor.

        Returns:
            str: Such as ``<ExecutorEngine of ProcessPoolExecutor>``.
        """
        return f"<{type(self).__name__} of {type(self._executor).__name__}>"


def _news_of(future: Future[Answer]) -> Answer | Died:
    try:
        return future.result(0)
    except concurrent.futures.CancelledError:
        return Died("the executor cancelled it", begun=True)
    except BaseException as error:  # noqa: BLE001 - nothing of the user's raises here: the executor has lost it
        return Died(f"the executor lost it: {_text_of(error)}", begun=True)


def _text_of(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"


def _workers_of(executor: Executor) -> int | None:
    for name in _SIZES:
        size = getattr(executor, name, None)
        if isinstance(size, int) and size > 0:
            return size
    return None
