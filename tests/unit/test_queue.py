"""Unit: the result queue on a page of this process, with a writer that may be killed at every step."""

from __future__ import annotations

import mmap
from collections.abc import Callable
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from procorch._messages import Bytes, Failure, Kind, Retriable, Value
from procorch._queue import FIRST, PAGE_BYTES, Beside, Reader, Record
from procorch._writer import Writer

SMALL_PAGE = 8192
"""Bytes of a page that is soon full: 4096 of them are for records of what went beside."""


class KilledError(Exception):
    """The writer's process has ended here."""


class Fuse:
    """Lets so many steps of the writer happen, and calls somebody before each."""

    def __init__(self, steps: int, before_each: Callable[[], object] = lambda: None) -> None:
        self.steps = steps
        self._before_each = before_each

    def burn(self) -> None:
        self._before_each()
        if not self.steps:
            raise KilledError
        self.steps -= 1


class FusedPage:
    """The page, where storing a payload takes two steps: a kill may leave half of it."""

    def __init__(self, page: mmap.mmap, fuse: Fuse) -> None:
        self._page = page
        self._fuse = fuse

    def __len__(self) -> int:
        return len(self._page)

    def __setitem__(self, place: slice, payload: Bytes) -> None:
        half = len(payload) // 2
        self._fuse.burn()
        self._page[place.start : place.start + half] = payload[:half]
        self._fuse.burn()
        self._page[place] = payload


class FusedWords:
    """The words, each stored in one step."""

    def __init__(self, words: memoryview, fuse: Fuse) -> None:
        self._words = words
        self._fuse = fuse

    def __getitem__(self, place: int) -> int:
        return self._words[place]

    def __setitem__(self, place: int, word: int) -> None:
        self._fuse.burn()
        self._words[place] = word

    def release(self) -> None:
        self._words.release()


class MortalWriter(Writer):
    """A writer that ends when its fuse has burnt down."""

    def __init__(self, page: mmap.mmap, fuse: Fuse) -> None:
        super().__init__(page)
        self._page = cast("mmap.mmap", FusedPage(page, fuse))
        self._words = cast("memoryview", FusedWords(self._words, fuse))


class History:
    """What a writer has done so far, as far as its calls have returned."""

    def __init__(self) -> None:
        self.seq = 0
        self.opened = False
        self.begun = 0
        self.records: list[Record] = []

    def write(self, writer: Writer, chunks: list[list[bytes]], reader: Reader) -> None:
        for payloads in chunks:
            reader.expect()
            self.seq, self.opened, self.begun, self.records = self.seq + 1, False, 0, []
            writer.open(self.seq, 1000)
            self.opened = True
            for payload in payloads:
                if writer.full():
                    break
                writer.begin(self.begun + 1)
                self.begun += 1
                self._put(writer, payload)

    def _put(self, writer: Writer, payload: bytes) -> None:
        if writer.put(Kind.VALUE, payload, 2000):
            self.records.append(Value(payload))
        else:
            assert writer.put(Kind.BESIDE, b"", 2000), "no room for an empty record although the page was not full"
            self.records.append(Beside(b""))


@pytest.fixture
def page() -> mmap.mmap:
    return mmap.mmap(-1, PAGE_BYTES)


@pytest.fixture
def writer(page: mmap.mmap) -> Writer:
    return Writer(page)


@pytest.fixture
def reader(page: mmap.mmap) -> Reader:
    return Reader(page)


# Payloads are never empty: every pickle has some bytes.
payloads = st.integers(1, 20) | st.integers(1, 3000)
chunk_lists = st.lists(st.lists(payloads.map(lambda size: bytes([size % 251]) * size), max_size=6), max_size=4)


@given(chunk_lists, st.data())
def test_whenever_the_writer_is_killed_the_reader_sees_exactly_what_is_finished(
    chunks: list[list[bytes]], data: st.DataObject
) -> None:
    whole = Fuse(1_000_000)
    History().write(MortalWriter(memory := mmap.mmap(-1, SMALL_PAGE), whole), chunks, Reader(memory))
    steps = 1_000_000 - whole.steps
    fuse = Fuse(data.draw(st.integers(0, steps)))

    memory = mmap.mmap(-1, SMALL_PAGE)
    reader, history = Reader(memory), History()
    try:
        history.write(MortalWriter(memory, fuse), chunks, reader)
    except KilledError:
        pass
    else:
        assert fuse.steps == 0

    assert reader.take(history.seq) == history.records
    assert reader.begun(history.seq) == history.begun
    assert reader.take(history.seq) == []


