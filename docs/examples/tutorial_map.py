"""Many items on two workers."""

from __future__ import annotations

from multiprocessing import current_process

from procorch import ProcessGroup


def double(number: int) -> tuple[int, str]:
    """Double a number, and tell which process did."""
    return number * 2, current_process().name


if __name__ == "__main__":
    with ProcessGroup(2, name="doubler") as group:
        results = group.map(double, range(100_000))
        print(results[:3], "...", results[-1])
        print(len({name for _, name in results}), "processes")
        for process in group.processes:
            print(f"{process.name} has pid {process.pid} and is {process.state}")
