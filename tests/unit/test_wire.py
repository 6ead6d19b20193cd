"""Unit: messages to bytes and back, however the stream cuts them."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from procorch import _messages as m
from procorch._wire import FrameReader, WithDescriptor, encode

Message = m.ToWorker | m.FromWorker

SMALL_BUFFER = 1 << 16

words = st.integers(0, 2**64 - 1)
# Lengths around the half and the whole of the reader's small buffer decide where a body is put together.
sizes = st.one_of(
    st.integers(0, 100),
    st.sampled_from([SMALL_BUFFER // 2, SMALL_BUFFER, 3 * SMALL_BUFFER]).flatmap(
        lambda size: st.integers(size - 40, size + 40)
    ),
)
payloads = st.builds(lambda size, fill: bytes([fill]) * size, sizes, st.integers(0, 255))
messages: st.SearchStrategy[Message] = st.one_of(
    st.builds(m.Setup, payloads, words, words, st.integers(0, 2**32 - 1), st.text(max_size=20)),
    st.builds(m.Define, words, payloads),
    st.builds(m.Forget, words),
    st.builds(
        m.Run, words, words, st.sampled_from(m.Style), st.booleans(), st.lists(payloads, max_size=5), st.booleans()
    ),
    st.just(m.Stop()),
    st.just(m.Ready()),
    st.builds(m.SetupFailed, payloads),
    st.builds(m.Large, words, words, st.sampled_from(m.Kind), payloads),
    st.just(m.Noted()),
    st.builds(m.Ended, words, st.booleans()),
    st.builds(m.Finalized, payloads),
    st.builds(m.Levels, payloads),
    st.builds(m.Logged, words, words, payloads),
    st.builds(m.Share, words, st.text(max_size=10), payloads),
    st.builds(m.Unshare, words),
)


def to_bytes(*sent: Message) -> bytes:
    pieces = [piece for message in sent for piece in encode(message)]
    return b"".join(piece.data if isinstance(piece, WithDescriptor) else piece for piece in pieces)


def receive(reader: FrameReader, stream: bytes, cuts: Sequence[int]) -> list[Message]:
    """Play the socket: deliver the stream in pieces of these sizes, over and over."""
    seen: list[Message] = []
    at = turn = 0
    while at < len(stream):
        space = reader.space()
        count = min(cuts[turn % len(cuts)], len(space), len(stream) - at)
        assert count, "no space for the next byte"
        space[:count] = stream[at : at + count]
        seen += reader.filled(count)
        at += count
        turn += 1
    return seen


# Tiny pieces, but one of some size among them, so that long streams come to an end.
cut_lists = st.builds(
    lambda tiny, large: [*tiny, large], st.lists(st.integers(1, 100), max_size=5), st.integers(2000, 100_000)
)


@given(st.lists(messages, max_size=8), cut_lists)
@example([m.Run(1, 2, m.Style.MANY, True, [b"", b"", b""]), m.Run(2, 2, m.Style.ONE, False, [])], [1 << 20])
@example([m.Large(1, 0, m.Kind.VALUE, b"x" * SMALL_BUFFER), m.Ended(1)], [31, 1])
@example([m.Setup(b"", 2**64 - 1, 1), m.Define(0, b"")], [32])
@example([m.Run(1, 2, m.Style.ONE, stop, [], timed) for stop in (False, True) for timed in (False, True)], [1 << 20])
@example([m.Ended(1, worn=True), m.Finalized(b""), m.Ended(2, worn=False), m.Finalized(b"why")], [1 << 20])
def test_what_is_sent_arrives_wherever_it_is_cut(sent: list[Message], cuts: list[int]) -> None:
    assert receive(FrameReader(), to_bytes(*sent), cuts) == sent


def test_every_message_keeps_its_type() -> None:
    sent: list[Message] = [
        m.Setup(b"s"),
        m.Define(1, b"d"),
        m.Forget(1),
        m.Run(2**64 - 1, 3, m.Style.CALL, True, [b"a", b"", b"c"]),
        m.Stop(),
        m.Ready(),
        m.SetupFailed(b"f"),
        m.Large(1, 2, m.Kind.FAILURE, b"l"),
        m.Noted(),
        m.Ended(7),
        m.Levels(b"v"),
        m.Logged(3, 4, b"r"),
        m.Finalized(b"z"),
        m.Share(5, "group", b"h"),
        m.Unshare(5),
    ]
    seen = receive(FrameReader(), to_bytes(*sent), [1])
    # Tuples of different types may be equal.
    assert [type(message) for message in seen] == [type(message) for message in sent]
    assert seen == sent


def test_styles_and_kinds_arrive_as_members() -> None:
    stream = to_bytes(m.Run(1, 1, m.Style.MANY, False, []), m.Large(1, 0, m.Kind.RETRIABLE, b""))
    run, large = receive(FrameReader(), stream, [99])
    assert isinstance(run, m.Run)
    assert run.style is m.Style.MANY
    assert isinstance(large, m.Large)
    assert large.kind is m.Kind.RETRIABLE


def test_several_frames_in_one_piece() -> None:
    sent = [m.Ended(seq) for seq in range(1000)]
    reader = FrameReader()
    stream = to_bytes(*sent)
    space = reader.space()
    space[: len(stream)] = stream
    assert list(reader.filled(len(stream))) == sent


@given(st.lists(messages, max_size=3), messages, st.data())
def test_a_torn_last_frame_is_never_seen(whole: list[Message], last: Message, data: st.DataObject) -> None:
    torn = to_bytes(last)
    kept = data.draw(st.integers(0, len(torn) - 1))
    assert receive(FrameReader(), to_bytes(*whole) + torn[:kept], [4096]) == whole


def test_bodies_outlive_the_buffer_they_came_through() -> None:
    reader = FrameReader()
    (first,) = receive(reader, to_bytes(m.Setup(b"first")), [4096])
    receive(reader, to_bytes(*[m.Setup(b"later")] * 5000), [4096])
    assert first == m.Setup(b"first")


def test_pickles_are_sent_without_a_copy() -> None:
    payload = bytearray(b"x" * 1000)
    for message in (
        m.Setup(payload),
        m.Define(1, payload),
        m.SetupFailed(payload),
        m.Finalized(payload),
        m.Large(1, 0, m.Kind.VALUE, payload),
        m.Run(1, 1, m.Style.ONE, False, [payload]),
    ):
        assert encode(message)[1] is payload


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_pickles_may_be_any_bytes(kind: type[bytes | bytearray | memoryview]) -> None:
    assert receive(FrameReader(), to_bytes(m.Run(1, 1, m.Style.ONE, False, [kind(b"ab"), kind(b"")])), [7]) == [
        m.Run(1, 1, m.Style.ONE, False, [b"ab", b""])
    ]


def test_a_large_body_is_filled_in_place() -> None:
    reader = FrameReader()
    stream = to_bytes(m.Setup(b"x" * (1 << 20)))
    receive(reader, stream[:100_000], [SMALL_BUFFER])
    space = reader.space()
    # All that is missing, and the same memory each time: nothing is moved when more arrives.
    assert len(space) == len(stream) - 100_000
    body = space.obj
    list(reader.filled(1000))
    assert reader.space().obj is body


def test_a_small_body_in_many_pieces_is_moved_once() -> None:
    reader = FrameReader()
    stream = to_bytes(m.Setup(b"x" * 30_000))
    receive(reader, stream[:33], [33])
    places = []
    for byte in stream[33:-1]:
        space = reader.space()
        places.append(len(space))
        space[0] = byte
        assert list(reader.filled(1)) == []
    # Each byte goes behind the one before: the rest was moved to the front once, not at each piece.
    assert places == list(range(places[0], places[0] - len(places), -1))


def test_a_frame_of_unknown_type_is_an_error() -> None:
    with pytest.raises(ValueError, match="unknown type 255"):
        receive(FrameReader(), b"\xff" + bytes(31), [32])
