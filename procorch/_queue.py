"""The result queue that outlives its writer: one shared page, one worker that writes, one parent that reads.

The page is an anonymous shared mapping. Whatever kills the worker, the parent finds there which chunk it was in, which
items are finished and with what, and which one had begun. No lock is shared, so a dead writer can block nobody.

    words of 8 bytes: 0 SEQ | 1 BEGUN | 2 RECORDS | 3 STARTED | 4 TOUCHED | 5 STOP | 6 SINCE | 7 LOGGED | 8 MARK
                      9 LISTENS | 10 TAKEN | 11 RECEIPTS
    from byte 128:    records, each a word (length << 24 | kind << 16 | items) and a body, at a multiple of 8

A record is the outcome of one item, or a run: the results of several that are plain data (see `_plain`). The last run
grows in place: first the result is written behind the others, then the run's word counts it. While the writer fills a
run in haste it does not even count: then BEGUN tells where (see `Filling`), the places ahead hold a mark, and each
that holds anything else is a result. MARK is that mark, drawn for each page.

Order of writing is what makes it safe to read at any moment: SEQ after BEGUN and RECORDS were reset, BEGUN before an
item runs, RECORDS after the new record's word and body, a run's word after its results. Each word is aligned and stored
by one machine instruction, so a kill leaves the old value or the new one. The reader looks only after a message from
the writer or after its death, both of which order memory; a look in between can miss the newest record, never see half
of one that is counted on a processor that keeps the order of stores (x86), and on others at worst until the next
message.

STOP is asked after BEGUN was noted, and BEGUN taken back if it is set; in haste, after the result before was written.
So what does not count as begun a moment after STOP was set never begins, and may be given to another worker while the
item before it still runs.

LOGGED counts what was logged, once it is in the socket: so the reader knows how much it has to read there before it
lets out what it finds here.

LISTENS is set once the item asks for what the parent has to say to it; TAKEN counts the messages that it has got, each
before it gets it: so whatever kills it, nobody else gets the same one. RECEIPTS is set by the parent while it waits to
hear of that: the item looks there after TAKEN was counted, the parent looks at TAKEN after this was set.

Loaded in every worker. What the records mean is not decided here. The writer's end is in `_writer`.
"""

from __future__ import annotations

import mmap
import os
from typing import NamedTuple, TypeAlias

from procorch._messages import Failure, Kind, Last, Plain, Retriable, Value
from procorch._plain import read_run

PAGE_BYTES = 1 << 20
"""Size of a page. The memory is taken as it is written, so a worker with small results costs little of it."""

SEQ, BEGUN, RECORDS, STARTED, TOUCHED, STOP, SINCE, LOGGED, MARK, LISTENS, TAKEN, RECEIPTS = range(12)
FIRST = 128
"""Where the first record is."""
MOST_ITEMS = 0xFFFF
"""Of one run: what fits into the last bits of its word."""

WIDTHS: dict[Kind | None, int] = {Kind.INTS: 8, Kind.FLOATS: 8, Kind.BOOLS: 1, Kind.NONES: 1}
"""Bytes of a result in a run; for the kinds whose results all have the same length."""

MOST_BASE = 0xFFFF
"""What `Filling.base` can be at most."""


class Beside(NamedTuple):
    """The item has finished; its outcome was too large for the page and comes as `Large`."""

    payload: bytes
    """Empty."""


Record: TypeAlias = Value | Failure | Beside | Retriable | Plain
"""Finished items as found in the page; what it holds is a copy, since the page will be written again."""

_FORMS = (Value._make, Failure._make, Beside._make, Retriable._make, None, None, None, None, None, Last._make)
"""By `Kind`; None for runs. These cost half of a call of the class, which would be most of what that costs."""


class Filling(NamedTuple):
    """A run that is being filled in haste. It stands in BEGUN, whose highest bit tells so."""

    base: int
    """Items of the chunk that had begun before, all of them finished; 16 bits."""
    head: int
    """Place of the run's word, among the words; 18 bits."""
    items: int
    """Items of the run before; 16 bits."""
    ahead: int
    """Places that are ready for more; 13 bits."""

    def word(self) -> int:
        """Give it as it stands in the page."""
        return 1 << 63 | self.ahead << 50 | self.items << 34 | self.head << 16 | self.base

    @staticmethod
    def read(word: int) -> Filling:
        """Read what `word` gave.

        Args:
            word (int): With its highest bit set.

        Returns:
            Filling: The same.
        """
        return Filling(word & 0xFFFF, word >> 16 & 0x3FFFF, word >> 34 & 0xFFFF, word >> 50 & 0x1FFF)

    def filled(self, words: memoryview, page: mmap.mmap) -> int:
        """Count the results that have been written since.

        Args:
            words (memoryview): The page as words.
            page (mmap.mmap): The page.

        Returns:
            int: At most ``ahead``.
        """
        word = words[self.head]
        kind = word >> 16 & 0xFF
        if kind == Kind.MARSHALLED:
            return (word & MOST_ITEMS) - self.items  # of different lengths, so each has been counted
        start = (self.head + 1) * 8 + self.items * WIDTHS[Kind(kind)]
        if WIDTHS[Kind(kind)] == 1:
            return _until(page[start : start + self.ahead].find(b"\xff"), self.ahead)
        ahead = words[start >> 3 : (start >> 3) + self.ahead].tolist()
        mark = words[MARK]
        return ahead.index(mark) if mark in ahead else self.ahead


