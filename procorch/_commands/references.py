"""Functions named on a command line: ``MODULE:FUNC``. Loaded in workers, too."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from functools import reduce
from typing import Any


class UnknownFunction(Exception):
    """A name leads to no function. Its text says why; its cause is what the module raised, if it did."""


def find(name: str) -> Callable[..., Any]:
    """Give the function of a name.

    Args:
        name (str): ``MODULE:FUNC``, where ``FUNC`` may have dots.

    Returns:
        Callable[..., Any]: The function, or what else can be called.

    Raises:
        UnknownFunction: There is none.
    """
    module, _, attributes = name.partition(":")
    if not module or not attributes:
        raise UnknownFunction(f"{name!r} is not of the form MODULE:FUNC, such as os.path:basename")
    try:
        found: object = importlib.import_module(module)
    except (Exception, SystemExit) as error:
        raise UnknownFunction(f"cannot import {module}: {type(error).__name__}: {error}") from error
    try:
        found = reduce(getattr, attributes.split("."), found)
    except AttributeError as error:
        raise UnknownFunction(str(error)) from None
    if not callable(found):
        raise UnknownFunction(f"{name} cannot be called: it is {type(found).__name__}")
    return found
