"""A stream from an async source through processes: no input is taken before there is room for it."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncIterator

from procorch.aio import AsyncProcessGroup


async def packets() -> AsyncIterator[bytes]:
    """Stand for a connection.

    Yields:
        bytes: One message after the other, without end.
    """
    number = 0
    while True:
        await asyncio.sleep(0.001)
        yield f"message {number} ".encode() * 1000
        number += 1


async def main() -> None:
    """Compress what comes, until that is enough."""
    total = 0
    async with AsyncProcessGroup() as group:
        async for packed in group.imap(zlib.compress, packets(), buffersize=8):
            total += len(packed)
            if total > 10_000:
                break
    print(total, "bytes, compressed")


if __name__ == "__main__":
    asyncio.run(main())
