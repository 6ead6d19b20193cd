"""What runs in a process that belongs to somebody else, where an engine takes it: one chunk, from values to values.

    Assignment --(the engine's own way)--> run: a page, a runner, as in a worker of ours --> Answer --(back)-->
                                            ^
                          look: how far is it, begin nothing more (from another thread there)

The page is private to the chunk here: it does not outlive the process. So of a chunk whose process dies, only what was
told before is known.
"""

from __future__ import annotations

import mmap
import os
import socket
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple, TypeAlias

from procorch import _messages as m
from procorch import _share, _signals
from procorch._child import Known, Runner
from procorch._crates import Carried, pack, unpack
from procorch._events import ChunkEnded, Recorded
from procorch._inbox import Inbox
from procorch._queue import PAGE_BYTES, Reader
from procorch._writer import Writer

_MOST_FUNCTIONS = 64
"""Functions kept for one engine; the one used longest ago goes first."""
_MOST_ENGINES = 16
"""Engines whose functions are kept; likewise."""
_MOST_CHUNKS = 4096
"""Chunks of which it is remembered that they were begun here, or are not to be: far more than may be under way."""


class Sent(NamedTuple):
    """A function as it crosses."""

    key: int
    payload: m.Bytes
    by_reference: bool
    """Whether its pickle is no more than its name."""
    name: str
    """For messages."""


class Given(NamedTuple):
    """Something shared as it crosses."""

    key: int
    group: str
    payload: Carried


class Assignment(NamedTuple):
    """A chunk as it crosses. Plain types and crates only, so that any process on the way can open it."""

    engine: str
    """Unique among all engines of all processes."""
    number: int
    """The chunk's, unique for the engine."""
    function: Sent
    style: m.Style
    stop_on_error: bool
    items: Sequence[Carried] | m.Pack
    timed: bool
    seconds: float | None
    """Work after which to begin no further item; None for no such limit."""
    process: str = ""
    """The one process that may run it, by the engine's name for it; empty for any."""
    shared: tuple[Given, ...] = ()
    """What items may refer to."""
    closed: tuple[int, ...] = ()
    """Numbers of what they cannot any more."""


class Returned(NamedTuple):
    """The item's function returned; as `_messages.Value`."""

    payload: Carried


Crossed: TypeAlias = Returned | m.Failure | m.Retriable | list[object]
"""The outcome of an item, or the plain results of several."""


class Answer(NamedTuple):
    """What became of a chunk."""

    pid: int
    host: str
    outcomes: list[Crossed]
    """Of its first items, in their order; the others were not begun."""
    busy: float
    """Seconds of work."""
    exitcode: int
    """What its last item would have made of a process of its own."""
    refused: str = ""
    """Why nothing was begun, though it may have been before, elsewhere; empty if it was not refused."""


class Progress(NamedTuple):
    """How far a chunk has come."""

    begun: int
    """Items that have begun."""
    running: float | None
    """For how many seconds the last of these has been running; None if it does not, or the chunk is not timed."""


here = threading.local()
"""``here.running``: whether this thread runs items for an engine."""

ours: set[str] = set()
"""The engines of this very process."""


def runs_elsewhere() -> bool:
    """Tell whether this thread runs an item in a process that is an engine's, and not the group's own.

    Returns:
        bool: Whether it does.
    """
    return getattr(here, "running", False) and not ours


class _Under:
    """A chunk under way."""

    def __init__(self, reader: Reader) -> None:
        self.lock = threading.Lock()
        self.reader: Reader | None = reader
        """None once it is over."""
        self.seq = 0

    def stop(self) -> None:
        with self.lock:
            if self.reader is not None:
                self.reader.ask_stop(self.seq)

    def look(self, now: float) -> Progress | None:
        with self.lock:
            if self.reader is None:
                return None
            begun, since = self.reader.running(self.seq)
        return Progress(begun, None if since is None else now - since)


_lock = threading.Lock()
_functions: OrderedDict[str, dict[int, Known]] = OrderedDict()
_shared: dict[str, set[int]] = {}
"""Numbers of what was received from each engine."""
_under: dict[tuple[str, int], _Under] = {}
_begun: OrderedDict[tuple[str, int], None] = OrderedDict()
"""Chunks that were begun here, so that none is again."""
_unwanted: OrderedDict[tuple[str, int], None] = OrderedDict()
"""Chunks of which nothing is to be begun."""


