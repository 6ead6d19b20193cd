"""What runs in a process that belongs to somebody else, where an engine takes it: one chunk, from values to values.

    Assignment --(the engine's own way)--> run: a page, a runner, as in a worker of ours --> Answer --(back)-->
                                            ^
                          look: how far is it, begin nothing more (from another thread there)

`run` here calls functions in that very process, which an item can take along when it crashes: then it is not known
which of the chunk had begun. `_agent.run` has processes of ours for it.
"""

from __future__ import annotations

import abc
import mmap
import os
import socket
import threading
import time
from collections import OrderedDict
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import TypeVar

from typing_extensions import override

from procorch import _forked, _share
from procorch import _messages as m
from procorch._assignments import Answer, Assignment, Crossed, Progress, Returned
from procorch._crates import pack, unpack
from procorch._daemon import Daemon
from procorch._events import ChunkEnded, ItemOutcome, Lost, Recorded, TimedOut
from procorch._inbox import Inbox
from procorch._queue import PAGE_BYTES, Reader
from procorch._runner import Known, Runner
from procorch._writer import Writer

MOST_FUNCTIONS = 64
"""Functions kept for one engine; the one used longest ago goes first."""
_MOST_ENGINES = 16
"""Engines whose functions are kept; likewise."""
_MOST_KNOWN = 4096
"""Chunks of which it is remembered that they were begun here, or are not to be: far more than may be under way."""

K = TypeVar("K")
V = TypeVar("V")


class Under(abc.ABC):
    """A chunk under way, as other threads may deal with it."""

    @abc.abstractmethod
    def stop(self) -> None:
        """Let nothing more begin of it."""

    @abc.abstractmethod
    def look(self) -> Progress:
        """Tell how far it is."""

    def kill(self) -> None:
        """Stop what runs of it, where that can be done."""
        self.stop()


here = threading.local()
"""``here.running``: whether this thread runs items for an engine, in a process that is not ours."""

ours: set[str] = set()
"""The engines of this very process."""


def runs_elsewhere() -> bool:
    """Tell whether this thread runs an item in a process that is an engine's, and not the group's own.

    Returns:
        bool: Whether it does.
    """
    return getattr(here, "running", False) and not ours


_lock = threading.Lock()
_functions: OrderedDict[str, dict[int, Known]] = OrderedDict()
_shared: dict[str, set[int]] = {}
"""Numbers of what was received from each engine."""
_forgotten: OrderedDict[str, None] = OrderedDict()
"""Engines that will send nothing any more."""
_under: dict[tuple[str, int], Under] = {}
_begun: OrderedDict[tuple[str, int], int] = OrderedDict()
"""Chunks that were begun here, so that none is again, and how many items each has."""
_unwanted: OrderedDict[tuple[str, int], None] = OrderedDict()
"""Chunks of which nothing is to be begun."""


def where() -> tuple[int, str]:
    """Tell which process this is.

    Returns:
        tuple[int, str]: Its id, and the name of its host.
    """
    return os.getpid(), socket.gethostname()


def refusal(assignment: Assignment, process: str) -> Answer | None:
    """Tell why a chunk must not be done here; if it may, remember it, so that it is done once.

    Args:
        assignment (Assignment): The chunk.
        process (str): The engine's name for this process.

    Returns:
        Answer | None: None if it may be done.
    """
    if assignment.process and assignment.process != process:
        return _refuse("the process that it was sent to is gone, and another was given it")
    chunk = (assignment.engine, assignment.number)
    with _lock:
        if chunk in _begun:
            return _refuse("it was begun before, and its results were lost")
        _remember(_begun, chunk, assignment.size)
    return None


def _refuse(why: str) -> Answer:
    return Answer(*where(), [], 0.0, None, refused=why)


def _remember(known: OrderedDict[K, V], one: K, what: V) -> None:
    known[one] = what
    if len(known) > _MOST_KNOWN:
        known.popitem(last=False)


@contextmanager
def under_way(assignment: Assignment, under: Under) -> Generator[None]:
    """Let `look` find a chunk as long as the block lasts.

    Args:
        assignment (Assignment): The chunk.
        under (Under): What can be done with it.

    Yields:
        None: Nothing.
    """
    chunk = (assignment.engine, assignment.number)
    with _lock:
        _under[chunk] = under
        unwanted = chunk in _unwanted
    if unwanted:
        under.stop()
    try:
        yield
    finally:
        with _lock:
            del _under[chunk]


def look(engine: str, number: int, *, stop: bool, kill: bool = False) -> Progress:
    """Tell how far a chunk has come. In any thread of the process that it was given to.

    Args:
        engine (str): Whose.
        number (int): Which one.
        stop (bool): Whether it is to begin nothing more; then what this tells holds for good, but for what had begun.
        kill (bool): Whether to stop what runs of it, too.

    Returns:
        Progress: Nothing has begun if the chunk is not known here; it never will if it is not wanted any more. Of one
        that is over, all may have: what has not, its answer tells, which is on its way.
    """
    chunk = (engine, number)
    with _lock:
        under = _under.get(chunk)
        if stop and under is None:
            _remember(_unwanted, chunk, None)
        items = _begun.get(chunk, 0)
    if under is None:
        return Progress(items, None)
    if kill:
        under.kill()
    elif stop:
        under.stop()
    return under.look()


def forget(engine: str) -> None:
    """Let go of all that is kept for an engine.

    Args:
        engine (str): It will send nothing any more.
    """
    with _lock:
        _remember(_forgotten, engine, None)
        _functions.pop(engine, None)
        for key in _shared.pop(engine, ()):
            _share.forget(m.Unshare(key))


