"""Pickling for the way to the workers: functions, arguments, initializers. In the parent.

    plain pickle --(refused, or names something in __main__)--> by value, with cloudpickle
                     --(not installed, or refused)--> by name, if workers can import __main__; else `NotPicklable`

What lives in ``__main__`` goes by value wherever that is possible, so that no worker runs the caller's script. The
other direction is in `_outcome`.
"""

from __future__ import annotations

import pickle
import sys
from collections.abc import Callable
from functools import partial
from types import TracebackType
from typing import Any

from typing_extensions import override

from procorch import _buffers, _mentions, _tokens, _values
from procorch._buffers import HasLarge, refuse_large
from procorch._errors import NotPicklable, Task
from procorch._main import NAME, load_with_main
from procorch._mentions import MAIN, SHORTEST, mentions_main, names_in_main
from procorch._messages import PROTOCOL
from procorch._outcome import REFUSALS, capture, read_report
from procorch._parcel import Parcel
from procorch._places import MainModule, find_main
from procorch._verdict import INSTALL, refused

_OURS = {
    __name__,
    _buffers.__name__,
    _mentions.__name__,
    _values.__name__,
    _tokens.__name__,
    "cloudpickle.cloudpickle",
    "copyreg",
    "pickle",
}
"""Modules whose lines in a traceback tell users nothing about their own objects."""


class Pickles:
    """The pickles of one call: a class that goes by value is written once for all its items."""

    def __init__(self, *, have_main: bool) -> None:
        """Begin.

        Args:
            have_main (bool): Whether the workers are copies of this process, and so have its ``__main__``.
        """
        self._have_main = have_main
        self._references: dict[type, _tokens.Reference] = {}
        self._kept: object = None  # the function, as it may hold what is shared only as long as somebody refers to it

    def function(self, value: object, what: str, task: Callable[[], Task]) -> bytes | NotPicklable:
        """Pickle what is loaded before all items.

        Args:
            value (object): A function, or an initializer and its arguments.
            what (str): ``"function"`` or ``"argument"``.
            task (Callable[[], Task]): Names the work; called only if it fails.

        Returns:
            bytes | NotPicklable: The pickle, or the error that its items get.
        """
        self._kept = value
        plain = _plain(value)
        if isinstance(plain, bytes) and not mentions_main(plain):
            return plain
        # In one: what its parts share, they share there too.
        if self.goes_by_value(plain):
            try:
                return _values.dumps(value, self._references)
            except Exception as failure:  # noqa: BLE001 - the user's __reduce__ may raise anything
                return self.not_by_value(value, plain, failure, what, task)
        return self.not_by_value(value, plain, None, what, task)

    def item(self, value: object, task: Callable[[], Task]) -> bytes | Parcel | NotPicklable:
        """Pickle the arguments of an item.

        Args:
            value (object): The arguments.
            task (Callable[[], Task]): Names the work; called only if it fails.

        Returns:
            bytes | Parcel | NotPicklable: The pickle, or the error that the item gets.
        """
        # As above, without a call more than needed: this is done for every item.
        plain: bytes | Exception
        try:
            plain = pickle.dumps(value, PROTOCOL, buffer_callback=refuse_large)
        except HasLarge:
            return self.large_item(value, task)
        except Exception as error:  # noqa: BLE001 - as in _plain
            plain = error
        else:
            if len(plain) < SHORTEST:
                return plain
            if not mentions_main(plain):
                return _buffers.shortened(plain)
        return self.otherwise_item(value, plain, task)

    def dumps(self, value: object, callback: _buffers.Callback | None) -> bytes:
        """Pickle something large plainly.

        Args:
            value (object): What.
            callback (_buffers.Callback | None): For its buffers.

        Returns:
            bytes: Its pickle.

        Raises:
            Exception: What an object's own code, or pickle, raises.
        """
        return pickle.dumps(value, PROTOCOL, buffer_callback=callback)

    def large_item(self, value: object, task: Callable[[], Task]) -> bytes | Parcel | NotPicklable:
        """Pickle arguments with a large buffer.

        Args:
            value (object): The arguments.
            task (Callable[[], Task]): As for `item`.

        Returns:
            bytes | Parcel | NotPicklable: As `item`.
        """
        try:
            parcel = _buffers.write_apart(partial(self.dumps, value), lambda head: not mentions_main(head))
        except Exception as error:  # noqa: BLE001 - as in _plain
            return self.otherwise_item(value, error, task)
        if parcel is not None:
            return parcel
        plain = _plain(value)
        if isinstance(plain, bytes) and not mentions_main(plain):
            return plain
        return self.otherwise_item(value, plain, task)

    def otherwise_item(
        self, value: object, plain: bytes | Exception, task: Callable[[], Task]
    ) -> bytes | Parcel | NotPicklable:
        """Pickle arguments that plain pickle cannot do, or not so that they arrive.

        Args:
            value (object): The arguments.
            plain (bytes | Exception): What plain pickle made of them.
            task (Callable[[], Task]): As for `item`.

        Returns:
            bytes | Parcel | NotPicklable: As `item`.
        """
        if self.goes_by_value(plain):
            references = self._references
            try:
                return _buffers.packed(
                    lambda callback: _values.dumps(value, references, apart=True, buffer_callback=callback)
                )
            except Exception as failure:  # noqa: BLE001 - the user's __reduce__ may raise anything
                return self.not_by_value(value, plain, failure, "argument", task)
        return self.not_by_value(value, plain, None, "argument", task)

    @staticmethod
    def goes_by_value(plain: bytes | Exception) -> bool:
        """Tell whether what plain pickle refused, or names something in ``__main__``, is to be tried by value.

        Args:
            plain (bytes | Exception): What plain pickle made of it.

        Returns:
            bool: Whether cloudpickle is there, and may help.
        """
        if not isinstance(plain, bytes):
            return isinstance(plain, REFUSALS) and _values.cloudpickle() is not None
        # A worker that has imported its parent's __main__ has no other: its own workers are to import it too.
        return sys.modules["__main__"].__name__ != NAME and _values.cloudpickle() is not None

    def not_by_value(
        self,
        value: object,
        plain: bytes | Exception,
        failure: Exception | None,
        what: str,
        task: Callable[[], Task],
    ) -> bytes | NotPicklable:
        """Pickle what does not go by value.

        Args:
            value (object): The object.
            plain (bytes | Exception): What plain pickle made of it.
            failure (Exception | None): What came of trying it by value.
            what (str): ``"function"`` or ``"argument"``.
            task (Callable[[], Task]): Names the work; called only if it fails.

        Returns:
            bytes | NotPicklable: The pickle, or the error that its items get.
        """
        if isinstance(plain, bytes):
            return self._by_name(value, plain, failure, what, task)
        return _refuse(plain if failure is None else failure, what, task)

    def _by_name(
        self, value: object, payload: bytes, error: Exception | None, what: str, task: Callable[[], Task]
    ) -> bytes | NotPicklable:
        try:
            names = [] if self._have_main else names_in_main(value)
        except Exception as failure:  # noqa: BLE001 - as in _plain: an object may refuse to be pickled again
            return _refuse(failure, what, task)
        if not names:
            return payload
        main = find_main()
        if isinstance(main, MainModule):
            return pickle.dumps(_Call(load_with_main, (main.kind, main.where, payload)), PROTOCOL)
        if error is not None:
            return _refuse(error, what, task)
        detail = f"workers cannot import {names[0]}, since {main.reason}"
        remedy = f"Run {INSTALL}, or put what starts the work under `if __name__ == '__main__':` in a file"
        return NotPicklable(task(), 0, "function" if what == "function" else "argument", "dumps", detail, remedy)


