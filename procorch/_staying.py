"""A function that is to stay up, as a worker calls it. A worker loads this for its sake.

Light: no more than this name crosses to a worker.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class Staying:
    """Calls it. ``SystemExit`` with 0 or nothing counts as returning."""

    def __init__(self, fn: Callable[..., Any]) -> None:
        """Wrap it.

        Args:
            fn (Callable[..., Any]): The function.
        """
        self._fn = fn

    def __call__(self, *args: Any) -> Any:
        """Call it.

        Args:
            *args (Any): Its arguments.

        Returns:
            Any: What it returns.
        """
        try:
            return self._fn(*args)
        except SystemExit as end:
            if end.code is not None and end.code != 0:
                raise
            return None
