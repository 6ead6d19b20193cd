"""Functions and classes that travel by value, where their names mean nothing on the other side. Needs cloudpickle.

Used on both sides. cloudpickle takes functions and classes apart; what is added here is how classes cross:

- A class gets a token where it is defined, and is found by it wherever it has been before. So an instance that went to
  a worker and comes back is of the very class it was of, and a pickle never changes a class in the process that
  defined it: what was set on it meanwhile stays.
- A class is written once into the pickle of a call's function, or else once into a pickle of its own (`load_class`),
  and named by its token in the items. cloudpickle alone takes ten times as long for an item, and sets
  everything that the class holds anew with each.

Loaded in a worker only when something needs it, and imports nothing of ours.
"""

from __future__ import annotations

import functools
import importlib
import io
import os
import pickle
import threading
from collections.abc import Callable
from typing import Any, TypeAlias

Reference: TypeAlias = tuple[Callable[..., type], tuple[Any, ...]]
"""What is written in the place of a class: what finds it on the other side, and the arguments for that."""

_PROTOCOL = 5
"""As `_outcome.PROTOCOL`."""

_MOST_CLASSES = 1024
"""Classes that a process remembers, so that one that a notebook defines again and again is forgotten some day."""


@functools.cache
def cloudpickle() -> Any:
    """Load cloudpickle.

    Returns:
        Any: The module; None if it is not installed.
    """
    try:
        return importlib.import_module("cloudpickle")
    except ImportError:
        return None


class ValuePickler(pickle.Pickler):
    """Writes by value what cannot be imported. Make one only if `cloudpickle` gives something."""

    def __init__(
        self,
        file: io.BytesIO,
        references: dict[type, Reference],
        *,
        apart: bool = False,
        first: Callable[[object], Any] | None = None,
    ) -> None:
        """Begin.

        Args:
            file (io.BytesIO): Where to write.
            references (dict[type, Reference]): Classes that the other side knows; gets those that it will know.
            apart (bool): Give each further class a pickle of its own.
            first (Callable[[object], Any] | None): Asked before, as a `reducer_override`.
        """
        super().__init__(file, _PROTOCOL)
        # It is asked how to reduce things, and writes nothing itself.
        self._cloud = cloudpickle().Pickler(io.BytesIO(), _PROTOCOL)
        self.dispatch_table = _dispatch_table()
        self._references = references
        self._apart = apart
        self._first = first

    def reducer_override(self, obj: object) -> Any:
        """Say how to write an object; pickle asks it.

        Args:
            obj (object): Of no built-in type.

        Returns:
            Any: As of `object.__reduce_ex__`; NotImplemented leaves it to pickle.
        """
        if self._first is not None:
            reduced = self._first(obj)
            if reduced is not NotImplemented:
                return reduced
        if isinstance(obj, type):
            return self._references.get(obj) or self._reduce_class(obj)
        return self._cloud.reducer_override(obj)

    def _reduce_class(self, cls: type) -> Any:
        with _lock:
            reduced: Any = self._cloud.reducer_override(cls)
        if reduced is NotImplemented or len(reduced) < 6:
            return reduced  # it can be imported, or is a built-in one that has no name
        token = _token_of(cls)
        if self._apart:
            reference = self._references[cls] = (load_class, (token, dumps(cls, {})))
            return reference
        make, args, state, _, _, set_state = reduced
        self._references[cls] = (known_class, (token,))
        return make_class, (token, make, args), (set_state, state), None, None, fill_class


@functools.cache
def _dispatch_table() -> dict[type, Any]:
    table = dict(cloudpickle().Pickler.dispatch_table)
    # It would send the text of an open file in the place of the file.
    del table[io.TextIOWrapper]
    return table


