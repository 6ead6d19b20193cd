"""How a stream gets inputs that it cannot take itself: from sync iterables that may block, and from async iterables.

    sync iterables --(a thread of their own)--+
                                              +--> rows --> `_fed_intake` --> the stream
    async iterables --(a task in the loop)----+

Both go no further than the stream allows, so that its bound is exact, and are closed where they were taken.
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import AsyncIterable, AsyncIterator, Generator, Iterable, Iterator
from itertools import islice
from typing import Any

from typing_extensions import override

from procorch._aio.hops import Hops
from procorch._condition import Condition
from procorch._daemon import Daemon
from procorch._feed import Feed
from procorch._waits import join_thread

_AT_ONCE = 64
"""Inputs taken of async iterables that never wait, until others in the loop have their turn."""

_PATIENCE_SECONDS = 0.5
"""How long a stream that ends early waits for an input that is just being taken, to close what it comes from."""


class BoundedFeed(Feed):
    """One that goes no further than it is allowed to."""

    def __init__(self) -> None:
        super().__init__()
        self._count = 0
        self._allowed = 0
        self._closed = False

    def _put(self, row: Any) -> None:
        self._count += 1
        self.put((row,))

    def give_up(self, error: BaseException) -> None:
        """Take no more, and say why. Any thread.

        Args:
            error (BaseException): For the stream.
        """
        self.end(error)


class SyncFeed(BoundedFeed):
    """Takes from sync iterables, in a thread of its own: generators may insist on it, and any of them may block."""

    def __init__(self, iterables: list[Iterable[Any]], name: str, *, tuples: bool) -> None:
        """Begin; the thread begins when something is allowed.

        Args:
            iterables (list[Iterable[Any]]): At least one; they are asked in turn, and the shortest ends it.
            name (str): For the thread.
            tuples (bool): Whether rows are tuples.
        """
        super().__init__()
        self._iterables = iterables
        self._tuples = tuples
        self._name = name
        self._context = contextvars.copy_context()
        self._change = Condition()
        self._rests = False  # the thread is not in the user's code
        self._thread: threading.Thread | None = None
        self._failure: Exception | None = None  # of closing

    @override
    def allow(self, total: int) -> None:
        if total <= self._allowed:
            return
        with self._change:
            self._allowed = total
            self._change.notify_all()
        if self._thread is None and not self._closed:
            self._thread = Daemon(self._context.run, self._name, (self._run,))
            self._thread.start()

    def _run(self) -> None:
        sources: list[Iterator[Any]] = []
        error = None
        try:
            sources.extend(map(iter, self._iterables))
            self._take(zip(*sources, strict=False) if self._tuples else sources[0])
        except BaseException as raised:  # noqa: BLE001 - the user's iterable may raise anything
            error = raised
        try:
            for source in sources:
                if isinstance(source, Generator):
                    source.close()
        except Exception as raised:  # noqa: BLE001 - likewise
            self._failure = raised
        self.end(error)

    def _take(self, rows: Iterator[Any]) -> None:
        while room := self._room():
            before = self._count
            for row in islice(rows, room):
                self._put(row)
                if self._closed:
                    return
            if self._count < before + room:
                return

    def _room(self) -> int:
        """Wait until there is some; 0 once it is closed."""
        with self._change:
            self._rests = True
            self._change.wait_for(lambda: self._closed or self._count < self._allowed)
            self._rests = False
            return 0 if self._closed else self._allowed - self._count

    @override
    def close(self) -> None:
        with self._change:
            self._closed = True
            waits = self._rests or self.ended
            self._change.notify_all()
        # Else it is in the user's code, which may block for ever: after a while, it closes them when it comes back.
        if self._thread is not None and self._thread is not threading.current_thread():
            if not join_thread(self._thread, None if waits else _PATIENCE_SECONDS):
                return
            failure, self._failure = self._failure, None
            if failure is not None:
                raise failure

    @override
    def give_up(self, error: BaseException) -> None:
        super().give_up(error)
        with self._change:
            self._closed = True
            self._change.notify_all()

    def join(self, timeout: float) -> None:
        """Wait for the thread's end.

        Args:
            timeout (float): Seconds at most.
        """
        if self._thread is not None:
            join_thread(self._thread, timeout)


class AsyncFeed(BoundedFeed):
    """Takes from async iterables, in a task of their loop."""

    def __init__(self, iterables: list[AsyncIterable[Any]], hops: Hops, *, tuples: bool) -> None:
        """Begin; the task begins when something is allowed.

        Args:
            iterables (list[AsyncIterable[Any]]): At least one; they are asked in turn, and the shortest ends it.
            hops (Hops): Into the loop.
            tuples (bool): Whether rows are tuples.
        """
        super().__init__()
        self._iterables = iterables
        self._tuples = tuples
        self._hops = hops
        self._context = contextvars.copy_context()
        self._task: asyncio.Task[None] | None = None
        self._waiter: asyncio.Future[None] | None = None  # for room

    @override
    def allow(self, total: int) -> None:
        if total > self._allowed:
            starts = not self._allowed
            self._allowed = total
            if starts or self._waiter is not None:
                self._hops.post(self._go_on)

    def _go_on(self) -> None:
        if self._task is None and not self._closed:
            self._task = self._hops.loop.create_task(self._run(), context=self._context)
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def _run(self) -> None:
        sources: list[AsyncIterator[Any]] = []
        error: BaseException | None = None
        try:
            sources.extend(map(aiter, self._iterables))
            await self._take(sources)
        except StopAsyncIteration:
            pass
        except BaseException as raised:  # noqa: BLE001 - the user's iterable may raise anything
            error = raised
        try:
            for source in sources:
                close = getattr(source, "aclose", None)
                if close is not None:
                    await close()
        except BaseException as raised:  # noqa: BLE001 - likewise
            error = error or raised
        self.end(error)

    async def _take(self, sources: list[AsyncIterator[Any]]) -> None:
        while not self._closed:
            while self._count >= self._allowed:
                await self._wait_for_room()
            for _ in range(min(_AT_ONCE, self._allowed - self._count)):
                self._put(tuple([await anext(one) for one in sources]) if self._tuples else await anext(sources[0]))
            await asyncio.sleep(0)

    async def _wait_for_room(self) -> None:
        self._waiter = self._hops.loop.create_future()
        if self._count >= self._allowed:  # once more: who allows more looks whether somebody waits afterwards
            await self._waiter
        self._waiter = None

    def stop(self) -> None:
        """Take no more, and close the iterables. In the loop."""
        self._closed = True
        if self._task is not None:
            self._task.cancel()

    async def stopped(self) -> None:
        """Wait for that."""
        if self._task is not None and not self._task.done():
            await asyncio.wait([self._task])

    @override
    def close(self) -> None:
        """Nothing: `stop` does it, in the loop."""

    @override
    def give_up(self, error: BaseException) -> None:
        super().give_up(error)
        self._hops.post(self.stop)
