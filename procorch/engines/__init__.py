"""Other places to run than processes on this machine: ``ProcessGroup(engine=...)``.

    ProcessGroup(engine=executor)                      # any concurrent.futures.Executor
    ProcessGroup(engine=DaskEngine(client))            # procorch.engines.dask
    ProcessGroup(engine=RayEngine())                   # procorch.engines.ray

What a group does is the same everywhere: order, laziness, bounds, chunks, retries, errors, progress, numbers. What an
engine cannot keep of a group's promises is in its `Capabilities`, and an option that it cannot keep is refused by name.
An engine of one's own derives from `Engine` and gives out a `Worker` for each slot.
"""

from __future__ import annotations

from concurrent.futures import Executor

from procorch._engine import Capabilities, Chunk, Engine, Function, Room, SharedData, Worker
from procorch.engines._executors import ExecutorEngine

__all__ = [
    "Capabilities",
    "Chunk",
    "Engine",
    "ExecutorEngine",
    "Function",
    "Room",
    "SharedData",
    "Worker",
]

for _name in __all__:
    globals()[_name].__module__ = __name__


def adapt(executor: Executor) -> Engine:
    """Make an engine of an executor, as ``ProcessGroup(engine=executor)`` does.

    Args:
        executor (Executor): Any. One of dask's becomes a `procorch.engines.dask.DaskEngine` with its client: dask by
            itself would run again what was with a worker that dies, and tell nobody.

    Returns:
        Engine: The executor itself is never shut down by it.
    """
    if type(executor).__module__.partition(".")[0] == "distributed":
        from procorch.engines.dask import DaskEngine  # here: its library is loaded already, or there would be none

        return DaskEngine.of_executor(executor)  # type: ignore[arg-type]  # dask has no other executor
    return ExecutorEngine(executor)
