"""A call from trio: nothing blocks the loop, no thread waits, and cancelling stops the process."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import ParamSpec, TypeVar

import trio

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
    token, done = trio.lowlevel.current_trio_token(), trio.Event()
    future = await trio.to_thread.run_sync(partial(group.submit, fn, *args, **kwargs))  # it pickles: in a thread
    future.add_done_callback(lambda _: token.run_sync_soon(done.set))
    try:
        await done.wait()
    except trio.Cancelled:
        future.cancel()
        raise
    return future.result()


async def main(group: ProcessGroup) -> None:
    """Run two calls, and give one up."""
    print(await run(group, pow, 2, 10), await run(group, sorted, [3, 1, 2], reverse=True))
    with trio.move_on_after(0.2) as scope:
        await run(group, time.sleep, 3600)
    print("given up:", scope.cancelled_caught)


if __name__ == "__main__":
    with ProcessGroup(1) as group:
        trio.run(main, group)
