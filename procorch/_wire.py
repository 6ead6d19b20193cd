"""Messages to bytes and back. Nothing here waits, and nothing here looks into a pickle.

A frame is a fixed header and a body. The body is opaque: which item a pickle belongs to stands in the header, so a
pickle that cannot be read costs its own item only, wherever it is read.

    header (32 bytes): type 1 | style or kind 1 | flags 2 | count 4 | a 8 | b 8 | length of the body 8
    body of `Run`:     count lengths of 8 bytes each, then the pickles one after the other; of a `Pack`, its pickle

Of a parcel, what stands in its frame is sent together with its descriptor. A length with its highest bit set, or a
`Large` with a count of 1, tells the reader to take the next descriptor that has come. Loaded in every worker.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Iterator, Sequence
from itertools import accumulate, pairwise
from typing import NamedTuple, assert_never

from procorch._messages import (
    Allow,
    Bytes,
    Cease,
    Define,
    Ended,
    Finalized,
    Forget,
    FromWorker,
    Kind,
    Large,
    Levels,
    Logged,
    Noted,
    Pack,
    Payload,
    Post,
    Ready,
    Run,
    Serving,
    Setup,
    SetupFailed,
    Share,
    Stop,
    Style,
    Taken,
    ToWorker,
    Unshare,
)
from procorch._parcel import Descriptor, Parcel

_HEADER = struct.Struct("=BBHIQQQ")
_SETUP, _DEFINE, _FORGET, _RUN, _STOP, _READY, _SETUP_FAILED, _LARGE, _NOTED, _ENDED = range(10)
_FINALIZED, _LEVELS, _LOGGED, _SHARE, _UNSHARE = range(10, 15)
_CEASE, _POST, _ALLOW, _TAKEN, _SERVING = range(15, 20)

_PARCEL = 1 << 63


class WithDescriptor(NamedTuple):
    """Bytes that are sent together with a descriptor."""

    data: Bytes
    descriptor: Descriptor


Piece = Bytes | WithDescriptor
"""What is sent, one after the other."""


def encode(message: ToWorker | FromWorker) -> list[Piece]:
    """Turn a message into the buffers to send, in order, without copying its pickles.

    Args:
        message (ToWorker | FromWorker): Any message.

    Returns:
        list[Piece]: The header first.
    """
    match message:
        case Run(seq, key, style, stop_on_error, Pack() as pack, timed, talks):
            flags = stop_on_error | timed << 1 | 1 << 2 | talks << 3
            return [_HEADER.pack(_RUN, style, flags, pack.items, seq, key, len(pack.payload)), pack.payload]
        case Run(seq, key, style, stop_on_error, items, timed, talks):
            assert not isinstance(items, Pack)
            count = len(items)
            lengths = [len(item) for item in items]
            parcels = Parcel in map(type, items)
            table = struct.pack(f"={count}Q", *(_marked(items) if parcels else lengths))
            flags = stop_on_error | timed << 1 | talks << 3
            header = _HEADER.pack(_RUN, style, flags, count, seq, key, len(table) + sum(lengths))
            return [header + table, *map(_piece, items)] if parcels else [header + table, *items]  # type: ignore[list-item]
        case Define(key, payload):
            return [_HEADER.pack(_DEFINE, 0, 0, 0, key, 0, len(payload)), payload]
        case Setup(payload, most_memory, memory_limit, threads, library):
            path = library.encode("utf-8", "surrogatepass")
            length = len(path) + len(payload)
            return [_HEADER.pack(_SETUP, 0, len(path), threads, most_memory, memory_limit, length) + path, payload]
        case Share(key, group, payload):
            name = group.encode("utf-8", "surrogatepass")
            parcel = type(payload) is Parcel
            header = _HEADER.pack(_SHARE, 0, 0, parcel, key, len(name), len(name) + len(payload))
            return [header + name, _piece(payload)]
        case Unshare(key):
            return [_HEADER.pack(_UNSHARE, 0, 0, 0, key, 0, 0)]
        case Forget(key):
            return [_HEADER.pack(_FORGET, 0, 0, 0, key, 0, 0)]
        case Stop():
            return [_HEADER.pack(_STOP, 0, 0, 0, 0, 0, 0)]
        case Ready():
            return [_HEADER.pack(_READY, 0, 0, 0, 0, 0, 0)]
        case SetupFailed(payload):
            return [_HEADER.pack(_SETUP_FAILED, 0, 0, 0, 0, 0, len(payload)), payload]
        case Large(seq, position, kind, payload):
            parcel = type(payload) is Parcel
            return [_HEADER.pack(_LARGE, kind, 0, parcel, seq, position, len(payload)), _piece(payload)]
        case Noted():
            return [_HEADER.pack(_NOTED, 0, 0, 0, 0, 0, 0)]
        case Ended(seq, worn):
            return [_HEADER.pack(_ENDED, 0, worn, 0, seq, 0, 0)]
        case Finalized(payload):
            return [_HEADER.pack(_FINALIZED, 0, 0, 0, 0, 0, len(payload)), payload]
        case Levels(payload):
            return [_HEADER.pack(_LEVELS, 0, 0, 0, 0, 0, len(payload)), payload]
        case Logged(seq, begun, payload):
            return [_HEADER.pack(_LOGGED, 0, 0, 0, seq, begun, len(payload)), payload]
        case Cease():
            return [_HEADER.pack(_CEASE, 0, 0, 0, 0, 0, 0)]
        case Post(payload, taken):
            return [_HEADER.pack(_POST, 0, 0, type(payload) is Parcel, taken, 0, len(payload)), _piece(payload)]
        case Allow(total):
            return [_HEADER.pack(_ALLOW, 0, 0, total < 0, abs(total), 0, 0)]
        case Taken(total):
            return [_HEADER.pack(_TAKEN, 0, 0, 0, total, 0, 0)]
        case Serving():
            return [_HEADER.pack(_SERVING, 0, 0, 0, 0, 0, 0)]
        case _:
            assert_never(message)


def _marked(items: Sequence[Payload]) -> list[int]:
    """Give the lengths of items, those of parcels with their mark."""
    return [len(item) | _PARCEL if type(item) is Parcel else len(item) for item in items]


def _piece(payload: Payload) -> Piece:
    if type(payload) is not Parcel:
        return payload  # type: ignore[return-value]
    assert payload.descriptor is not None  # one that was made here
    return WithDescriptor(payload.text, payload.descriptor)


def _decode(header: tuple[int, ...], body: memoryview, descriptors: deque[Descriptor | None]) -> ToWorker | FromWorker:
    type_, extra, flag, count, a, b, _ = header
    match type_:
        case 3:  # _RUN; patterns take literals only
            items: list[Payload] | Pack
            if flag & 4:
                items = Pack(count, body)
            else:
                start = 8 * count
                lengths = body[:start].cast("Q")
                parcels = bool(count) and max(lengths) >= _PARCEL
                ends = list(
                    accumulate((length & ~_PARCEL for length in lengths) if parcels else lengths, initial=start)
                )
                items = [body[begin:end] for begin, end in pairwise(ends)]
                if parcels:
                    items = [
                        Parcel.received(item, descriptors.popleft()) if length >= _PARCEL else item  # type: ignore[arg-type]
                        for item, length in zip(items, lengths, strict=True)
                    ]
            return Run(a, b, Style(extra), bool(flag & 1), items, bool(flag & 2), bool(flag & 8))
        case 0:
            return Setup(body[flag:], a, b, count, str(body[:flag], "utf-8", "surrogatepass"))
        case 1:
            return Define(a, body)
        case 2:
            return Forget(a)
        case 4:
            return Stop()
        case 5:
            return Ready()
        case 6:
            return SetupFailed(body)
        case 7:
            return Large(a, b, Kind(extra), Parcel.received(body, descriptors.popleft()) if count else body)
        case 8:
            return Noted()
        case 9:
            return Ended(a, bool(flag))
        case 10:
            return Finalized(body)
        case 11:
            return Levels(body)
        case 12:
            return Logged(a, b, body)
        case 13:
            name, rest = str(body[:b], "utf-8", "surrogatepass"), body[b:]
            return Share(a, name, Parcel.received(rest, descriptors.popleft()) if count else rest)
        case 14:
            return Unshare(a)
        case 15:
            return Cease()
        case 16:
            return Post(Parcel.received(body, descriptors.popleft()) if count else body, a)
        case 17:
            return Allow(-a if count else a)
        case 18:
            return Taken(a)
        case 19:
            return Serving()
        case _:
            raise ValueError(f"a frame of unknown type {type_}")


class FrameReader:
    """Puts frames together from the pieces in which a stream delivers them.

    Whoever owns the socket fills `space` and reports with `filled`; a frame that never becomes whole is never seen.
    """

    __slots__ = ("_body", "_filled", "_header", "_small", "_start", "_stop", "descriptors")

    def __init__(self) -> None:
        """Begin between two frames."""
        # Small frames come many at a time through this buffer; a large body gets one of its own, filled in place.
        self._small = bytearray(1 << 16)
        self._start: int = 0
        self._stop = 0
        self._header: tuple[int, ...] | None = None
        self._body: bytearray | None = None
        self._filled: int = 0
        self.descriptors: deque[Descriptor | None] = deque()
        """Those that have come, in their order, until the frames that they belong to are whole; None is one that was
        lost."""

    def space(self) -> memoryview:
        """Give the place where the next bytes belong.

        Returns:
            memoryview: Never empty; fill from its start, any amount.
        """
        if self._body is not None:
            return memoryview(self._body)[self._filled :]
        if self._start:
            # Move the rest of an unfinished frame to the front. It is less than a small frame.
            rest = self._small[self._start : self._stop]
            self._small[: len(rest)] = rest
            self._start, self._stop = 0, len(rest)
        return memoryview(self._small)[self._stop :]

    def filled(self, count: int) -> Iterator[ToWorker | FromWorker]:
        """Take in that ``count`` bytes were put into `space`.

        Args:
            count (int): At least 1.

        Yields:
            ToWorker | FromWorker: Each message that has become whole.
        """
        if self._body is not None:
            self._filled += count
            if self._filled == len(self._body):
                yield self._finish(memoryview(self._body))
            return
        self._stop += count
        while self._body is None:
            have = self._stop - self._start
            if self._header is None:
                if have < _HEADER.size:
                    return
                self._header = _HEADER.unpack_from(self._small, self._start)
                self._start += _HEADER.size
                have -= _HEADER.size
            length = self._header[-1]
            if have >= length:
                start = self._start
                self._start += length
                # A copy: the small buffer is used again, and messages keep their bodies.
                yield self._finish(memoryview(self._small[start : start + length]))
            elif length <= len(self._small) // 2:
                return
            else:
                body = bytearray(length)
                body[:have] = self._small[self._start : self._stop]
                self._body, self._filled = body, have
                self._start = self._stop = 0

    def _finish(self, body: memoryview) -> ToWorker | FromWorker:
        header = self._header
        assert header is not None
        self._header = self._body = None
        return _decode(header, body, self.descriptors)
