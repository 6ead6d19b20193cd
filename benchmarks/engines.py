"""The same map on one cluster of dask, by procorch, by dask's own ``Client.map``, and by its executor.

    python benchmarks/engines.py [--rounds N] [--quick]

One cluster of two worker processes with one thread each serves all. They take turns, backwards in every other round;
what is printed are medians, with the range, and the ratio to ``Client.map``. Processor seconds are those of all
processes: this one and all below it.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import work
from distributed import Client, LocalCluster
from proc import cpu_seconds

from procorch import ProcessGroup
from procorch.engines.dask import DaskEngine

Map = Callable[[Callable[[Any], Any], Sequence[Any]], list[Any]]


@attrs.frozen
class Way:
    """One way to run a map on the cluster."""

    name: str
    run: Map
    most: int
    """Items beyond which it is left out: it would take minutes."""


@contextmanager
def ways(client: Client) -> Iterator[list[Way]]:
    """Open all that stays open between two maps."""
    with (
        ProcessGroup(engine=DaskEngine(client)) as isolated,
        ProcessGroup(engine=DaskEngine(client, isolate=False)) as bare,
        client.get_executor(pure=False) as executor,
    ):

        def client_map(fn: Callable[[Any], Any], items: Sequence[Any]) -> list[Any]:
            found: list[Any] = client.gather(client.map(fn, items, pure=False))
            return found

        def client_map_in_batches(fn: Callable[[Any], Any], items: Sequence[Any]) -> list[Any]:
            batch = max(1, len(items) // 100)
            found: list[Any] = client.gather(client.map(fn, items, pure=False, batch_size=batch))
            return found

        def executor_map(fn: Callable[[Any], Any], items: Sequence[Any]) -> list[Any]:
            return list(executor.map(fn, items))

        yield [
            Way("Client.map", client_map, 2_000),
            Way("Client.map(batch_size=a hundredth)", client_map_in_batches, 2_000),
            Way("get_executor().map", executor_map, 2_000),
            Way("procorch", isolated.map, 10**7),
            Way("procorch, isolate=False", bare.map, 10**7),
        ]


def jobs(*, quick: bool) -> Iterator[tuple[str, Callable[[Any], Any], Sequence[Any]]]:
    """Give the work: a name, a function and its items."""
    part = 10 if quick else 1
    yield "2,000 trivial items", work.plus_one, range(2000 // part)
    yield "1,000,000 trivial items", work.plus_one, range(1_000_000 // part)
    yield "2,000 items of 1 ms", work.sleep, [0.001] * (2000 // part)
    yield "400 items of 20 ms", work.sleep, [0.02] * (400 // part)
    yield "8 arrays of 16 MB, there and back", identity, [np.zeros(2_000_000) for _ in range(8)]


def identity(value: Any) -> Any:
    """Give back the same."""
    return value


def measure(way: Way, fn: Callable[[Any], Any], items: Sequence[Any]) -> tuple[float, float]:
    """Run a map; give its seconds, on the wall and on processors."""
    cpu, began = cpu_seconds(), time.perf_counter()
    assert len(way.run(fn, items)) == len(items)
    return time.perf_counter() - began, cpu_seconds() - cpu


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="a tenth of the items, one round")
    options = parser.parse_args()
    rounds = 1 if options.quick else options.rounds
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None) as cluster,
        Client(cluster) as client,
        ways(client) as all_ways,
    ):
        client.upload_file(str(Path(work.__file__)))
        for name, fn, items in jobs(quick=options.quick):
            there = [way for way in all_ways if len(items) <= way.most]
            found: dict[str, list[tuple[float, float]]] = {way.name: [] for way in there}
            for way in there:
                measure(way, fn, items[:8])  # whoever starts something does it now
            for number in range(rounds):
                for way in there if number % 2 == 0 else reversed(there):
                    found[way.name].append(measure(way, fn, items))
            show(name, found)


def show(name: str, found: dict[str, list[tuple[float, float]]]) -> None:
    """Print a table."""
    print(f"\n{name}\n| way | seconds | range | over Client.map | processor seconds |\n|---|---|---|---|---|")
    base = statistics.median(wall for wall, _ in found["Client.map"]) if "Client.map" in found else None
    for way, times in found.items():
        walls = [wall for wall, _ in times]
        median = statistics.median(walls)
        times_base = f"{median / base:.3f}" if base is not None else "-"
        cpu = statistics.median(cpu for _, cpu in times)
        print(f"| {way} | {median:.3f} | {min(walls):.3f} to {max(walls):.3f} | {times_base} | {cpu:.2f} |")


if __name__ == "__main__":
    main()
