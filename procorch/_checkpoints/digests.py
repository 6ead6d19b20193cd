"""Fingerprints of items: the same for the same value in every run, whichever objects it is made of.

Plain data by what it says, sets in an order of their own; other objects by their pickles, which an object that holds a
set may write differently in each process.
"""

from __future__ import annotations

import hashlib
import marshal
import pickle
from types import NoneType
from typing import Any, cast

from procorch._messages import PROTOCOL
from procorch._plain import is_plain

BYTES = 16
"""Of a fingerprint: by chance, two differ by less once in more items than there will ever be."""

_FORMAT = 2
"""Version of `marshal`: the last without references, which tell whether two equal objects are one."""

_ATOMS = {int, float, bool, NoneType, complex, str, bytes}


def new() -> hashlib.blake2b:
    """Begin a fingerprint.

    Returns:
        hashlib.blake2b: Of `BYTES` bytes.
    """
    return hashlib.blake2b(digest_size=BYTES)


def digest_of(value: Any) -> bytes | None:
    """Give the fingerprint of an item.

    Args:
        value (Any): Anything.

    Returns:
        bytes | None: None if it has none: it cannot be pickled.
    """
    if is_plain(value):
        return hashlib.blake2b(marshal.dumps(value, _FORMAT), digest_size=BYTES).digest()
    try:
        found = new()
        _add(found, value)
    except RecursionError:
        found = new()  # a list that holds itself, for one: pickle knows how
        try:
            _add_pickle(found, value)
        except Exception:  # noqa: BLE001 - as below
            return None
    except Exception:  # noqa: BLE001 - the user's __reduce__ may raise anything
        return None
    return found.digest()


def _add(found: hashlib.blake2b, value: Any) -> None:
    kind = cast("Any", type(value))
    if kind in _ATOMS:
        data = marshal.dumps(value, _FORMAT)
        found.update(b"m%d:" % len(data))
        found.update(data)
    elif kind is tuple or kind is list:
        found.update(b"%s%d:" % (b"t" if kind is tuple else b"l", len(value)))
        for part in value:
            _add(found, part)
    elif kind is dict:
        found.update(b"d%d:" % len(value))
        for key, part in value.items():
            _add(found, key)
            _add(found, part)
    elif kind is set or kind is frozenset:
        found.update(b"%s%d:" % (b"s" if kind is set else b"f", len(value)))
        for part in sorted(map(_digest, value)):
            found.update(part)
    else:
        _add_pickle(found, value)


def _digest(value: object) -> bytes:
    found = new()
    _add(found, value)
    return found.digest()


def _add_pickle(found: hashlib.blake2b, value: object) -> None:
    buffers: list[pickle.PickleBuffer] = []
    data = pickle.dumps(value, PROTOCOL, buffer_callback=buffers.append)
    found.update(b"p%d:" % len(data))
    found.update(data)
    for buffer in buffers:
        view = buffer.raw()
        found.update(b"b%d:" % len(view))
        found.update(view)
