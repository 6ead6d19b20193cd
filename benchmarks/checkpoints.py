"""The same map with and without a checkpoint, and one that finds everything done.

    python benchmarks/checkpoints.py [--rounds N] [--quick] [--folder FOLDER]

They take turns; what is printed are medians in seconds, with the range. Processor seconds are those of all processes:
this one and all below it.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import work
from proc import cpu_seconds

from procorch import ProcessGroup


def timed(call: Callable[[], Any]) -> tuple[float, float]:
    """Run something.

    Args:
        call (Callable[[], Any]): What.

    Returns:
        tuple[float, float]: Seconds, and processor seconds.
    """
    began, cpu = time.perf_counter(), cpu_seconds()
    call()
    return time.perf_counter() - began, cpu_seconds() - cpu


def compare(name: str, fn: Callable[[Any], Any], items: list[Any], rounds: int, folder: Path) -> None:
    """Print a line for each way."""
    times: dict[str, list[tuple[float, float]]] = {"without": [], "with": [], "all done": []}
    with ProcessGroup(2) as group:
        group.map(fn, items[:10])
        for number in range(rounds):
            path = folder / f"{name}-{number}.db"
            times["without"].append(timed(lambda: group.map(fn, items)))
            times["with"].append(timed(lambda path=path: group.map(fn, items, checkpoint=path)))  # type: ignore[misc]
            times["all done"].append(timed(lambda path=path: group.map(fn, items, checkpoint=path)))  # type: ignore[misc]
    for way, found in times.items():
        seconds, cpu = zip(*found, strict=True)
        middle = statistics.median(seconds)
        print(
            f"{name:8} {len(items):7} items, {way:8}: {middle:6.3f} s ({min(seconds):.3f} to {max(seconds):.3f}), "
            f"{1e6 * middle / len(items):7.1f} us an item, processors {statistics.median(cpu):6.3f} s",
            flush=True,
        )


def main() -> None:
    """Compare trivial items and such of a millisecond, and measure how long it takes to find many done."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="few items")
    parser.add_argument("--folder", help="where the files lie; a temporary one without it")
    options = parser.parse_args()
    share = 10 if options.quick else 1
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        compare("trivial", work.plus_one, list(range(20_000 // share)), options.rounds, Path(folder))
        compare("1 ms", work.busy, [0.001] * (2_000 // share), options.rounds, Path(folder))
        compare("many", work.plus_one, list(range(100_000 // share)), options.rounds, Path(folder))


if __name__ == "__main__":
    main()
