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
from procorch._pickles import Pickles, by_name

_MOST_FUNCTIONS = 256
"""Pickled functions that a group keeps; the one used longest ago goes first."""

_keys = itertools.count(1)


class Functions:
    """The pickled functions of one group. What pickles by reference is pickled once, anything with state anew."""

    make_pickles: type[Pickles] = Pickles
    """What pickles the items of its calls."""

    def __init__(self, *, have_main: bool) -> None:
        """Begin empty.

        Args:
            have_main (bool): As for `Pickles`.
        """
        self._have_main = have_main
        self._lock = threading.Lock()
        self._known: dict[Callable[..., Any], Function] = {}

    def pickles(self) -> Pickles:
        """Begin a call.

        Returns:
            Pickles: For its function and its items.
        """
        return self.make_pickles(have_main=self._have_main)

    def get(
        self,
        fn: Callable[..., Any],
        pickles: Pickles,
        task: Callable[[], Task],
        retry_on: tuple[type[BaseException], ...] = (),
        *,
        name: str | None = None,
    ) -> Function | NotPicklable:
        """Give a function's pickle.

        Args:
            fn (Callable[..., Any]): Any callable.
            pickles (Pickles): Of the call.
            task (Callable[[], Task]): Names the work, for an error.
            retry_on (tuple[type[BaseException], ...]): Types of exceptions after which it is to be called again.
            name (str | None): Of the function that it stands for, if it is one of ours; None for its own.

        Returns:
            Function | NotPicklable: The same object for the same function by reference.
        """
        if retry_on or not _has_name(fn):
            return _by_value(fn, pickles, task, retry_on, name)
        with self._lock:
            known = self._known.pop(fn, None)
            if known is not None:
                self._known[fn] = known  # now the youngest
                return known
        payload = by_name(fn)
        if payload is None:
            return _by_value(fn, pickles, task, retry_on)
        function = Function(next(_keys), payload, name_of(fn), by_reference=True)
        with self._lock:
            if len(self._known) >= _MOST_FUNCTIONS:
                del self._known[next(iter(self._known))]
            self._known[fn] = function
        return function


def _by_value(
    fn: Callable[..., Any],
    pickles: Pickles,
    task: Callable[[], Task],
    retry_on: tuple[type[BaseException], ...],
    name: str | None = None,
) -> Function | NotPicklable:
    payload = pickles.function(Retrying(fn, retry_on) if retry_on else fn, "function", task)
    if isinstance(payload, NotPicklable):
        return payload
    return Function(next(_keys), payload, name_of(fn) if name is None else name, by_reference=False)


def _has_name(fn: Callable[..., Any]) -> bool:
    """Tell whether plain pickle writes no more than the function's name."""
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
