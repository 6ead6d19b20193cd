"""One function in one process of its own."""

from __future__ import annotations

import os

from procorch import ProcessGroup


def double(number: int) -> int:
    """Double a number, and say where."""
    print(f"doubling {number} in process {os.getpid()}", flush=True)
    return number * 2


if __name__ == "__main__":
    with ProcessGroup() as group:
        process = group.start(double, 5)
        print(f"{process.name} has pid {process.pid}")
        print(process.result())
