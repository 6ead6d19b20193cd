"""The worker's end of the result queue, see `_queue`: notes which item begins, and records what became of it.

Loaded in every worker.
"""

from __future__ import annotations

import contextlib
import mmap
import sys
from collections.abc import Callable, Sequence
from typing import Any, cast

from procorch._messages import Bytes, Kind
from procorch._plain import KINDS, marshal_one
from procorch._queue import (
    BEGUN,
    FIRST,
    LISTENS,
    LOGGED,
    MARK,
    MOST_BASE,
    MOST_ITEMS,
    RECEIPTS,
    RECORDS,
    SEQ,
    SINCE,
    STARTED,
    STOP,
    TAKEN,
    TOUCHED,
    WIDTHS,
    Filling,
    stop_word,
)

_RESERVE = 4096
"""Bytes kept for the empty records of results that go beside the page, so that a full page ends a chunk between two
items and never within one."""

_SHORT_RUN = 4
"""Items of a run from which on it pays to have been one. After a shorter one the next takes results of any type."""

MOST_AHEAD = 4096
"""Items that `Writer.fill` does at most."""


class _Nothing:
    """Stands for no result, as None is one."""


NOTHING = _Nothing()

_TYPES: dict[Kind | None, type] = {Kind.INTS: int, Kind.FLOATS: float, Kind.BOOLS: bool, Kind.NONES: type(None)}


