"""Lanes: the workers of an engine that has workers of its own. A lane is a place for one chunk with the engine.

    scheduler --Send--> Lane.send --Assignment--> the engine's own way --> `_far.run` or `_agent.run`, elsewhere
    supervisor's thread <--wake-- news <--(any thread)-- Answer, Progress, Died ...

What an engine of this kind adds is how a chunk gets there (`LaneEngine.launch`), and what else it can do with it.
"""

from __future__ import annotations

import os
import signal
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from queue import Empty, SimpleQueue
from typing import TypeAlias, assert_never

import attrs
from typing_extensions import override

from procorch import _far
from procorch import _messages as m
from procorch._assignments import Answer, Assignment, Crossed, Gone, Preparation, Progress, Returned, Sent
from procorch._crates import pack, unpack
from procorch._engine import Capabilities, Chunk, Engine, SharedData, Worker
from procorch._events import (
    ChunkEnded,
    ItemOutcome,
    Looked,
    Recorded,
    Remains,
    SetupFailed,
    WorkerDied,
    WorkerEvent,
    WorkerReady,
)
from procorch._outcome import capture


@attrs.frozen
class Died:
    """Whoever had the chunk is gone, or what it answered is."""

    cause: str
    """Why, for people."""
    begun: bool
    """Whether items of the chunk may have begun."""


@attrs.frozen
class Watched:
    """How far the chunk was, a moment ago."""

    progress: Progress
    at: float
    """When that was told; monotonic seconds of this process."""
    stopped: bool
    """Whether it was told to begin nothing more before."""


@attrs.frozen
class Untouched:
    """The engine has given the chunk back: nothing of it was or will be begun."""


News: TypeAlias = Answer | Died | Watched | Untouched
"""What becomes known of a chunk."""


