"""One named process of its own, for an event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from typing import Any, Generic, TypeVar

from procorch._aio.calls import Done
from procorch._aio.hops import Hops
from procorch._handle import ProcessHandle
from procorch._policy import check_wait

R = TypeVar("R")


class AsyncProcessHandle(Generic[R]):
    """A process that runs one function, and what the function returned. Made by `AsyncProcessGroup.start`.

    ``await handle`` gives what the function returned, or raises what it raised. Cancelling who awaits that ends the
    process; cancelling `join` does not.
    """

    def __init__(self, handle: ProcessHandle[R], hops: Hops) -> None:
        """Not for users: `AsyncProcessGroup.start` makes handles.

        Args:
            handle (ProcessHandle[R]): Of a process that is there.
            hops (Hops): Into the loop.
        """
        self._handle = handle
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
        """End the process with SIGTERM. Does not wait; who awaits it gets `WorkerCrashed` unless it had finished."""
        self._handle.terminate()

    def kill(self) -> None:
        """End the process with SIGKILL. Does not wait; who awaits it gets `WorkerCrashed` unless it had finished."""
        self._handle.kill()

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
            self._handle.terminate()
            raise
        return self._handle.result()

    def __repr__(self) -> str:
        """Say name, pid and state.

        Returns:
            str: Such as ``<AsyncProcessHandle 'doubler-1' pid=4711 ended, exit code 0>``.
        """
        return repr(self._handle).replace(type(self._handle).__name__, type(self).__name__, 1)


AsyncProcessHandle.__module__ = "procorch.aio"  # by which users know it
