"""Gives things the names by which users know them: tracebacks, pickles and documentation say ``procorch.X``."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

C = TypeVar("C", bound="type | Callable[..., object]")
F = TypeVar("F", bound=Callable[..., object])


def public(cls: C) -> C:
    """Mark a class or a function as public.

    Args:
        cls (C): One of those in ``procorch.__all__``, where its private module does not matter.

    Returns:
        C: The same.
    """
    cls.__module__ = "procorch"
    return cls


def known_as(name: str, like: object = None) -> Callable[[F], F]:
    """Give a function the name by which users call it: the interpreter says it when arguments are wrong.

    Args:
        name (str): With its class, as ``"ProcessGroup.map"``.
        like (object): What has its text; None leaves it the one that it has.

    Returns:
        Callable[[F], F]: Renames a function.
    """

    def rename(function: F) -> F:
        function.__qualname__ = name
        function.__name__ = name.rpartition(".")[2]
        if like is not None:
            function.__doc__ = like.__doc__
        return function

    return rename