class Lane(Worker):
    """A place for one chunk. See `_engine.Worker`."""

    def __init__(self, engine: LaneEngine, slot: int, name: str) -> None:
        """Be ready.

        Args:
            engine (LaneEngine): Its own.
            slot (int): The slot's number.
            name (str): Its name.
        """
        self.slot = slot
        self.name = name
        self.pid: int | None = None
        self.address: str | None = None
        self.number: int = 0
        """Of the chunk that it has; 0 for none."""
        self.withdrawn: bool = False
        """Whether nothing more of that is to begin."""
        self.stack: str = ""
        """Where it was when it was about to be stopped, as `faulthandler` writes it; empty if that is not known."""
        self._engine = engine
        self._items = 0  # of the chunk
        self._begun = 0  # as far as it is known
        self._news: deque[tuple[int, News]] = deque()
        self._is_new = True
        self._is_placed = False
        self._exitcode: int | None = 0
        self._ends = False

    # --- orders: under the group's lock -------------------------------------------------------------------------------

    @override
    def send(self, chunk: Chunk) -> None:
        self.number, self.withdrawn = self._engine.next_number(), False
        self._items = chunk.items.items if isinstance(chunk.items, m.Pack) else len(chunk.items)
        self._begun = 0
        try:
            assignment = self._engine.assign(chunk, self.number)
        except Exception as error:  # noqa: BLE001 - there is no room for its data on their way
            self.tell(self.number, Died(f"it could not be sent: {type(error).__name__}: {error}", begun=False))
            return
        self._engine.launch(self, assignment)

    @override
    def withdraw(self) -> None:
        if self.number and not self.withdrawn:
            self.withdrawn = True
            self._engine.take_back(self)

    @override
    def look(self) -> list[WorkerEvent]:
        if self.number:
            self._engine.ask(self)
        return []  # it answers later

    @override
    def has_begun(self) -> bool:
        return bool(self.number) and (self._begun > 0 or self._engine.has_begun(self))

    @override
    def take_logged(self) -> list[m.Logged]:
        return []

    @override
    def show_stack(self) -> None:
        """There is none to show: nobody here can see so far."""

    @override
    def ask(self) -> None:
        self._end(self._exitcode)

    @override
    def terminate(self) -> None:
        self._end(-signal.SIGTERM if self._engine.capabilities.kill else None)

    @override
    def kill(self) -> None:
        self._end(-signal.SIGKILL if self._engine.capabilities.kill else None)

    def _end(self, exitcode: int | None) -> None:
        if not self._ends:
            self._ends, self._exitcode = True, exitcode
            if self.number > 0:
                self._engine.abandon(self)
        # Each time: a group that gives up has thrown away what it was to read before.
        self._engine.announce(self)

    def set_place(self, pid: int, address: str) -> None:
        """Take in where it is, for an engine that knows; else it is where its last answer came from.

        Args:
            pid (int): Of its process.
            address (str): As users know the place.
        """
        self.pid, self.address, self._is_placed = pid, address, True

    def set_stack(self, stack: str) -> None:
        """Take in where it was when it was about to be stopped.

        Args:
            stack (str): As `faulthandler` writes it.
        """
        self.stack = stack

    # --- news ---------------------------------------------------------------------------------------------------------

    def tell(self, number: int, news: News) -> None:
        """Take in what has become of a chunk. Any thread.

        Args:
            number (int): Which one; news of another than the lane has now are of no interest.
            news (News): What.
        """
        self._news.append((number, news))
        self._engine.announce(self)

    @override
    def read(self) -> Iterator[WorkerEvent]:
        if self._is_new:
            self._is_new = False
            yield WorkerReady(self.slot)
        while self._news and not self._is_gone:
            number, news = self._news.popleft()
            if number == self.number:
                yield from self._hear(news)
        if self._ends and not self._is_gone:
            # Told to end with a chunk: what is under way elsewhere cannot be stopped, and nobody waits for it any more.
            yield from self._die(Died("the group was ended" if self.number else "", begun=True), self._exitcode)

    @property
    def _is_gone(self) -> bool:
        return self.number < 0

    def _hear(self, news: News) -> Iterator[WorkerEvent]:
        match news:
            case Answer() if not news.refused:
                yield from self._answered(news)
            case Answer():
                yield from self._die(Died(news.refused, begun=True), None)
            case Untouched():
                self._let_go()
                yield ChunkEnded(self.slot, 0.0)
            case Watched(progress, at, stopped):
                self._begun = max(self._begun, progress.begun)
                # What was seen before it was told to begin nothing more does not say what will not begin.
                if stopped or not self.withdrawn:
                    since = None if progress.running is None else at - progress.running
                    yield Looked(self.slot, progress.begun, since, stack=False)
            case Died():
                yield from self._die(news, None)
            case _:
                assert_never(news)

    def _answered(self, answer: Answer) -> Iterator[WorkerEvent]:
        if not self._is_placed:
            self.address = answer.host
        for run in _runs(answer.outcomes):
            self.pid = run.pid if isinstance(run, Gone) else answer.pid
            yield Recorded(self.slot, [run.outcome] if isinstance(run, Gone) else run)
        self.pid, self._exitcode = answer.pid, answer.exitcode
        if answer.unprepared is not None:
            yield SetupFailed(self.slot, answer.unprepared)
            yield from self._die(Died("", begun=False), None)
            return
        if answer.broken:
            yield from self._die(Died(f"nothing can be begun there: {answer.broken}", begun=False), None)
            return
        self._let_go()  # before its end is told: the next chunk is sent meanwhile
        yield ChunkEnded(self.slot, answer.busy)

    def _let_go(self) -> None:
        self._engine.done_with(self)
        self.number = 0

    def _die(self, died: Died, exitcode: int | None) -> Iterator[WorkerEvent]:
        begun = self._items if died.begun and self.number else 0
        cause = died.cause
        if begun > 1:
            cause += f"; of its chunk of {begun} items it is not known which had begun"
        if self.number:
            self._engine.done_with(self)
        self.number = -1
        self._engine.bury(self)
        yield WorkerDied(self.slot, exitcode, begun, Remains(self.stack, cause))


def _runs(outcomes: Sequence[Crossed]) -> Iterator[list[ItemOutcome] | m.Plain | Gone]:
    """Give outcomes as events have them: plain results and lost items by themselves, the others together."""
    together: list[ItemOutcome] = []
    for one in outcomes:
        if isinstance(one, list | Gone):
            if together:
                yield together
                together = []
            yield m.Plain(one) if isinstance(one, list) else one
        else:
            together.append(_value(one) if isinstance(one, Returned) else one)
    if together:
        yield together


def _value(returned: Returned) -> m.Value | m.Failure:
    try:
        return m.Value(unpack(returned.payload))
    except MemoryError as error:
        return capture(error, "result")


