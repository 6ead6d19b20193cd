"""What became of one item, as plain data that both sides read: a pickled value, or an error taken apart.

Loaded in every worker, so it imports neither attrs nor anything else that takes long; hence tuples, not attrs classes.
What an outcome means to the caller is decided in `_verdict`.
"""

from __future__ import annotations

import pickle
from typing import Literal, NamedTuple

from procorch._messages import Bytes

Stage = Literal["raised", "function", "argument", "result"]
"""Where it went wrong: the call itself raised, or one of these could not cross between the processes."""

PROTOCOL = 5
"""Pickle protocol of everything that crosses; named, so that the interpreters' differing defaults do not matter."""


class Value(NamedTuple):
    """The item's function returned."""

    payload: Bytes
    """What it returned, pickled."""


class Failure(NamedTuple):
    """The item's function raised, or something could not cross."""

    payload: Bytes
    """A pickled `Report`, of plain types only: it can always be read."""


class Report(NamedTuple):
    """An exception taken apart, so that it arrives whatever its class does when pickled."""

    stage: Stage
    name: str
    """Module and qualified name of its class."""
    text: str
    """What ``str`` said of it in the worker."""
    trace: str
    """The formatted traceback, causes included."""
    whole: bytes | None
    """The exception, pickled; None if it cannot be."""
    parts: bytes | None
    """Its class, ``args`` and ``__dict__``, pickled; None if they cannot be. For classes whose own way fails."""


def capture(error: BaseException, stage: Stage) -> Failure:
    """Take an exception apart for the way to the parent.

    Args:
        error (BaseException): What was raised, in this process, just now.
        stage (Stage): Where.

    Returns:
        Failure: Never fails, whatever the exception's own code does.
    """
    import traceback  # here: a worker whose items do not fail need not load it

    kind = type(error)
    try:
        text = str(error)
    except BaseException:  # noqa: BLE001 - the user's __str__ may raise anything
        text = "<no text: its __str__ failed>"
    try:
        trace = "".join(traceback.format_exception(error))
    except BaseException:  # noqa: BLE001 - formatting calls the user's __str__ and __repr__
        trace = "<no traceback: formatting it failed>\n"
    # What could not cross is described, not sent: it would fail again.
    whole = _try_dumps(error) if stage == "raised" else None
    parts = _try_dumps((kind, error.args, error.__dict__)) if stage == "raised" else None
    report = Report(stage, f"{kind.__module__}.{kind.__qualname__}", text, trace, whole, parts)
    return Failure(pickle.dumps(tuple(report), PROTOCOL))


def read_report(failure: Failure) -> Report:
    """Read what `capture` wrote.

    Args:
        failure (Failure): From a worker.

    Returns:
        Report: Of plain types; the pickles inside are still closed.
    """
    return Report(*pickle.loads(failure.payload))


def _try_dumps(value: object) -> bytes | None:
    try:
        return pickle.dumps(value, PROTOCOL)
    except BaseException:  # noqa: BLE001 - the user's __reduce__ may raise anything
        return None
