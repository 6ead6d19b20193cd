"""Libraries that not everybody needs, loaded when they are asked for."""

from __future__ import annotations

import importlib
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
