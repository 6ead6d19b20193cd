"""A group on ipyparallel: two engines that it starts here; `Client` connects to those of a cluster."""

import ipyparallel

from procorch import ProcessGroup


def square(number: int) -> int:
    """Square a number."""
    return number * number


if __name__ == "__main__":
    with ipyparallel.Cluster(n=2) as client, ProcessGroup(engine=client.executor()) as group:
        print(group.options(timeout=10).map(square, range(10)))
