"""Calls from an event loop: together, with a limit on time, and cancelled, which stops the process."""

from __future__ import annotations

import asyncio
import time

from procorch.aio import AsyncProcessGroup


def count_primes(below: int) -> int:
    """Count primes in the slow way.

    Args:
        below (int): Where to stop.

    Returns:
        int: How many there are.
    """
    return sum(all(number % factor for factor in range(2, int(number**0.5) + 1)) for number in range(2, below))


async def main() -> None:
    """Run some of each."""
    async with AsyncProcessGroup(2, name="primes") as group:
        async with asyncio.TaskGroup() as tasks:  # the first failure stops the processes of the others
            counts = [tasks.create_task(group.run(count_primes, below)) for below in (1000, 2000, 3000)]
        print([count.result() for count in counts])

        try:
            async with asyncio.timeout(0.2):
                await group.run(time.sleep, 3600)
        except TimeoutError:
            print("the process that slept has been stopped")

        process = await group.start(count_primes, 500)
        print(process.name, await process)


if __name__ == "__main__":
    asyncio.run(main())