def test_each_single_store_may_be_the_last() -> None:
    chunks = [[b"a" * 3, b"b" * 4000], [b"c" * 17, b"d" * 4000, b"e"]]
    for steps in range(1000):
        memory = mmap.mmap(-1, SMALL_PAGE)
        reader, history = Reader(memory), History()
        fuse = Fuse(steps)
        try:
            history.write(MortalWriter(memory, fuse), chunks, reader)
        except KilledError:
            assert reader.take(history.seq) == history.records
            assert reader.begun(history.seq) == history.begun
        else:
            assert history.records == [Value(b"c" * 17), Beside(b""), Value(b"e")]
            assert steps == 42
            return
    raise AssertionError("the writer never came to its end")


@given(chunk_lists)
def test_a_look_at_any_moment_sees_whole_records_in_order(chunks: list[list[bytes]]) -> None:
    memory = mmap.mmap(-1, SMALL_PAGE)
    reader, history = Reader(memory), History()
    taken: list[Record] = []
    seq = 0

    def look() -> None:
        nonlocal seq
        if history.seq != seq:
            seq = history.seq
            taken.clear()
        taken.extend(reader.take(seq))
        assert taken == history.records
        assert reader.begun(seq) == history.begun

    history.write(MortalWriter(memory, Fuse(1_000_000, look)), chunks, reader)


def test_a_chunk_counts_only_once_its_number_is_written(page: mmap.mmap, writer: Writer, reader: Reader) -> None:
    reader.expect()
    writer.open(1, 0)
    for count in (1, 2):
        writer.begin(count)
        writer.put(Kind.VALUE, b"old", 0)
    assert len(reader.take(1)) == 2
    reader.expect()
    # Killed before it took the next chunk: the page still tells of the one before.
    assert reader.take(2) == []
    assert reader.begun(2) == 0
    # Killed between resetting the words and writing the number: neither the old nor the new chunk has anything.
    for steps in range(6):
        with pytest.raises(KilledError):
            MortalWriter(page, Fuse(steps)).open(2, 0)
        assert reader.take(2) == []
        assert reader.begun(2) == 0
    writer.open(2, 0)
    assert reader.take(2) == []
    writer.begin(1)
    assert reader.begun(2) == 1


def test_records_keep_kind_and_payload(writer: Writer, reader: Reader) -> None:
    reader.expect()
    writer.open(1, 0)
    writer.put(Kind.VALUE, b"value", 0)
    writer.put(Kind.FAILURE, bytearray(b"failure"), 0)
    writer.put(Kind.BESIDE, b"", 0)
    writer.put(Kind.VALUE, memoryview(b"again"), 0)
    writer.put(Kind.RETRIABLE, b"retriable", 0)
    records = reader.take(1)
    assert records == [Value(b"value"), Failure(b"failure"), Beside(b""), Value(b"again"), Retriable(b"retriable")]
    assert [type(record) for record in records] == [Value, Failure, Beside, Value, Retriable]


def test_records_stay_when_the_page_is_written_again(writer: Writer, reader: Reader) -> None:
    reader.expect()
    writer.open(1, 0)
    writer.put(Kind.VALUE, b"first", 0)
    records = reader.take(1)
    reader.expect()
    writer.open(2, 0)
    writer.put(Kind.VALUE, b"other", 0)
    assert records == [Value(b"first")]
    assert reader.take(2) == [Value(b"other")]


def test_what_does_not_fit_is_refused_and_leaves_no_trace(writer: Writer, reader: Reader) -> None:
    reader.expect()
    writer.open(1, 0)
    assert not writer.put(Kind.VALUE, b"x" * PAGE_BYTES, 0)
    assert reader.take(1) == []
    assert writer.put(Kind.BESIDE, b"", 0)
    assert writer.put(Kind.VALUE, b"small", 0)
    assert reader.take(1) == [Beside(b""), Value(b"small")]


