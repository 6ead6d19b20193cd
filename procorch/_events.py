"""What the scheduler hears and what it orders: two closed unions of frozen values.

Jobs, slots and items are known by number here. A job is one call of `map`, `imap`, `submit` or `start`; its items are
numbered from 0. A slot is the place of one worker; the process in it may be replaced.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

import attrs

from procorch._messages import Failure, Plain, Retriable, Value
from procorch._policy import Backoff
from procorch._restart import Restart
from procorch.events import Reason

NO_WAIT = Backoff()


@attrs.frozen
class Remains:
    """What a dead process left that tells of its death. Nobody decides by it."""

    stack: str = ""
    """Where its threads were in its Python code; empty if that is not known."""
    cause: str = ""
    """Why it probably died, beyond the exit code; empty if that is not known."""
    failure: Failure | None = None
    """What its item made of SIGTERM, where it did not die of that."""


NO_REMAINS = Remains()


@attrs.frozen
class JobSpec:
    """What the scheduler must know of a job beforehand."""

    chunksize: int | None = None
    """Items in a chunk; None lets the scheduler find it."""
    retries: int = 0
    """Extra tries for an item whose process died under it or was stopped for taking too long, or that failed in a way
    after which its caller wants another."""
    backoff: Backoff = NO_WAIT
    """How long it rests before each of these."""
    timeout: float | None = None
    """Seconds that an item may run until its process is stopped; None for any time."""
    stop_on_failure: bool = False
    """Whether to begin nothing more once an item has failed."""
    streaming: bool = False
    """Whether further items come only at a consumer's pace, if ever: closing does not wait for them."""
    dedicated: bool = False
    """Whether the job has a process of its own, which ends with it."""
    name: str | None = None
    """Name of that process."""
    restart: Restart | None = None
    """How that process is kept up; None: it runs once, or as often as there are tries."""


# --- outcomes of the scheduler's own making; the others come from workers -----------------------------------------


@attrs.frozen
class Lost:
    """The process died while the item ran, and no try is left. Or it never began: too many died before it could."""

    slot: int
    exitcode: int | None
    attempts: int
    """How often it was begun."""
    remains: Remains = NO_REMAINS


@attrs.frozen
class TimedOut:
    """The item ran longer than it may, its process was stopped for it, and no try is left."""

    slot: int
    limit: float
    """Seconds."""
    attempts: int
    """How often it was begun."""
    remains: Remains = NO_REMAINS


@attrs.frozen
class Dropped:
    """The item was never begun, or its group was told to stop; nothing more will happen to it."""


@attrs.frozen
class NotStarted:
    """The system refused the item a process of its own."""

    slot: int
    detail: str


@attrs.frozen
class GivenUp:
    """The process of a service has failed once more than it may."""

    slot: int
    restart: Restart
    restarts: int
    """How often it was started again, over all."""
    reason: Reason
    last: Value | Failure | Lost | TimedOut | Plain
    """What became of it at last."""


Outcome: TypeAlias = Value | Failure | Lost | TimedOut | Dropped | NotStarted | GivenUp
Outcomes: TypeAlias = Sequence[Outcome] | Plain
"""Of several items, one for each."""

ItemOutcome: TypeAlias = Value | Failure | Retriable | Lost | TimedOut
"""As workers tell it, of one try."""


# --- what the scheduler hears ---------------------------------------------------------------------------------------


@attrs.frozen
class JobOpened:
    """There is a new job."""

    job: int
    spec: JobSpec
    items: int = 0
    """The first of its items, which are there to be run."""
    sealed: bool = False
    """Whether these are all."""
    begun: Mapping[int, int] = attrs.field(factory=dict[int, int])
    """As of `ItemsOffered`."""


@attrs.frozen
class ItemsOffered:
    """The next ``count`` items of the job are there to be run."""

    job: int
    count: int
    begun: Mapping[int, int] = attrs.field(factory=dict[int, int])
    """How often some items, of these or of those to come, had begun in vain before the job: so many tries fewer."""


@attrs.frozen
class JobSealed:
    """No further items of the job will come."""

    job: int


@attrs.frozen
class JobStopped:
    """Nobody wants the rest of the job: begin nothing more of it. Implies that no further items will come."""

    job: int


@attrs.frozen
class JobCancelled:
    """Nobody wants the job: it has its outcome now, and what runs of it is stopped."""

    job: int


@attrs.frozen
class ProcessStopped:
    """The user wants the process of a dedicated job ended."""

    job: int
    kill: bool
    """SIGKILL instead of SIGTERM."""


@attrs.frozen
class StopAsked:
    """The user wants the function of a dedicated job to come to its end, and its process to be ended otherwise."""

    job: int
    grace: float | None = None
    """Seconds that it gets for that; None for those of the limits."""


@attrs.frozen
class Unheard:
    """The function in the slot's process does not listen: `Cease` cannot reach it."""

    slot: int


@attrs.frozen
class WorkerReady:
    """The slot's process has run its initializer."""

    slot: int


@attrs.frozen
class SetupFailed:
    """The slot's process could not run its initializer; it ends by itself."""

    slot: int
    failure: Failure


@attrs.frozen
class LaunchFailed:
    """The slot got no process: the system refused."""

    slot: int
    detail: str
    """What the system said."""


@attrs.frozen
class Recorded:
    """The next items of the slot's chunk have finished; at least one."""

    slot: int
    outcomes: Sequence[ItemOutcome] | Plain
    """In the order of the chunk. `Lost` and `TimedOut` come from engines that deal with that by themselves, and speak
    of one try."""


