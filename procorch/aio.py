"""A group of processes for asyncio: nothing here blocks the event loop, and cancelling stops the process.

    async with AsyncProcessGroup() as group:
        await group.run(function, argument)
        async for result in group.imap(function, items):
            ...

`import procorch` does not load this, nor asyncio.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial, wraps
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, Self, TypeVar

from procorch._aio.bridge import Bridge
from procorch._aio.handle import AsyncProcessHandle
from procorch._aio.stream_handle import AsyncProcessStream
from procorch._aio.tasks import AsyncTasks
from procorch._group import ProcessGroup
from procorch._info import GroupStats, ProcessInfo
from procorch._share import Shared

__all__ = ["AsyncGroupView", "AsyncProcessGroup", "AsyncProcessHandle", "AsyncProcessStream"]

P = ParamSpec("P")
T = TypeVar("T")


def _same_arguments(_: Callable[P, object], /) -> Callable[[Callable[..., None]], Callable[Concatenate[Any, P], None]]:
    """Let a method take the arguments of something else, for type checkers and `help`."""
    return wraps(ProcessGroup.__init__)


class AsyncGroupView(AsyncTasks):
    """A group seen with other task options, from `AsyncProcessGroup.options`: gives work to the same processes."""


class AsyncProcessGroup(AsyncTasks):
    """A group of processes for one event loop: `ProcessGroup` for asyncio.

    Leaving the ``async with`` block waits for all work and all processes; leaving it by an exception, or being
    cancelled while it waits, terminates them. Nothing blocks the loop: functions and arguments are pickled, processes
    started, inputs of sync iterables taken, and results rebuilt in threads. Afterwards no process, thread or descriptor
    of the group is left.

    It may be made before the loop runs, and belongs to the one in which it is first used: methods are for that loop's
    thread. Other loops have groups of their own.
    """

    @_same_arguments(ProcessGroup)
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Make a group, with the arguments of `ProcessGroup`. No process or thread starts before there is work.

        Args:
            *args (Any): As there.
            **kwargs (Any): As there. An ``initializer`` and a ``finalizer`` are pickled here, with their arguments.
        """
        self._group = ProcessGroup(*args, **kwargs)
        super().__init__(self._group, Bridge(self._group))

    def options(
        self,
        *,
        timeout: float | None = None,
        retries: int = 0,
        retry_on: type[BaseException] | tuple[type[BaseException], ...] = (),
        backoff: float | Sequence[float] = 0.0,
    ) -> AsyncGroupView:
        """Give a view of this group that treats items otherwise.

        Args:
            timeout (float | None): As of `ProcessGroup.options`, like the others. It stops the process and raises
                `TaskTimeout`; `asyncio.timeout` stops it too, but counts from when it is entered.
            retries (int): Extra tries.
            retry_on (type[BaseException] | tuple[type[BaseException], ...]): Types of exceptions worth another try.
            backoff (float | Sequence[float]): Seconds to wait before an extra try.

        Returns:
            AsyncGroupView: Has `run`, `submit`, `start`, `map` and `imap`.

        Raises:
            TypeError: An argument has a wrong type.
            ValueError: A number is out of range.
            NotSupported: There is a ``timeout``, and the engine cannot stop what it runs.
        """
        view = self._group.options(timeout=timeout, retries=retries, retry_on=retry_on, backoff=backoff)
        return AsyncGroupView(view, self._bridge)

    async def share(self, obj: T) -> Shared[T]:
        """Put an object once where all workers of this group find it; see `ProcessGroup.share`.

        Args:
            obj (T): Pickled, in a thread.

        Returns:
            Shared[T]: As there.

        Raises:
            GroupClosed: The group has been closed or left, or cannot start its workers.
            NotPicklable: ``obj`` cannot be pickled.
            NotSupported: The engine cannot do that.
            RuntimeError: The group is used in another event loop.
        """
        self._bridge.check_open()
        return await self._bridge.ways().threads.call(partial(self._group.share, obj))

    @property
    def processes(self) -> tuple[ProcessInfo, ...]:
        """The processes that there are now: workers and those of `start`, in the order of their slots."""
        return self._group.processes

    def stats(self) -> GroupStats:
        """Count what has come of the work given so far. Also after the group's end.

        Returns:
            GroupStats: Of this moment.
        """
        return self._group.stats()

    def terminate(self) -> None:
        """End all processes now, and what they have started: SIGTERM, and SIGKILL 1.5 s later. Returns at once.

        What has no result gets `GroupClosed`. May be called from any thread, and from a signal handler.
        """
        self._bridge.terminate()

    async def aclose(self) -> None:
        """Wait for all work and all processes, as leaving the block does. May be called again, and by several tasks.

        Raises:
            BaseExceptionGroup: As leaving the block of a `ProcessGroup`.
            RuntimeError: The group is used in another event loop.
        """
        await self._bridge.leave(force=False)

    async def __aenter__(self) -> Self:
        """Enter the block.

        Returns:
            Self: This group.
        """
        self._bridge.ways()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Leave the block: wait for everything, or terminate if an exception leaves it.

        Args:
            exc_type (type[BaseException] | None): Type of that exception.
            exc (BaseException | None): The exception.
            traceback (TracebackType | None): Its traceback.
        """
        await self._bridge.leave(force=exc_type is not None)

    def __repr__(self) -> str:
        """Say name, size and state.

        Returns:
            str: Such as ``<AsyncProcessGroup 'etl': 2 processes, open>``.
        """
        return repr(self._group).replace(type(self._group).__name__, type(self).__name__, 1)
