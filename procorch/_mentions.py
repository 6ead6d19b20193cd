"""Whether a pickle names something in ``__main__``, and what. In the parent.

By the end of the word, since to look for it is all that small pickles have time for; large data is jumped over.
"""

from __future__ import annotations

import io
import pickle
import types
from typing import Any

from procorch._main import NAME
from procorch._messages import PROTOCOL

MAIN = ("__main__", NAME)
"""The names of the caller's module: its own, and the one that it has in a worker that has imported it."""

WORD = b"_main__"
"""The end of both names. What names something contains one of them; so may other data."""

SHORTEST = 29
"""Bytes of the shortest pickle that names something: to search one takes as long as to make it."""

_FRAME = 0x95
FRAMED = 1 << 16
"""Bytes of a pickle from which on it has several frames, and large objects outside of them."""
LARGE = {ord("B"): 4, 0x8E: 8, ord("X"): 4, 0x8D: 8, 0x96: 8}
"""The codes of bytes, str and bytearray, and the width of the length that follows."""
_SHORT = b"(aetu}])\x85\x86\x87\x8f\x90\x94"
"""Codes without arguments that may stand between two large objects."""


def mentions_main(payload: bytes) -> bool:
    """Tell whether a pickle may name something in ``__main__``.

    Args:
        payload (bytes): The pickle, of protocol 5.

    Returns:
        bool: False if it certainly does not.
    """
    if len(payload) < FRAMED:
        return WORD in payload
    # Large data is jumped over: to search it would take as long as it took to pickle it.
    at = 2
    while at < len(payload):
        code = payload[at]
        if code == _FRAME:
            start = at + 9
            at = start + int.from_bytes(payload[at + 1 : start], "little")
            if payload.find(WORD, start, at) >= 0:
                return True
        elif code in LARGE:
            start = at + 1 + LARGE[code]
            at = start + int.from_bytes(payload[at + 1 : start], "little")
        elif code in _SHORT:
            at += 1
        else:
            return payload.find(WORD, at) >= 0
    return False


def names_in_main(value: object) -> list[str]:
    """Find what a pickle names in ``__main__``.

    Args:
        value (object): Something that pickle can do.

    Returns:
        list[str]: Names of functions and classes; empty if ``__main__`` is mere data in it.
    """
    found: list[str] = []
    _NamingPickler(found).dump(value)
    return found


class _NamingPickler(pickle.Pickler):
    """Notes the functions and classes of ``__main__``."""

    def __init__(self, found: list[str]) -> None:
        super().__init__(io.BytesIO(), PROTOCOL)
        self._found = found

    def reducer_override(self, obj: object) -> Any:
        named = obj if isinstance(obj, (type, types.FunctionType)) else type(obj)
        if named.__module__ in MAIN:
            self._found.append(f"__main__.{named.__qualname__}")
        return NotImplemented
