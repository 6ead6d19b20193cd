"""An exception taken apart in the worker, so that it arrives whatever its class does when pickled.

Loaded in every worker, so it imports neither attrs nor anything else that takes long. What an outcome means to the
caller, and how an exception is put together again, is decided in `_verdict`.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable
from typing import Any

from procorch import _buffers
from procorch._buffers import HasLarge, refuse_large
from procorch._messages import PROTOCOL, Failure, Report, Stage
from procorch._parcel import Parcel

_FRAMED = 1 << 16
"""Bytes of a pickle from which on it may count as large."""

REFUSALS = (pickle.PicklingError, AttributeError, TypeError)
"""What pickle raises for what it cannot do. Anything else comes from an object's own code, which is not asked again."""


def dumps(value: object) -> bytes:
    """Pickle a result for the way to the parent: by value what has no name there, if cloudpickle is installed.

    Args:
        value (object): The result.

    Returns:
        bytes: The pickle.

    Raises:
        BaseException: What pickle, or an object's own code, raises.
    """
    try:
        return pickle.dumps(value, PROTOCOL)
    except REFUSALS:
        from procorch import _values  # here: few results need it

        if _values.cloudpickle() is None:
            raise
    return _values.reply(value)


def pack(value: object) -> bytes | Parcel:
    """Pickle a result as `dumps` does, with large data beside it.

    Args:
        value (object): The result.

    Returns:
        bytes | Parcel: A parcel if it is large.

    Raises:
        BaseException: What pickle, or an object's own code, raises.
    """
    # Without a call more than needed: this is done for every item.
    if (type(value) is bytes or type(value) is bytearray) and len(value) >= _buffers.LEAST:
        return _buffers.dumps_plain(value)
    try:
        plain = pickle.dumps(value, PROTOCOL, buffer_callback=refuse_large)
        return plain if len(plain) < _FRAMED else _buffers.shortened(plain)
    except HasLarge:
        return _pack_large(value)
    except REFUSALS:
        from procorch import _values  # as above

        if _values.cloudpickle() is None:
            raise
    return _pack_by_value(value)


def _pack_large(value: object) -> bytes | Parcel:
    try:
        return _buffers.packed_apart(lambda callback: pickle.dumps(value, PROTOCOL, buffer_callback=callback))
    except REFUSALS:
        from procorch import _values  # as above

        if _values.cloudpickle() is None:
            raise
    return _pack_by_value(value)


def _pack_by_value(value: object) -> bytes | Parcel:
    from procorch import _values  # as above

    return _buffers.packed(lambda callback: _values.reply(value, buffer_callback=callback))


def capture(error: BaseException, stage: Stage) -> Failure:
    """Take an exception apart for the way to the parent.

    Args:
        error (BaseException): What was raised, in this process, just now.
        stage (Stage): Where.

    Returns:
        Failure: Never fails, whatever the exception's own code does.
    """
    import traceback  # here: a worker whose items do not fail need not load it

    # What could not cross is described, not sent: it would fail again.
    sent = stage == "raised"
    report = Report(
        stage,
        _try_text(lambda: name_of_type(type(error)), "<no name: its class hides it>"),
        text_of(error),
        _try_text(lambda: "".join(traceback.format_exception(error)), "<no traceback: formatting it failed>\n"),
        _try_notes(error),
        _try_dumps(dumps, error) if sent else None,
        _try_dumps(_dumps_parts, error) if sent else None,
    )
    return Failure(pickle.dumps(tuple(report), PROTOCOL))


def read_report(failure: Failure) -> Report:
    """Read what `capture` wrote.

    Args:
        failure (Failure): From a worker.

    Returns:
        Report: Of plain types; the pickles inside are still closed.
    """
    return Report(*pickle.loads(failure.payload))


def text_of(error: BaseException) -> str:
    """Ask an exception for its text.

    Args:
        error (BaseException): Of the user's.

    Returns:
        str: What ``str`` says of it, or that it fails.
    """
    return _try_text(lambda: str(error), "<no text: its __str__ failed>")


def _try_text(make: Callable[[], str], instead: str) -> str:
    try:
        return str.__str__(make())  # of str itself: a class derived from it, which str() lets pass, might not pickle
    except BaseException:  # noqa: BLE001 - the user's code may raise anything
        return instead


def name_of_type(kind: type) -> str:
    """Name a class as tracebacks do.

    Args:
        kind (type): Any.

    Returns:
        str: Module and qualified name; of a built-in one, the name alone.
    """
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def _try_notes(error: BaseException) -> list[str]:
    try:
        return [str.__str__(str(note)) for note in error.__notes__]
    except BaseException:  # noqa: BLE001 - mostly there are none; and the user's __getattribute__ may raise anything
        return []


class _PartsPickler(pickle.Pickler):
    """Asks no exception's own class how to pickle it, but the built-in one: it knows what it keeps beside ``args``.

    So neither constructors nor `__reduce__` of the user's take part, those of an exception group's members included.
    """

    def reducer_override(self, obj: object) -> Any:
        return _take_apart(obj)


def _take_apart(obj: object) -> Any:
    if not isinstance(obj, BaseException):
        return NotImplemented
    base: Any = type(obj)
    while base.__module__ != "builtins":
        base = base.__base__
    _, args, *state = base.__reduce__(obj)
    return assemble, (type(obj), base, args), state[0] if state else None, None, None, set_state


def assemble(kind: type[BaseException], base: type[BaseException], args: tuple[Any, ...]) -> BaseException:
    """Make an exception without calling its class. Pickles refer to it by name.

    Args:
        kind (type[BaseException]): Its class.
        base (type[BaseException]): The built-in class that this derives from.
        args (tuple[Any, ...]): The latter's arguments.

    Returns:
        BaseException: Without its attributes yet.
    """
    error = base.__new__(kind, *args)
    base.__init__(error, *args)
    return error


def set_state(error: BaseException, state: dict[str, Any]) -> None:
    """Give an exception its attributes. Pickles refer to it by name.

    Args:
        error (BaseException): From `assemble`.
        state (dict[str, Any]): By name.
    """
    for name, value in state.items():
        object.__setattr__(error, name, value)  # as a class may forbid to set them, which frozen dataclasses do


def _dumps_parts(error: BaseException) -> bytes:
    file = io.BytesIO()
    try:
        _PartsPickler(file, PROTOCOL).dump(error)
    except REFUSALS:
        from procorch import _values  # as above

        if _values.cloudpickle() is None:
            raise
        return _values.reply(error, _take_apart)
    return file.getvalue()


def _try_dumps(dump: Callable[[BaseException], bytes], error: BaseException) -> bytes | None:
    try:
        return dump(error)
    except BaseException:  # noqa: BLE001 - the user's __reduce__ may raise anything
        return None
