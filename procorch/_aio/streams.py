"""`map` and `imap` for an event loop: the group's own stream, driven in a thread, whose results come over in batches.

    loop --(give me the next)--> thread: inputs, pickles, results opened --(as many as are there)--> loop

The next inputs are taken when the loop has used what came, so that the bound of the stream holds as it is.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Iterable, Iterator
from threading import Lock
from typing import Any, TypeAlias

from procorch._aio.bridge import Bridge, Ways
from procorch._aio.feeds import AsyncFeed, BoundedFeed, SyncFeed
from procorch._errors import NotPicklable
from procorch._fed_intake import FedIntake
from procorch._intake import Intake
from procorch._pickles import Pickles
from procorch._stream import Stream
from procorch._tasks import HAVE_THEIR_ITEMS

_AT_ONCE = 512
"""Results given without a pause, until others in the loop have their turn."""

_GRACE_SECONDS = 0.5
"""How long whoever was cancelled waits for a thread that may be in the user's code."""

MakeStream: TypeAlias = Callable[..., Stream]
"""Makes the stream. With ``feed=``, which makes its intake, it does not take its inputs itself."""


class AsyncStream:
    """One call of `map` or `imap`."""

    def __init__(self, bridge: Bridge, iterables: tuple[Any, ...], make: MakeStream) -> None:
        """Begin; nothing is done before the first result is asked for.

        Args:
            bridge (Bridge): Of the group.
            iterables (tuple[Any, ...]): Sync and async ones.
            make (MakeStream): Called in a thread.
        """
        self._bridge = bridge
        self._iterables = iterables
        self._make = make
        self._turn = Lock()  # a stream has one consumer at a time; held in threads only
        self._given_up = False
        self._over = False
        self._feeds: list[BoundedFeed] = []
        self._order: list[int] = []
        self._stream: Stream | None = None
        self._series: Iterator[Iterable[Any]] = iter(())

    # --- in the loop --------------------------------------------------------------------------------------------------

    async def results(self) -> AsyncGenerator[Any, None]:
        """Give the results.

        Yields:
            Any: As `Stream.results`.
        """
        ways = self._begin()
        try:
            while not self._over:
                values, error = await ways.threads.call(self._next)
                values.reverse()
                while values:
                    for _ in range(min(_AT_ONCE, len(values))):
                        yield values.pop()
                    if values:
                        await asyncio.sleep(0)
                if error is not None:
                    raise error
        finally:
            await self._close(ways)

    async def collect(self) -> list[Any]:
        """Give all results.

        Returns:
            list[Any]: As `Stream.collect`.
        """
        ways = self._begin()
        try:
            return await ways.threads.call(self._collect)
        finally:
            await self._close(ways)

    def _begin(self) -> Ways:
        ways = self._bridge.ways()
        self._bridge.check_open()
        self._bridge.open_streams.add(self)
        self._feeds, self._order = _feeds_for(self._iterables, ways, self._bridge.name)
        return ways

    async def _close(self, ways: Ways) -> None:
        """Want nothing more, and close the inputs. Whoever is being cancelled does not wait for the user's code."""
        cancelled = _is_being_cancelled()
        feeds = [feed for feed in self._feeds if isinstance(feed, AsyncFeed)]
        for feed in feeds:
            feed.stop()
        try:
            if not self._over:
                if cancelled:
                    self._given_up = True
                    # In a thread: to stop a process means to look for all that it has started.
                    await asyncio.wait([ways.threads.call(self._abandon)], timeout=_GRACE_SECONDS)
                closing = ways.threads.call(self._shut)
                await asyncio.wait([closing], timeout=_GRACE_SECONDS if cancelled else None)
                if closing.done():
                    closing.result()
            for feed in feeds:
                await feed.stopped()
        finally:
            self._bridge.open_streams.discard(self)

    # --- in threads ---------------------------------------------------------------------------------------------------

    def _abandon(self) -> None:
        if self._stream is not None:
            self._stream.abandon()

    def _open(self) -> Stream:
        """Make the stream. That may take long: its function is pickled, its iterables are asked for iterators."""
        stream = self._stream = self._make(feed=self._intake if self._feeds else None)
        for feed in self._feeds:
            feed.wake = stream.look_again
        if self._given_up:
            stream.abandon()  # who gave it up may not have seen it
        return stream

    def _intake(self, pickles: Pickles) -> Intake:
        return FedIntake(self._feeds, self._order, pickles)

    def _next(self) -> tuple[list[Any], BaseException | None]:
        """Give the next results that are there, and the error that comes after them."""
        values: list[Any] = []
        with self._turn:
            try:
                if self._stream is None:
                    self._series = self._open().series()
                batch = next(self._series, None)
                if batch is None:
                    self._finish()
                else:
                    values.extend(batch)
            except BaseException as error:  # noqa: BLE001 - raised in the loop
                return values, self._failed(error)
        return values, None

    def _collect(self) -> list[Any]:
        with self._turn:
            try:
                return self._open().collect()
            except NotPicklable as error:
                raise error.with_traceback(None)  # noqa: B904 - as ProcessGroup.map
            finally:
                self._over = True

    def _finish(self) -> None:
        self._over = True
        if self._stream is not None:
            self._stream.close()

    def _failed(self, error: BaseException) -> BaseException:
        try:
            self._finish()
        except BaseException as another:  # noqa: BLE001 - of closing the inputs: raised in the loop
            another.__context__ = error
            return another
        return error

    def _shut(self) -> None:
        with self._turn:
            if not self._over:
                if self._stream is not None:
                    self._stream.cease()
                self._finish()

    def end(self, error: BaseException) -> None:
        """Take in that the group has ended: there is no use in further inputs. Any thread.

        Args:
            error (BaseException): What the consumer gets if it wants more.
        """
        for feed in self._feeds:
            feed.give_up(error)

    def join(self, timeout: float) -> None:
        """Wait for the threads that take inputs.

        Args:
            timeout (float): Seconds at most for each.
        """
        for feed in self._feeds:
            if isinstance(feed, SyncFeed):
                feed.join(timeout)


def _is_being_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _feeds_for(iterables: tuple[Any, ...], ways: Ways, name: str) -> tuple[list[BoundedFeed], list[int]]:
    """Give what takes the inputs, and for each iterable which of them; nothing if the stream can do it itself."""
    waits = [is_async(one) for one in iterables]
    if all(type(one) in HAVE_THEIR_ITEMS for one in iterables):
        return [], []
    feeds: list[BoundedFeed] = []
    mixed = any(waits) and not all(waits)
    tuples = mixed or len(iterables) > 1
    if not all(waits):
        sync: list[Iterable[Any]] = [one for one, wait in zip(iterables, waits, strict=True) if not wait]
        feeds.append(SyncFeed(sync, f"procorch-{name}-aio-input", tuples=tuples))
    if any(waits):
        later: list[AsyncIterable[Any]] = [one for one, wait in zip(iterables, waits, strict=True) if wait]
        feeds.append(AsyncFeed(later, ways.hops, tuples=tuples))
    return feeds, [int(wait and mixed) for wait in waits]


def is_async(iterable: object) -> bool:
    """Tell whether an iterable is an async one.

    Args:
        iterable (object): Anything.

    Returns:
        bool: Also of one that is both.
    """
    return isinstance(iterable, AsyncIterable)
