"""Numbers on a command line: read, or refused in words."""

from __future__ import annotations

import argparse
from typing import TypeVar

N = TypeVar("N", int, float)


def _number(text: str, kind: type[N], above: N, words: str) -> N:
    try:
        number = kind(text)
    except ValueError:
        number = None
    if number is None or not above < number < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not {words}")
    return number


def read_count(text: str) -> int:
    """Read how many there are to be of something.

    Args:
        text (str): What was given.

    Returns:
        int: At least 1.

    Raises:
        ArgumentTypeError: It is no such number.
    """
    return _number(text, int, 0, "a number of at least 1")


def read_further(text: str) -> int:
    """Read how many more there may be of something.

    Args:
        text (str): What was given.

    Returns:
        int: At least 0.

    Raises:
        ArgumentTypeError: It is no such number.
    """
    return _number(text, int, -1, "a number of at least 0")


def read_seconds(text: str) -> float:
    """Read how long something may take.

    Args:
        text (str): What was given.

    Returns:
        float: More than 0, and finite.

    Raises:
        ArgumentTypeError: It is no such number.
    """
    return _number(text, float, 0.0, "a number of seconds above 0")