def _until(found: int, end: int) -> int:
    return end if found < 0 else found


def stop_word(seq: int) -> int:
    """Tell what STOP holds if a chunk is to be ended.

    Args:
        seq (int): The chunk's number.

    Returns:
        int: Its lowest byte is never 0.
    """
    return seq << 8 | 1


class Reader:
    """The parent's end."""

    __slots__ = ("_bytes", "_items", "_next", "_page", "_seen", "_words")

    def __init__(self, page: mmap.mmap) -> None:
        """Read from a page.

        Args:
            page (mmap.mmap): Shared with the writer.
        """
        self._page = page
        self._words = memoryview(page).cast("Q")
        # Nobody's result is the same but by chance, once in 2 ** 64.
        self._words[MARK] = int.from_bytes(os.urandom(8), "little")
        self.expect()

    def expect(self) -> None:
        """Look for the records of a new chunk from now on; call it before the chunk is sent."""
        self._next = FIRST  # where the next record is, or the last run
        self._seen = 0  # records before that
        self._words[STOP] = 0  # by this side alone: the writer might undo a request
        self._items = self._bytes = 0  # of that run, taken already

    def take(self, seq: int) -> list[Record]:
        """Take the records that are new since the last call.

        Args:
            seq (int): The chunk that was sent last.

        Returns:
            list[Record]: In the order of the chunk's items; empty if the writer has not begun the chunk.
        """
        words = self._words
        if words[SEQ] != seq:
            return []
        filling, filled = self._look()
        page, place, seen = self._page, self._next, self._seen
        records: list[Record] = []
        count = words[RECORDS]
        while seen < count:
            word = words[place >> 3]
            kind = word >> 16 & 0xFF
            start = place + 8
            stop = start + (word >> 24)
            items = word & MOST_ITEMS
            form = _FORMS[kind]
            if form is not None:
                records.append(form((page[start:stop],)))
            else:
                if filling is not None and filling.head == place >> 3 and filling.items + filled > items:
                    items = filling.items + filled
                    stop = start + items * WIDTHS[Kind(kind)]
                new = items - self._items
                if new:
                    records.append(Plain(read_run(kind, new, page[start + self._bytes : stop])))
                if seen + 1 == count:  # it may grow
                    self._items, self._bytes = items, stop - start
                    break
                self._items = self._bytes = 0
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
        if self._words[SEQ] != seq:
            return 0
        filling, count = self._look()
        # One more than is finished: it has begun, or is about to.
        return count if filling is None else filling.base + min(count + 1, filling.ahead)

    def _look(self) -> tuple[Filling | None, int]:
        """Look how far the writer is.

        Returns:
            tuple[Filling | None, int]: The run that is being filled and the results it has got since that began; if
            none is, the items that have begun.
        """
        words = self._words
        while (word := words[BEGUN]) >> 63:
            filling = Filling.read(word)
            filled = filling.filled(words, self._page)
            if words[BEGUN] == word:  # else the places may hold something else by now
                return filling, filled
        return None, word

    def running(self, seq: int) -> tuple[int, float | None]:
        """Tell which item of the chunk runs, and since when. Of use only for a chunk that is timed.

        Args:
            seq (int): The chunk that was sent last.

        Returns:
            tuple[int, float | None]: The number of items that have begun, the one that runs being the last of them;
            and monotonic seconds, None if none runs. A time of a later item is possible, one of an earlier is not.
        """
        begun = self.begun(seq)  # first: the writer goes on meanwhile
        since = self._words[SINCE]
        return begun, since * 1e-9 if begun and since else None

    def logged(self) -> int:
        """Count what was logged before the records that `take` gave last were written.

        Returns:
            int: Since the worker's start; at most what is in the socket by now, and never less than what matters.
        """
        return self._words[LOGGED]

    def busy_seconds(self) -> float:
        """Measure the chunk's work so far.

        Returns:
            float: Seconds from its beginning to the end of its newest finished item.
        """
        return (self._words[TOUCHED] - self._words[STARTED]) * 1e-9

    def listens(self) -> bool:
        """Tell whether the item that runs hears what is said to it.

        Returns:
            bool: Of this moment.
        """
        return bool(self._words[LISTENS])

    def taken(self) -> int:
        """Count the messages that items of this process have taken.

        Returns:
            int: Of this moment.
        """
        return self._words[TAKEN]

    def want_receipts(self, wanted: bool) -> None:
        """Let the item tell at once, or not, when it has taken a message.

        Args:
            wanted (bool): Whether.
        """
        self._words[RECEIPTS] = wanted

    def ask_stop(self, seq: int) -> None:
        """Ask the writer to begin no further item of a chunk. It says with `Ended` how far it came.

        Args:
            seq (int): The chunk's number.
        """
        self._words[STOP] = stop_word(seq)

    def close(self) -> None:
        """Give the mapping back."""
        self._words.release()
        self._page.close()
