"""The functions that tests of the engine for ray run in its actors."""

from __future__ import annotations

import atexit
import ctypes
import os
import signal
import time
from typing import Any

from targets import append
from targets_limits import hold_the_gil


def hold_the_gil_whatever_comes(log: str) -> None:
    """Ignore SIGTERM, in a thread that may not ask Python for that, and let nobody in."""
    ctypes.CDLL(None).signal(int(signal.SIGTERM), ctypes.c_void_p(1))
    append(log, str(os.getpid()))
    hold_the_gil()


def log_and_sleep(log: str) -> None:
    append(log, str(os.getpid()))
    time.sleep(1000)


def double_slowly(log: str, index: int) -> int:
    append(log, f"{index} {os.getpid()}")
    time.sleep(0.02)
    return 2 * index


def kill_self_once(log: str, fatal: int, index: int) -> int:
    append(log, str(index))
    if index == fatal:
        os.kill(os.getpid(), signal.SIGKILL)
    return 2 * index


def fill(array: Any, value: float) -> Any:
    """Write to what came as an argument."""
    array[:] = value
    return array


def append_at_exit(log: str) -> None:
    atexit.register(append, log, "bye")