def dumps(value: object, references: dict[type, Reference], *, apart: bool = False) -> bytes:
    """Pickle by value what cannot be imported.

    Args:
        value (object): Anything.
        references (dict[type, Reference]): As for `ValuePickler`.
        apart (bool): As for `ValuePickler`.

    Returns:
        bytes: The pickle.

    Raises:
        Exception: What pickle, or an object's own code, raises.
    """
    file = io.BytesIO()
    # A copy: a pickle that fails half-way has told the other side nothing.
    names = dict(references)
    ValuePickler(file, names, apart=apart).dump(value)
    references.update(names)
    return file.getvalue()


def reply(value: object, first: Callable[[object], Any] | None = None) -> bytes:
    """Pickle by value what cannot be imported, for the process that classes here come from.

    Args:
        value (object): Anything.
        first (Callable[[object], Any] | None): As for `ValuePickler`.

    Returns:
        bytes: The pickle.

    Raises:
        Exception: What pickle, or an object's own code, raises.
    """
    with _lock:
        references = _foreign.copy()
    file = io.BytesIO()
    ValuePickler(file, references, first=first).dump(value)
    return file.getvalue()


# --- the classes that have crossed ------------------------------------------------------------------------------------

# cloudpickle holds a lock of its own about classes. A process forked at that moment would wait for it for ever, so it
# is only ever held within this one, and no process is forked then.
_lock = threading.RLock()

# All under the lock.
_classes: dict[str, type] = {}  # by token, the one used last at the end
_tokens: dict[type, str] = {}  # the reverse
_foreign: dict[type, Reference] = {}  # those that were defined in another process, and how that knows them
_pickles: dict[str, bytes] = {}  # from which one was made last


def _token_of(cls: type) -> str:
    with _lock:
        token = _tokens.get(cls) or os.urandom(12).hex()
        _remember(token, cls)
        return token


def _remember(token: str, cls: type) -> None:
    _classes.pop(token, None)
    _classes[token] = cls  # now the youngest
    _tokens[cls] = token
    if len(_classes) > _MOST_CLASSES:
        oldest = next(iter(_classes))
        forgotten = _classes.pop(oldest)
        _pickles.pop(oldest, None)
        _foreign.pop(forgotten, None)
        del _tokens[forgotten]


def known_class(token: str) -> type:
    """Find a class. Pickles refer to it by name.

    Args:
        token (str): Its own.

    Returns:
        type: The class.

    Raises:
        LookupError: There have been so many since that it is forgotten.
    """
    with _lock:
        cls = _classes.get(token)
    if cls is None:
        raise LookupError("its class is not known here any more")
    return cls


def load_class(token: str, payload: bytes) -> type:
    """Find a class, or make it of its pickle. Pickles refer to it by name.

    Args:
        token (str): Its own.
        payload (bytes): The pickle.

    Returns:
        type: The class.
    """
    with _lock:
        cls = _classes.get(token)
        if cls is not None and (cls not in _foreign or _pickles.get(token) == payload):
            return cls
    loaded: type = pickle.loads(payload)
    with _lock:
        _pickles[token] = payload
    return loaded


def make_class(token: str, make: Callable[..., type], args: tuple[Any, ...]) -> type:
    """Find a class, or make it as far as it can be made before what it holds. Pickles refer to it by name.

    Args:
        token (str): Its own.
        make (Callable[..., type]): Makes it.
        args (tuple[Any, ...]): The arguments for that.

    Returns:
        type: The class.
    """
    with _lock:
        cls = _classes.get(token)
        if cls is None:
            cls = make(*args)
            _foreign[cls] = (known_class, (token,))
        _remember(token, cls)
        return cls


def fill_class(cls: type, state: tuple[Callable[[type, Any], object], Any]) -> None:
    """Give a class what it holds, unless it was defined here. Pickles refer to it by name.

    Args:
        cls (type): From `make_class`.
        state (tuple[Callable[[type, Any], object], Any]): What sets it, and what it holds.
    """
    set_state, content = state
    if cls in _foreign:
        set_state(cls, content)


def _after_fork_in_child() -> None:
    """What was defined before the fork comes from the parent, and is known there."""
    _foreign.update({cls: (known_class, (token,)) for cls, token in _tokens.items()})
    _lock.release()


os.register_at_fork(before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_after_fork_in_child)