@pytest.mark.parametrize("size", [1, 7, 8, 9, 100, 1000, 4000, SMALL_PAGE])
def test_a_page_that_is_not_full_has_room_for_an_empty_record(size: int) -> None:
    memory = mmap.mmap(-1, SMALL_PAGE)
    writer, reader = Writer(memory), Reader(memory)
    reader.expect()
    writer.open(1, 0)
    put = beside = 0
    while not writer.full():
        if writer.put(Kind.VALUE, b"x" * size, 0):
            put += 1
        else:
            assert writer.put(Kind.BESIDE, b"", 0)
            beside += 1
    assert not writer.put(Kind.VALUE, b"x", 0)
    assert beside >= 500
    # All but what is kept for empty records is used.
    assert put * ((size + 15) & ~7) > SMALL_PAGE - FIRST - 4096 - (size + 15)
    assert len(reader.take(1)) == put + beside
    writer.open(2, 0)
    assert not writer.full()


def test_a_stop_is_for_one_chunk(writer: Writer, reader: Reader) -> None:
    writer.open(1, 0)
    assert not writer.stop_asked(1)
    reader.ask_stop(1)
    assert writer.stop_asked(1)
    assert not writer.stop_asked(2)
    writer.open(2, 0)
    assert not writer.stop_asked(2)


def test_a_stop_may_be_asked_before_the_chunk_is_taken(writer: Writer, reader: Reader) -> None:
    reader.ask_stop(1)
    writer.open(1, 0)
    assert writer.stop_asked(1)


def test_work_is_timed_from_the_opening_to_the_newest_result(writer: Writer, reader: Reader) -> None:
    writer.open(1, 5_000_000_000)
    assert reader.busy_seconds() == 0
    writer.put(Kind.VALUE, b"x", 5_500_000_000)
    writer.put(Kind.VALUE, b"x", 7_500_000_000)
    assert reader.busy_seconds() == 2.5
    writer.open(2, 9_000_000_000)
    assert reader.busy_seconds() == 0


def test_a_running_item_tells_since_when(writer: Writer, reader: Reader) -> None:
    writer.open(1, 0)
    assert reader.running(1) == (0, None)
    writer.begin(1)
    assert reader.running(1) == (1, None)  # its function is being loaded, which is not its time
    writer.note_time(2_500_000_000)
    assert reader.running(1) == (1, 2.5)
    writer.note_time(0)
    assert reader.running(1) == (1, None)  # its outcome is on its way


def test_a_time_is_of_the_chunk_that_was_sent_last(writer: Writer, reader: Reader) -> None:
    writer.open(1, 0)
    writer.begin(1)
    writer.note_time(2_500_000_000)
    assert reader.running(2) == (0, None)
    writer.open(2, 0)
    assert reader.running(2) == (0, None)
    writer.begin(1)
    assert reader.running(2) == (1, None)


def test_whenever_a_timed_writer_is_killed_no_item_runs_since_a_time_before_it(page: mmap.mmap) -> None:
    for steps in range(100):
        reader, writer = Reader(page), MortalWriter(page, Fuse(steps))
        begins = [0, 10, 20]
        try:
            writer.open(1, 0)
            for count in (1, 2):
                writer.begin(count)
                writer.note_time(begins[count] * 1_000_000_000)
                writer.note_time(0)
                writer.put(Kind.VALUE, b"x", 0)
        except KilledError:
            begun, since = reader.running(1)
            assert since is None or since >= begins[begun]
        else:
            return
        page[:64] = bytes(64)
    raise AssertionError("the writer never came to its end")


def test_a_fresh_page_says_nothing(reader: Reader) -> None:
    reader.expect()
    assert reader.take(1) == []
    assert reader.begun(1) == 0
    assert reader.running(1) == (0, None)
    assert reader.busy_seconds() == 0


def test_both_ends_let_go_of_the_page() -> None:
    memory = mmap.mmap(-1, PAGE_BYTES)
    writer, reader = Writer(memory), Reader(memory)
    writer.close()
    reader.close()  # unmaps it, which fails as long as anybody holds on to it
    assert memory.closed
