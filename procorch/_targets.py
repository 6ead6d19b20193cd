"""What kind of function a target is, and what of it a worker can call."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar, cast

from procorch._aio.coroutines import InLoop
from procorch._rows import AsyncRows, Rows

F = TypeVar("F", bound=Callable[..., Any])


def runnable(fn: F) -> F:
    """Give what a worker can call once: of a coroutine function, what runs it in an event loop.

    Args:
        fn (F): Any callable.

    Returns:
        F: The same, or what stands for it.
    """
    return cast("F", InLoop(fn)) if _is(inspect.iscoroutinefunction, fn) else fn


def rows_of(fn: Callable[..., Any]) -> Callable[..., Any] | None:
    """Give what a worker can call for each row.

    Args:
        fn (Callable[..., Any]): Any callable.

    Returns:
        Callable[..., Any] | None: None if it is no generator function, neither sync nor async.
    """
    if _is(inspect.isgeneratorfunction, fn):
        return Rows(fn)
    return AsyncRows(fn) if _is(inspect.isasyncgenfunction, fn) else None


def _is(test: Callable[[object], bool], fn: Callable[..., Any]) -> bool:
    """Look through partials, and at what calls an object that is no function itself."""
    called: Callable[..., Any] = fn
    while isinstance(called, partial):
        called = called.func
    return test(called) or test(type(called).__call__)
