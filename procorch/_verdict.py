"""What an outcome means to the caller: a value, the exception that the function raised, or an error of ours.

Runs in the parent, in the thread that wants the result wherever there is one, since opening a pickle runs the user's
code. Each call makes an exception object of its own.
"""

from __future__ import annotations

import re
import reprlib
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, assert_never

import attrs

from procorch._errors import (
    GroupClosed,
    NotPicklable,
    Task,
    TaskError,
    TaskTimeout,
    TooManyRestarts,
    WorkerCrashed,
    WorkerStartError,
)
from procorch._events import Dropped, GivenUp, Lost, NotStarted, Outcome, Remains, TimedOut
from procorch._messages import Failure, Plain, Value
from procorch._notes import annotate
from procorch._outcome import read_report
from procorch._revived import open_value, rebuild

_ORDERLY = "is closed"

_short = reprlib.Repr()
_short.maxstring = _short.maxother = 60


@attrs.frozen
class Place:
    """Where an item ran."""

    name: str
    pid: int | None


@attrs.define(eq=False)
class Ending:
    """Why a group takes no more work; shared by everybody who has to say so."""

    group: str
    reason: str = _ORDERLY
    cause: Callable[[], BaseException] | None = None
    """Makes the error that ended it; None for an orderly end."""
    finalizer_error: Callable[[], BaseException] | None = None
    """Makes the error of the first finalizer that failed; None if none did."""
    finalizers_failed: int = 0
    """How many did."""

    @property
    def is_orderly(self) -> bool:
        """Whether what has begun comes to its end: the group was neither terminated, nor has it failed."""
        return self.reason == _ORDERLY

    def error(self) -> BaseException:
        """Make the error for work that was dropped.

        Returns:
            BaseException: The cause itself if there is one.
        """
        return self.cause() if self.cause is not None else self.closed()

    def plain(self) -> GroupClosed:
        """Make the error without a cause.

        Returns:
            GroupClosed: Which group, and why.
        """
        return GroupClosed(self.group, self.reason)

    def closed(self) -> GroupClosed:
        """Make the error for work that is refused at the call.

        Returns:
            GroupClosed: With the cause as its cause.
        """
        error = self.plain()
        if self.cause is not None:
            error.__cause__ = self.cause()
        return error


def shorten(value: object) -> str:
    """Represent an argument in an error.

    Args:
        value (object): Anything of the user's.

    Returns:
        str: A short repr; never fails.
    """
    if isinstance(value, (bytes, bytearray)) and len(value) > 2 * _short.maxother:
        value = value[: _short.maxother] + value[-_short.maxother :]  # the middle is cut out of its repr, if it is made
    try:
        return _short.repr(value)
    except Exception:  # noqa: BLE001 - the user's __repr__ may raise anything
        return f"<{type(value).__qualname__} whose repr fails>"


def judge(
    outcome: Outcome | Plain, task: Callable[[], Task], place: Place | None, ending: Ending
) -> tuple[Any, BaseException | None]:
    """Open an outcome.

    Args:
        outcome (Outcome | Plain): What became of the item.
        task (Callable[[], Task]): Names the work; called only for errors.
        place (Place | None): Where it ran; None if nowhere.
        ending (Ending): Why the group ends, for work that was dropped.

    Returns:
        tuple[Any, BaseException | None]: What the function returned, and None; or what it raised, or an error of ours.
    """
    if isinstance(outcome, Plain):
        return outcome.values[0], None
    if isinstance(outcome, Value):
        try:
            return open_value(outcome, task), None
        except NotPicklable as error:
            return None, error
    return None, fault_of(outcome, task, place, ending)


def settle(
    future: Future[Any], outcome: Outcome | Plain, task: Callable[[], Task], place: Place | None, ending: Ending
) -> None:
    """Bring an outcome to a future.

    Args:
        future (Future[Any]): Not done yet.
        outcome (Outcome | Plain): What became of the item.
        task (Callable[[], Task]): Names the work; called only for errors.
        place (Place | None): Where it ran; None if nowhere.
        ending (Ending): Why the group ends, for work that was dropped.

    Raises:
        InvalidStateError: It is done; somebody else has set it.
        BaseException: What the handler of a signal raised meanwhile.
    """
    try:
        value, fault = judge(outcome, task, place, ending)
    except BaseException as error:
        if threading.current_thread() is threading.main_thread():
            raise  # a Ctrl-C is nothing that the function raised: the outcome is brought again, by another thread
        value, fault = None, error  # of the user's code that opens it, such as a SystemExit
    if fault is None:
        future.set_result(value)
    else:
        # Without our lines, which tell nothing, and by which the error would keep the future, and that the error.
        future.set_exception(fault.with_traceback(None))


def fault_of(
    outcome: Failure | Lost | TimedOut | NotStarted | Dropped | GivenUp,
    task: Callable[[], Task],
    place: Place | None,
    ending: Ending,
) -> BaseException:
    """Make the error that an item without a result has come to.

    Args:
        outcome (Failure | Lost | TimedOut | NotStarted | Dropped | GivenUp): What became of the item.
        task (Callable[[], Task]): Names the work.
        place (Place | None): Where it ran; None if nowhere.
        ending (Ending): Why the group ends, for work that was dropped.

    Returns:
        BaseException: What the function raised, or an error of ours; an object of its own.
    """
    match outcome:
        case Failure():
            return rebuild(read_report(outcome), task)
        case Lost(_, exitcode, attempts, remains):
            stack = _stack_of(remains)
            name, pid = _name_and_pid(place)
            return _with_stack(
                WorkerCrashed(task(), attempts, name, pid, exitcode, stack, remains.cause or None), stack
            )
        case TimedOut(_, limit, attempts, remains):
            stack = _stack_of(remains)
            return _with_stack(TaskTimeout(task(), attempts, limit, *_name_and_pid(place), stack), stack)
        case NotStarted(_, detail):
            return WorkerStartError(place.name if place is not None else "?", None, detail)
        case GivenUp(_, restart, restarts, reason, last):
            name, _ = _name_and_pid(place)
            error = TooManyRestarts(task(), restarts + 1, name, restarts, restart.within, reason)
            if not isinstance(last, Value | Plain):
                error.__cause__ = fault_of(last, task, place, ending)
            return error
        case Dropped():
            return ending.error()
        case _:
            assert_never(outcome)


def _name_and_pid(place: Place | None) -> tuple[str, int | None]:
    return (place.name, place.pid) if place is not None else ("?", None)


_OUR_FRAMES = re.compile(
    r'(?m)^  File ".*\Wprocorch\W_(?:child|current|noting|queue)\.py", '
    r"line \d+ in (?:__call__|_outcome|fill|<lambda>)\n(?:  File .*\n)*"
)
"""In a stack as `faulthandler` writes it, most recent call first: the call of the item's function, and its callers."""


def _stack_of(remains: Remains) -> str | None:
    if remains.stack:
        return _OUR_FRAMES.sub("  <the call of the item's function>\n", remains.stack)
    return read_report(remains.failure).trace if remains.failure is not None else None


def _with_stack(error: TaskError, stack: str | None) -> TaskError:
    if stack is not None:
        annotate(error, f"procorch: the process was at\n{stack.rstrip()}")
    return error
