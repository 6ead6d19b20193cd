"""The files of a checkpoint: whose they are, who may write to them, and what the system says when it refuses."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import stat
from collections.abc import Generator
from pathlib import Path

from procorch._errors import CheckpointError

_BESIDE = ("-wal", "-shm", "-journal", "-begun")


@contextlib.contextmanager
def told(path: str, what: str) -> Generator[None]:
    """Turn what the system or SQLite says into an error of ours.

    Args:
        path (str): The checkpoint.
        what (str): What has failed.
    """
    try:
        yield
    except (OSError, sqlite3.Error) as error:
        raise CheckpointError(path, f"{what}: {reason_of(error)}") from error


def reason_of(error: Exception) -> str:
    """Say what the system or SQLite said.

    Args:
        error (Exception): An OSError, one of sqlite3, or any other.

    Returns:
        str: Without the file's name; the type of one that says nothing.
    """
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__


def make_sure(path: str) -> None:
    """Make the file if there is none, and refuse one that others may have written: it holds pickles, which is code.

    It is not opened if it is there: to close it would let go of the locks that another connection here may hold.

    Args:
        path (str): The checkpoint.

    Raises:
        CheckpointError: It cannot be made, or is not to be trusted.
    """
    with told(path, "cannot be made"), contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600))
    for file in (path, *(f"{path}{end}" for end in _BESIDE)):
        with told(path, "cannot be opened"), contextlib.suppress(FileNotFoundError):
            _check_owner(path, file, Path(file).stat())


def _check_owner(path: str, file: str, found: os.stat_result) -> None:
    its = "" if file == path else f"has a file beside it, {file!r}, which "
    if not stat.S_ISREG(found.st_mode):
        raise CheckpointError(path, f"{its}is no file")
    if found.st_uid != os.geteuid():
        raise CheckpointError(path, f"{its}belongs to user {found.st_uid}, not to {os.geteuid()}, and is not trusted")
    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise CheckpointError(
            path, f"{its}may be written by others (mode {stat.S_IMODE(found.st_mode):04o}), and is not trusted"
        )
