"""Progress: a bar of tqdm if standard error is a terminal, and any callable of one's own."""

from __future__ import annotations

import time

from procorch import ProcessGroup, Progress


def work(number: int) -> float:
    """Take a while, and refuse an item in seven.

    Args:
        number (int): Any.

    Returns:
        float: Its reciprocal, more or less.

    Raises:
        ZeroDivisionError: If seven divides it.
    """
    time.sleep(0.02)
    return 1 / (number % 7)


def say(progress: Progress) -> None:
    """Print how far it has come.

    Args:
        progress (Progress): What there is to say.
    """
    total = "?" if progress.total is None else progress.total
    print(f"{progress.elapsed:4.1f} s: {progress.done} of {total}, {progress.failed} failed, {progress.running} run")


if __name__ == "__main__":
    with ProcessGroup() as group:
        group.map(work, range(50), return_exceptions=True, progress=True)
        group.map(work, range(50), return_exceptions=True, progress=say)
