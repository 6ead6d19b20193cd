"""One job, unchanged, on one machine, on a cluster of dask, and on Slurm. Which it is, the command line says.

python job.py                              processes on this machine
python job.py dask                         a cluster of dask on this machine
python job.py dask tcp://10.0.0.1:8786     one that is there already
python job.py slurm                        workers of dask as jobs of Slurm, by dask-jobqueue
"""

from __future__ import annotations

import contextlib
import random
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

from procorch import ProcessGroup

if TYPE_CHECKING:
    from distributed.deploy.cluster import Cluster


def estimate(seed: int) -> float:
    """Estimate pi by a hundred thousand points."""
    chance = random.Random(seed)
    inside = sum(chance.random() ** 2 + chance.random() ** 2 < 1 for _ in range(100_000))
    return 4 * inside / 100_000


def job(group: ProcessGroup) -> float:
    """Do the work: nothing in here knows where that is."""
    found = group.options(timeout=60, retries=2).map(estimate, range(20))
    return sum(found) / len(found)


@contextlib.contextmanager
def group_on(place: str, *address: str) -> Iterator[ProcessGroup]:
    """Make the group: the only thing that differs."""
    if place == "here":
        with ProcessGroup() as group:
            yield group
        return

    from procorch.engines.dask import DaskEngine

    if address:
        with ProcessGroup(engine=DaskEngine(address[0])) as group:
            yield group
        return

    from distributed import Client

    with cluster_of(place) as cluster, Client(cluster) as client, ProcessGroup(engine=DaskEngine(client)) as group:
        yield group


def cluster_of(place: str) -> Cluster:
    """Start a cluster of dask."""
    if place == "slurm":
        from dask_jobqueue import SLURMCluster

        cluster = SLURMCluster(cores=8, processes=8, memory="16 GB", walltime="01:00:00")
        cluster.scale(jobs=4)  # the group begins with the first worker that comes, and uses all that do
        made: Cluster = cluster
        return made

    from distributed import LocalCluster

    return LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None)


if __name__ == "__main__":
    with group_on(*(sys.argv[1:] or ["here"])) as group:
        print(f"pi is about {job(group):.3f}")
