"""The calls that give work to an async group: the same on the group and on a view of it with other task options."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Generator, Iterator
from functools import partial
from typing import Any, ParamSpec, TypeVar, TypeVarTuple, cast, overload

from procorch._aio.bridge import Bridge
from procorch._aio.handle import AsyncProcessHandle
from procorch._aio.imaps import AsyncImapCall
from procorch._aio.maps import AsyncMapCall
from procorch._aio.stream_handle import AsyncProcessStream
from procorch._aio.streams import AsyncStream, is_async
from procorch._checkpoint import Given, checked_checkpoint
from procorch._handle import ProcessHandle
from procorch._policy import check_callable, check_count, check_name
from procorch._process_stream import ProcessStream
from procorch._progress import Progress
from procorch._public import known_as
from procorch._restart import Restart
from procorch._shape import Shape
from procorch._targets import runnable
from procorch._tasks import AHEAD, MAP_AHEAD, Tasks, stream_class

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class AsyncTasks:
    """What an async group and its views have in common."""

    def __init__(self, tasks: Tasks, bridge: Bridge) -> None:
        """Begin.

        Args:
            tasks (Tasks): The same for callers that may block.
            bridge (Bridge): Of the group.
        """
        self._tasks = tasks
        self._bridge = bridge

    @overload
    def submit(
        self, fn: Callable[P, Coroutine[Any, Any, R]], /, *args: P.args, **kwargs: P.kwargs
    ) -> asyncio.Future[R]: ...
    @overload
    def submit(self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> asyncio.Future[R]: ...
    @known_as("AsyncProcessGroup.submit")
    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> asyncio.Future[Any]:
        """Run ``fn(*args, **kwargs)`` once in one of the group's processes.

        It begins whether or not the future is awaited. Calls are pickled one after the other, in a thread of the group.

        Args:
            fn (Callable[..., Any]): Called in a worker; a coroutine function runs there in an event loop of its own.
            *args (Any): Positional arguments for ``fn``.
            **kwargs (Any): Keyword arguments for ``fn``. None is taken by the group.

        Returns:
            asyncio.Future[Any]: What ``fn`` returned or raised, or a `TaskError`. Cancelling it, or the task that
            awaits it, drops the call, and stops the process if it runs: SIGTERM, and SIGKILL 1.5 s later. If the group
            is terminated, `GroupClosed`.

        Raises:
            GroupClosed: The group has been closed or left, or cannot start its workers.
            RuntimeError: The group is used in another event loop, or none is running.
            TypeError: ``fn`` is not callable.
        """
        check_callable("fn", fn)
        return self._bridge.submit(partial(self._tasks.submit, runnable(fn), *args, **kwargs))

    @overload
    async def run(self, fn: Callable[P, Coroutine[Any, Any, R]], /, *args: P.args, **kwargs: P.kwargs) -> R: ...
    @overload
    async def run(self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R: ...
    @known_as("AsyncProcessGroup.run")
    async def run(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Run ``fn(*args, **kwargs)`` once in one of the group's processes, and wait for it.

        Args:
            fn (Callable[..., Any]): As of `submit`, like the others.
            *args (Any): Positional arguments for ``fn``.
            **kwargs (Any): Keyword arguments for ``fn``.

        Returns:
            Any: What ``fn`` returned.

        Raises:
            BaseException: What ``fn`` raised; a `TaskError`; what `submit` raises.
        """
        return await self.submit(fn, *args, **kwargs)

    @overload
    async def start(
        self,
        fn: Callable[[*Ts], Generator[T, Any, R]],
        /,
        *args: *Ts,
        name: str | None = None,
        buffersize: int | None = None,
    ) -> AsyncProcessStream[T, R]: ...
    @overload
    async def start(
        self,
        fn: Callable[[*Ts], AsyncGenerator[T, Any] | AsyncIterator[T]],
        /,
        *args: *Ts,
        name: str | None = None,
        buffersize: int | None = None,
    ) -> AsyncProcessStream[T, None]: ...
    @overload
    async def start(
        self, fn: Callable[[*Ts], Iterator[T]], /, *args: *Ts, name: str | None = None, buffersize: int | None = None
    ) -> AsyncProcessStream[T, Any]: ...
    @overload
    async def start(
        self,
        fn: Callable[[*Ts], Coroutine[Any, Any, R]],
        /,
        *args: *Ts,
        name: str | None = None,
        restart: Restart | None = None,
    ) -> AsyncProcessHandle[R]: ...
    @overload
    async def start(
        self, fn: Callable[[*Ts], R], /, *args: *Ts, name: str | None = None, restart: Restart | None = None
    ) -> AsyncProcessHandle[R]: ...
    @known_as("AsyncProcessGroup.start")
    async def start(
        self,
        fn: Callable[[*Ts], Any],
        /,
        *args: *Ts,
        name: str | None = None,
        restart: Restart | None = None,
        buffersize: int | None = None,
    ) -> AsyncProcessHandle[Any]:
        """Start a process of its own for ``fn(*args)``, beyond the group's workers, and wait until it is there.

        Args:
            fn (Callable[[*Ts], Any]): Called in the new process, after the group's initializer; as of `submit`.
            *args (*Ts): Positional arguments for ``fn``.
            name (str | None): Name of the process; None takes the group's name and the next number.
            restart (Restart | None): How the process is kept up, as of `ProcessGroup.start`; None: it runs once.
            buffersize (int | None): For a stream, as of `ProcessGroup.start`.

        Returns:
            AsyncProcessHandle[Any]: The process; awaiting it gives what ``fn`` returned. A failure that nobody asks for
            in that way is raised on leaving the group's block. For a generator function an `AsyncProcessStream`.

        Raises:
            GroupClosed: The group has been closed or left, or cannot start processes.
            NotSupported: As `ProcessGroup.start`, like the others.
            RuntimeError: The group is used in another event loop.
            TypeError: ``fn`` is not callable, ``name`` is neither a str nor None, ``restart`` no `Restart`, or
                ``buffersize`` not an int.
            ValueError: ``name`` is empty, ``buffersize`` is too small or not for this ``fn``, or ``retries`` or
                ``restart`` are not.
        """
        check_callable("fn", fn)
        if name is not None:
            check_name(name)
        start: Callable[[], ProcessHandle[Any]] = partial(
            self._tasks.start, fn, *args, name=name, restart=restart, buffersize=buffersize
        )
        handle = await self._bridge.start(start)
        ways = self._bridge.ways()
        if isinstance(handle, ProcessStream):
            return AsyncProcessStream[Any, Any](cast("Any", handle), ways.hops, ways.threads)
        return AsyncProcessHandle(handle, ways.hops, ways.threads)

    @property
    def map(self) -> AsyncMapCall:
        """Run ``fn`` on every item and give the list of results, in the order of the input.

        ``await map(fn, iterable1, *iterables, chunksize=None, buffersize=None, return_exceptions=False, progress=None,
        checkpoint=None)``

        As `ProcessGroup.map`, and as `imap` for what concerns the iterables. Cancelling who awaits it drops what has
        not begun, and stops the processes of what has.
        """
        return self._map

    @property
    def imap(self) -> AsyncImapCall:
        """Give results one by one, while later items run and further inputs are taken.

        ``imap(fn, iterable1, *iterables, ordered=True, chunksize=None, buffersize=None, return_exceptions=False,
        progress=None, checkpoint=None)``

        As `ProcessGroup.imap`, with async iterables too, mixed with others at will. Those are taken in the loop; sync
        ones that may block, as generators, in a thread of their own; none further ahead of the results than
        ``buffersize``. A result does not wait for an input that is long in coming.

        Leaving the loop early begins nothing more, and closes generators once the iterator is closed; use
        `contextlib.aclosing` for this to happen at once. Cancelling the task that waits for a result, or closes the
        iterator, also stops the processes of the items that run.

        Args:
            fn (Callable[..., Any]): As of `submit`.
            iterable1 (Iterable | AsyncIterable): The items.
            *iterables (Iterable | AsyncIterable): More of them; the shortest ends the stream.
            ordered (bool): As of `ProcessGroup.imap`, like the others.
            chunksize (int | None): Items handed to a worker at once.
            buffersize (int | None): Most inputs taken whose results have not been given; exact.
            return_exceptions (bool): Give the exceptions of items as if they were results.
            progress (bool | Callable[[Progress], object] | None): As for `ProcessGroup.imap`; a callable is called in a
                thread.
            checkpoint (str | PathLike[str] | Checkpoint | None): As for `ProcessGroup.imap`.

        Returns:
            AsyncGenerator[Any, None]: Raises as that of `ProcessGroup.imap` does; when the first result is asked for
            also `NotPicklable` if ``fn`` cannot be pickled, and RuntimeError if the group is used in another event
            loop.

        Raises:
            GroupClosed: The group has been closed or left, or cannot start its workers.
            ImportError: ``progress`` is True, and tqdm is not installed.
            TypeError: ``fn`` is not callable, an iterable is none, a number is not an int, or ``progress`` or
                ``checkpoint`` is none of these.
            ValueError: A number is too small, or ``checkpoint`` names no file.
        """
        return self._imap

    @known_as("AsyncProcessGroup.imap", imap)
    def _imap(
        self,
        fn: Callable[..., Any],
        /,
        *iterables: Any,
        ordered: bool = True,
        chunksize: int | None = None,
        buffersize: int | None = None,
        return_exceptions: bool = False,
        progress: bool | Callable[[Progress], object] | None = None,
        checkpoint: Given = None,
    ) -> AsyncGenerator[Any, None]:
        shape = Shape(ordered, return_exceptions, False, chunksize, eager=False)
        return self._stream("imap", fn, iterables, shape, buffersize, AHEAD, progress, checkpoint).results()

    @known_as("AsyncProcessGroup.map", map)  # noqa: A003 - that of this class
    async def _map(
        self,
        fn: Callable[..., Any],
        /,
        *iterables: Any,
        chunksize: int | None = None,
        buffersize: int | None = None,
        return_exceptions: bool = False,
        progress: bool | Callable[[Progress], object] | None = None,
        checkpoint: Given = None,
    ) -> list[Any]:
        eager = buffersize is None and not any(map(is_async, iterables))
        shape = Shape(True, return_exceptions, True, chunksize, eager=eager)
        return await self._stream("map", fn, iterables, shape, buffersize, MAP_AHEAD, progress, checkpoint).collect()

    def _stream(
        self,
        call: str,
        fn: Callable[..., Any],
        iterables: tuple[Any, ...],
        shape: Shape,
        buffersize: int | None,
        ahead: int,
        progress: object,
        checkpoint: object,
    ) -> AsyncStream:
        check_callable("fn", fn)
        _check_iterables(call, iterables)
        for name, count in (("chunksize", shape.chunksize), ("buffersize", buffersize)):
            if count is not None:
                check_count(name, count, least=1)
        self._bridge.check_open()
        kept = checked_checkpoint(checkpoint)
        kind = stream_class(progress, fn, iterables, kept)
        make = partial(
            self._tasks._stream, call, runnable(fn), iterables, shape, buffersize, ahead, kind, checkpoint=kept
        )
        return AsyncStream(self._bridge, iterables, make)


def _check_iterables(call: str, iterables: tuple[Any, ...]) -> None:
    if not iterables:
        raise TypeError(f"{call} needs at least one iterable")
    for number, iterable in enumerate(iterables, 1):
        if not is_async(iterable) and not hasattr(iterable, "__iter__") and not hasattr(iterable, "__getitem__"):
            raise TypeError(f"iterable {number} of {call} must be iterable, sync or async, not {iterable!r}")
