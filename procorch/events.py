"""What a group tells of itself while it works: the values that ``on_event=`` of `procorch.ProcessGroup` is called with.

    GroupBegan ... GroupEnded                    once each; all else lies between
    ProcessStarted ... ProcessReady ... ProcessEnded   of each process; it may end without having become ready
    ChunkBegan ... ChunkEnded                    of each chunk of items with a worker; what `submit` and `start` give is
                                                 a chunk of one item
    ItemRetried, ItemFailed, ProcessSignalled    in between, as it happens
    ServiceReady, ServiceRestarted               of what is started with ``restart=``

An item is known by the number of its job and its own, from 0, in the order in which the job took its items.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import attrs

__all__ = [
    "ChunkBegan",
    "ChunkEnded",
    "Event",
    "GroupBegan",
    "GroupEnded",
    "ItemFailed",
    "ItemRetried",
    "ProcessEnded",
    "ProcessReady",
    "ProcessSignalled",
    "ProcessStarted",
    "Reason",
    "ServiceReady",
    "ServiceRestarted",
]

Reason: TypeAlias = Literal["raised", "crashed", "timed out", "not started", "returned"]
"""Why an item failed: its function raised, its process died under it, or was stopped for its time; or the system
refused it a process of its own. Or why a service was restarted: its function may also have returned."""


@attrs.frozen
class GroupBegan:
    """The group has got its first work.

    Attributes:
        at (float): When; monotonic seconds, as all times here: `time.monotonic` for processes on this machine.
        group (str): The group's name.
        wall (float): The same moment in seconds since the epoch.
        pid (int): Process id of the caller.
    """

    at: float
    group: str
    wall: float
    pid: int


@attrs.frozen
class GroupEnded:
    """All processes of the group are gone. The last event.

    Attributes:
        at (float): When.
        group (str): The group's name.
    """

    at: float
    group: str


@attrs.frozen
class ProcessStarted:
    """A process has been started. Its first work follows when it is ready.

    Attributes:
        at (float): When.
        slot (int): Number of its place in the group, from 1; stays when the process in it is replaced.
        name (str): Its name; stays likewise.
        pid (int | None): Its process id; None if its engine has none.
    """

    at: float
    slot: int
    name: str
    pid: int | None


@attrs.frozen
class ProcessReady:
    """A process has run the group's initializer.

    Attributes:
        at (float): When.
        slot (int): As of `ProcessStarted`.
        name (str): Likewise.
        pid (int | None): Likewise.
    """

    at: float
    slot: int
    name: str
    pid: int | None


@attrs.frozen
class ProcessSignalled:
    """A process is sent a signal that is to end it.

    Attributes:
        at (float): When.
        slot (int): As of `ProcessStarted`.
        name (str): Likewise.
        pid (int | None): Likewise.
        signal (str): ``"SIGTERM"`` or ``"SIGKILL"``.
    """

    at: float
    slot: int
    name: str
    pid: int | None
    signal: Literal["SIGTERM", "SIGKILL"]


@attrs.frozen
class ProcessEnded:
    """A process is gone.

    Attributes:
        at (float): When.
        slot (int): As of `ProcessStarted`.
        name (str): Likewise.
        pid (int | None): Likewise.
        exitcode (int | None): As of `multiprocessing.Process`: negative for a signal; None if not known.
    """

    at: float
    slot: int
    name: str
    pid: int | None
    exitcode: int | None


@attrs.frozen
class ChunkBegan:
    """A worker has got some items.

    Attributes:
        at (float): When.
        slot (int): As of `ProcessStarted`.
        job (int): Number of the call of `map`, `imap`, `submit` or `start`, from 1.
        task (str): Module and qualified name of the function.
        first (int): Number of the first item.
        items (int): How many there are.
    """

    at: float
    slot: int
    job: int
    task: str
    first: int
    items: int


@attrs.frozen
class ChunkEnded:
    """A worker is through with its items, or dead.

    Attributes:
        at (float): When.
        slot (int): As of `ProcessStarted`.
        job (int): As of `ChunkBegan`.
        task (str): Likewise.
        first (int): Likewise.
        items (int): How many have finished. What had not begun has gone back, and comes in another chunk.
        failed (int): How many of these raised.
        began (float): When the chunk had begun, as of `ChunkBegan`.
    """

    at: float
    slot: int
    job: int
    task: str
    first: int
    items: int
    failed: int
    began: float


@attrs.frozen
class ItemRetried:
    """An item was begun in vain, and will be begun again.

    Attributes:
        at (float): When.
        slot (int): Where it was begun; as of `ProcessStarted`.
        job (int): As of `ChunkBegan`.
        task (str): Likewise.
        item (int): Its number.
        attempts (int): How often it has been begun.
        reason (Reason): Why it was in vain.
    """

    at: float
    slot: int
    job: int
    task: str
    item: int
    attempts: int
    reason: Reason


@attrs.frozen
class ItemFailed:
    """An item has failed for good.

    Attributes:
        at (float): When.
        slot (int): Where it ran last; as of `ProcessStarted`.
        job (int): As of `ChunkBegan`.
        task (str): Likewise.
        item (int): Its number.
        reason (Reason): Why.
    """

    at: float
    slot: int
    job: int
    task: str
    item: int
    reason: Reason


@attrs.frozen
class ServiceReady:
    """The function of a process of `ProcessGroup.start` has said that it is ready to serve.

    Attributes:
        at (float): When.
        slot (int): As of `ProcessStarted`.
        name (str): Likewise.
        pid (int | None): Likewise.
    """

    at: float
    slot: int
    name: str
    pid: int | None


@attrs.frozen
class ServiceRestarted:
    """A process that is to stay up is started again; `ProcessStarted` follows when that is done.

    Attributes:
        at (float): When that was decided.
        slot (int): As of `ProcessStarted`.
        name (str): Likewise.
        restarts (int): How often it was started again so far, with this one.
        wait (float): Seconds until then.
        reason (Reason): What for.
        detail (str): What more is known: type and text of what the function raised, or how the process ended; may be
            empty.
    """

    at: float
    slot: int
    name: str
    restarts: int
    wait: float
    reason: Reason
    detail: str


Event: TypeAlias = (
    GroupBegan
    | GroupEnded
    | ProcessStarted
    | ProcessReady
    | ProcessSignalled
    | ProcessEnded
    | ChunkBegan
    | ChunkEnded
    | ItemRetried
    | ItemFailed
    | ServiceReady
    | ServiceRestarted
)
"""Any of them."""
