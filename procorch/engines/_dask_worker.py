"""What a worker of dask runs for us: chunks, as tasks of dask; and in its event loop, looks at them."""

from __future__ import annotations

import asyncio
import pickle
from typing import Any

from distributed import get_worker

from procorch import _agent, _far
from procorch._assignments import Answer, Assignment, Given, Progress


def run(pickled: bytes, data: dict[str, Any], shared: list[Given]) -> Answer:
    """Do a chunk in this process.

    Args:
        pickled (bytes): The assignment, which dask's scheduler is not to look into.
        data (dict[str, Any]): Parts of it that came as data: ``"function"``, ``"items"``.
        shared (list[Given]): What is shared, likewise.

    Returns:
        Answer: What became of it.
    """
    return _far.run(_put_together(pickled, data, shared), get_worker().id)


def run_isolated(pickled: bytes, data: dict[str, Any], shared: list[Given]) -> Answer:
    """Do a chunk in a process of ours.

    Args:
        pickled (bytes): As of `run`.
        data (dict[str, Any]): Likewise.
        shared (list[Given]): Likewise.

    Returns:
        Answer: What became of it.
    """
    worker = get_worker()
    key = worker.get_current_task()

    def is_wanted() -> bool:
        """Tell whether dask still wants the task: not if the client is gone, for one."""
        state = worker.state.tasks.get(key)
        return state is not None and state.state != "cancelled"

    return _agent.run(_put_together(pickled, data, shared), worker.id, is_wanted)


def _put_together(pickled: bytes, data: dict[str, Any], shared: list[Given]) -> Assignment:
    assignment: Assignment = pickle.loads(pickled)
    if "function" in data:
        assignment = assignment._replace(function=assignment.function._replace(payload=data["function"]))
    if "items" in data:
        assignment = assignment._replace(items=data["items"])
    return assignment._replace(shared=tuple(shared))


async def look(
    process: str, engine: str, number: int, stop: bool, kill: bool, dask_worker: Any = None
) -> Progress | None:
    """Tell how far a chunk is.

    Args:
        process (str): The worker that has it, by its id: another may have got its address since.
        engine (str): As of `_far.look`.
        number (int): Likewise.
        stop (bool): Likewise.
        kill (bool): Likewise.
        dask_worker (Any): Given by dask.

    Returns:
        Progress | None: None if this is another.
    """
    if dask_worker.id != process:
        return None
    # In a thread: it may have to wait for results on their way, and the event loop has other things to do.
    return await asyncio.to_thread(_far.look, engine, number, stop=stop, kill=kill)


async def forget(engine: str) -> None:
    """Let go of all that is kept for an engine.

    Args:
        engine (str): It will send nothing any more.
    """
    await asyncio.to_thread(_agent.forget, engine)
