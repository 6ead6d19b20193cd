"""The functions that tests of chunks run in worker processes."""

from __future__ import annotations

import os
import time
from pathlib import Path

from targets import append


def sleep_logged(log: str, item: tuple[int, float]) -> int:
    """Sleep, or do nothing, and note in a file which item ran in which process."""
    number, seconds = item
    append(log, f"{number} {os.getpid()}")
    if seconds:
        time.sleep(seconds)
    return os.getpid()


def wait_for_the_next(log: str, gate: str, waiting: int, number: int) -> int:
    """Let one item wait until the one behind it has opened a gate."""
    append(log, str(number))
    if number == waiting + 1:
        Path(gate).touch()
    while number == waiting and not Path(gate).exists():
        time.sleep(0.001)
    return number