def _plain(value: object) -> bytes | Exception:
    try:
        return pickle.dumps(value, PROTOCOL)
    except Exception as error:  # noqa: BLE001 - the user's __reduce__ may raise anything
        return error


def by_name(function: object) -> bytes | None:
    """Pickle a function or class as its name, if workers can import it by that.

    Args:
        function (object): A function or class.

    Returns:
        bytes | None: The pickle; None if its name is not enough.
    """
    if getattr(function, "__module__", None) in MAIN:
        return None
    try:
        return pickle.dumps(function, PROTOCOL)
    except REFUSALS:
        return None


def _refuse(error: Exception, what: str, task: Callable[[], Task]) -> NotPicklable:
    report = read_report(capture(error, "function" if what == "function" else "argument"))
    refusal = refused(report, task(), 0, "dumps")
    if _is_of_interest(error.__traceback__):
        refusal.__cause__ = error
    return refusal


def _is_of_interest(trace: TracebackType | None) -> bool:
    """Whether a traceback leads through code of the user's."""
    while trace is not None:
        if trace.tb_frame.f_globals.get("__name__") not in _OURS:
            return True
        trace = trace.tb_next
    return False


class _Call:
    """Pickles as a call."""

    def __init__(self, function: Callable[..., Any], args: tuple[Any, ...]) -> None:
        self._call = (function, args)

    @override
    def __reduce__(self) -> tuple[Any, ...]:
        return self._call
