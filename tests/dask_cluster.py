"""A cluster of dask, as a program: says where its scheduler is, and ends with its standard input."""

from __future__ import annotations

import sys

import dask
from distributed import LocalCluster

# A worker that is not there so long after a death is given up for good, and if that is another death. Tests kill them
# again and again, so that some are away at any such moment; by default it comes after 15 s.
dask.config.set({"distributed.deploy.lost-worker-timeout": "1 hour"})

if __name__ == "__main__":
    with LocalCluster(
        n_workers=int(sys.argv[1]),
        threads_per_worker=int(sys.argv[2]),
        processes=True,
        dashboard_address=None,
        silence_logs="ERROR",
    ) as cluster:
        print(cluster.scheduler_address, flush=True)
        sys.stdin.read()
