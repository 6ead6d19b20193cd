"""Pickling by value, where the names of functions and classes mean nothing on the other side. Needs cloudpickle.

Used on both sides. cloudpickle takes functions and classes apart; what is done here is how they are known on the
other side, by the tokens of `_tokens`. A class is written once into the pickle of a call's function, or else once into
a pickle of its own (`load_class`), and named by its token in the items: cloudpickle alone takes ten times as long.

Loaded in a worker only when something needs it.
"""

from __future__ import annotations

import functools
import importlib
import io
import marshal
import pickle
import sys
import types
from collections.abc import Callable
from typing import Any

from procorch import _tokens
from procorch._messages import PROTOCOL
from procorch._tokens import Marks, Reference, Variables


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
        back: bool = False,
        first: Callable[[object], Any] | None = None,
        buffer_callback: Callable[[pickle.PickleBuffer], object] | None = None,
    ) -> None:
        """Begin.

        Args:
            file (io.BytesIO): Where to write.
            references (dict[type, Reference]): Classes that the other side knows; gets those that it will know.
            apart (bool): Give each further class a pickle of its own.
            back (bool): The other side is where functions that came here have their variables.
            first (Callable[[object], Any] | None): Asked before, as a `reducer_override`.
            buffer_callback (Callable[[pickle.PickleBuffer], object] | None): As of `pickle.Pickler`.
        """
        super().__init__(file, PROTOCOL, buffer_callback=buffer_callback)
        # It is asked how to reduce things, and writes nothing itself.
        self._cloud = cloudpickle().Pickler(io.BytesIO(), PROTOCOL)
        self.dispatch_table = _dispatch_table()
        self._references = references
        self._apart = apart
        self._back = back
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
        if isinstance(obj, types.FunctionType):
            return self._reduce_function(obj)
        return NotImplemented

    def _reduce_class(self, cls: type) -> Any:
        with _tokens.lock:
            reduced: Any = self._cloud.reducer_override(cls)
        if reduced is NotImplemented or len(reduced) < 6:
            return reduced  # it can be imported, or is a built-in one that has no name
        token = _tokens.token_of(cls)
        if self._apart:
            reference = self._references[cls] = (_tokens.load_class, (token, dumps(cls, {})))
            return reference
        make, args, state, _, _, set_state = reduced
        self._references[cls] = (_tokens.known_class, (token,))
        return _tokens.make_class, (token, make, args), (set_state, state), None, None, _tokens.fill_class

    def _reduce_function(self, function: types.FunctionType) -> Any:
        reduced: Any = self._cloud.reducer_override(function)
        token = None if reduced is NotImplemented else _tokens.space_of(function)
        if token is None:
            return reduced  # it can be imported, or what it uses is not of a main module
        _, (code, base, _, _, closure), (attributes, slots), _, _, set_state = reduced
        variables: Variables = slots["__globals__"]
        marks: Marks = {}
        if not self._back:
            marks = _marks(variables)
        elif not _tokens.is_own(token):
            variables = {}
        state: Any = (attributes, {**slots, "__globals__": {}})
        content = (set_state, state, variables, marks)
        return _tokens.make_function, (token, base, code, closure), content, None, None, _tokens.fill_function


def _marks(variables: Variables) -> Marks:
    """Mark the variables that hold data: functions and classes come anew each time, and that changes nothing."""
    code = (type, types.FunctionType, types.BuiltinFunctionType, types.ModuleType)
    marks = {name: _mark(value) for name, value in variables.items() if not isinstance(value, code)}
    return {name: mark for name, mark in marks.items() if mark is not None}


def _mark(value: object) -> tuple[int, int] | None:
    """Mark a value; None if no mark can tell it from another, so that it is always taken for a new one."""
    file = io.BytesIO()
    try:
        _MarkPickler(file, PROTOCOL).dump(value)
    except Exception:  # noqa: BLE001 - what cannot be pickled at all is told of where it is sent
        return None
    return len(file.getbuffer()), hash(file.getvalue())


class _MarkPickler(pickle.Pickler):
    """Writes what nobody reads: data as it is, functions by what they are made of, classes by their tokens.

    Not by their identity, which another may have when one is gone. A function that refers to itself recurses without
    end, and so has no mark.
    """

    def __init__(self, file: io.BytesIO, protocol: int) -> None:
        super().__init__(file, protocol)
        self.dispatch_table = _dispatch_table()

    def reducer_override(self, obj: object) -> Any:
        if obj is _stand_in:
            return NotImplemented
        if isinstance(obj, types.FunctionType):
            cells = tuple(cell.cell_contents for cell in obj.__closure__ or ())
            code = (obj.__module__, obj.__qualname__, marshal.dumps(obj.__code__))
            return _stand_in, (*code, obj.__defaults__, obj.__kwdefaults__, cells, obj.__dict__)
        if isinstance(obj, type):
            return _stand_in, (obj.__module__, obj.__qualname__, *_token_of(obj))
        return NotImplemented


def _token_of(cls: type) -> list[str]:
    """What tells a class from others of its name; nothing if it is the one that its module has by that name."""
    importable = (
        cls.__module__ != "__main__" and getattr(sys.modules.get(cls.__module__), cls.__qualname__, None) is cls
    )
    return [] if importable else [_tokens.token_of(cls)]


def _stand_in(*made_of: object) -> None:
    """Of a function or class, in what `_MarkPickler` writes."""


@functools.cache
def _dispatch_table() -> dict[type, Any]:
    table = dict(cloudpickle().Pickler.dispatch_table)
    # It would send the text of an open file in the place of the file.
    del table[io.TextIOWrapper]
    return table


def dumps(
    value: object,
    references: dict[type, Reference],
    *,
    apart: bool = False,
    buffer_callback: Callable[[pickle.PickleBuffer], object] | None = None,
) -> bytes:
    """Pickle by value what cannot be imported.

    Args:
        value (object): Anything.
        references (dict[type, Reference]): As for `ValuePickler`.
        apart (bool): As for `ValuePickler`.
        buffer_callback (Callable[[pickle.PickleBuffer], object] | None): As for `ValuePickler`.

    Returns:
        bytes: The pickle.

    Raises:
        Exception: What pickle, or an object's own code, raises.
    """
    file = io.BytesIO()
    # A copy: a pickle that fails half-way has told the other side nothing.
    names = dict(references)
    ValuePickler(file, names, apart=apart, buffer_callback=buffer_callback).dump(value)
    references.update(names)
    return file.getvalue()


def reply(
    value: object,
    first: Callable[[object], Any] | None = None,
    buffer_callback: Callable[[pickle.PickleBuffer], object] | None = None,
) -> bytes:
    """Pickle by value what cannot be imported, for the process that classes here come from.

    Args:
        value (object): Anything.
        first (Callable[[object], Any] | None): As for `ValuePickler`.
        buffer_callback (Callable[[pickle.PickleBuffer], object] | None): As for `ValuePickler`.

    Returns:
        bytes: The pickle.

    Raises:
        Exception: What pickle, or an object's own code, raises.
    """
    file = io.BytesIO()
    known = _tokens.foreign_classes()
    ValuePickler(file, known, back=True, first=first, buffer_callback=buffer_callback).dump(value)
    return file.getvalue()
