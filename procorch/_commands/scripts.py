"""Where the functions that a command line names are looked for. In the parent: workers get its path."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

from procorch._commands.references import UnknownFunction


def prepare_path(name: str) -> str:
    """Let modules be found as ``python -m`` finds them, and the module of a script beside it.

    Args:
        name (str): ``MODULE:FUNC``, or ``PATH/SCRIPT.py:FUNC``.

    Returns:
        str: ``MODULE:FUNC``.

    Raises:
        UnknownFunction: It is a script that is not there or cannot be imported under its own name, or there is no
            current folder.
    """
    try:
        here = str(Path.cwd())
    except OSError as error:  # it has been removed; nor can a worker start there
        raise UnknownFunction(f"cannot find the current folder: {error.strerror}") from None
    if not sys.flags.safe_path and not {here, ""} & set(sys.path):
        sys.path.insert(0, here)
    script, _, function = name.rpartition(":")
    if not script.endswith(".py"):
        return name
    path = Path(script).resolve()
    if not path.is_file():
        raise UnknownFunction(f"there is no file {script}")
    sys.path.insert(0, str(path.parent))
    found = importlib.util.find_spec(path.stem) if "." not in path.stem else None
    if found is None or found.origin != str(path):
        raise UnknownFunction(f"{script} cannot be imported as a module named {path.stem!r}")
    return f"{path.stem}:{function}"
