"""Several processes with names, each with a function to run."""

from __future__ import annotations

import time

from procorch import ProcessGroup


def double(number: int) -> int:
    """Double a number; small ones take longer."""
    time.sleep(0.5 / number)
    return number * 2


if __name__ == "__main__":
    with ProcessGroup(name="doubler") as group:
        for number in (1, 5, 10):
            group.start(double, number)
        group.start(double, 2, name="Test")
        for process in group.as_completed():
            print(f"{process.name}: {process.result()}, exit code {process.exitcode}")
