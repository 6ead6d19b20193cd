"""Results and exceptions of another process, rebuilt: opening a pickle runs the user's code, which may do anything."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any, Literal

from procorch import _values
from procorch._buffers import loads
from procorch._errors import NotPicklable, Task, WorkerStartError
from procorch._messages import Report, Value
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


class RemoteTraceback(Exception):
    """The traceback in the worker, as text: the cause of an exception that came from there."""

    def __str__(self) -> str:
        """Show it as the interpreter would have shown it there.

        Returns:
            str: Several lines.
        """
        return f'\n"""\n{self.args[0]}"""'


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
