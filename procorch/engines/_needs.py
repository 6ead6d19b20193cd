"""What is asked of a place for a chunk or an actor: amounts of things by their names, as clusters count them."""

from __future__ import annotations

import math
from collections.abc import Mapping


def check_need(name: str, value: object) -> float:
    """Check that an argument is an amount.

    Args:
        name (str): The argument's name, for the message.
        value (object): What was given.

    Returns:
        float: The same.

    Raises:
        TypeError: It is no number.
        ValueError: It is negative, or without an end.
    """
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise TypeError(f"{name} must be a number, not {value!r}")
    if not 0 <= value < math.inf:
        raise ValueError(f"{name} must be at least 0 and finite, not {value}")
    return value


def check_needs(name: str, value: Mapping[str, float] | None) -> dict[str, float]:
    """Check that an argument has amounts by name.

    Args:
        name (str): The argument's name, for the message.
        value (Mapping[str, float] | None): What was given; None for nothing.

    Returns:
        dict[str, float]: A copy.

    Raises:
        TypeError: It is something else.
        ValueError: An amount is negative, or without an end.
    """
    if value is None:
        return {}
    if not isinstance(value, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]  # not everybody checks
        raise TypeError(f"{name} must be a mapping of names to numbers, not {value!r}")
    return {key: check_need(f"{name}[{key!r}]", need) for key, need in value.items()}
