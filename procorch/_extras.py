"""Libraries that not everybody needs, loaded when they are asked for."""

from __future__ import annotations

import contextlib
import functools
import importlib
import importlib.util
from importlib.machinery import ExtensionFileLoader, PathFinder
from typing import Any


def load(module: str, *, extra: str, purpose: str) -> Any:
    """Load a library of an extra.

    Args:
        module (str): What to import.
        extra (str): The extra of procorch that has it.
        purpose (str): What it is wanted for, for the message.

    Returns:
        Any: The module.

    Raises:
        ImportError: It is not installed; says how to.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        library = module.partition(".")[0]
        raise ImportError(f"{purpose} needs {library}: pip install 'procorch[{extra}]'", name=library) from error


def is_installed(module: str) -> bool:
    """Tell whether a library is there, without loading it.

    Args:
        module (str): What one would import; no part of a package.

    Returns:
        bool: Whether it would be found.
    """
    with contextlib.suppress(ImportError, ValueError):  # ValueError: something without a spec stands in its place
        return importlib.util.find_spec(module) is not None
    return False


@functools.cache
def title_library() -> str:
    """Find what workers load to show their names in their command lines, see `_titles.show`.

    Returns:
        str: The file of setproctitle's C module; empty where that is not installed.
    """
    with contextlib.suppress(ImportError, ValueError):
        package = importlib.util.find_spec("setproctitle")
        if package is not None and package.submodule_search_locations:
            module = PathFinder.find_spec("setproctitle._setproctitle", package.submodule_search_locations)
            if module is not None and isinstance(module.loader, ExtensionFileLoader):
                return module.loader.path
    return ""
