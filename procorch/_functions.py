"""The pickled functions of a group, so that a function that is used again is not pickled again."""

from __future__ import annotations

import itertools
import threading
import types
from collections.abc import Callable
from typing import Any

from procorch._engine import Function
from procorch._errors import NotPicklable, Task
from procorch._messages import Retrying
from procorch._verdict import dumps

_MOST_FUNCTIONS = 256
"""Pickled functions that a group keeps; the one used longest ago goes first."""

_keys = itertools.count(1)


class Functions:
    """The pickled functions of one group. What pickles by reference is pickled once, anything with state anew."""

    def __init__(self) -> None:
        """Begin empty."""
        self._lock = threading.Lock()
        self._known: dict[Retrying, Function] = {}

    def get(
        self, fn: Callable[..., Any], task: Callable[[], Task], retry_on: tuple[type[BaseException], ...] = ()
    ) -> Function | NotPicklable:
        """Give a function's pickle.

        Args:
            fn (Callable[..., Any]): Any callable.
            task (Callable[[], Task]): Names the work, for an error.
            retry_on (tuple[type[BaseException], ...]): Types of exceptions after which it is to be called again.

        Returns:
            Function | NotPicklable: The same object for the same function by reference.
        """
        by_reference = _by_reference(fn)
        wanted = Retrying(fn, retry_on)
        if by_reference:
            with self._lock:
                known = self._known.pop(wanted, None)
                if known is not None:
                    self._known[wanted] = known  # now the youngest
                    return known
        payload = dumps(wanted if retry_on else fn, "function", task)
        if isinstance(payload, NotPicklable):
            return payload
        function = Function(next(_keys), payload, name_of(fn), by_reference)
        if by_reference:
            with self._lock:
                if len(self._known) >= _MOST_FUNCTIONS:
                    del self._known[next(iter(self._known))]
                self._known[wanted] = function
        return function


def _by_reference(fn: Callable[..., Any]) -> bool:
    """Tell whether pickle writes no more than the function's name."""
    if type(fn) is types.BuiltinFunctionType:
        return isinstance(getattr(fn, "__self__", None), types.ModuleType)
    return type(fn) is types.FunctionType or type(fn) is type


def name_of(fn: Callable[..., Any]) -> str:
    """Name a callable in messages.

    Args:
        fn (Callable[..., Any]): Any callable.

    Returns:
        str: Its module and qualified name, or those of its class.
    """
    named = fn if hasattr(fn, "__qualname__") else type(fn)
    # Methods of built-in types have no module of their own.
    module = getattr(named, "__module__", None) or type(named).__module__
    return f"{module}.{named.__qualname__}"
