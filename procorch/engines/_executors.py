"""The engine that any executor makes: of `concurrent.futures.Executor` it uses ``submit`` alone, with a window of ours.

An executor decides by itself where a chunk runs and what becomes of the others when a process dies. So what is not
known is said to be not known: a chunk whose future fails may have begun.
"""

from __future__ import annotations

import pickle
from concurrent.futures import Executor, Future, ThreadPoolExecutor

from typing_extensions import override

from procorch import _agent, _far
from procorch._assignments import Answer, Assignment
from procorch._engine import Capabilities, Room
from procorch._lanes import Died, Lane, LaneEngine, Untouched
from procorch._messages import PROTOCOL
from procorch._policy import check_bool, check_count

_SIZES = ("_max_workers", "max_workers", "num_workers")
"""Where executors keep how many workers they have; there is no standard for it."""

_TRUTHFUL = ("concurrent.futures.", "loky.", "mpi4py.", "executorlib.")
"""Modules of executors whose futures, once cancelled, never run."""

_DEPTH = 2
"""Chunks with the executor for each of its workers: one that runs, and one that is there when it ends."""


ISOLATED = Capabilities(limit=True, crash_isolation="item", prepare=True, recycle=True)
"""Of executors, with processes of procorch beside theirs."""

BARE = Capabilities()
"""Of executors, without."""


class ExecutorEngine(LaneEngine):
    """Runs a group's items by any executor. Never shuts it down."""

    def __init__(self, executor: Executor, *, max_workers: int | None = None, isolate: bool | None = None) -> None:
        """Take an executor; it is used when the group has work.

        Args:
            executor (Executor): Open. Its processes have procorch installed. It must not run anything again by itself:
                set its own retries to 0.
            max_workers (int | None): How many items it runs at once, at least 1; None asks the executor, and takes the
                group's ``max_workers`` if it does not tell.
            isolate (bool | None): Whether items run in processes of procorch beside those of the executor, so that a
                crash or a limit costs an item and nothing of the executor's. None: yes, but for threads of this
                process.

        Raises:
            TypeError: It is no executor, or an argument has a wrong type.
            ValueError: ``max_workers`` is below 1.
        """
        threads = isinstance(executor, ThreadPoolExecutor)
        self._isolate = not threads if isolate is None else check_bool("isolate", isolate)
        self._threads = threads
        super().__init__(ISOLATED if self._isolate else BARE, keeps_limits=self._isolate)
        if not isinstance(executor, Executor):  # pyright: ignore[reportUnnecessaryIsInstance]  # not everybody checks
            raise TypeError(f"executor must be a concurrent.futures.Executor, not {executor!r}")
        self._executor = executor
        self._futures: dict[int, Future[bytes]] = {}
        self._refusal = ""
        self.has_main: bool = threads and not self._isolate
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
            future = self._executor.submit(_run_isolated if self._isolate else _run, pickle.dumps(assignment, PROTOCOL))
        except Exception as error:  # noqa: BLE001 - each executor has ways of its own to refuse
            self._refusal = _text_of(error)
            lane.tell(number, Died(f"the executor took no more work: {self._refusal}", begun=False))
            return
        self._futures[number] = future

        def done(future: Future[bytes]) -> None:
            lane.tell(number, self._of_cancelled(lane) if future.cancelled() else _news_of(future))

        future.add_done_callback(done)

    @override
    def take_back(self, lane: Lane) -> None:
        future = self._futures.get(lane.number)
        if future is not None and self._is_truthful:
            future.cancel()

    @override
    def abandon(self, lane: Lane) -> None:
        self.take_back(lane)
        if self._isolate and self._threads:
            _far.look(self._id, lane.number, stop=True, kill=True)  # what runs it is in this process

    @property
    def _is_truthful(self) -> bool:
        return type(self._executor).__module__.startswith(_TRUTHFUL)

    def _of_cancelled(self, lane: Lane) -> Died | Untouched:
        """Say what a cancelled future means: some executors say that they have cancelled what they then run."""
        if self._is_truthful and lane.withdrawn:
            return Untouched()
        return Died("the executor cancelled it", begun=not self._is_truthful)

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
        _agent.forget(self._id)  # if it is in this process that they ran; elsewhere processes end when they have waited
        self._futures.clear()
        self._refusal = ""

    def __repr__(self) -> str:
        """Name the executor.

        Returns:
            str: Such as ``<ExecutorEngine of ProcessPoolExecutor>``.
        """
        return f"<{type(self).__name__} of {type(self._executor).__name__}>"


def _run(assignment: bytes) -> bytes:
    """Do a chunk. Runs in a worker of the executor; by bytes alone, of which no executor makes anything else."""
    return pickle.dumps(_far.run(pickle.loads(assignment)), PROTOCOL)


def _run_isolated(assignment: bytes) -> bytes:
    """Do a chunk in a process of procorch. Runs in a worker of the executor, as above."""
    return pickle.dumps(_agent.run(pickle.loads(assignment)), PROTOCOL)


def _news_of(future: Future[bytes]) -> Answer | Died:
    try:
        answer: Answer = pickle.loads(future.result(0))
        return answer
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
