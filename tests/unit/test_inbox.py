"""Unit: what a worker told by message, page and death, in every order in which it can arrive."""

from __future__ import annotations

import mmap

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from procorch import _messages as m
from procorch._events import (
    NO_REMAINS,
    ChunkEnded,
    Finalized,
    Looked,
    Recorded,
    Remains,
    SetupFailed,
    WorkerDied,
    WorkerEvent,
    WorkerReady,
)
from procorch._inbox import Inbox
from procorch._messages import Failure, Plain, Retriable, Value
from procorch._queue import PAGE_BYTES, Reader
from procorch._writer import Writer

SLOT = 3


@attrs.define
class Side:
    """Both sides of one worker, without the worker: `writer` plays it."""

    writer: Writer
    inbox: Inbox
    seq: int = 0
    position: int = 0

    @classmethod
    def new(cls) -> Side:
        page = mmap.mmap(-1, PAGE_BYTES)
        return cls(Writer(page), Inbox(SLOT, Reader(page)))

    def send(self) -> None:
        """Play the parent: send a chunk."""
        self.seq = self.inbox.expect()

    def take(self) -> None:
        """Play the worker: take it."""
        self.writer.open(self.seq, 1_000_000_000)
        self.position = 0

    def begin(self) -> None:
        self.position += 1
        self.writer.begin(self.position)

    def finish(self, payload: bytes, kind: m.Kind = m.Kind.VALUE) -> None:
        self.begin()
        assert self.writer.put(kind, payload, 1_500_000_000)

    def begin_large(self, payload: bytes, kind: m.Kind = m.Kind.VALUE) -> m.Large:
        self.begin()
        return m.Large(self.seq, self.position - 1, kind, payload)

    def note_large(self) -> None:
        assert self.writer.put(m.Kind.BESIDE, b"", 1_500_000_000)


@pytest.fixture
def side() -> Side:
    made = Side.new()
    made.send()
    made.take()
    return made


def recorded(*payloads: bytes) -> Recorded:
    return Recorded(SLOT, [Value(payload) for payload in payloads])


def test_getting_ready(side: Side) -> None:
    assert side.inbox.hear(m.Ready()) == [WorkerReady(SLOT)]
    assert side.inbox.hear(m.SetupFailed(b"why")) == [SetupFailed(SLOT, Failure(b"why"))]


def test_noted_brings_what_is_new(side: Side) -> None:
    assert side.inbox.hear(m.Noted()) == []
    side.finish(b"0")
    side.finish(b"1", m.Kind.FAILURE)
    (event,) = side.inbox.hear(m.Noted())
    assert event == Recorded(SLOT, [Value(b"0"), Failure(b"1")])
    assert isinstance(event, Recorded)
    assert not isinstance(event.outcomes, Plain)
    assert [type(outcome) for outcome in event.outcomes] == [Value, Failure]
    assert side.inbox.hear(m.Noted()) == []
    side.finish(b"2")
    assert side.inbox.hear(m.Noted()) == [recorded(b"2")]


def test_ended_brings_the_rest_before_the_end(side: Side) -> None:
    side.finish(b"0")
    assert side.inbox.hear(m.Ended(side.seq)) == [recorded(b"0"), ChunkEnded(SLOT, 0.5)]


def test_an_empty_chunk_ends_with_nothing(side: Side) -> None:
    assert side.inbox.hear(m.Ended(side.seq)) == [ChunkEnded(SLOT, 0.0)]


def test_a_large_result_waits_for_its_record(side: Side) -> None:
    large = side.begin_large(b"L")
    assert side.inbox.hear(large) == []
    assert side.inbox.look() == []
    side.note_large()
    assert side.inbox.look() == [recorded(b"L")]


def test_a_large_failure_is_a_failure(side: Side) -> None:
    large = side.begin_large(b"F", m.Kind.FAILURE)
    side.inbox.hear(large)
    side.note_large()
    (event,) = side.inbox.look()
    assert isinstance(event, Recorded)
    assert not isinstance(event.outcomes, Plain)
    assert [type(outcome) for outcome in event.outcomes] == [Failure]


def test_a_record_waits_for_the_large_result_and_holds_up_what_follows(side: Side) -> None:
    side.finish(b"0")
    large = side.begin_large(b"1")
    side.note_large()
    side.finish(b"2")
    # The page is seen at once; the socket has not been read yet.
    assert side.inbox.look() == [recorded(b"0")]
    assert side.inbox.look() == []
    assert side.inbox.hear(large) == []
    assert side.inbox.look() == [recorded(b"1", b"2")]


def test_death_while_an_item_runs(side: Side) -> None:
    side.finish(b"0")
    side.begin()
    assert side.inbox.died(-9, NO_REMAINS) == [recorded(b"0"), WorkerDied(SLOT, -9, 2)]


def test_death_between_sending_a_large_result_and_noting_it(side: Side) -> None:
    side.finish(b"0")
    side.inbox.hear(side.begin_large(b"1"))
    assert side.inbox.died(-9, NO_REMAINS) == [recorded(b"0"), recorded(b"1"), WorkerDied(SLOT, -9, 2)]


def test_death_before_a_large_result_was_sent_whole(side: Side) -> None:
    side.begin_large(b"torn, so never heard")
    assert side.inbox.died(-9, NO_REMAINS) == [WorkerDied(SLOT, -9, 1)]


