"""What tests of agents run in their processes."""

from __future__ import annotations

import multiprocessing
import os
from typing import Any

import procorch
from procorch import _agent
from procorch._assignments import Answer, Assignment


def where(_: object) -> int:
    return os.getpid()


def value_of(shared: procorch.Shared[Any]) -> Any:
    return shared.value


def map_here(numbers: list[int]) -> list[int]:
    """Use a group, in whatever process this is."""
    with procorch.ProcessGroup(2) as group:
        return group.map(abs, numbers)


def is_daemon(numbers: list[int]) -> tuple[bool, list[int]]:
    return multiprocessing.current_process().daemon, map_here(numbers)


def run_in_fork(assignment: Assignment) -> Answer:
    """Do a chunk in a copy of this process."""
    import pickle

    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(write, pickle.dumps(_agent.run(assignment)))
            _agent.forget(assignment.engine)
        finally:
            os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as answer:
        told = answer.read()
    os.waitpid(child, 0)
    return pickle.loads(told)  # type: ignore[no-any-return]
