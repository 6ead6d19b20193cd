"""What the tests of the command line name as MODULE:FUNC."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from targets import wait_for
from targets_limits import hold_the_gil

number = 5
"""No function."""

_initialized: list[int] = []


class Shapes:
    """Has a function inside."""

    @staticmethod
    def square(side: float) -> float:
        return side * side


def initialize() -> None:
    _initialized.append(os.getpid())


def initialize_in_vain() -> None:
    raise ValueError("no licence")


def was_initialized(line: str) -> bool:
    return _initialized == [os.getpid()]


def hexadecimal(line: str) -> str:
    return os.fsencode(line).hex()


def upper(line: str) -> str:
    return line.upper()


def add(first: int, second: int = 10) -> int:
    return first + second


def pid(line: str) -> int:
    return os.getpid()


def set_of(line: str) -> object:
    return {line} if line == "set" else float(line)


def broken_text(line: str) -> str:
    return "half \ud800"


def talk(line: str) -> str:
    """Write to standard output in each way there is, and read standard input in each."""
    print("printed", line, flush=True)
    os.write(1, b"written\n")
    subprocess.run(["sh", "-c", "echo echoed"], check=True)
    return sys.stdin.read() + subprocess.run(["cat"], capture_output=True, text=True, check=True).stdout


def log_and_obey(line: str) -> str:
    """Log the begin, as ``LOG NUMBER WHAT``, and do what is said."""
    log, index, what, *more = line.split()
    with Path(log).open("a") as file:
        file.write(f"{index} {os.getpid()}\n")
    match what:
        case "wait":
            wait_for(more[0])
        case "fail":
            raise ValueError(f"item {index}\nis bad")
        case "exit":
            sys.exit(3)
        case "die":
            os.kill(os.getpid(), signal.SIGKILL)
        case "gil":
            hold_the_gil()
        case "again":
            tries = Path(log).read_text().splitlines()
            if len([one for one in tries if one.split()[0] == index]) < 3:
                raise ConnectionError("try again")
        case _:
            pass
    return index
