"""What a place to run must offer: two narrow protocols. The hands behind them decide nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import attrs

from procorch._events import WorkerEvent
from procorch._messages import Bytes, Logged, Pack, Payload, Style


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
    timed: bool = False
    """Whether somebody will want to know since when an item runs."""
    seconds: float | None = None
    """Work after which to begin no further item, for a worker that cannot be asked back in time; None for no limit."""


class Worker(Protocol):
    """One worker, from its start to its end. Only one chunk is with it at a time.

    All methods are called under the group's lock, and none may wait for the worker.
    """

    slot: int
    """The slot it was started for."""
    name: str
    """Its name."""
    pid: int | None
    """Its process id; None if it has none."""

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


class Engine(Protocol):
    """A place where workers run."""

    shareable: bool = False
    """Whether callers' threads may `wait` too, in the place of the supervisor's."""
    has_main: bool = False
    """Whether workers have the caller's ``__main__``, being threads or copies of its process."""

    @property
    def clock(self) -> Callable[[], float]:
        """Tells the time in monotonic seconds from an arbitrary zero; any thread."""
        ...

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
        """Release everything; all workers are gone."""
        ...
