"""Calling functions on items, in a worker: load, call, dump, and record what became of each.

Knows nothing of sockets and processes. An item's own exceptions, SystemExit and KeyboardInterrupt included, are
outcomes and end nothing. Loaded in every worker.
"""

from __future__ import annotations

import pickle
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias

from procorch import _forked, _signals
from procorch import _messages as m
from procorch._buffers import loads
from procorch._messages import Failure
from procorch._outcome import capture, pack
from procorch._parcel import Parcel
from procorch._plain import KINDS
from procorch._setup import try_call
from procorch._writer import NOTHING, Writer

Send = Callable[[m.FromWorker], None]

Known: TypeAlias = m.Define | m.Retrying | Failure
"""A function: as it came, until an item wants it. One that cannot be loaded becomes the failure that its items get."""

_NOTE_EVERY_NS = 10_000_000
"""Results are announced at most every ten milliseconds, so that chunks of the size that they find for themselves need
no announcement. One costs the parent 0.2 ms: one a millisecond from each of two workers took 0.4 of a processor."""

_LOOK_EVERY_NS = 250_000
"""Items that return plain data are done as many in a row as take about so long: to look at the clock after each would
cost as much as a trivial one."""
_MOST_IN_A_ROW = 4096

_CLOSE = "__procorch_close__"
"""The method of a function of ours that closes what it keeps open."""


class Death(BaseException):
    """Stands for the end of the process where there is none: `procorch.testing` runs items in the parent."""


