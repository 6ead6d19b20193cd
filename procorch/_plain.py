"""Plain data: what crosses many at a time, since no code of the user's has a hand in it and nothing in it can fail.

Numbers, short texts and the like, and flat tuples of them; of these very types, since a subclass may do anything. They
cannot be changed, so that it makes no difference whether two items share one.

Loaded in every worker.
"""

from __future__ import annotations

import marshal
from collections.abc import Sequence
from itertools import chain
from types import NoneType
from typing import Any, cast

from procorch._messages import Bytes, Kind

_FIXED = frozenset({int, float, bool, NoneType, complex})
_ATOMS = _FIXED | {str, bytes}
_MOST_CHARACTERS = 256
"""Of a text: longer ones gain nothing from company. A chunk of many of them would be large."""
_MOST_PARTS = 16
"""Of a tuple, for the same reason."""

_FORMAT = 2
"""Version of `marshal`: the last that writes each object by itself, without references to what came before it."""

KINDS: dict[type[object], Kind] = {
    int: Kind.INTS,
    float: Kind.FLOATS,
    bool: Kind.BOOLS,
    NoneType: Kind.NONES,
    str: Kind.MARSHALLED,
    bytes: Kind.MARSHALLED,
    complex: Kind.MARSHALLED,
    tuple: Kind.MARSHALLED,
}
"""How a result of a type is kept in the page, if it is plain."""


def is_plain(value: Any) -> bool:
    """Tell whether the arguments of one item, or its result, are plain data.

    Args:
        value (Any): Any of these.

    Returns:
        bool: As `are_plain` of it alone.
    """
    type_ = cast("type[object]", type(value))
    if type_ in _FIXED:
        return True
    if type_ is str or type_ is bytes:
        return len(value) <= _MOST_CHARACTERS
    return type_ is tuple and len(value) <= _MOST_PARTS and _are_atoms(value)


def are_plain(values: list[Any]) -> bool:
    """Tell whether arguments are plain data.

    Args:
        values (list[Any]): Those of each item.

    Returns:
        bool: Whether all of them are.
    """
    if _are_atoms(values):
        return True
    return (
        set(map(type, values)) == {tuple}
        and max(map(len, values)) <= _MOST_PARTS
        and _are_atoms(list(chain.from_iterable(values)))
    )


def _are_atoms(values: Sequence[Any]) -> bool:
    types = set(map(type, values))
    return types <= _FIXED or (types <= _ATOMS and _are_short(values))


def _are_short(values: Sequence[Any]) -> bool:
    return all(len(value) <= _MOST_CHARACTERS for value in values if type(value) is str or type(value) is bytes)


def marshal_one(value: Any) -> bytes | None:
    """Write one result as an item of a list.

    Args:
        value (Any): Any result.

    Returns:
        bytes | None: None if it is not plain.
    """
    return marshal.dumps(value, _FORMAT) if is_plain(value) else None


def read_run(kind: int, count: int, body: Bytes) -> list[Any]:
    """Read results of several items in a row.

    Args:
        kind (int): `Kind` of the run.
        count (int): How many.
        body (Bytes): What the run holds of these.

    Returns:
        list[Any]: The results.
    """
    match kind:
        case Kind.INTS:
            return memoryview(body).cast("q").tolist()
        case Kind.FLOATS:
            return memoryview(body).cast("d").tolist()
        case Kind.BOOLS:
            return memoryview(body).cast("?").tolist()
        case Kind.NONES:
            return [None] * count
        case _:
            values: list[Any] = marshal.loads(b"[" + count.to_bytes(4, "little") + body)
            return values
