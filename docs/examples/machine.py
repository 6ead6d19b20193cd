"""What procorch takes of the machine, what decides that, and what others see of it."""

import os
from pathlib import Path

from procorch import ProcessGroup, usable_cpus


def describe(number: int) -> str:
    """Tell by what name the system knows this process, and how many threads NumPy and others may use in it."""
    comm = Path("/proc/self/comm")
    name = comm.read_text().strip() if comm.exists() else "this"
    return f"item {number}: {name} gives each library {os.environ['OMP_NUM_THREADS']} thread"


def main() -> None:
    """Show both."""
    usable = usable_cpus()
    print(f"{usable.count} workers, because of {usable.reason}; considered:")
    for limit in usable.candidates:
        print(f"  {limit.count}: {limit.reason}")

    with ProcessGroup(name="etl", threads_per_worker=1) as group:
        print(*group.map(describe, range(3)), sep="\n")


if __name__ == "__main__":
    main()
