"""Coroutine functions as functions that a worker can call. A worker loads this for their sake, and `asyncio` with it.

Light: no more than these names crosses to a worker.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any


class InLoop:
    """Calls a coroutine function, in an event loop of its own for each call. Known by the function's name."""

    def __init__(self, fn: Callable[..., Coroutine[Any, Any, Any]]) -> None:
        """Wrap it.

        Args:
            fn (Callable[..., Coroutine[Any, Any, Any]]): The coroutine function.
        """
        self.fn = fn
        """What it calls."""
        for name in ("__module__", "__qualname__"):
            if hasattr(fn, name):
                setattr(self, name, getattr(fn, name))

    def __reduce__(self) -> tuple[type[InLoop], tuple[object]]:
        return InLoop, (self.fn,)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        import asyncio  # here: no other item needs it, and it takes long to load

        return asyncio.run(self.fn(*args, **kwargs))
