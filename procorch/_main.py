"""Importing the caller's ``__main__`` in a worker, the first time that something refers to it by name.

As the standard library does when it starts a process: under another name, so that what stands under the main guard does
not run. Loaded in a worker only then.
"""

from __future__ import annotations

import pickle
import runpy
import sys
import types
from multiprocessing import process
from typing import Any, Literal, TypeAlias

Kind: TypeAlias = Literal["path", "name"]
"""How the module was run: ``python path`` or ``python -m name``."""

NAME = "__mp_main__"
"""The name that the module has here, as in the standard library, whose parent finds it by that too."""

_replaced: list[types.ModuleType] = []  # kept, as functions that still run may use it
_failure: BaseException | None = None


def load_with_main(kind: Kind, where: str, payload: bytes) -> Any:
    """Load a pickle that refers to the caller's ``__main__``. Pickles refer to it by name.

    Args:
        kind (Kind): What ``where`` is.
        where (str): Path or name of the module.
        payload (bytes): The pickle.

    Returns:
        Any: What was pickled.

    Raises:
        BaseException: What the module raised when it was imported; it is not tried again.
    """
    if not _is_main(kind, where):
        _import_main(kind, where)
    return pickle.loads(payload)


def _is_main(kind: Kind, where: str) -> bool:
    """Whether it is here already: imported before, or this is a copy of the caller."""
    main = sys.modules["__main__"]
    if kind == "path":
        return getattr(main, "__file__", None) == where
    return getattr(getattr(main, "__spec__", None), "name", None) == where


def _import_main(kind: Kind, where: str) -> None:
    global _failure  # noqa: PLW0603 - it belongs to the process
    if _failure is not None:
        raise _failure.with_traceback(None)
    marks = vars(process.current_process())
    # Whoever would start a process meanwhile is refused, here and in multiprocessing: that one would import the module
    # too, and so on without end.
    marks["_inheriting"] = True
    try:
        content = _run(kind, where)
    except BaseException as error:
        _failure = error
        raise
    finally:
        del marks["_inheriting"]
    module = types.ModuleType(NAME)
    module.__dict__.update(content)
    _replaced.append(sys.modules["__main__"])
    sys.modules["__main__"] = sys.modules[NAME] = module


def _run(kind: Kind, where: str) -> dict[str, Any]:
    if kind == "path":
        return runpy.run_path(where, run_name=NAME)
    return runpy.run_module(where, run_name=NAME, alter_sys=True)


def being_imported() -> bool:
    """Tell whether this process is about to import the main module of another.

    Returns:
        bool: True also where `multiprocessing` does it.
    """
    return getattr(process.current_process(), "_inheriting", False)
