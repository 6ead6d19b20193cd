"""A group as an executor of the standard library, and as a pool."""

import asyncio
from concurrent.futures import Executor, as_completed

from procorch import ProcessGroup, WorkerCrashed
from procorch.testing import crash


def square(number: int) -> int:
    """Square a number, and take the process down with it if it is 7."""
    if number == 7:
        crash()
    return number * number


def squares(executor: Executor) -> None:
    """Knows nothing of procorch."""
    futures = {executor.submit(square, number): number for number in range(10)}
    for future in as_completed(futures):
        try:
            future.result()
        except WorkerCrashed as error:
            print(f"{futures[future]} is lost: {error}")
    print("the others:", list(executor.map(square, range(7))))


async def from_a_loop(executor: Executor) -> None:
    """Wait for a call without stopping the loop."""
    loop = asyncio.get_running_loop()
    print("asyncio:", await loop.run_in_executor(executor, square, 3))


if __name__ == "__main__":
    with ProcessGroup() as group:
        with group.as_executor() as executor:
            squares(executor)
            asyncio.run(from_a_loop(executor))
        with group.options(timeout=60).as_pool() as pool:
            print("a pool:", pool.starmap(pow, [(2, 3), (3, 2)]), pool.apply_async(square, (4,)).get())
