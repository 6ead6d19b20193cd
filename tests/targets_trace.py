"""The functions that tests of traces run in worker processes."""

from __future__ import annotations

import os
import signal
import time

from targets_limits import count_attempt, hold_the_gil


def work(number: int) -> int:
    """Do something, for as long as anything can be seen of it."""
    time.sleep(0.002)
    return number


def troubled(folder: str, number: int) -> int:
    """Have each sort of trouble once: a crash, time that runs out, errors once and for good."""
    first = number in (3, 5, 7) and count_attempt(f"{folder}/{number}") == 1
    if number == 3 and first:
        os.kill(os.getpid(), signal.SIGSEGV)
    if number == 5 and first:
        hold_the_gil()
    if number in (7, 9) and (first or number == 9):
        raise ConnectionError(f"item {number}")
    time.sleep(0.01)
    return number


def leave(code: int) -> None:
    os._exit(code)
