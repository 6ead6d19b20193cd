"""What a place to run must offer: two narrow protocols. The hands behind them decide nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Literal, Protocol, runtime_checkable

import attrs

from procorch._events import WorkerEvent
from procorch._messages import NO_SETUP, Bytes, Logged, Pack, Payload, Said, Setup, Style, ToWorker


@attrs.frozen
class Capabilities:
    """What an engine keeps of what a group promises. An option that it does not keep is refused at the call.

    Attributes:
        kill (bool): Whether a process of `ProcessGroup.start` can be ended: `ProcessHandle.terminate` and ``kill``.
            What cannot be ended is left to itself where a group is terminated.
        limit (bool): Whether ``options(timeout=)`` stops an item.
        cancel (Literal["running", "waiting"]): What ``Future.cancel()`` stops: also an item that runs, or only one
            that the engine has not got yet.
        names (bool): Whether `ProcessGroup.processes` tells where a worker is: its pid and address.
        crash_isolation (Literal["item", "chunk", "executor"]): What the death of a process costs: the item that it
            ran; the items of its chunk of which it is not known that they had finished; or whatever the engine then
            does with all that it has.
        broadcast (bool): Whether ``share()`` brings an object once to each process.
        bounded_memory (bool): Whether no more is with the engine than its window has room for.
        recall (bool): Whether a chunk that takes too long can be asked to give back what it has not begun. If not, it
            does that between two items, by itself.
        prepare (bool): Whether processes get ready as asked: ``initializer``, ``max_memory_per_child``,
            ``memory_limit`` and ``threads_per_worker``.
        recycle (bool): Whether ``max_tasks_per_child`` replaces processes.
        logs (bool): Whether what items log arrives in this process.
        rows (bool): Whether a process of `ProcessGroup.start` can make row after row: streams.
        converse (bool): Whether one can be talked to while it runs: messages, and services, which are asked to stop.
    """

    kill: bool = False
    limit: bool = False
    cancel: Literal["running", "waiting"] = "waiting"
    names: bool = False
    crash_isolation: Literal["item", "chunk", "executor"] = "executor"
    broadcast: bool = False
    bounded_memory: bool = True
    recall: bool = False
    prepare: bool = False
    recycle: bool = False
    logs: bool = False
    rows: bool = False
    converse: bool = False


ALL = Capabilities(
    kill=True,
    limit=True,
    cancel="running",
    names=True,
    crash_isolation="item",
    broadcast=True,
    bounded_memory=True,
    recall=True,
    prepare=True,
    recycle=True,
    logs=True,
    rows=True,
    converse=True,
)
"""What processes of ours keep."""


@attrs.frozen
class Room:
    """How much an engine can take.

    Attributes:
        workers (int): Chunks that run at once; 0 as long as there is nobody to run any.
        window (int): Chunks that may be with the engine at once, at least as many. Those beyond wait there for their
            turn, so that the way to the engine costs no time.
    """

    workers: int
    window: int


@attrs.frozen(eq=False)
class Function:
    """A pickled function, told apart from others by identity: workers get it once and keep it."""

    key: int
    """Unique within this process."""
    payload: Bytes
    """The pickle."""
    name: str
    """Module and qualified name, for messages."""
    by_reference: bool = True
    """Whether its pickle is no more than its name. Others may hold any amount of data, and serve one call."""


@attrs.frozen
class Chunk:
    """What a worker is to do in one go."""

    function: Function
    style: Style
    stop_on_error: bool
    """Whether to begin no further item after one that failed."""
    items: Sequence[Payload] | Pack
    """The pickled arguments: each item's by itself, or of all in one."""
    limit: float | None = None
    """Seconds that each item may run, of which somebody will want to know since when it does; None for any time."""
    seconds: float | None = None
    """Work after which to begin no further item, for a worker that cannot be asked back in time; None for no limit."""
    talks: bool = False
    """Whether somebody listens to what its item has to say while it runs, and may have something to say to it."""


class SharedData(Protocol):
    """What a group shares with its workers, see `ProcessGroup.share`."""

    version: object
    """Another one after each change."""
    changed: Callable[[], None]
    """Called when something was closed, at any moment; must not wait nor take a lock. Set by the engine."""

    def catch_up(self, known: set[int]) -> list[ToWorker]:
        """Tell what a worker has to hear, or an engine for all of them.

        Args:
            known (set[int]): The numbers that it knows; brought up to date.

        Returns:
            list[ToWorker]: Each a `Share` or an `Unshare`, in this order.
        """
        ...


