"""What the tests of checkpoints run in workers."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

from targets import append


def square_logged(log: str, number: int) -> int:
    """Square, and append a line for the execution."""
    append(log, str(number))
    return number * number


def slow_square(log: str, number: int) -> int:
    """The same, and take a moment before and after."""
    append(log, str(number))
    time.sleep(0.001)
    return number * number


def fail_once(folder: str, number: int) -> int:
    """Fail on odd numbers unless there is a file of that number."""
    append(f"{folder}/log", str(number))
    if number % 2 and not Path(folder, str(number)).exists():
        raise ValueError(f"no file {number}")
    return number * number


def die_once(folder: str, number: int) -> int:
    """Kill the own process on number 2, unless there is a file of that number."""
    append(f"{folder}/log", str(number))
    if number == 2 and not Path(folder, str(number)).exists():
        os.kill(os.getpid(), signal.SIGKILL)
    return number * number


def kill_parent_at(log: str, number: int, at: int) -> int:
    """Kill the process that gave the work, the first time that some item runs."""
    append(log, str(number))
    if number == at and Path(log).read_text().split().count(str(at)) == 1:
        parent = int(Path(f"{log}-parent").read_text())
        os.kill(parent, signal.SIGKILL)
        time.sleep(60)  # this process is killed next
    return number * number


def large(number: int) -> list[bytearray]:
    return [bytearray([number]) * 600_000, bytearray([number + 1]) * 700_000]


async def later(number: int) -> int:
    return number * number


def wait_for_gate(gate: str, log: str, number: int) -> int:
    """Wait for a file; number 0 fails instead."""
    append(log, str(number))
    if not number:
        while not Path(f"{log}").read_text().count("\n") > 1:
            time.sleep(0.001)
        raise ValueError("the first")
    while not Path(gate).exists():
        time.sleep(0.001)
    return number * number


def die_or_fail(folder: str, number: int) -> None:
    """Kill the own process on number 0; fail on others once there is a file for that."""
    append(f"{folder}/log", str(number))
    if not number:
        os.kill(os.getpid(), signal.SIGKILL)
    while not Path(folder, "gate").exists():
        time.sleep(0.001)
    raise ValueError("the other")


def parts(number: int) -> tuple[int, int]:
    return number, -number


def key_of(item: Any) -> str:
    return f"key {item}"


def padded(log: str, number: int) -> bytes:
    append(log, str(number))
    time.sleep(0.001)
    return padded_result(number)


def padded_result(number: int) -> bytes:
    return number.to_bytes(4, "little") * 4000
