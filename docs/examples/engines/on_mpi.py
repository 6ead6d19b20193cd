"""A group on MPI: three ranks, one for this script and two that work.

mpiexec -n 3 python -m mpi4py.futures on_mpi.py
"""

from mpi4py.futures import MPIPoolExecutor

from procorch import ProcessGroup


def square(number: int) -> int:
    """Square a number."""
    return number * number


if __name__ == "__main__":
    with MPIPoolExecutor() as executor, ProcessGroup(engine=executor) as group:
        print(group.options(timeout=10).map(square, range(10)))