class LaneEngine(Engine):
    """What engines with workers of their own have in common. See `_engine.Engine`."""

    distant = True
    wants_shared_data = True

    def __init__(self, capabilities: Capabilities, *, keeps_limits: bool) -> None:
        """Serve nobody yet.

        Args:
            capabilities (Capabilities): What it keeps.
            keeps_limits (bool): As of `Engine`.
        """
        self.capabilities = capabilities
        self.keeps_limits = keeps_limits
        self._lanes: set[Lane] = set()
        self._ready: SimpleQueue[Lane | None] = SimpleQueue()  # put by any thread, signal handlers and finalizers too
        self._id = ""
        self._count = 0
        self._shared: SharedData | None = None
        self._preparation: Preparation | None = None
        self._known: set[int] = set()  # what is shared, by number
        self._shares_version: object = None
        self._given: dict[int, m.Share] = {}
        self._closed: deque[int] = deque(maxlen=256)

    # --- for engines of this kind to do -------------------------------------------------------------------------------

    def launch(self, lane: Lane, assignment: Assignment) -> None:
        """Bring a chunk to where `_far.run` does it, and `Lane.tell` what comes of it. Under the group's lock.

        Args:
            lane (Lane): Whose chunk; has its number.
            assignment (Assignment): The chunk.

        Raises:
            NotImplementedError: The subclass forgot it.
        """
        raise NotImplementedError

    def take_back(self, lane: Lane) -> None:
        """Let nothing more begin of a chunk, where that can be done. Under the group's lock.

        Args:
            lane (Lane): Whose.
        """

    def ask(self, lane: Lane) -> None:
        """Ask how far a chunk is, where that can be done; `Watched` tells. Under the group's lock.

        Args:
            lane (Lane): Whose.
        """

    def abandon(self, lane: Lane) -> None:
        """Stop a chunk if that can be done: nobody waits for it any more. Under the group's lock.

        Args:
            lane (Lane): Whose.
        """
        self.take_back(lane)

    def done_with(self, lane: Lane) -> None:
        """Let go of what is kept for a lane's chunk: its answer was heard, or will not be. Under the group's lock.

        Args:
            lane (Lane): Whose.
        """

    def has_begun(self, lane: Lane) -> bool:
        """Tell whether something of a chunk has begun, as far as that can be known. Under the group's lock.

        Args:
            lane (Lane): Whose.

        Returns:
            bool: False also where it is not known.
        """
        return False

    def refusal(self) -> str:
        """Tell why no chunk can be launched any more.

        Returns:
            str: Empty if one can.
        """
        return ""

    # --- for lanes ----------------------------------------------------------------------------------------------------

    def next_number(self) -> int:
        """Number a chunk.

        Returns:
            int: From 1.
        """
        self._count += 1
        return self._count

    def assign(self, chunk: Chunk, number: int) -> Assignment:
        """Make of a chunk what crosses.

        Args:
            chunk (Chunk): As the scheduler sends it.
            number (int): From `next_number`.

        Returns:
            Assignment: Of the same work.

        Raises:
            OSError: There is no room for its data.
            MemoryError: Likewise.
        """
        function = chunk.function
        items = chunk.items if isinstance(chunk.items, m.Pack) else [pack(one) for one in chunk.items]
        self._catch_up()
        return Assignment(
            self._id,
            number,
            Sent(function.key, function.payload, function.by_reference, function.name),
            chunk.style,
            chunk.stop_on_error,
            items,
            chunk.limit,
            chunk.seconds,
            self._preparation,
            closed=tuple(self._closed),
        )

    def _catch_up(self) -> None:
        shared = self._shared
        if shared is None or self._shares_version is shared.version:
            return
        self._shares_version = shared.version
        for message in shared.catch_up(self._known):
            if isinstance(message, m.Share):
                self._given[message.key] = message
            elif isinstance(message, m.Unshare):
                del self._given[message.key]
                self._closed.append(message.key)

    def announce(self, lane: Lane) -> None:
        """Let the supervisor's thread read a lane. Any thread.

        Args:
            lane (Lane): One with something to read.
        """
        self._ready.put(lane)

    def bury(self, lane: Lane) -> None:
        """Forget a lane.

        Args:
            lane (Lane): It has ended.
        """
        self._lanes.discard(lane)

    # --- for the group ------------------------------------------------------------------------------------------------

    @property
    @override
    def clock(self) -> Callable[[], float]:
        return time.monotonic

    @override
    def open(self, shared: SharedData, setup: m.Setup = m.NO_SETUP, max_tasks: int | None = None) -> None:
        if self._shared is not None:
            raise RuntimeError(f"{self!r} serves another group at the moment; make another engine for this one")
        self._shared = shared
        self._id = os.urandom(8).hex()  # another one each time, as what is kept elsewhere for the last is let go
        self._known.clear()
        self._given.clear()
        self._closed.clear()
        self._shares_version = None
        anything = setup != m.NO_SETUP or max_tasks is not None
        self._preparation = Preparation(setup, max_tasks) if anything else None
        _far.ours.add(self._id)

    @override
    def start(self, slot: int, name: str) -> Lane:
        refusal = self.refusal()
        if refusal:
            raise OSError(refusal)
        lane = Lane(self, slot, name)
        self._lanes.add(lane)
        self.announce(lane)
        return lane

    @override
    def wait(self, timeout: float | None) -> Sequence[Lane]:
        try:
            first = self._ready.get(timeout=timeout)
        except Empty:
            return ()
        ready: dict[Lane, None] = {} if first is None else {first: None}
        while True:
            try:
                lane = self._ready.get_nowait()
            except Empty:
                return list(ready)
            if lane is not None:
                ready[lane] = None

    @override
    def wake(self) -> None:
        self._ready.put(None)

    @override
    def close(self) -> None:
        self._lanes.clear()
        self._shared = None
        self._given.clear()
        _far.ours.discard(self._id)
