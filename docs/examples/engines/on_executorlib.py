"""A group on executorlib: on one machine here; with SlurmClusterExecutor or FluxClusterExecutor, on a cluster."""

from executorlib import SingleNodeExecutor

from procorch import ProcessGroup


def square(number: int) -> int:
    """Square a number."""
    return number * number


if __name__ == "__main__":
    # Its own restarts stay at their default, 0. Without dependencies it need not look through what it is given.
    executor = SingleNodeExecutor(max_workers=2, block_allocation=True, disable_dependencies=True)
    with executor, ProcessGroup(engine=executor) as group:
        print(group.options(timeout=10).map(square, range(10)))
