"""What `procorch map` does with a line in a worker: arguments out of it, the call, and the result as JSON.

Loaded in workers, so it imports little.
"""

from __future__ import annotations

import json
from typing import Any, Literal, TypeAlias

from procorch._commands.references import find
from procorch._outcome import text_of

Mode: TypeAlias = Literal["text", "json", "star", "kwargs"]
"""What a line is: the argument itself; the argument as JSON; a JSON array of arguments; a JSON object of them by name.
"""

Line: TypeAlias = tuple[int, str]
"""Its number in the input, from 1, and its text; or, on the way back, the text of the result."""


class LineError(Exception):
    """A line has no result."""

    def __init__(self, number: int, reason: str, trace: str = "") -> None:
        """Say which and why.

        Args:
            number (int): Its number.
            reason (str): One line.
            trace (str): The traceback in the worker; empty if nobody asked for it.
        """
        super().__init__(number, reason, trace)
        self.number = number
        self.reason = reason
        self.trace = trace


class CallFailed(LineError):
    """The function raised: another try may be worth it."""


class Call:
    """What workers call for each line. Travels as the name of the function, which each worker looks up once."""

    def __init__(self, name: str, mode: Mode = "text", *, verbose: bool = False) -> None:
        """Look the function up.

        Args:
            name (str): As of `find`.
            mode (Mode): What a line is.
            verbose (bool): Whether errors have the traceback.

        Raises:
            UnknownFunction: See `find`.
        """
        self._made_with = (name, mode, verbose)
        self._function = find(name)
        self._mode = mode
        self._verbose = verbose
        # For messages and pictures, which name the function of an item.
        self.__module__, _, self.__qualname__ = name.partition(":")

    def __reduce__(self) -> tuple[Any, ...]:
        return make_call, self._made_with

    def __call__(self, line: Line) -> Line:
        """Call the function with what a line says.

        Args:
            line (Line): Number and text.

        Returns:
            Line: Number, and the result as JSON.

        Raises:
            LineError: It has no result.
        """
        number, text = line
        args, kwargs = self._arguments(number, text)
        try:
            result = self._function(*args, **kwargs)
        except BaseException as error:  # noqa: BLE001 - whatever it is, it is what became of the line
            raise CallFailed(number, describe(error), self._trace(error)) from None
        try:
            return number, to_json(result)
        except (TypeError, ValueError, RecursionError) as error:
            raise LineError(number, f"the result cannot be written as JSON: {describe(error)}") from None

    def _arguments(self, number: int, text: str) -> tuple[list[Any], dict[str, Any]]:
        if self._mode == "text":
            return [text], {}
        try:
            value: Any = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise LineError(number, f"the line is not JSON: {describe(error)}") from None
        if self._mode == "json":
            return [value], {}
        if self._mode == "star" and _is_a(list, value):
            return value, {}
        if self._mode == "kwargs" and _is_a(dict, value):
            return [], value
        raise LineError(number, f"the line is not a JSON {'array' if self._mode == 'star' else 'object'}")

    def show(self, line: Line) -> str:
        """Write the call of a line as in Python.

        Args:
            line (Line): Number and text.

        Returns:
            str: Such as ``os.path.basename('a/b')``.

        Raises:
            LineError: It is not what it should be.
        """
        args, kwargs = self._arguments(*line)
        shown = [*map(repr, args), *(f"{name}={value!r}" for name, value in kwargs.items())]
        return f"{self.__module__}.{self.__qualname__}({', '.join(shown)})"

    def _trace(self, error: BaseException) -> str:
        if not self._verbose:
            return ""
        import traceback  # here: few workers need it

        frames = error.__traceback__
        # The first is the call in here, which tells nobody anything.
        return "".join(traceback.format_exception(error.with_traceback(frames and frames.tb_next)))


def _is_a(kind: type[object], value: object) -> bool:
    return isinstance(value, kind)


def make_call(name: str, mode: Mode, verbose: bool) -> Call:
    """Make a call anew in a worker.

    Args:
        name (str): As of `Call`.
        mode (Mode): Likewise.
        verbose (bool): Likewise.

    Returns:
        Call: The same.
    """
    return Call(name, mode, verbose=verbose)


def initialize(name: str) -> None:
    """Call a function without arguments: an initializer.

    Args:
        name (str): As of `find`.
    """
    find(name)()


def to_json(value: object) -> str:
    """Write a value as JSON, in one line that is UTF-8.

    Args:
        value (object): Of JSON's own types.

    Returns:
        str: As it is read by a person, unless it has halves of characters, which UTF-8 cannot say: then in ASCII.

    Raises:
        TypeError: It is of another type.
        ValueError: It has a number that JSON does not know, as NaN, or contains itself.
        RecursionError: It is nested too deeply.
    """
    text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    try:
        text.encode()
    except UnicodeEncodeError:
        return json.dumps(value, allow_nan=False)
    return text


def describe(error: BaseException) -> str:
    """Put an exception into one line.

    Args:
        error (BaseException): Any.

    Returns:
        str: Such as ``ValueError: no number``.
    """
    text = " ".join(text_of(error).splitlines())
    name = type(error).__qualname__
    return f"{name}: {text}" if text else name
