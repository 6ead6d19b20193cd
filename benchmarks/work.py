"""What the workers run. Imports next to nothing: every fresh worker loads this file within what is measured."""

from __future__ import annotations

import os
import signal
import time
from typing import Any

_kept: dict[int, Any] = {}
"""Large results of this worker, so that making them is not measured with sending them."""


def plus_one(number: int) -> int:
    """Give the next number."""
    return number + 1


def text(number: int) -> str:
    """Give a short text."""
    return f"item {number}"


def nothing(number: int) -> None:
    """Give None."""


def half(number: int) -> float:
    """Give a float."""
    return number / 2


def pair(number: int) -> tuple[int, str]:
    """Give a small tuple."""
    return number, "pair"


def busy(seconds: float) -> float:
    """Use the processor for some seconds of this thread's own time, so that a loaded machine does not shorten it."""
    until = time.thread_time() + seconds
    while time.thread_time() < until:
        pass
    return seconds


def sleep(seconds: float) -> float:
    """Take time, and no processor."""
    time.sleep(seconds)
    return seconds


def busy_or_sleep(seconds: float) -> float:
    """Be busy for a positive time, sleep for a negative one."""
    return busy(seconds) if seconds > 0 else sleep(-seconds)


def give_array(size: int) -> Any:
    """Give a large array, made the first time only."""
    if size not in _kept:
        import numpy as np  # here: only the workers that give arrays need it

        _kept[size] = np.ones(size, dtype=np.uint8)
    return _kept[size]


def take_array(array: Any) -> tuple[int, bool]:
    """Read a byte of each page of an array, and tell their sum and whether it may be written to."""
    return int(array[::4096].sum(dtype="int64")), bool(array.flags.writeable)


def die_or_sleep(path: str) -> int:
    """Sleep for 2 ms; given the path of a file, note the time there and be killed."""
    if path:
        with open(path, "w") as file:  # noqa: PTH123 - pathlib is one more import in each worker
            file.write(str(time.monotonic()))
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(0.002)
    return os.getpid()


def who(seconds: float) -> int:
    """Sleep a little, and tell which process this is."""
    time.sleep(seconds)
    return os.getpid()


def prepare_array(size: int) -> int:
    """Make what `give_array` gives, and tell which process this is."""
    give_array(size)
    return who(0.005)
