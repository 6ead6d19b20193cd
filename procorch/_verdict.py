"""What an outcome means to the caller: a value, the exception that the function raised, or an error of ours.

Runs in the parent, in the thread that wants the result wherever there is one, since opening a pickle runs the user's
code. Each call makes an exception object of its own.
"""

from __future__ import annotations

import pickle
import re
import reprlib
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Literal, assert_never

import attrs

from procorch import _values
from procorch._buffers import loads
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
from procorch._messages import Failure, Plain, Report, Value
from procorch._notes import annotate
from procorch._outcome import capture, read_report, text_of

_REMEDIES = {
    "function": "Define it at the top level of an importable module",
    "argument": "Pass plain data instead, and make such objects (locks, files, connections) inside the function",
    "result": "Return plain data instead",
    "exception": "Let it hold plain data only, and define its class at the top level of an importable module",
}

_NO_ROOM = "There was no room for it in memory: send less, or let the process have more (memory_limit)"

INSTALL = "pip install 'procorch[pickle]'"
"""The command after which functions and classes can go by value."""

_UNNAMED = "Can't "
"""How what pickle says of functions and classes whose names lead nowhere begins, and nothing else that it says."""

_ORDERLY = "is closed"

_short = reprlib.Repr()
_short.maxstring = _short.maxother = 60


class RemoteTraceback(Exception):
    """The traceback in the worker, as text: the cause of an exception that came from there."""

    def __str__(self) -> str:
        """Show it as the interpreter would have shown it there.

        Returns:
            str: Several lines.
        """
        return f'\n"""\n{self.args[0]}"""'


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


def judge(outcome: Outcome | Plain, task: Callable[[], Task], place: Place | None, ending: Ending) -> Any:
    """Open an outcome.

    Args:
        outcome (Outcome | Plain): What became of the item.
        task (Callable[[], Task]): Names the work; called only for errors.
        place (Place | None): Where it ran; None if nowhere.
        ending (Ending): Why the group ends, for work that was dropped.

    Returns:
        Any: What the function returned.

    Raises:
        BaseException: What the function raised, or an error of ours.
    """
    if isinstance(outcome, Plain):
        return outcome.values[0]
    if isinstance(outcome, Value):
        return open_value(outcome, task)
    raise fault_of(outcome, task, place, ending)


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
    """
    try:
        value = judge(outcome, task, place, ending)
    except BaseException as error:  # noqa: BLE001 - what the function raised, of any kind
        # Without our lines, which tell nothing, and by which the error would keep the future, and that the error.
        future.set_exception(error.with_traceback(None))
    else:
        future.set_result(value)


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


def open_value(value: Value, task: Callable[[], Task]) -> Any:
    """Rebuild a result.

    Args:
        value (Value): From a worker.
        task (Callable[[], Task]): Names the work; called only for an error.

    Returns:
        Any: What the function returned.

    Raises:
        NotPicklable: It cannot be rebuilt.
    """
    try:
        return loads(value.payload)
    except Exception as error:  # the user's __setstate__ may raise anything
        report = read_report(capture(error, "result"))
        raise refused(report, task(), 1, "loads") from error


def rebuild(report: Report, task: Callable[[], Task]) -> BaseException:
    """Make an exception of what a worker told of it.

    Args:
        report (Report): From the worker.
        task (Callable[[], Task]): Names the work.

    Returns:
        BaseException: The function's own exception, or `NotPicklable`; its cause holds the traceback in the worker.
    """
    error: BaseException | None
    if report.stage == "raised":
        never_sent = report.whole is None and report.parts is None
        error = _revive(report)
        if error is None:
            error = refused(report, task(), 1, "dumps" if never_sent else "loads")
    else:
        error = refused(report, task(), 1, "dumps" if report.stage == "result" else "loads")
    _set_cause(error, report)
    return error


def rebuild_setup_error(report: Report, worker: str, what: Literal["initializer", "finalizer"]) -> BaseException:
    """Make an exception of what an initializer or finalizer raised.

    Args:
        report (Report): From the worker.
        worker (str): Its name.
        what (Literal["initializer", "finalizer"]): Which of them.

    Returns:
        BaseException: Its own exception with a note, or `WorkerStartError` where that would end the caller, as
            SystemExit does, or cannot be rebuilt.
    """
    error = _revive(report)
    if not isinstance(error, Exception):
        error = WorkerStartError(worker, None, f"its {what} raised {report.name}: {report.text}")
    annotate(error, f"procorch: raised by the {what} in worker {worker!r}")
    _set_cause(error, report)
    return error


def _set_cause(error: BaseException, report: Report) -> None:
    object.__setattr__(error, "__cause__", RemoteTraceback(report.trace))  # see annotate


def refused(report: Report, task: Task, attempts: int, step: Literal["dumps", "loads"]) -> NotPicklable:
    """Make the error for something that could not cross.

    Args:
        report (Report): What pickle, or the object's own code, raised.
        task (Task): The work.
        attempts (int): How many times it was begun.
        step (Literal["dumps", "loads"]): Where it failed.

    Returns:
        NotPicklable: With what helps.
    """
    what = "exception" if report.stage == "raised" else report.stage
    detail = f"{report.name}: {report.text}"
    remedy = _REMEDIES[what]
    if report.name == "MemoryError":
        remedy = _NO_ROOM
    elif step == "dumps" and report.text.startswith(_UNNAMED) and _values.cloudpickle() is None:
        remedy = f"Run {INSTALL}, which can send it. Or: {remedy[0].lower()}{remedy[1:]}"
    return NotPicklable(task, attempts, what, step, detail, remedy)


def _revive(report: Report) -> BaseException | None:
    """Rebuild an exception in its own way; if that fails or changes its text, without calling its class."""
    error = _opened(report.whole)
    if error is None or text_of(error) != report.text:
        parts = _opened(report.parts)
        error = error if parts is None else parts
    if error is not None and report.notes and not hasattr(error, "__notes__"):
        object.__setattr__(error, "__notes__", report.notes)  # see annotate
    return error


def _opened(payload: bytes | None) -> BaseException | None:
    if payload is None:
        return None
    try:
        error = pickle.loads(payload)
    except Exception:  # noqa: BLE001 - a constructor of the user's may raise anything
        return None
    return error if isinstance(error, BaseException) else None
