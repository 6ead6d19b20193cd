"""Whether this process is a copy of a worker that code of the user's has forked, and how such a copy ends.

It shares the worker's page and socket, and must never write to them. Loaded in every worker.
"""

from __future__ import annotations

import os
import sys

is_copy = False
"""Set by what a worker does after each fork, see `_child.serve`."""


def leave_copy() -> None:
    """End a copy that has come back from the user's code: the worker goes on from there, so this one must not."""
    if is_copy:
        os._exit(0)


def end_copy(error: BaseException) -> None:
    """End a copy in which the user's code has raised, as that would end any process.

    Args:
        error (BaseException): What it raised.
    """
    if is_copy:
        try:
            if not isinstance(error, SystemExit):
                sys.excepthook(type(error), error, error.__traceback__)
            elif not isinstance(error.code, int | None):
                print(error.code, file=sys.stderr)
        finally:
            os._exit(exit_code(error))  # also where that cannot be shown


def exit_code(error: BaseException) -> int:
    """Tell with what exit code an exception ends a process.

    Args:
        error (BaseException): Any.

    Returns:
        int: Of `SystemExit` what it says, else 1.
    """
    if not isinstance(error, SystemExit):
        return 1
    if error.code is None:
        return 0
    return error.code if isinstance(error.code, int) else 1