def is_forgotten(engine: str) -> bool:
    """Tell whether `forget` was called for an engine.

    Args:
        engine (str): Which one.

    Returns:
        bool: Of this moment.
    """
    return engine in _forgotten


def _after_fork_in_child() -> None:
    """Begin anew: in the copied process no other thread is left that would release the lock."""
    global _lock  # noqa: PLW0603 - it belongs to the process
    _lock = threading.Lock()
    _under.clear()


os.register_at_fork(after_in_child=_after_fork_in_child)


# --- in this very process ---------------------------------------------------------------------------------------------


class _Page(Under):
    """A chunk whose items run here."""

    def __init__(self, reader: Reader, seq: int) -> None:
        self._lock = threading.Lock()
        self._reader: Reader | None = reader  # None once it is over
        self._seq = seq

    @override
    def stop(self) -> None:
        with self._lock:
            if self._reader is not None:
                self._reader.ask_stop(self._seq)

    @override
    def look(self) -> Progress:
        with self._lock:
            begun, since = self._reader.running(self._seq) if self._reader is not None else (0, None)
        return Progress(begun, None if since is None else time.monotonic() - since)

    def close(self) -> None:
        """Take in that it is over: the page goes."""
        with self._lock:
            self._reader = None


class _Budget:
    """Stops a chunk when it has had its time."""

    def __init__(self, seconds: float, page: _Page) -> None:
        self._seconds = seconds
        self._page = page
        self._over = threading.Event()
        self._thread = Daemon(self._run, "procorch-budget")
        self._thread.start()

    def _run(self) -> None:
        while not self._over.wait(self._seconds):
            if self._page.look().begun:  # not before: else it would come back as it went, again and again
                self._page.stop()
                return

    def end(self) -> None:
        """Let the chunk be."""
        self._over.set()
        self._thread.join()


def run(assignment: Assignment, process: str = "") -> Answer:
    """Do a chunk, once, in this process.

    Args:
        assignment (Assignment): The chunk.
        process (str): The engine's name for this process.

    Returns:
        Answer: Also where it was refused; this raises nothing of the user's.
    """
    refused = refusal(assignment, process)
    if refused is not None:
        return refused
    _forked.is_copy = False  # this process may be a copy of one that knows of us
    _take_shared(assignment)
    with _page() as (writer, reader):
        return _run(assignment, writer, reader)


def _run(assignment: Assignment, writer: Writer, reader: Reader) -> Answer:
    said: list[m.FromWorker] = []
    runner = Runner(writer, said.append, functions=_functions_of(assignment))
    inbox = Inbox(0, reader)
    seq = inbox.expect()
    items = assignment.items if isinstance(assignment.items, m.Pack) else [unpack(one) for one in assignment.items]
    timed = assignment.limit is not None
    order = m.Run(seq, assignment.function.key, assignment.style, assignment.stop_on_error, items, timed)
    page = _Page(reader, seq)
    budget = _Budget(assignment.seconds, page) if assignment.seconds and assignment.size > 1 else None
    here.running = True
    try:
        with under_way(assignment, page):
            runner.run(order)
    finally:
        here.running = False
        if budget is not None:
            budget.end()
        page.close()
    return _answer(inbox, said, runner.exit_code)


def _functions_of(assignment: Assignment) -> dict[int, Known]:
    """Give the functions that are known of an engine, the one of this chunk among them."""
    key, payload, by_reference, _ = assignment.function
    with _lock:
        known = _functions.setdefault(assignment.engine, {})
        _functions.move_to_end(assignment.engine)
        if len(_functions) > _MOST_ENGINES:
            _functions.popitem(last=False)
        if key in known:
            known[key] = known.pop(key)  # now the youngest
            return known
        if not by_reference:
            known.clear()  # it may hold any amount of data: only the last of those is kept
        elif len(known) >= MOST_FUNCTIONS:
            del known[next(iter(known))]
        known[key] = m.Define(key, payload)
        return known


def _take_shared(assignment: Assignment) -> None:
    """Take in what is shared. Chunks may come in another order than they were sent, so things are dropped by name."""
    if not assignment.shared and not assignment.closed:
        return
    with _lock:
        keys = _shared.setdefault(assignment.engine, set())
        for key, group, payload in assignment.shared:
            if not _share.has_received(key):
                _share.receive(m.Share(key, group, unpack(payload)))
                keys.add(key)
        for key in keys.intersection(assignment.closed):
            _share.forget(m.Unshare(key))
            keys.remove(key)


@contextmanager
def _page() -> Generator[tuple[Writer, Reader]]:
    memory = mmap.mmap(-1, PAGE_BYTES)
    reader = Reader(memory)
    writer = Writer(memory)
    try:
        yield writer, reader
    finally:
        writer.close()
        reader.close()


def _answer(inbox: Inbox, said: list[m.FromWorker], exitcode: int) -> Answer:
    outcomes: list[Crossed] = []
    busy = 0.0
    for message in said:
        for event in inbox.hear(message):
            if isinstance(event, Recorded):
                outcomes += _crossed(event.outcomes)
            elif isinstance(event, ChunkEnded):
                busy = event.busy
    return Answer(*where(), outcomes, busy, exitcode)


def _crossed(outcomes: Sequence[ItemOutcome] | m.Plain) -> list[Crossed]:
    return [outcomes.values] if isinstance(outcomes, m.Plain) else [_crossed_one(one) for one in outcomes]


def _crossed_one(outcome: ItemOutcome) -> Crossed:
    assert not isinstance(outcome, Lost | TimedOut), "no page tells of a death"
    return Returned(pack(outcome.payload)) if isinstance(outcome, m.Value) else outcome
