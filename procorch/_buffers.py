"""Pickles whose large buffers go beside them: pickle protocol 5, out of band.

Small items are what counts here: for them it costs no more than a word to pickle, that a large buffer is to be refused.
Only when one is there, the object is pickled again, by a pickler that keeps its buffers. They go into a memfd, one for
each item; its descriptor crosses with the frame (see `_passing`). What stands in the frame:

    count of spans 8 | for each its offset and length 8 + 8 | the pickle, unless that is the first span

Loaded in every worker.
"""

from __future__ import annotations

import errno
import pickle
import struct
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias

from procorch._memory import into_file, into_memory, most
from procorch._messages import PROTOCOL
from procorch._parcel import Data, Parcel, held

LEAST = 1 << 19
"""Bytes from which on a buffer, or a whole pickle, goes into a file."""

_ALIGNED = 64
"""Buffers begin at multiples of it: a line of the processor's cache, and more than any element of an array needs."""

Callback: TypeAlias = Callable[[pickle.PickleBuffer], object]
"""As pickle wants it: what is true keeps the buffer in band."""

Write: TypeAlias = Callable[[Callback | None], bytes]
"""Pickles an object, with such a callback."""


class HasLarge(Exception):
    """The object has a large buffer."""


def refuse_large(buffer: pickle.PickleBuffer) -> bool:
    """Keep a buffer in band, as a callback for pickle.

    Args:
        buffer (pickle.PickleBuffer): Of the object.

    Returns:
        bool: True.

    Raises:
        HasLarge: It is too large for that.
    """
    if memoryview(buffer).nbytes >= LEAST:
        raise HasLarge
    return True


def dumps_plain(value: bytes | bytearray) -> bytes | Parcel:
    """Pickle large bytes, without a copy before they are in a file.

    Args:
        value (bytes | bytearray): At least `LEAST` of them.

    Returns:
        bytes | Parcel: A parcel if there is room.
    """
    pieces = Pieces()
    pickle.Pickler(pieces, PROTOCOL).dump(value)
    return pieces.pack()


def packed(write: Write) -> bytes | Parcel:
    """Pickle an object by a pickler of one's own.

    Args:
        write (Write): Called again if there is a large buffer, or no room for it.

    Returns:
        bytes | Parcel: A parcel if it is large.
    """
    try:
        plain = write(refuse_large)
    except HasLarge:
        return packed_apart(write)
    return shortened(plain)


def packed_apart(write: Write) -> bytes | Parcel:
    """The same of an object of which it is known that it has a large buffer.

    Args:
        write (Write): Called again if there is no room for it.

    Returns:
        bytes | Parcel: A parcel if there is room.
    """
    return write_apart(write) or write(None)


def shortened(plain: bytes) -> bytes | Parcel:
    """Put a large pickle into a file.

    Args:
        plain (bytes): Any pickle.

    Returns:
        bytes | Parcel: The same, if it is small or there is no room.
    """
    return plain if len(plain) < LEAST else pack([plain], []) or plain


def write_apart(
    write: Write,
    is_wanted: Callable[[bytes], bool] | None = None,
    *,
    least: int | None = None,
    alone: bool = False,
) -> Parcel | None:
    """Pickle an object with a large buffer.

    Args:
        write (Write): How.
        is_wanted (Callable[[bytes], bool] | None): Asked about the pickle without its buffers.
        least (int | None): Bytes from which on a buffer is large; None takes `LEAST`.
        alone (bool): As for `pack`.

    Returns:
        Parcel | None: None if it is not wanted, or there is no room.
    """
    taken = Taken(LEAST if least is None else least)
    head = write(taken)
    if is_wanted is not None and not is_wanted(head):
        return None
    return pack([head], taken.views, alone=alone)


