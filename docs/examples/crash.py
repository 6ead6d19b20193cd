"""A process dies under one of many items: that one is reported, the others have their results."""

from __future__ import annotations

import os
import signal

from procorch import ProcessGroup, WorkerCrashed


def fragile(number: int) -> int:
    """Square a number, unless it is 3: then the process dies as in a crash.

    Args:
        number (int): Any.

    Returns:
        int: Its square.
    """
    if number == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return number * number


if __name__ == "__main__":
    with ProcessGroup() as group:
        for result in group.map(fragile, range(6), return_exceptions=True):
            if isinstance(result, WorkerCrashed):
                print(f"item {result.task.index} lost, exit code {result.exitcode}, after {result.attempts} attempt")
            else:
                print(result)
