"""Gives public names the module by which users know them: tracebacks, pickles and documentation say ``procorch.X``."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

C = TypeVar("C", bound="type | Callable[..., object]")


def public(cls: C) -> C:
    """Mark a class or a function as public.

    Args:
        cls (C): One of those in ``procorch.__all__``, where its private module does not matter.

    Returns:
        C: The same.
    """
    cls.__module__ = "procorch"
    return cls