class Runner:
    """Calls functions on items and records what became of them."""

    def __init__(
        self,
        queue: Writer,
        send: Send,
        clock: Callable[[], int] = time.monotonic_ns,
        functions: dict[int, Known] | None = None,
    ) -> None:
        """Begin.

        Args:
            queue (Writer): Where outcomes go.
            send (Send): Carries a message to the parent.
            clock (Callable[[], int]): Monotonic nanoseconds, the same clock as the parent's.
            functions (dict[int, Known] | None): Those that are known already, kept up to date; None for none.
        """
        self._queue = queue
        self._send = send
        self._clock = clock
        self._functions: dict[int, Known] = {} if functions is None else functions
        self.is_worn: Callable[[], bool] | None = None
        """Asked after each item whether this process wants to be replaced; None for never."""
        self.exit_code = 0
        """What the last item would have made of a process of its own: 1 if it raised, or what SystemExit says."""
        self.after_load: Callable[[], None] | None = None
        """Called when a function has been loaded, and with it, maybe, modules of the user's."""

    def define(self, message: m.Define) -> None:
        """Keep a function that chunks will name.

        Args:
            message (m.Define): The pickled function and its key.
        """
        self._functions[message.key] = message

    def _load(self, key: int) -> m.Retrying | Failure:
        """Give a function; the first time, load it, which may import the user's modules."""
        known = self._functions[key]
        if not isinstance(known, m.Define):
            return known
        function: m.Retrying | Failure
        try:
            loaded = pickle.loads(known.payload)
            function = loaded if isinstance(loaded, m.Retrying) else m.Retrying(loaded, ())
        except BaseException as error:  # noqa: BLE001 - importing the user's module may raise anything
            function = capture(error, "function")
        self._functions[key] = function
        if self.after_load is not None:
            self.after_load()
        return function

    def forget(self, message: m.Forget) -> None:
        """Drop a function.

        Args:
            message (m.Forget): Its key.
        """
        self._functions.pop(message.key, None)

    def let_go(self) -> Failure | None:
        """Close what functions keep open from one item to the next: the generator of a stream.

        Returns:
            Failure | None: What that raised.
        """
        for known in self._functions.values():
            if not isinstance(known, m.Retrying):
                continue
            # Of the type, as an object of the user's may claim to have any attribute.
            close: Callable[..., object] | None = getattr(type(known.function), _CLOSE, None)
            if close is not None:
                failed = try_call((close, (known.function,)))
                if failed is not None:
                    self.exit_code = 1
                    return failed
        return None

    def run(self, chunk: m.Run) -> None:
        """Do a chunk's items in order, until the end, a failure that stops it, a request, a full page, or wear.

        Args:
            chunk (m.Run): What to do. Its function was defined before.
        """
        queue, clock, seq, timed = self._queue, self._clock, chunk.seq, chunk.timed
        function = None
        worn = False
        now = noted = clock()
        queue.open(seq, now)
        arguments = _arguments(chunk)
        position, in_a_row = 0, 1
        while position < len(arguments) and not queue.full():
            outcome = None
            began = now
            if function is not None and isinstance(chunk.items, m.Pack) and not timed and self.is_worn is None:
                outcome = self._do_many(function, chunk, arguments, min(in_a_row, len(arguments) - position))
            if queue.begun() == position:
                queue.begin(position + 1)
                if queue.stop_asked(seq):
                    # After that is noted, never before: the parent asks for this, then looks what has begun, and then
                    # gives the other items to other workers, or stops this process for the item that it found running.
                    queue.begin(position)
                    break
                self.exit_code = 0
                if function is None:
                    # Within an item: a function whose loading ends the process then costs that, not workers for ever.
                    function = self._load(chunk.key)
                if timed:
                    queue.note_time(clock())
                outcome = self._outcome(function, chunk, arguments[position])
                if timed:
                    queue.note_time(0)
            position = queue.begun()
            now = clock()
            if outcome is not None and not self._record(seq, position - 1, outcome, now) and chunk.stop_on_error:
                break
            if self.is_worn is not None and (worn := self.is_worn()):
                break
            queue.touch(now)
            in_a_row = min(2 * in_a_row, _MOST_IN_A_ROW) if now - began < _LOOK_EVERY_NS else max(1, in_a_row // 4)
            if now - noted > _NOTE_EVERY_NS:
                noted = now
                self._send(m.Noted())
        self._send(m.Ended(seq, worn))

    def _record(self, seq: int, position: int, outcome: _Outcome, now: int) -> bool:
        """Record what became of an item.

        Returns:
            bool: False for a failure, and for the end of a stream.
        """
        queue = self._queue
        if isinstance(outcome, _Returned):
            if queue.add(outcome.value):
                return True
            kind, payload = _pickled(outcome.value)
        else:
            kind, payload = outcome
        if isinstance(payload, Parcel) or not queue.put(kind, payload, now):
            self._send(m.Large(seq, position, kind, payload))
            queue.put(m.Kind.BESIDE, b"", now)
        return kind is not m.Kind.FAILURE and kind is not m.Kind.LAST

    def _do_many(
        self, loaded: m.Retrying | Failure, chunk: m.Run, arguments: Sequence[Any], most: int
    ) -> _Outcome | None:
        """Do the next items as long as their results are of the same plain type; maybe none.

        Returns:
            _Outcome | None: Of the last that has begun, if that has none.
        """
        if isinstance(loaded, Failure):
            return None
        queue = self._queue
        _signals.in_item = True
        try:
            value = queue.fill(_caller(loaded.function, chunk.style), arguments, most, chunk.seq)
            _signals.in_item = False
        except Death:
            raise
        except BaseException as error:  # noqa: BLE001 - an outcome like any other
            _signals.in_item = False
            _forked.end_copy(error)
            return self._raised(loaded, error) if queue.settle(owes=True) else None
        _forked.leave_copy()
        owes = queue.settle(owes=value is not NOTHING)
        return _Returned(value) if owes else None

    def _outcome(self, loaded: m.Retrying | Failure, chunk: m.Run, argument: Any) -> _Outcome:
        if isinstance(loaded, Failure):
            return m.Kind.FAILURE, loaded.payload
        if not isinstance(chunk.items, m.Pack):
            try:
                argument = loads(argument)
            except BaseException as error:  # noqa: BLE001 - the user's __setstate__ may raise anything
                return m.Kind.FAILURE, capture(error, "argument").payload
        _forked.leave_copy()
        _signals.in_item = True
        try:
            value = _caller(loaded.function, chunk.style)(argument)
        except Death:
            raise
        except BaseException as error:  # noqa: BLE001 - an outcome like any other
            _signals.in_item = False
            _forked.end_copy(error)
            return self._raised(loaded, error)
        _signals.in_item = False
        _forked.leave_copy()
        return _Returned(value) if type(value) in KINDS else _pickled(value)

    def _raised(self, loaded: m.Retrying, error: BaseException) -> _Outcome:
        self.exit_code = _forked.exit_code(error)
        kind = m.Kind.RETRIABLE if isinstance(error, loaded.retry_on) else m.Kind.FAILURE
        return kind, capture(error, "raised").payload


class _Returned(NamedTuple):
    """An item has returned what may be plain data."""

    value: Any


_Outcome: TypeAlias = _Returned | tuple[m.Kind, m.Payload]


def _arguments(chunk: m.Run) -> Sequence[Any]:
    """Give the arguments of each item: as they are if they came together, else pickled."""
    items = chunk.items
    if isinstance(items, m.Pack):
        arguments: list[Any] = pickle.loads(items.payload)  # plain data: nothing of the user's runs here
        return arguments
    return items


def _caller(function: Callable[..., Any], style: m.Style) -> Callable[[Any], Any]:
    """Make of a function one that takes an item."""
    if style is m.Style.ONE:
        return function
    if style is m.Style.MANY:
        return lambda item: function(*item)
    return lambda item: function(*item[0], **item[1])


def _pickled(value: object) -> tuple[m.Kind, m.Payload]:
    kind = m.Kind.VALUE
    if type(value) is m.GeneratorEnd:
        kind, value = m.Kind.LAST, value.value
    try:
        return kind, pack(value)
    except BaseException as error:  # noqa: BLE001 - the user's __reduce__ may raise anything
        return m.Kind.FAILURE, capture(error, "result").payload
