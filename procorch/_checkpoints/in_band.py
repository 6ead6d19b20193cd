"""Results as they are recorded: pickles in one piece, which plain `pickle.loads` reads in any later process.

What came as a pickle with its large buffers beside it is put together without being opened: each place where the pickle
takes the next buffer gets that buffer's bytes instead. So none of the user's code runs. What holds objects of a main
module's classes, however, names these as only this process and its workers know them: it is opened, and pickled anew.
"""

from __future__ import annotations

import pickle
import pickletools
import struct
from typing import NamedTuple

from procorch._buffers import spans_of
from procorch._memory import into_memory
from procorch._messages import PROTOCOL, Bytes
from procorch._parcel import Data, Descriptor, Parcel
from procorch._values import cloudpickle

_KNOWN_HERE = b"procorch._tokens"
"""In a pickle: what names classes and functions for the length of a process."""


class Beside(NamedTuple):
    """A parcel, held so that it can be read even when its receiver has let go of the file."""

    text: Data
    descriptor: Descriptor | None

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return max(stop for _, stop in spans_of(self.text)[0]) if self.descriptor is not None else 0


def hold(payload: Bytes | Parcel) -> bytes | Beside:
    """Hold a result until it is recorded.

    Args:
        payload (Bytes | Parcel): Its pickle, before anybody has opened it.

    Returns:
        bytes | Beside: For `in_one`.
    """
    return Beside(payload.text, payload.descriptor) if isinstance(payload, Parcel) else bytes(payload)


def lasting(held: bytes | Beside) -> bytes:
    """Give a pickle that any later process can read, if it has the classes.

    Args:
        held (bytes | Beside): From `hold`.

    Returns:
        bytes: For `pickle.loads`. By name what is of a main module; by value what has no name.

    Raises:
        Exception: Its buffers were lost on the way; or what the user's code raises.
    """
    data = in_one(held)
    if _KNOWN_HERE not in data:
        return data
    value = pickle.loads(data)
    try:
        return pickle.dumps(value, PROTOCOL)
    except Exception:
        by_value = cloudpickle()
        if by_value is None:
            raise
        again: bytes = by_value.dumps(value, PROTOCOL)
        return again


def in_one(held: bytes | Beside) -> bytes:
    """Give the pickle in one piece.

    Args:
        held (bytes | Beside): From `hold`.

    Returns:
        bytes: For `pickle.loads`.

    Raises:
        OSError: Its buffers were lost on the way.
    """
    if isinstance(held, bytes):
        return held
    file = held.descriptor
    if file is None:
        raise OSError("too many files were open when it came")
    spans, start = spans_of(held.text)
    memory = file.memory or into_memory(file.fd, held.size)
    buffers = [memory[begin:end] for begin, end in spans]
    text = memoryview(held.text)
    return _joined(bytes(text[start:] if start < len(text) else buffers.pop(0)), buffers)


def _joined(head: bytes, buffers: list[memoryview]) -> bytes:
    if not buffers:
        return head
    pieces: list[bytes | memoryview] = []
    rest = iter(buffers)
    at = 0
    for code, _, position in pickletools.genops(head):
        if code.name not in {"NEXT_BUFFER", "READONLY_BUFFER", "FRAME"}:
            continue
        assert position is not None
        pieces.append(head[at:position])
        at = position + (9 if code.name == "FRAME" else 1)  # frames, whose lengths change, are no more than a help
        if code.name == "NEXT_BUFFER":
            buffer = next(rest)
            read_only = head[at : at + 1] == pickle.READONLY_BUFFER
            pieces.append((pickle.BINBYTES8 if read_only else pickle.BYTEARRAY8) + struct.pack("<Q", len(buffer)))
            pieces.append(buffer)
    pieces.append(head[at:])
    return b"".join(pieces)
