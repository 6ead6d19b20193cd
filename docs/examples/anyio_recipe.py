"""A call from anyio, on asyncio or trio: nothing blocks the loop, and cancelling stops the process.

While it waits, it keeps one of anyio's threads; see `trio_recipe.py` for how to do without.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import ParamSpec, TypeVar

import anyio
import anyio.to_thread

from procorch import ProcessGroup

P = ParamSpec("P")
R = TypeVar("R")


async def run(group: ProcessGroup, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
    """Run a function in one of a group's processes.

    Args:
        group (ProcessGroup): The group.
        fn (Callable[P, R]): What to call there.
        *args (P.args): Its arguments.
        **kwargs (P.kwargs): Its keyword arguments.

    Returns:
        R: What it returned.
    """
    future = await anyio.to_thread.run_sync(partial(group.submit, fn, *args, **kwargs))  # it pickles: in a thread
    try:
        return await anyio.to_thread.run_sync(future.result, abandon_on_cancel=True)
    except anyio.get_cancelled_exc_class():
        future.cancel()
        raise


async def main(group: ProcessGroup) -> None:
    """Run two calls, and give one up."""
    print(await run(group, pow, 2, 10), await run(group, sorted, [3, 1, 2], reverse=True))
    with anyio.move_on_after(0.2) as scope:
        await run(group, time.sleep, 3600)
    print("given up:", scope.cancelled_caught)


if __name__ == "__main__":
    with ProcessGroup(1) as group:
        anyio.run(main, group, backend="asyncio")
        anyio.run(main, group, backend="trio")
