"""Pickling that lets other threads have their turn, for groups whose caller has an event loop to keep going.

``pickle.dumps`` is one call of C code, which holds the interpreter's lock to its end: a second for millions of
objects. Into a file whose ``write`` is Python code, a pickler hands over 64 kB at a time, and large bytes as they are;
at each of these calls other threads get the lock if they want it. For small items that takes a microsecond more.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Sequence
from itertools import pairwise

from typing_extensions import override

from procorch._buffers import LEAST, Callback, HasLarge, Pieces, refuse_large
from procorch._errors import NotPicklable, Task
from procorch._mentions import FRAMED, LARGE, WORD
from procorch._messages import PROTOCOL
from procorch._parcel import Data, Parcel
from procorch._pickles import Pickles


class GentlePickles(Pickles):
    """The pickles of one call."""

    @override
    def dumps(self, value: object, callback: Callback | None) -> bytes:
        return b"".join(_pieces(value, callback).pieces)

    @override
    def item(self, value: object, task: Callable[[], Task]) -> bytes | Parcel | NotPicklable:
        try:
            pieces = _pieces(value, refuse_large)
        except HasLarge:
            return self.large_item(value, task)
        except Exception as error:  # noqa: BLE001 - the user's __reduce__ may raise anything
            return self.otherwise_item(value, error, task)
        if mention_main(pieces.pieces):
            return self.otherwise_item(value, b"".join(pieces.pieces), task)
        if sum(map(len, pieces.pieces)) >= LEAST:
            return pieces.pack()
        return b"".join(pieces.pieces)


def _pieces(value: object, callback: Callback | None) -> Pieces:
    pieces = Pieces()
    pickle.Pickler(pieces, PROTOCOL, buffer_callback=callback).dump(value)
    return pieces


def mention_main(pieces: Sequence[Data]) -> bool:
    """Tell whether a pickle may name something in ``__main__``.

    Args:
        pieces (Sequence[Data]): The pickle, as a pickler has written it: an opcode is never divided, but for large
            data, which is a piece of its own.

    Returns:
        bool: False if it certainly does not.
    """
    if WORD in bytes(pieces[0]):
        return True
    return any(not _announces(before, len(piece)) and WORD in bytes(piece) for before, piece in pairwise(pieces))


def _announces(piece: Data, size: int) -> bool:
    """Whether a piece ends with the opcode of so much large data: to search that would take as long as to pickle it."""
    return size >= FRAMED and any(
        len(piece) > width and piece[-width - 1] == code and int.from_bytes(piece[-width:], "little") == size
        for code, width in LARGE.items()
    )
