"""What the caller's ``__main__`` is, and whether a worker could import it. In the parent."""

from __future__ import annotations

import ast
import functools
import sys
from pathlib import Path
from typing import Any

import attrs

from procorch._main import Kind, being_imported


@attrs.frozen
class MainModule:
    """A worker can import it."""

    kind: Kind
    where: str
    """Path or name."""


@attrs.frozen
class NoModule:
    """No worker may import it."""

    reason: str
    """Why, as a sentence."""


def find_main() -> MainModule | NoModule:
    """Find out whether the caller's ``__main__`` can be imported without running the program again.

    Returns:
        MainModule | NoModule: How, or why not.
    """
    if being_imported():
        return NoModule("this process is about to import it, and would do so without end")
    main: Any = sys.modules["__main__"]
    path = getattr(main, "__file__", None)
    # An interactive interpreter may have the file of its own start, or that of the script before it.
    if path is None or hasattr(sys, "ps1") or not Path(path).is_file():
        return NoModule("__main__ is not a file here")
    if not _has_guard(path):
        return NoModule(f"{Path(path).name} has no `if __name__ == '__main__':`")
    name = getattr(getattr(main, "__spec__", None), "name", None)
    # A directory that is run has a module named so, which cannot be imported by that.
    return MainModule("path", path) if name is None or name == "__main__" else MainModule("name", name)


@functools.cache
def _has_guard(path: str) -> bool:
    try:
        tree = ast.parse(Path(path).read_bytes())
    except (OSError, SyntaxError, ValueError):
        return False  # a compiled file, or one that is gone
    tests = [statement.test for statement in tree.body if isinstance(statement, ast.If)]
    names = [node.id for test in tests for node in ast.walk(test) if isinstance(node, ast.Name)]
    return "__name__" in names
