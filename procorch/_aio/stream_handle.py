"""One named process of its own that makes rows, for an event loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from types import TracebackType
from typing import Any, Generic, Self

from typing_extensions import TypeVar

from procorch._aio.handle import AsyncProcessHandle
from procorch._aio.hops import Hops, Threads
from procorch._process_stream import ProcessStream

T = TypeVar("T")
R = TypeVar("R", default=Any)

_AT_ONCE = 512
"""Rows given without a pause, until others in the loop have their turn."""


class AsyncProcessStream(AsyncProcessHandle[R], Generic[T, R]):
    """A process that runs a generator function, and its rows: ``async for row in await group.start(function)``.

    Made by `AsyncProcessGroup.start`; otherwise as `procorch.ProcessStream`. Leaving the loop closes the stream once
    the iterator is closed, at the latest in a next turn of the event loop; use ``async with`` on the stream for this to
    happen at once. Cancelling the task that waits for a row closes the stream.
    """

    def __init__(self, stream: ProcessStream[T, R], hops: Hops, threads: Threads) -> None:
        """Not for users: `AsyncProcessGroup.start` makes streams.

        Args:
            stream (ProcessStream[T, R]): Of a process that is there.
            hops (Hops): Into the loop.
            threads (Threads): In which rows are waited for, and rebuilt.
        """
        super().__init__(stream, hops, threads)
        self._stream = stream

    def __aiter__(self) -> AsyncIterator[T]:
        """Give the rows, in their order.

        Returns:
            AsyncIterator[T]: Raises as that of `procorch.ProcessStream` does.

        Raises:
            RuntimeError: Somebody else iterates. Raised when the first row is asked for.
        """
        return self._rows()

    async def _rows(self) -> AsyncGenerator[T, None]:
        stream = self._stream
        stream._begin_iterating()
        try:
            while (batch := await self._threads.call(stream._batch)) is not None:
                rows, error = batch
                rows.reverse()
                count = len(rows)
                while rows:
                    for _ in range(min(_AT_ONCE, len(rows))):
                        yield rows.pop()
                    if rows:
                        await asyncio.sleep(0)
                if error is not None:
                    raise error
                stream._gave(count)
        finally:
            stream.close()

    def close(self) -> None:
        """Want no more rows, and end the process, as `procorch.ProcessStream.close` does. Does not wait, see `join`."""
        self._stream.close()

    async def __aenter__(self) -> Self:
        """Enter a block.

        Returns:
            Self: This stream.
        """
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Leave the block: close the stream.

        Args:
            exc_type (type[BaseException] | None): Type of the exception that leaves it.
            exc (BaseException | None): The exception.
            traceback (TracebackType | None): Its traceback.
        """
        self.close()


AsyncProcessStream.__module__ = "procorch.aio"  # by which users know it