def run(assignment: Assignment, process: str = "") -> Answer:
    """Do a chunk, once.

    Args:
        assignment (Assignment): The chunk.
        process (str): The engine's name for this process.

    Returns:
        Answer: Also where it was refused; this raises nothing of the user's.
    """
    chunk = (assignment.engine, assignment.number)
    if assignment.process and assignment.process != process:
        return _refuse("the process that it was sent to is gone, and another was given it")
    with _lock:
        if chunk in _begun:
            return _refuse("it was begun before, and its results were lost")
        _remember(_begun, chunk)
        functions = _functions_of(assignment)
    _signals.forked = False  # this process may be a copy of one that knows of us
    _take_shared(assignment)
    with _page() as (writer, reader):
        return _run(assignment, writer, reader, functions)


def _run(assignment: Assignment, writer: Writer, reader: Reader, functions: dict[int, Known]) -> Answer:
    chunk = (assignment.engine, assignment.number)
    said: list[m.FromWorker] = []
    runner = Runner(writer, said.append, functions=functions)
    inbox = Inbox(0, reader)
    under = _Under(reader)
    under.seq = inbox.expect()
    items = assignment.items if isinstance(assignment.items, m.Pack) else [unpack(one) for one in assignment.items]
    key, style, stop = assignment.function.key, assignment.style, assignment.stop_on_error
    order = m.Run(under.seq, key, style, stop, items, assignment.timed)
    with _lock:
        _under[chunk] = under
        if chunk in _unwanted:
            under.stop()
    timer = threading.Timer(assignment.seconds or 0.0, under.stop) if assignment.seconds and len(items) > 1 else None
    if timer is not None:
        timer.start()
    here.running = True
    try:
        runner.run(order)
    finally:
        here.running = False
        if timer is not None:
            timer.cancel()
        with _lock:
            del _under[chunk]
        with under.lock:
            under.reader = None
    return _answer(inbox, said, runner.exit_code)


def look(engine: str, number: int, stop: bool) -> Progress:
    """Tell how far a chunk has come. In any thread of the process that it was given to.

    Args:
        engine (str): Whose.
        number (int): Which one.
        stop (bool): Whether it is to begin nothing more; then what this tells holds for good, but for what had begun.

    Returns:
        Progress: Nothing has begun if the chunk is not known here; it never will if it is not wanted any more.
    """
    chunk = (engine, number)
    with _lock:
        under = _under.get(chunk)
        if stop and under is None:
            _remember(_unwanted, chunk)
    if under is None:
        return Progress(0, None)
    if stop:
        under.stop()
    return under.look(time.monotonic()) or Progress(0, None)


def forget(engine: str) -> None:
    """Let go of all that is kept for an engine.

    Args:
        engine (str): It will send nothing any more.
    """
    with _lock:
        _functions.pop(engine, None)
        for key in _shared.pop(engine, ()):
            _share.forget(m.Unshare(key))


def where() -> tuple[int, str]:
    """Tell which process this is.

    Returns:
        tuple[int, str]: Its id, and the name of its host.
    """
    return os.getpid(), socket.gethostname()


def _remember(chunks: OrderedDict[tuple[str, int], None], chunk: tuple[str, int]) -> None:
    chunks[chunk] = None
    if len(chunks) > _MOST_CHUNKS:
        chunks.popitem(last=False)


def _functions_of(assignment: Assignment) -> dict[int, Known]:
    """Give the functions that are known of an engine, the one of this chunk among them. Called under the lock."""
    known = _functions.setdefault(assignment.engine, {})
    _functions.move_to_end(assignment.engine)
    if len(_functions) > _MOST_ENGINES:
        _functions.popitem(last=False)
    key, payload, by_reference, _ = assignment.function
    if key in known:
        known[key] = known.pop(key)  # now the youngest
        return known
    if not by_reference:
        known.clear()  # it may hold any amount of data: only the last of those is kept
    elif len(known) >= _MOST_FUNCTIONS:
        del known[next(iter(known))]
    known[key] = m.Define(key, payload)
    return known


def _take_shared(assignment: Assignment) -> None:
    """Take in what is shared. Chunks may come in another order than they were sent, so nothing is dropped but by name."""
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
def _page() -> Iterator[tuple[Writer, Reader]]:
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
    pid, host = where()
    return Answer(pid, host, outcomes, busy, exitcode)


def _crossed(outcomes: Sequence[m.Value | m.Failure | m.Retriable] | m.Plain) -> list[Crossed]:
    if isinstance(outcomes, m.Plain):
        return [outcomes.values]
    return [Returned(pack(one.payload)) if isinstance(one, m.Value) else one for one in outcomes]


def _refuse(why: str) -> Answer:
    pid, host = where()
    return Answer(pid, host, [], 0.0, 0, why)
