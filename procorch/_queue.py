"""The result queue that outlives its writer: one shared page, one worker that writes, one parent that reads.

The page is an anonymous shared mapping. Whatever kills the worker, the parent finds there which chunk it was in, which
items are finished and with what, and which one had begun. No lock is shared, so a dead writer can block nobody.

    words of 8 bytes: 0 SEQ | 1 BEGUN | 2 RECORDS | 3 STARTED | 4 TOUCHED | 5 STOP | 6 SINCE | 7 LOGGED
    from byte 64:     records, each a word (length << 24 | kind << 16 | items) and a body, at a multiple of 8

A record is the outcome of one item, or a run: the results of several that are plain data (see `_plain`). The last run
grows in place: first the result is written behind the others, then the run's word counts it.

Order of writing is what makes it safe to read at any moment: SEQ after BEGUN and RECORDS were reset, BEGUN before an
item runs, RECORDS after the new record's word and body, a run's word after its results. Each word is aligned and stored
by one machine instruction, so a kill leaves the old value or the new one. The reader looks only after a message from
the writer or after its death, both of which order memory; a look in between can miss the newest record, never see half
of one that is counted on a processor that keeps the order of stores (x86), and on others at worst until the next
message.

STOP is asked after BEGUN was noted, and BEGUN taken back if it is set. So what is not in BEGUN a moment after STOP was
set never begins, and may be given to another worker while the item before it still runs.

LOGGED counts what was logged, once it is in the socket: so the reader knows how much it has to read there before it
lets out what it finds here.

Loaded in every worker. What the records mean is not decided here.
"""

from __future__ import annotations

import contextlib
import mmap
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any, NamedTuple, TypeAlias, cast

from procorch._messages import Bytes, Failure, Kind, Plain, Retriable, Value
from procorch._plain import KINDS, marshal_one, read_run

PAGE_BYTES = 1 << 20
"""Size of a page. The memory is taken as it is written, so a worker with small results costs little of it."""

_SEQ, _BEGUN, _RECORDS, _STARTED, _TOUCHED, _STOP, _SINCE, _LOGGED = range(8)
_FIRST = 64
_RESERVE = 4096
# Bytes kept for the empty records of results that go beside the page, so that a full page ends a chunk between two
# items and never within one.

_MOST_ITEMS = 0xFFFF
"""Of one run."""
_SHORT_RUN = 4
"""Items of a run from which on it pays to have been one. After a shorter one the next takes results of any type."""


class Beside(NamedTuple):
    """The item has finished; its outcome was too large for the page and comes as `Large`."""

    payload: bytes
    """Empty."""


Record: TypeAlias = Value | Failure | Beside | Retriable | Plain
"""Finished items as found in the page; what it holds is a copy, since the page will be written again."""

_FORMS = (Value._make, Failure._make, Beside._make, Retriable._make)
"""By `Kind`. These cost half of a call of the class, which would be most of what it costs to read a record."""


class _Nothing:
    """Stands for no result, as None is one."""


NOTHING = _Nothing()

_FILLING = 0x80 << 16
"""In the word of a run that is being filled: each item after it that has begun, but for the last, belongs to it too."""

_TYPES: dict[Kind | None, type] = {Kind.INTS: int, Kind.FLOATS: float, Kind.BOOLS: bool, Kind.NONES: type(None)}
_STEPS: dict[Kind | None, int] = {
    Kind.INTS: 8 << 24 | 1,
    Kind.FLOATS: 8 << 24 | 1,
    Kind.BOOLS: 8 << 24 | 1,
    Kind.NONES: 1,
}
"""What one more result adds to the word of a run; for the kinds whose results have all the same length."""


def _stop_word(seq: int) -> int:
    """What STOP holds for a chunk: its lowest byte is never 0."""
    return seq << 8 | 1


