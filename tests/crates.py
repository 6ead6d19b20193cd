"""What tests of engines share: chunks as they cross, made by hand."""

from __future__ import annotations

import itertools
import pickle
from collections.abc import Callable, Sequence
from typing import Any

import targets

from procorch import _messages as m
from procorch._assignments import Answer, Assignment, Returned, Sent
from procorch._buffers import loads
from procorch._crates import Carried, pack, unpack
from procorch._engine import Chunk, Function
from procorch._outcome import pack as pickled

_numbers = itertools.count(1)
_keys: dict[object, int] = {}
_engines = ["engine"]


def engine_id() -> str:
    """Of the chunks that are made now."""
    return _engines[-1]


def new_engine() -> str:
    """Let the chunks from now on be another engine's."""
    _engines.append(f"engine-{len(_engines)}")
    return engine_id()


def sent(function: Callable[..., Any], key: int | None = None, *, by_reference: bool = True) -> Sent:
    if key is None:
        key = _keys.setdefault(function, len(_keys) + 100)
    return Sent(key, pickle.dumps(function), by_reference, function.__qualname__)


def assignment(fn: Callable[..., Any], items: Sequence[Any] | m.Pack, /, **changes: Any) -> Assignment:
    """A chunk with a number that no other has."""
    given: Sequence[Carried] | m.Pack = items if isinstance(items, m.Pack) else [pack(pickled(one)) for one in items]
    whole = Assignment(engine_id(), next(_numbers), sent(fn), m.Style.ONE, False, given, None, None)
    return whole._replace(**changes)


def chunk(items: int = 3, function: bytes | None = None) -> Chunk:
    """One as the scheduler sends it; of a function with that pickle."""
    payload = pickle.dumps(targets.doubler) if function is None else function
    given = [pickled(number) for number in range(items)]
    return Chunk(Function(1, payload, "targets.doubler"), m.Style.ONE, False, given)


def plain(*items: Any) -> m.Pack:
    """Arguments that cross in one pickle."""
    return m.Pack(len(items), pickle.dumps(list(items)))


def values(answer: Answer) -> list[Any]:
    """What became of the items: results, and what stands for others as it is."""
    found: list[Any] = []
    for one in answer.outcomes:
        if isinstance(one, list):
            found += one
        else:
            found.append(loads(unpack(one.payload)) if isinstance(one, Returned) else one)
    return found