def test_death_before_the_chunk_was_taken(side: Side) -> None:
    side.finish(b"0")
    side.inbox.hear(m.Ended(side.seq))
    side.send()
    assert side.inbox.look() == []
    assert side.inbox.died(-15, NO_REMAINS) == [WorkerDied(SLOT, -15, 0)]


def test_death_without_any_chunk() -> None:
    side = Side.new()
    assert side.inbox.died(None, NO_REMAINS) == [WorkerDied(SLOT, None, 0)]


def test_what_it_leaves_is_told_with_its_death(side: Side) -> None:
    remains = Remains("a stack", "a cause")
    assert side.inbox.died(-11, remains) == [WorkerDied(SLOT, -11, 0, remains)]


def test_ended_tells_of_wear(side: Side) -> None:
    assert side.inbox.hear(m.Ended(side.seq, True)) == [ChunkEnded(SLOT, 0.0, worn=True)]


def test_a_finalizer_s_end(side: Side) -> None:
    assert side.inbox.hear(m.Finalized(b"")) == [Finalized(SLOT, None)]
    assert side.inbox.hear(m.Finalized(b"why")) == [Finalized(SLOT, Failure(b"why"))]


@pytest.mark.parametrize("large", [False, True])
def test_what_is_worth_another_try_is_told_so(side: Side, large: bool) -> None:
    if large:
        side.inbox.hear(side.begin_large(b"R", m.Kind.RETRIABLE))
        side.note_large()
    else:
        side.finish(b"R", m.Kind.RETRIABLE)
    (event,) = side.inbox.look()
    assert isinstance(event, Recorded)
    assert not isinstance(event.outcomes, Plain)
    assert [type(outcome) for outcome in event.outcomes] == [Retriable]


def test_a_glance_tells_what_is_finished_before_what_runs(side: Side) -> None:
    side.finish(b"0")
    side.begin()
    side.writer.note_time(2_500_000_000)
    assert side.inbox.glance(stack=False) == [recorded(b"0"), Looked(SLOT, 2, 2.5, stack=False)]
    assert side.inbox.glance(stack=True) == [Looked(SLOT, 2, 2.5, stack=True)]


def test_a_glance_at_an_item_that_does_not_run_yet_or_any_more_knows_no_time(side: Side) -> None:
    side.begin()
    assert side.inbox.glance(stack=False) == [Looked(SLOT, 1, None, stack=False)]
    side.writer.note_time(2_500_000_000)
    side.writer.note_time(0)
    assert side.inbox.glance(stack=False) == [Looked(SLOT, 1, None, stack=False)]


def test_a_glance_at_a_chunk_that_was_not_taken_sees_nothing(side: Side) -> None:
    side.begin()
    side.writer.note_time(2_500_000_000)
    side.send()
    assert side.inbox.glance(stack=False) == [Looked(SLOT, 0, None, stack=False)]


def test_results_across_chunks(side: Side) -> None:
    for chunk in range(3):
        large = side.begin_large(b"large %d" % chunk)
        side.inbox.hear(large)
        side.note_large()
        side.finish(b"small %d" % chunk)
        events = side.inbox.hear(m.Ended(side.seq))
        assert events[0] == recorded(b"large %d" % chunk, b"small %d" % chunk)
        assert side.seq == chunk + 1
        side.send()
        assert side.inbox.look() == []
        side.take()
        assert side.inbox.look() == []


def test_withdraw_is_for_the_chunk_sent_last(side: Side) -> None:
    side.inbox.withdraw()
    assert side.writer.stop_asked(side.seq)
    side.inbox.hear(m.Ended(side.seq))
    side.send()
    assert not side.writer.stop_asked(side.seq)


@given(st.data())
def test_whatever_the_interleaving_each_outcome_arrives_once_and_in_order(data: st.DataObject) -> None:
    side = Side.new()
    heard: list[WorkerEvent] = []
    for _ in range(data.draw(st.integers(1, 3))):
        side.send()
        in_socket: list[m.FromWorker] = []
        before = len(heard)
        expected: list[bytes] = []

        def maybe_read(socket: list[m.FromWorker] = in_socket) -> None:
            """Play the parent, which does something, or nothing, at this moment."""
            action = data.draw(st.sampled_from(["nothing", "look", "read one", "read all"]))
            if action == "look":
                heard.extend(side.inbox.look())
            while socket and action in {"read one", "read all"}:
                heard.extend(side.inbox.hear(socket.pop(0)))
                if action == "read one":
                    break

        maybe_read()
        side.take()
        for index in range(data.draw(st.integers(0, 5))):
            payload = b"%d" % index
            if data.draw(st.booleans()):
                in_socket.append(side.begin_large(payload))
                maybe_read()
                side.note_large()
            else:
                side.finish(payload)
            expected.append(payload)
            maybe_read()
            if data.draw(st.booleans()):
                in_socket.append(m.Noted())
        in_socket.append(m.Ended(side.seq))
        while in_socket:
            heard.extend(side.inbox.hear(in_socket.pop(0)))
        *records, last = heard[before:]
        assert isinstance(last, ChunkEnded)
        outcomes: list[object] = []
        for event in records:
            assert isinstance(event, Recorded)
            assert not isinstance(event.outcomes, Plain)
            outcomes += event.outcomes
        assert outcomes == [Value(payload) for payload in expected]
