"""One named process of its own, for an event loop."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Generator
from functools import partial
from typing import Any, Generic, TypeVar, overload

from procorch._aio.calls import Done
from procorch._aio.hops import Hops, Threads
from procorch._current import checked
from procorch._errors import NotRunning, NotSupported
from procorch._handle import ProcessHandle
from procorch._policy import check_wait

R = TypeVar("R")
T = TypeVar("T")


class AsyncProcessHandle(Generic[R]):
    """A process that runs one function, and what the function returned. Made by `AsyncProcessGroup.start`.

    ``await handle`` gives what the function returned, or raises what it raised. Cancelling who awaits that ends the
    process, where the engine can end it; cancelling `join` does not.
    """

    def __init__(self, handle: ProcessHandle[R], hops: Hops, threads: Threads) -> None:
        """Not for users: `AsyncProcessGroup.start` makes handles.

        Args:
            handle (ProcessHandle[R]): Of a process that is there.
            hops (Hops): Into the loop.
            threads (Threads): Out of it.
        """
        self._handle = handle
        self._threads = threads
        self._receiving = asyncio.Lock()
        self._coming: asyncio.Future[Any] | None = None  # the next message; nobody may wait for it any more
        self._settled = Done(hops, handle._future.add_done_callback)
        self._over = Done(hops, handle._call_when_over)

    @property
    def name(self) -> str:
        """The process's name: the group's with a number, or the one given to `AsyncProcessGroup.start`."""
        return self._handle.name

    @property
    def pid(self) -> int | None:
        """The process id; None if the system refused to make the process."""
        return self._handle.pid

    @property
    def exitcode(self) -> int | None:
        """The exit code, as of `multiprocessing.Process`: negative is a signal's number; None while it lives."""
        return self._handle.exitcode

    @property
    def restarts(self) -> int:
        """How often the process was started again, see `Restart`."""
        return self._handle.restarts

    def is_alive(self) -> bool:
        """Tell whether the process has not ended yet.

        Returns:
            bool: Of this moment.
        """
        return self._handle.is_alive()

    async def join(self, timeout: float | None = None) -> bool:
        """Wait until the process has ended. What became of its function is no matter here.

        Args:
            timeout (float | None): Seconds to wait at most; None for no limit.

        Returns:
            bool: Whether it has ended.

        Raises:
            TypeError: ``timeout`` is neither a number nor None.
            ValueError: ``timeout`` is negative or not a number.
        """
        await self._over.wait(check_wait("timeout", timeout))
        return not self._handle.is_alive()

    def terminate(self) -> None:
        """End the process with SIGTERM. Does not wait; who awaits it gets `WorkerCrashed` unless it had finished.

        Raises:
            NotSupported: The engine cannot end it.
        """
        self._handle.terminate()

    def kill(self) -> None:
        """End the process with SIGKILL. Does not wait; who awaits it gets `WorkerCrashed` unless it had finished.

        Raises:
            NotSupported: The engine cannot end it.
        """
        self._handle.kill()

    # --- while it runs: as of `ProcessHandle` -------------------------------------------------------------------------

    def stop(self, grace: float | None = None) -> None:
        """Ask the function to come to its end, as `ProcessHandle.stop`. Does not wait.

        Args:
            grace (float | None): Seconds that it gets, more than 0; None for 5.
        """
        self._handle.stop(grace)

    async def wait_ready(self, timeout: float | None = None) -> bool:
        """Wait until the function says that it is ready to serve, as `ProcessHandle.wait_ready`.

        Args:
            timeout (float | None): Seconds to wait at most; None for no limit.

        Returns:
            bool: Whether it is.
        """
        return await self._threads.call(partial(self._handle.wait_ready, timeout))

    async def send(self, obj: object, timeout: float | None = None) -> None:
        """Send a message to the function, as `ProcessHandle.send`. Once begun, it is sent also if this is cancelled.

        Args:
            obj (object): Pickled in a thread.
            timeout (float | None): Seconds to wait for room at most; None for no limit.
        """
        await self._threads.call(partial(self._handle.send, obj, timeout))

    async def flush(self, timeout: float | None = None) -> bool:
        """Wait until every message that was sent has been taken, as `ProcessHandle.flush`.

        Args:
            timeout (float | None): Seconds to wait at most; None for no limit.

        Returns:
            bool: Whether that is so.
        """
        return await self._threads.call(partial(self._handle.flush, timeout))

    @overload
    async def receive(self, kind: type[T]) -> T: ...
    @overload
    async def receive(self, kind: None = None) -> Any: ...
    async def receive(self, kind: type[Any] | None = None) -> Any:
        """Take the next message of the function, and wait for it, as `ProcessHandle.receive`.

        Cancelling this loses none: the next call gets the message.

        Args:
            kind (type[Any] | None): Of which type it must be; None for any.

        Returns:
            Any: The message. Rebuilt in a thread.

        Raises:
            NotPicklable: It cannot be rebuilt from its pickle.
            NotRunning: The process has ended for good, and there is no further message.
            NotSupported: The engine cannot hear what it runs.
            TypeError: The message is of another type, and has been taken.
        """
        async with self._receiving:
            if self._coming is None:
                self._coming = self._threads.call(self._handle.receive)
                self._coming.add_done_callback(_see)
            await asyncio.wait([self._coming])
            coming, self._coming = self._coming, None
        return checked(coming.result(), kind)

    @overload
    def messages(self, kind: type[T]) -> AsyncIterator[T]: ...
    @overload
    def messages(self, kind: None = None) -> AsyncIterator[Any]: ...
    async def messages(self, kind: type[Any] | None = None) -> AsyncIterator[Any]:
        """Take one message of the function after the other.

        Args:
            kind (type[Any] | None): As of `receive`.

        Yields:
            Any: Each, until the process has ended for good, and all that was sent has been given.
        """
        while True:
            try:
                message = await self.receive(kind)
            except NotRunning:
                return
            yield message

    def __aiter__(self) -> AsyncIterator[Any]:
        """Take one message of the function after the other.

        Returns:
            AsyncIterator[Any]: As of `messages`.
        """
        return self.messages()

    # --- its end ------------------------------------------------------------------------------------------------------

    def __await__(self) -> Generator[Any, None, R]:
        """Wait for what the function returns. The process itself may end a moment later; see `join`.

        Returns:
            Generator[Any, None, R]: For ``await``.
        """
        return self._result().__await__()

    async def _result(self) -> R:
        try:
            await self._settled.wait()
        except asyncio.CancelledError:
            with contextlib.suppress(NotSupported):  # then it runs on; who was cancelled still has to learn that
                self._handle.terminate()
            raise
        return self._handle.result()

    def __repr__(self) -> str:
        """Say name, pid and state.

        Returns:
            str: Such as ``<AsyncProcessHandle 'doubler-1' pid=4711 ended, exit code 0>``.
        """
        return repr(self._handle).replace(type(self._handle).__name__, type(self).__name__, 1)


def _see(coming: asyncio.Future[Any]) -> None:
    """Take in what it has come to, so that nobody reports an error for which nobody asks any more."""
    if not coming.cancelled():
        coming.exception()


AsyncProcessHandle.__module__ = "procorch.aio"  # by which users know it
