"""What users are told of one process."""

from __future__ import annotations

from typing import Literal, TypeAlias

import attrs

from procorch._public import public

State: TypeAlias = Literal["starting", "idle", "busy", "ending"]


@public
@attrs.frozen
class ProcessInfo:
    """One process of a group, as it was at one moment. See `ProcessGroup.processes`.

    Attributes:
        slot (int): Number of its place in the group, from 1; stays when the process in it is replaced.
        name (str): Its name; stays likewise.
        pid (int | None): Its process id; None if its engine has none.
        state (str): ``"starting"``, ``"idle"``, ``"busy"`` or ``"ending"``.
        task (str | None): The function it is busy with; None if with nothing.
        tasks_done (int): Items that finished in this slot.
        restarts (int): How often the process in this slot has been replaced.
        busy_seconds (float): Time that the slot's finished chunks took, in seconds.
    """

    slot: int
    name: str
    pid: int | None
    state: State
    task: str | None
    tasks_done: int
    restarts: int
    busy_seconds: float