@attrs.frozen
class ChunkEnded:
    """The slot's process is through with its chunk; what it has not begun by now it never will."""

    slot: int
    busy: float
    """Seconds of work."""
    worn: bool = False
    """Whether the process holds more memory than it should."""


@attrs.frozen
class Looked:
    """This is how far the slot's process is with its chunk. What it has finished was heard before."""

    slot: int
    begun: int
    """Items that have begun, finished ones included."""
    since: float | None
    """Since when the last of these runs, in monotonic seconds; None if it does not."""
    stack: bool
    """Whether the process has written its stack."""


@attrs.frozen
class Finalized:
    """The slot's process has run its finalizer and ends by itself."""

    slot: int
    failure: Failure | None
    """What the finalizer raised."""


@attrs.frozen
class WorkerDied:
    """The slot's process is gone. All `Recorded` of it have been heard before."""

    slot: int
    exitcode: int | None
    """As of `multiprocessing.Process`; None is not known."""
    begun: int
    """Items that had begun of the chunk that was sent last, finished ones included; 0 if that never arrived."""
    remains: Remains = NO_REMAINS


@attrs.frozen
class CloseAsked:
    """No new job will come; end the workers when the work is done."""


@attrs.frozen
class TerminateAsked:
    """End everything now."""


@attrs.frozen
class RoomChanged:
    """The place where workers run has another size; may be heard before any job, and at any time."""

    workers: int
    """Chunks that run there at once; 0 as long as there is nobody to run any."""
    window: int
    """Chunks that may be there at once, at least as many: those that wait there for their turn hide the way."""


@attrs.frozen
class TimePassed:
    """The moment that `WakeAt` named has come, or any other has."""


Event: TypeAlias = (
    JobOpened
    | ItemsOffered
    | JobSealed
    | JobStopped
    | JobCancelled
    | ProcessStopped
    | StopAsked
    | Unheard
    | WorkerReady
    | SetupFailed
    | LaunchFailed
    | Recorded
    | ChunkEnded
    | Looked
    | Finalized
    | WorkerDied
    | CloseAsked
    | TerminateAsked
    | RoomChanged
    | TimePassed
)

WorkerEvent: TypeAlias = WorkerReady | SetupFailed | Recorded | ChunkEnded | Looked | Finalized | WorkerDied


# --- what the scheduler orders --------------------------------------------------------------------------------------


@attrs.frozen
class StartWorker:
    """Start a process in the slot."""

    slot: int
    name: str


@attrs.frozen
class Send:
    """Give the slot's process these items. It is busy from this moment on."""

    slot: int
    job: int
    items: Sequence[int]
    seconds: float | None = None
    """Work after which a worker that is far away is to begin no further item by itself; None for no such limit."""


@attrs.frozen
class Withdraw:
    """Tell the slot's process to begin no further item of its chunk."""

    slot: int


@attrs.frozen
class Look:
    """See how far the slot's process is with its chunk; `Looked` tells, after what has finished."""

    slot: int


@attrs.frozen
class ShowStack:
    """Let the slot's process write down where its threads are in their Python code."""

    slot: int


@attrs.frozen
class Ask:
    """Ask the slot's process to end."""

    slot: int


@attrs.frozen
class Stopping:
    """The function of a dedicated job is to come to its end: that its process is ended is no news."""

    job: int
    rests: bool = False
    """Whether it does not run now, so that whatever its process has come to is no news."""


@attrs.frozen
class Cease:
    """Tell the function in the slot's process that it is to come to its end; `Unheard` if it does not listen."""

    slot: int


@attrs.frozen
class Terminate:
    """Send the slot's process SIGTERM."""

    slot: int


@attrs.frozen
class Kill:
    """Send the slot's process SIGKILL."""

    slot: int


@attrs.frozen
class Resolve:
    """These items have these outcomes, for good."""

    job: int
    items: Sequence[int]
    outcomes: Outcomes
    """In the same order."""
    slot: int | None
    """Where they ran; None if nowhere."""


@attrs.frozen
class CountRetry:
    """This item was begun in vain, and will be begun again."""

    slot: int
    job: int
    item: int
    attempts: int
    """How often it has been begun."""
    reason: Reason


@attrs.frozen
class Restarted:
    """The process of a service has ended, or is about to, and another will take its place."""

    slot: int
    name: str
    job: int
    restarts: int
    """How often it was started again, with this one."""
    seconds: float
    """How long it waits before."""
    reason: Reason
    failure: Failure | None = None
    """What its function raised, if it did."""
    exitcode: int | None = None
    """Of the process, if it died under the function."""


@attrs.frozen
class JobDone:
    """Every item of the job has an outcome, and no further one will come."""

    job: int


@attrs.frozen
class ProcessOver:
    """The process of a dedicated job is gone and will not be replaced, or there never will be one."""

    job: int
    exitcode: int | None


@attrs.frozen
class FinalizerFailed:
    """The finalizer of the slot's process raised."""

    slot: int
    failure: Failure


@attrs.frozen
class Broken:
    """Workers cannot start; the group takes no more work. Comes once."""

    slot: int
    failure: Failure | None
    """What the initializer raised; None if the process ended without a word."""
    exitcode: int | None
    detail: str
    """What the system said if it refused a process; may be empty."""


Order: TypeAlias = (
    StartWorker
    | Send
    | Withdraw
    | Look
    | ShowStack
    | Ask
    | Stopping
    | Cease
    | Terminate
    | Kill
    | Resolve
    | CountRetry
    | Restarted
    | JobDone
    | ProcessOver
    | FinalizerFailed
    | Broken
)
