"""What a user may choose of a checkpoint, and nothing of how it is kept."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, TypeAlias, cast

import attrs

from procorch._policy import check_bool, check_callable
from procorch._public import public

Key: TypeAlias = str | int | bytes
"""What may identify an item."""


def _to_path(given: object) -> str:
    if not isinstance(given, str | os.PathLike):
        raise TypeError(f"checkpoint must be a path, a Checkpoint or None, not {given!r}")
    path = os.fspath(cast("str | os.PathLike[str]", given))
    if not isinstance(path, str):  # pyright: ignore[reportUnnecessaryIsInstance]  # a path of the user's may be of bytes
        raise TypeError(f"a checkpoint's path must be a str, not {path!r}")
    if not path or "\0" in path:
        raise ValueError(f"a checkpoint's path must name a file, not {path!r}")
    return path


def _check_key(instance: object, attribute: object, key: Any) -> None:
    if key is not None:
        check_callable("key", key)


def _check_version(instance: object, attribute: object, version: Any) -> None:
    if version is not None and (not isinstance(version, str | int) or isinstance(version, bool)):
        raise TypeError(f"version must be a str, an int or None, not {version!r}")


def _check_results(instance: object, attribute: object, results: Any) -> None:
    check_bool("results", results)


@public
@attrs.frozen
class Checkpoint:
    """A file in which a call of `map` or `imap` keeps what it has done, so that the next call goes on from there.

    ``checkpoint="run.db"`` is the same as ``checkpoint=Checkpoint("run.db")``.

    Attributes:
        path (str): The file, an SQLite database; made with mode 0600 if there is none. Beside it, as long as a call is
            under way, are ``run.db-begun`` and files of SQLite's own.
        key (Callable[..., str | int | bytes] | None): Called in this process with an item, or with its parts; what it
            returns identifies the item, wherever in the input it stands. None knows an item by its position, and
            refuses one that is not what it was there.
        version (str | int | None): Tells one state of the function from another, and is to be changed when recorded
            results are no longer right. None takes a fingerprint of the function's code.
        results (bool): Whether results are kept. If not, None stands in the place of those of earlier calls.
    """

    path: str = attrs.field(converter=_to_path)
    key: Callable[..., Key] | None = attrs.field(default=None, kw_only=True, validator=_check_key)
    version: str | int | None = attrs.field(default=None, kw_only=True, validator=_check_version)
    results: bool = attrs.field(default=True, kw_only=True, validator=_check_results)


Given: TypeAlias = str | os.PathLike[str] | Checkpoint | None
"""What a user may give for one."""


def checked_checkpoint(given: object) -> Checkpoint | None:
    """Check what a user has given for a call's checkpoint.

    Args:
        given (object): A path, a `Checkpoint` or None.

    Returns:
        Checkpoint | None: None for none.

    Raises:
        TypeError: It is something else.
        ValueError: It is no path.
    """
    return given if given is None or isinstance(given, Checkpoint) else Checkpoint(cast("Any", given))