class Writer:
    """The worker's end.

    Calls come in this order: `open`, then for each item `begin` and `add` or `put`; or `fill`, which does many.
    """

    __slots__ = (
        "_bytes",
        "_doubles",
        "_end",
        "_filled",
        "_filling",
        "_flags",
        "_head",
        "_ints",
        "_marks",
        "_page",
        "_records",
        "_room",
        "_run",
        "_word",
        "_words",
    )

    def __init__(self, page: mmap.mmap) -> None:
        """Write to a page.

        Args:
            page (mmap.mmap): Shared with the reader.
        """
        self._page = page
        self._words = memoryview(page).cast("Q")
        self._ints = memoryview(page).cast("q")
        self._doubles = memoryview(page).cast("d")
        self._bytes = memoryview(page)
        self._flags = memoryview(page).cast("?")  # takes any object, and keeps whether it is true
        self._marks: Any = None  # one for each place that may be ahead
        self._end = FIRST  # of the last record; of a run, its beginning
        self._room = len(page) - _RESERVE
        self._records = 0
        self._run: Kind | None = None  # of the last record, if that is a run
        self._head = 0  # the place of its word, among the words
        self._word = 0  # and what is there
        self._filling: Filling | None = None  # what `fill` does, until it is settled
        self._filled: int | None = None  # results it has added; None if that is to be looked for in the page

    def open(self, seq: int, now_ns: int) -> None:
        """Begin a chunk. The reader has taken the records of the one before, or will never.

        Args:
            seq (int): The chunk's number.
            now_ns (int): Monotonic time, in nanoseconds.
        """
        words = self._words
        words[SINCE] = 0
        words[BEGUN] = 0
        words[RECORDS] = 0
        words[STARTED] = words[TOUCHED] = now_ns
        self._end = FIRST
        self._records = 0
        self._run = None
        words[SEQ] = seq
        if self._marks is None:
            self._marks = memoryview(words[MARK].to_bytes(8, sys.byteorder) * MOST_AHEAD).cast("Q")

    def stop_asked(self, seq: int) -> bool:
        """Tell whether the reader wants no further item of this chunk begun.

        Args:
            seq (int): The chunk's number.

        Returns:
            bool: True once `Reader.ask_stop` was called for it.
        """
        return self._words[STOP] == stop_word(seq)

    def full(self) -> bool:
        """Tell whether not even an empty record fits any more: then the chunk must end here.

        Returns:
            bool: Only after some ten thousand items, or hundreds of results that went beside the page.
        """
        return self._stop() + 8 > len(self._page)

    def begin(self, count: int) -> None:
        """Note that the first ``count`` items of the chunk have begun; call it before the last of them does.

        Args:
            count (int): From 1.
        """
        self._words[BEGUN] = count

    def begun(self) -> int:
        """Tell what was noted so.

        Returns:
            int: Items of the chunk.
        """
        return self._words[BEGUN]

    def note_time(self, now_ns: int) -> None:
        """Note since when the item that has begun runs.

        Args:
            now_ns (int): Monotonic time, in nanoseconds; 0: it does not run, its outcome is on its way.
        """
        self._words[SINCE] = now_ns

    def listen(self) -> None:
        """Note that the item hears what is said to it from now on."""
        self._words[LISTENS] = 1

    def note_taken(self, count: int) -> None:
        """Note how many messages have been taken; call it before the last of them is given to the item.

        Args:
            count (int): Of all chunks.
        """
        self._words[TAKEN] = count

    def wants_receipts(self) -> bool:
        """Tell whether the reader waits for messages to be taken.

        Returns:
            bool: Of this moment; to be looked at after `note_taken`.
        """
        return bool(self._words[RECEIPTS])

    def touch(self, now_ns: int) -> None:
        """Note how long the chunk's work has taken so far.

        Args:
            now_ns (int): Monotonic time, in nanoseconds.
        """
        self._words[TOUCHED] = now_ns

    # --- one item ---------------------------------------------------------------------------------------------------

    def put(self, kind: Kind, payload: Bytes, now_ns: int) -> bool:
        """Record the outcome of the item that has begun.

        Args:
            kind (Kind): What ``payload`` is.
            payload (Bytes): Copied into the page.
            now_ns (int): Monotonic time, in nanoseconds.

        Returns:
            bool: False if it does not fit; then nothing was recorded, and the caller sends it beside the page.
        """
        length = len(payload)
        end = self._stop()
        start = end + 8
        stop = start + length
        if stop > self._room and length:
            return False
        self._page[start:stop] = payload
        words = self._words
        words[end >> 3] = length << 24 | kind << 16 | 1
        words[TOUCHED] = now_ns
        self._end = (stop + 7) & ~7
        self._run = None
        self._records += 1
        words[RECORDS] = self._records  # last: from here on the item is finished, whatever happens to this process
        return True

    # --- runs -------------------------------------------------------------------------------------------------------

    def _stop(self) -> int:
        """Where the next record goes."""
        if self._run is None:
            return self._end
        return (self._end + 8 + (self._word >> 24) + 7) & ~7

    def add(self, value: Any) -> bool:
        """Record the result of the item that has begun, if it is plain data.

        Args:
            value (Any): The result.

        Returns:
            bool: False if it is not, or does not fit; then nothing was recorded.
        """
        type_ = cast("type[object]", type(value))
        kind = KINDS.get(type_)
        if kind is None:
            return False
        run = self._run
        if run is not kind and run is not Kind.MARSHALLED:
            # Where results of several types take turns, they share a run.
            kind = Kind.MARSHALLED if run is not None and self._word & MOST_ITEMS < _SHORT_RUN else kind
            run = None
        if run is Kind.MARSHALLED or kind is Kind.MARSHALLED:
            return self._add_marshalled(value, new=run is None)
        if (run is None or self._capacity(WIDTHS[kind]) < 1) and not self._begin_run(kind):
            return False
        return self._add_fixed(kind, value)

    def _view(self, kind: Kind) -> tuple[Any, int]:
        """Give what takes the results of a run, and the place of the next."""
        items = self._word & MOST_ITEMS
        if WIDTHS[kind] == 1:
            return self._flags, (self._head + 1) * 8 + items
        return (self._doubles if kind is Kind.FLOATS else self._ints), self._head + 1 + items

    def _add_fixed(self, kind: Kind, value: Any) -> bool:
        view, at = self._view(kind)
        try:
            view[at] = value
        except ValueError:  # more than 64 bits
            return self._add_marshalled(value, new=True)
        self._count(kind, 1)
        return True

    def _count(self, kind: Kind, items: int) -> None:
        self._word += (WIDTHS[kind] << 24 | 1) * items
        self._words[self._head] = self._word

    def _add_marshalled(self, value: Any, *, new: bool) -> bool:
        body = marshal_one(value)
        if body is None or ((new or self._capacity(len(body)) < 1) and not self._begin_run(Kind.MARSHALLED)):
            return False
        if self._capacity(len(body)) < 1:
            return False
        start = self._end + 8 + (self._word >> 24)
        self._page[start : start + len(body)] = body
        self._word += len(body) << 24 | 1
        self._words[self._head] = self._word
        return True

    def _capacity(self, length: int) -> int:
        """How many more results of so many bytes fit into the run."""
        used = self._end + 8 + (self._word >> 24)
        return min((self._room - used) // length, MOST_ITEMS - (self._word & MOST_ITEMS))

    def _begin_run(self, kind: Kind) -> bool:
        end = self._stop()
        if end + 16 > self._room:
            return False
        words = self._words
        self._end, self._run, self._head, self._word = end, kind, end >> 3, kind << 16
        words[self._head] = self._word
        self._records += 1
        words[RECORDS] = self._records
        return True

    def fill(self, call: Callable[[Any], Any], arguments: Sequence[Any], count: int, seq: int) -> Any:
        """Call for the next items while each result is of the same type as those of the last run: the fast road.

        Everything for an item is in one place here. Its result is in the page before the next begins, and that it is
        there says both that it is finished and that the next begins; nothing else is noted until `settle`, which has to
        follow.

        Args:
            call (Callable[[Any], Any]): The function.
            arguments (Sequence[Any]): Those of all items of the chunk. By place, so that no interrupt can move them.
            count (int): Most items, at least 1.
            seq (int): The chunk's number.

        Returns:
            Any: The result of the last item that has begun, if it cannot be added to the run; else `NOTHING`. No item
            was begun if there is no run that results of a fixed length can be added to.

        Raises:
            BaseException: What the last item that has begun raised, or an interrupt between two items, which is taken
                for the next one's.
        """
        kind = self._run
        if kind is None or self._words[BEGUN] > MOST_BASE:
            return NOTHING
        if kind is Kind.MARSHALLED:
            return self._fill_marshalled(call, arguments, min(count, MOST_AHEAD), seq)
        count = min(count, self._capacity(8), MOST_AHEAD)
        if count < 1:
            return NOTHING
        type_ = _TYPES[kind]
        view, first = self._view(kind)
        if view is self._flags:
            self._bytes[first : first + count] = b"\xff" * count
        else:
            self._words[first : first + count] = self._marks[:count]
        self._filling = Filling(self._words[BEGUN], self._head, self._word & MOST_ITEMS, count)
        self._filled = None
        self._words[BEGUN] = self._filling.word()
        at = first
        stop_byte, flags = STOP << 3, self._bytes
        base = self._filling.base
        for argument in arguments[base : base + count]:
            if flags[stop_byte] and self.stop_asked(seq):
                break
            try:
                value = call(argument)
            except BaseException:
                self._filled = at - first  # an interrupt elsewhere lets `settle` look for itself
                raise
            if type(value) is not type_:
                self._filled = at - first
                return value
            try:
                view[at] = value
            except ValueError:  # more than 64 bits; or this is a forked copy, which is to touch nothing, see `close`
                self._filled = at - first
                return value
            at += 1
        self._filled = at - first
        return NOTHING

    def _fill_marshalled(self, call: Callable[[Any], Any], arguments: Sequence[Any], count: int, seq: int) -> Any:
        """The same for results of different lengths: the run's word counts each, and says where the next goes."""
        words, head, word = self._words, self._head, self._word
        at = self._end + 8 + (word >> 24)
        room = self._room
        count = min(count, MOST_ITEMS - (word & MOST_ITEMS))
        if count < 1:
            return NOTHING
        self._filling = Filling(words[BEGUN], head, word & MOST_ITEMS, count)
        self._filled = None
        words[BEGUN] = self._filling.word()
        stop_byte, page = STOP << 3, self._bytes
        base = self._filling.base
        for argument in arguments[base : base + count]:
            if page[stop_byte] and self.stop_asked(seq):
                break
            value = call(argument)
            body = marshal_one(value)
            if body is None or at + len(body) > room:
                return value
            stop = at + len(body)
            page[at:stop] = body
            at = stop
            word += len(body) << 24 | 1
            words[head] = word
        return NOTHING

    def settle(self, *, owes: bool) -> bool:
        """Count what `fill` has recorded. It is not interrupted any more.

        Args:
            owes (bool): Whether the last item that has begun has no outcome yet.

        Returns:
            bool: The same; False if none has begun.
        """
        filling, kind = self._filling, self._run
        if filling is None or kind is None:
            return False
        filled = self._filled
        if filled is None:
            filled = filling.filled(self._words, self._page)
        owes = owes and filled < filling.ahead
        if kind is Kind.MARSHALLED:
            self._word = self._words[self._head]  # it is counted
        else:
            self._count(kind, filled)
        self._filling = None
        self._words[BEGUN] = filling.base + filled + owes
        return owes

    # --- the rest ---------------------------------------------------------------------------------------------------

    def running(self) -> tuple[int, int]:
        """Tell which item runs; any thread.

        Returns:
            tuple[int, int]: The chunk's number and how many of its items have begun; zeros before the first chunk and
            after `close`.
        """
        try:
            begun, filling = self._words[BEGUN], self._filling
            if begun >> 63:
                if filling is None:  # it has just been settled
                    return self._words[SEQ], self._words[BEGUN]
                begun = filling.base + min(filling.filled(self._words, self._page) + 1, filling.ahead)
            return self._words[SEQ], begun
        except ValueError:  # released: a thread that an item left running, or a finalizer
            return 0, 0

    def count_logged(self) -> None:
        """Count one more thing logged that is in the socket. Any thread; two at once may count as one."""
        with contextlib.suppress(ValueError):  # as above
            self._words[LOGGED] += 1

    def close(self) -> None:
        """Let go of the page: its owner can unmap it, and who is in the middle of `fill` can write no more."""
        for view in (self._words, self._ints, self._doubles, self._bytes, self._flags):
            view.release()
