"""Functions that run on clusters."""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import threading
from pathlib import Path
from typing import Any

import targets

import procorch


def here(_: object = None) -> int:
    return os.getpid()


def odd_keywords(item: int, *, key: int = 0, workers: int = 0, retries: int = 0, priority: int = 0) -> tuple[int, ...]:
    return item, key, workers, retries, priority


def chance(_: object = None) -> float:
    return random.SystemRandom().random()


def logged(log: str, number: int, seconds: float = 0.0) -> int:
    """Note that the item has begun, and take a while."""
    targets.append(log, f"{number} {os.getpid()}")
    if seconds:
        threading.Event().wait(seconds)
    return 2 * number


def logged_until(log: str, gate: str, number: int) -> int:
    """Note that the item has begun, and wait for the gate."""
    targets.append(log, f"{number} {os.getpid()}")
    targets.wait_for(gate)
    return 2 * number


def fails_once(log: str) -> None:
    targets.append(log, "0")
    raise LookupError("as it should")


def hold_the_interpreter(seconds: float) -> None:
    """Spend a long time in C code that never lets go, with SIGTERM ignored."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    del seconds
    re.match(r"(a+)+$", "a" * 60 + "b")


def start_a_program(path: str) -> None:
    """Start a program, write down its pid, and wait for ever."""
    program = subprocess.Popen(["sleep", "1000"])
    Path(path).write_text(f"{program.pid}")
    program.wait()


def add_one(array: Any) -> Any:
    array += 1
    return array


def at(shared: procorch.Shared[Any], place: int) -> Any:
    return shared.value[place]


def remembered(_: object = None) -> tuple[object, str, int]:
    """Tell what the initializer has left, how many threads OpenMP may use, and which process this is."""
    return targets.recall("model"), os.environ.get("OMP_NUM_THREADS", ""), os.getpid()


def not_ready() -> None:
    raise LookupError("not ready")
