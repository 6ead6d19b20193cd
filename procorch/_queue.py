"""The result queue that outlives its writer: one shared page, one worker that writes, one parent that reads.

The page is an anonymous shared mapping. Whatever kills the worker, the parent finds there which chunk it was in, which
items are finished and with what, and which one had begun. No lock is shared, so a dead writer can block nobody.

    words of 8 bytes: 0 SEQ | 1 BEGUN | 2 DONE | 3 STARTED | 4 TOUCHED | 5 STOP | 6 SINCE | 7 LOGGED
    from byte 64:     records, each a word (length << 24 | kind << 16 | items) and a pickle, at a multiple of 8

Order of writing is what makes it safe to read at any moment: SEQ after BEGUN and DONE were reset, BEGUN before an item
runs, DONE after its record is complete. Each word is aligned and stored by one machine instruction, so a kill leaves
the old value or the new one. The reader looks only after a message from the writer or after its death, both of which
order memory; a look in between can miss the newest record, never see half of one that DONE counts on a processor that
keeps the order of stores (x86), and on others at worst until the next message.

STOP is asked after BEGUN was noted, and BEGUN taken back if it is set. So what is not in BEGUN a moment after STOP was
set never begins, and may be given to another worker while the item before it still runs.

LOGGED counts what was logged, once it is in the socket: so the reader knows how much it has to read there before it
lets out what it finds here.

Loaded in every worker. What the records mean is not decided here.
"""

from __future__ import annotations

import contextlib
import mmap
from typing import NamedTuple, TypeAlias

from procorch._messages import Bytes, Failure, Kind, Retriable, Value

PAGE_BYTES = 1 << 20
"""Size of a page. The memory is taken as it is written, so a worker with small results costs little of it."""

_SEQ, _BEGUN, _DONE, _STARTED, _TOUCHED, _STOP, _SINCE, _LOGGED = range(8)
_FIRST = 64
_RESERVE = 4096
# Bytes kept for the empty records of results that go beside the page, so that a full page ends a chunk between two
# items and never within one.


class Beside(NamedTuple):
    """The item has finished; its outcome was too large for the page and comes as `Large`."""

    payload: bytes
    """Empty."""


Record: TypeAlias = Value | Failure | Beside | Retriable
"""One finished item as found in the page; its payload is a copy, since the page will be written again."""

_FORMS = (Value._make, Failure._make, Beside._make, Retriable._make)
"""By `Kind`. These cost half of a call of the class, which would be most of what it costs to read a record."""


class Writer:
    """The worker's end. Calls come in this order: `open`, then for each item `begin` and `put`."""

    __slots__ = ("_done", "_end", "_page", "_room", "_words")

    def __init__(self, page: mmap.mmap) -> None:
        """Write to a page.

        Args:
            page (mmap.mmap): Shared with the reader.
        """
        self._page = page
        self._words = memoryview(page).cast("Q")
        self._end = _FIRST
        self._room = len(page) - _RESERVE
        self._done = 0

    def open(self, seq: int, now_ns: int) -> None:
        """Begin a chunk. The reader has taken the records of the one before, or will never.

        Args:
            seq (int): The chunk's number.
            now_ns (int): Monotonic time, in nanoseconds.
        """
        words = self._words
        words[_SINCE] = 0
        words[_BEGUN] = 0
        words[_DONE] = 0
        words[_STARTED] = words[_TOUCHED] = now_ns
        self._end = _FIRST
        self._done = 0
        words[_SEQ] = seq

    def stop_asked(self, seq: int) -> bool:
        """Tell whether the reader wants no further item of this chunk begun.

        Args:
            seq (int): The chunk's number.

        Returns:
            bool: True once `Reader.ask_stop` was called for it.
        """
        return self._words[_STOP] == seq

    def full(self) -> bool:
        """Tell whether not even an empty record fits any more: then the chunk must end here.

        Returns:
            bool: Only after some ten thousand items, or hundreds of results that went beside the page.
        """
        return self._end + 8 > len(self._page)

    def begin(self, count: int) -> None:
        """Note that the first ``count`` items of the chunk have begun; call it before the last of them does.

        Args:
            count (int): From 1.
        """
        self._words[_BEGUN] = count

    def note_time(self, now_ns: int) -> None:
        """Note since when the item that has begun runs.

        Args:
            now_ns (int): Monotonic time, in nanoseconds; 0: it does not run, its outcome is on its way.
        """
        self._words[_SINCE] = now_ns

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
        start = self._end + 8
        stop = start + length
        if stop > self._room and length:
            return False
        self._page[start:stop] = payload
        words = self._words
        words[self._end >> 3] = length << 24 | kind << 16 | 1
        words[_TOUCHED] = now_ns
        self._end = (stop + 7) & ~7
        self._done += 1
        words[_DONE] = self._done  # last: from here on the item is finished, whatever happens to this process
        return True

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
        """Let go of the page, so that its owner can unmap it."""
        self._words.release()


class Reader:
    """The parent's end."""

    __slots__ = ("_next", "_page", "_seen", "_words")

    def __init__(self, page: mmap.mmap) -> None:
        """Read from a page.

        Args:
            page (mmap.mmap): Shared with the writer.
        """
        self._page = page
        self._words = memoryview(page).cast("Q")
        self._next = _FIRST
        self._seen = 0

    def expect(self) -> None:
        """Look for the records of a new chunk from now on; call it before the chunk is sent."""
        self._next = _FIRST
        self._seen = 0

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
        page, place = self._page, self._next
        records: list[Record] = []
        for _ in range(words[_DONE] - self._seen):
            word = words[place >> 3]
            start = place + 8
            stop = start + (word >> 24)
            records.append(_FORMS[word >> 16 & 0xFF]((page[start:stop],)))
            place = (stop + 7) & ~7
        self._next = place
        self._seen += len(records)
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
        self._words[_STOP] = seq

    def close(self) -> None:
        """Give the mapping back."""
        self._words.release()
        self._page.close()