class Taken:
    """Keeps the large buffers of an object, as a callback for pickle."""

    def __init__(self, least: int) -> None:
        """Begin.

        Args:
            least (int): Bytes from which on a buffer is large.
        """
        self._least = least
        self.views: list[memoryview] = []
        """Those kept, in their order; of this very memory of the object."""

    def __call__(self, buffer: pickle.PickleBuffer) -> bool:
        """Take a buffer, if it is large.

        Args:
            buffer (pickle.PickleBuffer): Of the object.

        Returns:
            bool: Whether it stays in band.
        """
        if memoryview(buffer).nbytes < self._least:
            return True
        self.views.append(buffer.raw())
        return False


class Pieces:
    """A file for a pickler, which takes large bytes as they are."""

    def __init__(self) -> None:
        self.pieces: list[Data] = []

    def write(self, piece: Data) -> int:
        """Take a piece.

        Args:
            piece (Data): Of the pickle.

        Returns:
            int: All of it.
        """
        self.pieces.append(piece)
        return len(piece)

    def pack(self) -> bytes | Parcel:
        """Put the pickle into a file.

        Returns:
            bytes | Parcel: In one piece, if there is no room.
        """
        return pack(self.pieces, []) or b"".join(self.pieces)


def loads(payload: Data | Parcel) -> Any:
    """Rebuild an object.

    Args:
        payload (Data | Parcel): Its pickle.

    Returns:
        Any: The object.

    Raises:
        Exception: What pickle, or an object's own code, raises.
    """
    return _load(payload) if isinstance(payload, Parcel) else pickle.loads(payload)


def _load(parcel: Parcel) -> Any:
    if parcel.descriptor is None:
        raise OSError(errno.EMFILE, "the process that was to get it has too many open files")
    spans, start = spans_of(parcel.text)
    descriptor = parcel.descriptor
    memory = descriptor.memory or into_memory(descriptor.fd, _end_of(spans), lasting=parcel.lasting)
    if parcel.once:
        parcel.descriptor = None
    buffers = (memory[begin:end] for begin, end in spans)
    text = memoryview(parcel.text)
    head = text[start:] if start < len(text) else next(buffers)
    return pickle.loads(head, buffers=buffers)


def _end_of(spans: list[tuple[int, int]]) -> int:
    # Of an object that has no large buffer any more when it is pickled again, there are none.
    return max((stop for _, stop in spans), default=0)


def spans_of(text: Data) -> tuple[list[tuple[int, int]], int]:
    """Read where the buffers are, and where the rest of the text begins.

    Args:
        text (Data): Of a parcel.

    Returns:
        tuple[list[tuple[int, int]], int]: Where each begins and ends in the file, and where the text goes on.
    """
    (count,) = struct.unpack_from("=Q", text)
    words = struct.unpack_from(f"={2 * count}Q", text, 8)
    return [(begin, begin + length) for begin, length in zip(words[::2], words[1::2], strict=True)], 8 + 16 * count


def pack(head: Sequence[Data], buffers: Iterable[Data], *, alone: bool = False) -> Parcel | None:
    """Write a pickle's buffers to a file.

    Args:
        head (Sequence[Data]): The pickle, in pieces.
        buffers (Iterable[Data]): Its buffers, in their order.
        alone (bool): Whether the frame is to be as short as can be, and it does not matter how many others there are.

    Returns:
        Parcel | None: None if the system has no such files, or no room.
    """
    if len(held) >= most() and not alone:
        return None
    inside = alone or sum(map(len, head)) >= LEAST
    spans: list[int] = []
    pieces: list[tuple[int, Data]] = []
    at = 0
    if inside:
        for piece in head:
            pieces.append((at, piece))
            at += len(piece)
        spans += (0, at)
    for buffer in buffers:
        at = -(-at // _ALIGNED) * _ALIGNED
        pieces.append((at, buffer))
        spans += (at, len(buffer))
        at += len(buffer)
    descriptor = into_file(pieces, lasting=alone)
    if descriptor is None:
        return None
    table = struct.pack(f"={1 + len(spans)}Q", len(spans) // 2, *spans)
    return Parcel(table if inside else b"".join((table, *head)), descriptor)
