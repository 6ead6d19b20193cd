"""One call between an event loop and a group: cancelled here, it is given up there; done there, it is here."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import Any, Generic, TypeVar

from procorch._aio.hops import Hops, settle
from procorch._errors import GroupClosed
from procorch._handle import ProcessHandle

R = TypeVar("R")


class Call(Generic[R]):
    """One call of `submit`, between the loop and the group."""

    def __init__(
        self,
        hops: Hops,
        begin: Callable[[], Future[R]],
        lost: Callable[[], BaseException],
        stop: Callable[[Callable[[], object]], object],
    ) -> None:
        """Begin, in the loop.

        Args:
            hops (Hops): Into the loop.
            begin (Callable[[], Future[R]]): Gives it to the group.
            lost (Callable[[], BaseException]): Makes the error of a call that the end of the group has cancelled.
            stop (Callable[[Callable[[], object]], object]): Calls what stops a process, in a thread.
        """
        self.future: asyncio.Future[R] = hops.loop.create_future()
        self.future.add_done_callback(self._is_done)
        self._hops = hops
        self._begin: Callable[[], Future[R]] | None = begin
        self._lost = lost
        self._stop = stop
        self._given_up = False
        self._inner: Future[R] | None = None

    def begin(self) -> None:
        """Give it to the group, unless nobody wants it any more. In the giver's thread."""
        begin, self._begin = self._begin, None
        if begin is None or self._given_up:
            return
        try:
            inner = self._inner = begin()
        except GroupClosed:
            self._hops.post(self._lose)
            return
        except BaseException as error:  # noqa: BLE001 - raised where it is awaited
            self._hops.post(partial(settle, self.future, None, error))
            return
        if self._given_up:
            inner.cancel()  # who gave it up may not have seen it
        # Not a callback for the user, so no need for the group's thread of these: it takes no time.
        Future[R].add_done_callback(inner, self._arrived)

    def _arrived(self, _: Future[R]) -> None:
        self._hops.post(self._finish)

    def _finish(self) -> None:
        inner, self._inner = self._inner, None
        if inner is None or self.future.done():
            return
        if not inner.cancelled():
            error = inner.exception()
            settle(self.future, None if error is not None else inner.result(), error)
            return
        # Nobody here has cancelled it: the group was terminated. A CancelledError would look as if the awaiting task
        # had been cancelled, and get lost.
        self._lose()

    def _lose(self) -> None:
        settle(self.future, None, self._lost())
        if not self.future.cancelled():
            self.future.exception()  # who terminates a group knows: it need not be logged that nobody asked

    def _is_done(self, _: asyncio.Future[R]) -> None:
        self._given_up, self._begin = True, None
        inner = self._inner
        if inner is None:
            return
        if inner.running():
            self._stop(inner.cancel)  # in a thread: to stop a process means to look for all that it has started
        else:
            inner.cancel()  # at once, so that it does not begin any more


class Start(Generic[R]):
    """One call of `start`, likewise."""

    def __init__(self, hops: Hops, begin: Callable[[], ProcessHandle[R]]) -> None:
        """Begin, in the loop.

        Args:
            hops (Hops): Into the loop.
            begin (Callable[[], ProcessHandle[R]]): Lets the group start it.
        """
        self.future: asyncio.Future[ProcessHandle[R]] = hops.loop.create_future()
        self.future.add_done_callback(self._is_done)
        self._hops = hops
        self._begin = begin
        self._handle: ProcessHandle[R] | None = None

    def begin(self) -> None:
        """Start it, unless nobody wants it any more. In the giver's thread."""
        if self.future.cancelled():
            return
        try:
            handle = self._handle = self._begin()
        except BaseException as error:  # noqa: BLE001 - raised where it is awaited
            self._hops.post(partial(settle, self.future, None, error))
            return
        if self.future.cancelled():
            handle._give_up()  # who cancelled it may not have seen it
        handle._call_when_launched(partial(self._hops.post, self._finish))

    def _finish(self) -> None:
        settle(self.future, self._handle, None)

    async def wait(self) -> ProcessHandle[R]:
        """Wait for the process.

        Returns:
            ProcessHandle[R]: It is there.

        Raises:
            BaseException: CancelledError, after it has ended the process; what starting it raised.
        """
        try:
            return await self.future
        except asyncio.CancelledError:
            # It may come when the process is there, before this task has taken it: then nobody knows of it.
            if self._handle is not None and not self.future.cancelled():
                self._handle._give_up()
            raise

    def _is_done(self, future: asyncio.Future[ProcessHandle[R]]) -> None:
        handle = self._handle
        if future.cancelled() and handle is not None:
            handle._give_up()


class Done:
    """Whether something that threads do has come to its end, for any number of tasks that wait for it."""

    def __init__(self, hops: Hops, watch: Callable[[Callable[[Any], None]], object]) -> None:
        """Begin to watch.

        Args:
            hops (Hops): Into the loop.
            watch (Callable[[Callable[[Any], None]], object]): Lets something be called, in any thread, at that end.
        """
        self._hops = hops
        self._future: asyncio.Future[None] = hops.loop.create_future()
        watch(self._set)

    def _set(self, _: object) -> None:
        self._hops.post(partial(settle, self._future, None, None))

    async def wait(self, timeout: float | None = None) -> None:
        """Wait for it.

        Args:
            timeout (float | None): Seconds at most; None for no limit.
        """
        if not self._future.done():
            await asyncio.wait([self._future], timeout=timeout)