class Writer:
    """The worker's end.

    Calls come in this order: `open`, then for each item `begin` and `add` or `put`; or `fill`, which does many.
    """

    __slots__ = (
        "_bytes",
        "_doubles",
        "_end",
        "_filled_from",
        "_head",
        "_ints",
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
        self._end = _FIRST  # of the last record; of a run, its beginning
        self._room = len(page) - _RESERVE
        self._records = 0
        self._run: Kind | None = None  # of the last record, if that is a run
        self._head = 0  # the place of its word, among the words
        self._word = 0  # and what is there
        self._filled_from = 0  # items that had begun before `fill`

    def open(self, seq: int, now_ns: int) -> None:
        """Begin a chunk. The reader has taken the records of the one before, or will never.

        Args:
            seq (int): The chunk's number.
            now_ns (int): Monotonic time, in nanoseconds.
        """
        words = self._words
        words[_SINCE] = 0
        words[_BEGUN] = 0
        words[_RECORDS] = 0
        words[_STARTED] = words[_TOUCHED] = now_ns
        self._end = _FIRST
        self._records = 0
        self._run = None
        words[_SEQ] = seq

    def stop_asked(self, seq: int) -> bool:
        """Tell whether the reader wants no further item of this chunk begun.

        Args:
            seq (int): The chunk's number.

        Returns:
            bool: True once `Reader.ask_stop` was called for it.
        """
        return self._words[_STOP] == _stop_word(seq)

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
        self._words[_BEGUN] = count

    def begun(self) -> int:
        """Tell what was noted so.

        Returns:
            int: Items of the chunk.
        """
        return self._words[_BEGUN]

    def note_time(self, now_ns: int) -> None:
        """Note since when the item that has begun runs.

        Args:
            now_ns (int): Monotonic time, in nanoseconds; 0: it does not run, its outcome is on its way.
        """
        self._words[_SINCE] = now_ns

    def touch(self, now_ns: int) -> None:
        """Note how long the chunk's work has taken so far.

        Args:
            now_ns (int): Monotonic time, in nanoseconds.
        """
        self._words[_TOUCHED] = now_ns

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
        words[_TOUCHED] = now_ns
        self._end = (stop + 7) & ~7
        self._run = None
        self._records += 1
        words[_RECORDS] = self._records  # last: from here on the item is finished, whatever happens to this process
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
            kind = Kind.MARSHALLED if run is not None and self._word & _MOST_ITEMS < _SHORT_RUN else kind
            run = None
        if run is Kind.MARSHALLED or kind is Kind.MARSHALLED:
            return self._add_marshalled(value, new=run is None)
        if (run is None or self._capacity(8) < 1) and not self._begin_run(kind):
            return False
        return self._add_word(kind, value)

    def _add_word(self, kind: Kind, value: Any) -> bool:
        at = self._head + 1 + (self._word & _MOST_ITEMS)
        try:
            if kind is Kind.FLOATS:
                self._doubles[at] = value
            elif kind is not Kind.NONES:
                self._ints[at] = value
        except ValueError:  # more than 64 bits
            return self._add_marshalled(value, new=True)
        self._word += _STEPS[kind]
        self._words[self._head] = self._word
        return True

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
        return min((self._room - used) // length, _MOST_ITEMS - (self._word & _MOST_ITEMS))

    def _begin_run(self, kind: Kind) -> bool:
        end = self._stop()
        if end + 16 > self._room:
            return False
        words = self._words
        self._end, self._run, self._head, self._word = end, kind, end >> 3, kind << 16
        words[self._head] = self._word
        self._records += 1
        words[_RECORDS] = self._records
        return True

    def fill(self, call: Callable[[Any], Any], arguments: Iterator[Any], count: int, seq: int) -> Any:
        """Call for the next items while each result is of the same type as those of the last run: the fast road.

        Everything for an item is in one place here, and its result is in the page before the next begins. That the next
        has begun is what counts it, until `settle` does, which has to follow.

        Args:
            call (Callable[[Any], Any]): The function.
            arguments (Iterator[Any]): Gives the arguments of the next item, and of those after it.
            count (int): Most items, at least 1.
            seq (int): The chunk's number.

        Returns:
            Any: The result of the last item that has begun, if it cannot be added to the run; else `NOTHING`. No item
            was begun if there is no run that results of a fixed length can be added to.

        Raises:
            BaseException: What the last item that has begun raised, or an interrupt between two items.
        """
        words, kind, seen = self._words, self._run, self._word & _MOST_ITEMS
        begun = self._filled_from = words[_BEGUN]
        if kind not in _TYPES:
            return NOTHING
        count = min(count, self._capacity(8))
        type_ = _TYPES[kind]
        target: Any = self._doubles if kind is Kind.FLOATS else self._ints
        at = self._head + 1 + seen
        if kind is Kind.NONES:
            target, at = [None] * count, 0  # nothing is written
        words[self._head] = self._word | _FILLING
        # Local names, and one byte to look at: each is worth some nanoseconds of the hundred that an item costs here.
        begun_word, stop_byte, flags = _BEGUN, _STOP << 3, self._bytes
        for argument in islice(arguments, count):
            begun += 1
            words[begun_word] = begun
            if flags[stop_byte] and self.stop_asked(seq):  # after that is noted, see `Runner.run`
                words[begun_word] = begun - 1
                return NOTHING
            value = call(argument)
            if type(value) is not type_:
                return value
            try:
                target[at] = value
            except ValueError:  # more than 64 bits; or this is a forked copy, which is to touch nothing, see `close`
                return value
            at += 1
        return NOTHING

    def settle(self, *, owes: bool) -> bool:
        """Count what `fill` has recorded. It is not interrupted any more.

        Args:
            owes (bool): Whether the last item that has begun has no outcome yet.

        Returns:
            bool: The same; False if none has begun.
        """
        count = self._words[_BEGUN] - self._filled_from
        owes = owes and count > 0
        if self._run in _TYPES:
            self._word += _STEPS[self._run] * (count - owes)
            self._words[self._head] = self._word
        return owes

    # --- the rest ---------------------------------------------------------------------------------------------------

    def running(self) -> tuple[int, int]:
        """Tell which item runs; any thread.

        Returns:
            tuple[int, int]: The chunk's number and how many of its items have begun; zeros before the first chunk and
            after `close`.
        """
        try:
            return self._words[_SEQ], self._words[_BEGUN]
        except ValueError:  # released: a thread that an item left running, or a finalizer
            return 0, 0

    def count_logged(self) -> None:
        """Count one more thing logged that is in the socket. Any thread; two at once may count as one."""
        with contextlib.suppress(ValueError):  # as above
            self._words[_LOGGED] += 1

    def close(self) -> None:
        """Let go of the page: its owner can unmap it, and who is in the middle of `fill` can write no more."""
        for view in (self._words, self._ints, self._doubles, self._bytes):
            view.release()


class Reader:
    """The parent's end."""

    __slots__ = ("_before", "_bytes", "_items", "_next", "_page", "_seen", "_words")

    def __init__(self, page: mmap.mmap) -> None:
        """Read from a page.

        Args:
            page (mmap.mmap): Shared with the writer.
        """
        self._page = page
        self._words = memoryview(page).cast("Q")
        self.expect()

    def expect(self) -> None:
        """Look for the records of a new chunk from now on; call it before the chunk is sent."""
        self._next = _FIRST  # where the next record is, or the last run
        self._seen = 0  # records before that
        self._before = 0  # items in these
        self._words[_STOP] = 0  # by this side alone: the writer might undo a request
        self._items = self._bytes = 0  # of that run, taken already

    def take(self, seq: int) -> list[Record]:
        """Take the records that are new since the last call.

        Args:
            seq (int): The chunk that was sent last.

        Returns:
            list[Record]: In the order of the chunk's items; empty if the writer has not begun the chunk.
        """
        words = self._words
        if words[_SEQ] != seq:
            return []
        begun = words[_BEGUN]  # first: if the last run is still being filled afterwards, it has all of these but one
        page, place, seen = self._page, self._next, self._seen
        records: list[Record] = []
        count = words[_RECORDS]
        while seen < count:
            word = words[place >> 3]
            kind = word >> 16 & 0x7F
            start = place + 8
            stop = start + (word >> 24)
            items = word & _MOST_ITEMS
            if kind < Kind.INTS:
                records.append(_FORMS[kind]((page[start:stop],)))
            else:
                if word & _FILLING and begun - 1 - self._before > items:
                    more = begun - 1 - self._before - items
                    items += more
                    stop += (_STEPS[Kind(kind)] >> 24) * more
                new = items - self._items
                if new < 0:
                    break  # an item was taken back this moment: there is nothing new
                if new:
                    records.append(Plain(read_run(kind, new, page[start + self._bytes : stop])))
                if seen + 1 == count:  # it may grow
                    self._items, self._bytes = items, stop - start
                    break
                self._items = self._bytes = 0
            self._before += items
            place = (stop + 7) & ~7
            seen += 1
        self._next, self._seen = place, seen
        return records

    def begun(self, seq: int) -> int:
        """Count the items of the chunk that have begun, finished ones included.

        Args:
            seq (int): The chunk that was sent last.

        Returns:
            int: 0 if the writer has not begun the chunk.
        """
        return self._words[_BEGUN] if self._words[_SEQ] == seq else 0

    def running(self, seq: int) -> tuple[int, float | None]:
        """Tell which item of the chunk runs, and since when. Of use only for a chunk that is timed.

        Args:
            seq (int): The chunk that was sent last.

        Returns:
            tuple[int, float | None]: The number of items that have begun, the one that runs being the last of them;
            and monotonic seconds, None if none runs. A time of a later item is possible, one of an earlier is not.
        """
        begun = self.begun(seq)  # first: the writer goes on meanwhile
        since = self._words[_SINCE]
        return begun, since * 1e-9 if begun and since else None

    def logged(self) -> int:
        """Count what was logged before the records that `take` gave last were written.

        Returns:
            int: Since the worker's start; at most what is in the socket by now, and never less than what matters.
        """
        return self._words[_LOGGED]

    def busy_seconds(self) -> float:
        """Measure the chunk's work so far.

        Returns:
            float: Seconds from its beginning to the end of its newest finished item.
        """
        return (self._words[_TOUCHED] - self._words[_STARTED]) * 1e-9

    def ask_stop(self, seq: int) -> None:
        """Ask the writer to begin no further item of a chunk. It says with `Ended` how far it came.

        Args:
            seq (int): The chunk's number.
        """
        self._words[_STOP] = _stop_word(seq)

    def close(self) -> None:
        """Give the mapping back."""
        self._words.release()
        self._page.close()
