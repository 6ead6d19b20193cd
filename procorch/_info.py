"""What users are told of one process."""

from __future__ import annotations

from typing import Literal, TypeAlias

import attrs

from procorch._public import public
from procorch.events import ServiceRestarted

State: TypeAlias = Literal["starting", "idle", "busy", "ending"]


@public
@attrs.frozen
class SlotStats:
    """What the workers in one slot have done so far.

    Attributes:
        slot (int): Number of the place in the group, from 1.
        name (str): Name of the workers that are and were there.
        tasks_done (int): Items that finished there.
        restarts (int): How often the process there has been replaced.
        busy_seconds (float): Time that the chunks took which have ended, in whatever way; in seconds.
        busy (float): This as a part of the group's time so far, between 0 and about 1.
    """

    slot: int
    name: str
    tasks_done: int
    restarts: int
    busy_seconds: float
    busy: float


@public
@attrs.frozen
class GroupStats:
    """What has come of a group's work so far, or in all if it has ended. See `ProcessGroup.stats`.

    Every item that was begun, or dropped before, is in exactly one of the first five numbers once it has its outcome.

    Attributes:
        done (int): Items with a value.
        raised (int): Items whose function raised, or whose result could not cross.
        crashed (int): Items that were lost with their process, or got none.
        timed_out (int): Items whose process was stopped for their time.
        dropped (int): Items that were never begun or were stopped since nobody wanted them any more: cancelled, or
            their group was ended.
        retried (int): How often an item was begun in vain and begun again.
        restarted (int): How often a service was started again: what is started with ``restart=``.
        waiting (int): Items that wait for a worker, or for another try.
        running (int): Workers that have items, processes of `start` included.
        signals (int): SIGTERMs and SIGKILLs that were sent to processes.
        elapsed (float): Seconds since the first work came, until now or until all processes were gone.
        p50 (float | None): Seconds that half of the items took at most, to some per cent; None without finished items.
            Of items that ran in one chunk, the mean.
        p95 (float | None): The same for 95 of 100 items.
        slots (tuple[SlotStats, ...]): For each worker slot; processes of `start` only as long as they are there.
        restarts (tuple[ServiceRestarted, ...]): What the last hundred restarts of services were for, the newest last.
    """

    done: int
    raised: int
    crashed: int
    timed_out: int
    dropped: int
    retried: int
    restarted: int
    waiting: int
    running: int
    signals: int
    elapsed: float
    p50: float | None
    p95: float | None
    slots: tuple[SlotStats, ...]
    restarts: tuple[ServiceRestarted, ...]

    @property
    def failed(self) -> int:
        """Items that raised, crashed or timed out."""
        return self.raised + self.crashed + self.timed_out


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
        busy_seconds (float): Time that those of the slot's chunks took which have ended, in whatever way; in seconds.
        address (str | None): Where it is, if an engine tells: the address of a worker of its cluster, or a host. None
            on this machine, and as long as nothing has run there.
    """

    slot: int
    name: str
    pid: int | None
    state: State
    task: str | None
    tasks_done: int
    restarts: int
    busy_seconds: float
    address: str | None = None