class Worker(Protocol):
    """One worker, from its start to its end. Only one chunk is with it at a time.

    All methods are called under the group's lock, and none may wait for the worker.
    """

    slot: int
    """The slot it was started for."""
    name: str
    """Its name."""
    pid: int | None
    """Its process id; None if it has none. Of an engine's, the process that has its chunk, or had the last."""
    address: str | None = None
    """Where that is; None on this machine."""

    def send(self, chunk: Chunk) -> None:
        """Hand over a chunk. If the worker is dead already, its `WorkerDied` tells so."""
        ...

    def withdraw(self) -> None:
        """Let it begin no further item of its chunk."""
        ...

    def read(self) -> Iterator[WorkerEvent]:
        """Tell what has become known of it: `WorkerDied`, if it comes, once and last.

        Each event is to be acted upon before the next is asked for: a chunk may be sent in between, to a worker that is
        dead without anybody knowing it, and `WorkerDied` must then speak of that chunk.
        """
        ...

    def take_logged(self) -> list[Logged]:
        """Give what was logged as far as `read` has come, once. It was logged before what `read` tells next."""
        ...

    def say(self, message: ToWorker) -> None:
        """Send a message to the item that runs, where `Capabilities.converse` is true."""
        return

    def take_said(self) -> list[Said]:
        """Give what the item has said as far as `read` has come, once."""
        return []

    def listens(self) -> bool:
        """Tell whether the item that runs hears what is said to it."""
        return False

    def taken(self) -> int:
        """Count the messages that items of its process have taken."""
        return 0

    def want_receipts(self, wanted: bool) -> None:
        """Let items tell at once, or not, when they have taken a message; `taken` may know more already."""
        return

    def look(self) -> list[WorkerEvent]:
        """Collect finished items that it may not have announced yet, and tell by `Looked` what runs."""
        ...

    def has_begun(self) -> bool:
        """Tell whether an item of its chunk has begun."""
        ...

    def show_stack(self) -> None:
        """Let it write down its stack, whatever it is doing; a later `look` tells whether it has, its end brings it."""
        ...

    def ask(self) -> None:
        """Ask it to end after what it does now."""
        ...

    def terminate(self) -> None:
        """Send it and what it has started SIGTERM, or what comes nearest."""
        ...

    def kill(self) -> None:
        """Send it and what it has started SIGKILL, or what comes nearest."""
        ...


@runtime_checkable
class Engine(Protocol):
    """A place where workers run, for one group at a time."""

    shareable: bool = False
    """Whether callers' threads may `wait` too, in the place of the supervisor's."""
    has_main: bool = False
    """Whether workers have the caller's ``__main__``, being threads or copies of its process."""
    distant: bool = False
    """Whether the way to the workers is long, so that chunks are to be worth it."""
    wants_shared_data: bool = False
    """Whether what is shared has to be pickled for it: its workers do not have the memory of this process."""
    capabilities: Capabilities = ALL
    """What it keeps of a group's promises."""
    keeps_limits: bool = False
    """Whether it stops by itself what runs longer than its `Chunk.limit`, and tells of it as an outcome."""

    @property
    def room(self) -> Room | None:
        """How much it can take now; another object after each change, of which `wake` tells. None: what it is given."""
        return None

    @property
    def clock(self) -> Callable[[], float]:
        """Tells the time in monotonic seconds from an arbitrary zero; any thread."""
        ...

    def open(self, shared: SharedData, setup: Setup = NO_SETUP, max_tasks: int | None = None) -> None:
        """Begin to serve a group, which has work for it now.

        Args:
            shared (SharedData): What the group shares with its workers.
            setup (Setup): How processes get ready, for an engine that says it can ``prepare`` them.
            max_tasks (int | None): Items after which it replaces a process, likewise; None for no such number.

        Raises:
            RuntimeError: It serves another.
        """
        return  # an engine that has nothing to prepare leaves it so

    def start(self, slot: int, name: str) -> Worker:
        """Start a worker; only the supervisor's thread calls this.

        Args:
            slot (int): Comes back in its events.
            name (str): The process's name.

        Returns:
            Worker: Not ready yet; `WorkerReady` tells when.

        Raises:
            OSError: The system refuses another process.
        """
        ...

    def wait(self, timeout: float | None) -> Sequence[Worker]:
        """Wait until a worker has something to `Worker.read`, `wake` is called, or the time is up.

        Args:
            timeout (float | None): Seconds; None for no limit.

        Returns:
            Sequence[Worker]: Those with something to read; may be empty.
        """
        ...

    def wake(self) -> None:
        """Let the `wait` that goes on, or the next one, return at once; any thread, also a signal handler."""
        ...

    def close(self) -> None:
        """Release what serving the group took; all workers are gone. What the user passed in stays open."""
        ...
