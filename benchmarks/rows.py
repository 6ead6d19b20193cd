"""Rows of one process: a stream of procorch beside a ``multiprocessing.Process`` that puts them into a queue.

    python benchmarks/rows.py [--rounds N] [--quick]

Small tuples, and arrays of 16 MB of which a byte of each page is read. The two take turns; what is printed are medians,
with the range. Processes start by fork server; the seconds run from the first row to the last, so that no start counts.
"""

from __future__ import annotations

import argparse
import multiprocessing
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from procorch import ProcessGroup

Rows = Callable[[Callable[[int], Iterator[Any]], int], Iterator[Any]]

ARRAY_BYTES = 16 << 20
AHEAD = 4
"""Arrays that either may be ahead of its consumer; of tuples, each as far as it goes by itself, or a thousand."""


def tuples(count: int) -> Iterator[tuple[int, str]]:
    """Make small rows."""
    for number in range(count):
        yield number, "row"


def arrays(count: int) -> Iterator[Any]:
    """Make large rows, each from the same memory."""
    array = np.zeros(ARRAY_BYTES // 8)
    for number in range(count):
        array[0] = number
        yield array


def stream(fn: Callable[[int], Iterator[Any]], count: int) -> Iterator[Any]:
    """Give rows by procorch."""
    with ProcessGroup(1) as group:
        yield from group.start(fn, count)


def put(fn: Callable[[int], Iterator[Any]], count: int, queue: Any) -> None:
    """Put rows into a queue."""
    for row in fn(count):
        queue.put(row)
    queue.put(None)


def process_and_queue(fn: Callable[[int], Iterator[Any]], count: int) -> Iterator[Any]:
    """Give rows by a process and a bounded queue."""
    context = multiprocessing.get_context("forkserver")
    queue = context.Queue(AHEAD if fn is arrays else 1000)
    process = context.Process(target=put, args=(fn, count, queue))
    process.start()
    while (row := queue.get()) is not None:
        yield row
    process.join()


def seconds(rows: Rows, fn: Callable[[int], Iterator[Any]], count: int) -> float:
    """Take all rows, and give the time from the first to the last."""
    began, taken = 0.0, 0
    for row in rows(fn, count):
        began = began or time.perf_counter()
        taken += 1
        if taken == count:
            ended = time.perf_counter()
        if fn is arrays:
            row.view(np.uint8)[::4096].sum()
    assert taken == count
    return ended - began


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="a tenth of the rows, one round")
    options = parser.parse_args()
    part = 10 if options.quick else 1
    ways: dict[str, Rows] = {"procorch": stream, "Process and Queue": process_and_queue}
    for name, fn, count in (("tuples", tuples, 1_000_000 // part), ("arrays", arrays, 100 // part)):
        found: dict[str, list[float]] = {way: [] for way in ways}
        for number in range(1 if options.quick else options.rounds):
            for way in ways if number % 2 == 0 else reversed(ways):
                found[way].append(seconds(ways[way], fn, count))
        size, unit = (1, "rows/s") if fn is tuples else (ARRAY_BYTES / 1e6, "MB/s")
        print(f"\n{count:,} {name}\n| way | {unit} | range |\n|---|---|---|")
        for way, times in found.items():
            rates = sorted((count - 1) * size / one for one in times)
            print(f"| {way} | {statistics.median(rates):,.0f} | {rates[0]:,.0f} to {rates[-1]:,.0f} |")


if __name__ == "__main__":
    main()
