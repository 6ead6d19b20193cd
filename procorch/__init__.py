"""Run functions in many processes, and never lose an item.

The public names are those of `__all__`. They are loaded when first asked for: every worker process imports this package
too, and needs little of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from procorch._checkpoint import Checkpoint as Checkpoint
    from procorch._current import CurrentProcess as CurrentProcess
    from procorch._current import StopRequest as StopRequest
    from procorch._current import current_process as current_process
    from procorch._errors import CheckpointError as CheckpointError
    from procorch._errors import CheckpointMismatch as CheckpointMismatch
    from procorch._errors import GroupClosed as GroupClosed
    from procorch._errors import NotPicklable as NotPicklable
    from procorch._errors import NotRunning as NotRunning
    from procorch._errors import NotSupported as NotSupported
    from procorch._errors import ProcorchError as ProcorchError
    from procorch._errors import Task as Task
    from procorch._errors import TaskError as TaskError
    from procorch._errors import TaskInterrupted as TaskInterrupted
    from procorch._errors import TaskTimeout as TaskTimeout
    from procorch._errors import TooManyRestarts as TooManyRestarts
    from procorch._errors import WorkerCrashed as WorkerCrashed
    from procorch._errors import WorkerStartError as WorkerStartError
    from procorch._executors.async_result import AsyncResult as AsyncResult
    from procorch._executors.executor import GroupExecutor as GroupExecutor
    from procorch._executors.pool import GroupPool as GroupPool
    from procorch._group import GroupView as GroupView
    from procorch._group import ProcessGroup as ProcessGroup
    from procorch._handle import ProcessHandle as ProcessHandle
    from procorch._info import GroupStats as GroupStats
    from procorch._info import ProcessInfo as ProcessInfo
    from procorch._info import SlotStats as SlotStats
    from procorch._process_stream import ProcessStream as ProcessStream
    from procorch._progress import Progress as Progress
    from procorch._restart import Restart as Restart
    from procorch._share import Shared as Shared
    from procorch._usable import CpuLimit as CpuLimit
    from procorch._usable import UsableCpus as UsableCpus
    from procorch._usable import usable_cpus as usable_cpus

__version__ = "0.1.0"

_HOMES = {
    "AsyncResult": "_executors.async_result",
    "Checkpoint": "_checkpoint",
    "CheckpointError": "_errors",
    "CheckpointMismatch": "_errors",
    "CpuLimit": "_usable",
    "CurrentProcess": "_current",
    "GroupClosed": "_errors",
    "GroupExecutor": "_executors.executor",
    "GroupPool": "_executors.pool",
    "GroupStats": "_info",
    "GroupView": "_group",
    "NotPicklable": "_errors",
    "NotRunning": "_errors",
    "NotSupported": "_errors",
    "ProcessGroup": "_group",
    "ProcessHandle": "_handle",
    "ProcessInfo": "_info",
    "ProcessStream": "_process_stream",
    "ProcorchError": "_errors",
    "Progress": "_progress",
    "Restart": "_restart",
    "Shared": "_share",
    "SlotStats": "_info",
    "StopRequest": "_current",
    "Task": "_errors",
    "TaskError": "_errors",
    "TaskInterrupted": "_errors",
    "TaskTimeout": "_errors",
    "TooManyRestarts": "_errors",
    "UsableCpus": "_usable",
    "WorkerCrashed": "_errors",
    "WorkerStartError": "_errors",
    "current_process": "_current",
    "usable_cpus": "_usable",
}
"""The private module in which each public name is defined."""

__all__ = [
    "AsyncResult",
    "Checkpoint",
    "CheckpointError",
    "CheckpointMismatch",
    "CpuLimit",
    "CurrentProcess",
    "GroupClosed",
    "GroupExecutor",
    "GroupPool",
    "GroupStats",
    "GroupView",
    "NotPicklable",
    "NotRunning",
    "NotSupported",
    "ProcessGroup",
    "ProcessHandle",
    "ProcessInfo",
    "ProcessStream",
    "ProcorchError",
    "Progress",
    "Restart",
    "Shared",
    "SlotStats",
    "StopRequest",
    "Task",
    "TaskError",
    "TaskInterrupted",
    "TaskTimeout",
    "TooManyRestarts",
    "UsableCpus",
    "WorkerCrashed",
    "WorkerStartError",
    "current_process",
    "usable_cpus",
]


def __getattr__(name: str) -> object:
    """Load a public name when it is first asked for (PEP 562)."""
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib  # here: few who import the package need it at once

    value = getattr(importlib.import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
