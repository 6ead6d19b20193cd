"""Gives public classes the name by which users know them: tracebacks, pickles and documentation say ``procorch.X``."""

from __future__ import annotations

from typing import TypeVar

C = TypeVar("C", bound=type)


def public(cls: C) -> C:
    """Mark a class as public.

    Args:
        cls (C): One of those in ``procorch.__all__``, where its private module does not matter.

    Returns:
        C: The same class.
    """
    cls.__module__ = "procorch"
    return cls
