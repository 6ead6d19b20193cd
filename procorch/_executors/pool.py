"""A group in the shape of `multiprocessing.pool.Pool`: the calls that programs ask a pool for by duck type, no more."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping
from concurrent.futures import Future
from functools import partial
from types import TracebackType
from typing import Any, Self, TypeVar

from procorch._executors.async_result import AsyncResult, settle, watched
from procorch._executors.executor import submit
from procorch._executors.maps import ExecutorStream, window_of
from procorch._executors.pending import Pending
from procorch._public import public
from procorch._shape import Shape
from procorch._stream import Stream
from procorch._tasks import MAP_AHEAD, Tasks
from procorch._waits import SafeFuture

T = TypeVar("T")
R = TypeVar("R")


@public
class GroupPool:
    """A group seen as a pool of `multiprocessing`, from `ProcessGroup.as_pool`.

    Its calls are those of `multiprocessing.pool.Pool`, with the group's promises: a process that dies costs one item,
    and nobody waits for ever. Chunks find their size by themselves where none is given. To close or terminate it ends
    what was given through it; the processes belong to the group. Once the group takes no work its calls raise
    `GroupClosed`.
    """

    def __init__(self, tasks: Tasks) -> None:
        """Not for users: `ProcessGroup.as_pool` makes pools.

        Args:
            tasks (Tasks): The group, or a view of it; kept alive.
        """
        self._tasks = tasks
        self._pending = Pending()  # asynchronous calls
        self._state = "open"
        self._callbacks = tasks._supervisor.callbacks

    @property
    def size(self) -> int:
        """Most workers of the group: where dynesty looks for it."""
        return self._tasks._workers

    # --- one call -----------------------------------------------------------------------------------------------------

    def apply(self, func: Callable[..., R], args: Iterable[Any] = (), kwds: Mapping[str, Any] | None = None) -> R:
        """Run one call and wait for it.

        Args:
            func (Callable[..., R]): Called in a worker.
            args (Iterable[Any]): Its positional arguments.
            kwds (Mapping[str, Any] | None): Its keyword arguments.

        Returns:
            R: What it returned.

        Raises:
            BaseException: What it raised, or a `TaskError`.
            ValueError: The pool was closed.
        """
        return self.apply_async(func, args, kwds).get()

    def apply_async(
        self,
        func: Callable[..., R],
        args: Iterable[Any] = (),
        kwds: Mapping[str, Any] | None = None,
        callback: Callable[[R], object] | None = None,
        error_callback: Callable[[BaseException], object] | None = None,
    ) -> AsyncResult[R]:
        """Begin one call.

        Args:
            func (Callable[..., R]): Called in a worker.
            args (Iterable[Any]): Its positional arguments.
            kwds (Mapping[str, Any] | None): Its keyword arguments.
            callback (Callable[[R], object] | None): Called with the result, in a thread of the group.
            error_callback (Callable[[BaseException], object] | None): Likewise, with the error.

        Returns:
            AsyncResult[R]: Its result, now or later.

        Raises:
            ValueError: The pool was closed.
        """
        self._check_open()
        future: Future[R] = submit(self._tasks, self._pending, func, tuple(args), dict(kwds or {}))
        return watched(future, callback, error_callback, self._callbacks)

    # --- many items ---------------------------------------------------------------------------------------------------

    def map(self, func: Callable[[T], R], iterable: Iterable[T], chunksize: int | None = None) -> list[R]:
        """Run ``func`` on every item and wait for all.

        Args:
            func (Callable[[T], R]): Called in the workers.
            iterable (Iterable[T]): The items.
            chunksize (int | None): Items handed to a worker at once; None lets the group find it.

        Returns:
            list[R]: The results, in the order of the items.

        Raises:
            BaseException: The first error in that order, see `ProcessGroup.map`.
            ValueError: The pool was closed.
        """
        return self._collect(func, iterable, chunksize, star=False)

    def map_async(
        self,
        func: Callable[[T], R],
        iterable: Iterable[T],
        chunksize: int | None = None,
        callback: Callable[[list[R]], object] | None = None,
        error_callback: Callable[[BaseException], object] | None = None,
    ) -> AsyncResult[list[R]]:
        """Begin a `map`.

        Args:
            func (Callable[[T], R]): Called in the workers.
            iterable (Iterable[T]): The items; all are taken at this call.
            chunksize (int | None): Items handed to a worker at once; None lets the group find it.
            callback (Callable[[list[R]], object] | None): Called with the list of results, in a thread of the
                group.
            error_callback (Callable[[BaseException], object] | None): Likewise, with the error.

        Returns:
            AsyncResult[list[R]]: The list of results, now or later.

        Raises:
            ValueError: The pool was closed.
        """
        return watched(self._begin(func, iterable, chunksize, star=False), callback, error_callback, self._callbacks)

    def starmap(
        self, func: Callable[..., R], iterable: Iterable[Iterable[Any]], chunksize: int | None = None
    ) -> list[R]:
        """Run ``func(*item)`` for every item and wait for all.

        Args:
            func (Callable[..., R]): Called in the workers.
            iterable (Iterable[Iterable[Any]]): The items: the arguments of each call.
            chunksize (int | None): Items handed to a worker at once; None lets the group find it.

        Returns:
            list[R]: The results, in the order of the items.

        Raises:
            BaseException: The first error in that order.
            ValueError: The pool was closed.
        """
        return self._collect(func, iterable, chunksize, star=True)

    def starmap_async(
        self,
        func: Callable[..., R],
        iterable: Iterable[Iterable[Any]],
        chunksize: int | None = None,
        callback: Callable[[list[R]], object] | None = None,
        error_callback: Callable[[BaseException], object] | None = None,
    ) -> AsyncResult[list[R]]:
        """Begin a `starmap`.

        Args:
            func (Callable[..., R]): Called in the workers.
            iterable (Iterable[Iterable[Any]]): The items: the arguments of each call.
            chunksize (int | None): Items handed to a worker at once; None lets the group find it.
            callback (Callable[[list[R]], object] | None): As of `map_async`.
            error_callback (Callable[[BaseException], object] | None): As of `map_async`.

        Returns:
            AsyncResult[list[R]]: The list of results, now or later.

        Raises:
            ValueError: The pool was closed.
        """
        return watched(self._begin(func, iterable, chunksize, star=True), callback, error_callback, self._callbacks)

    def imap(self, func: Callable[[T], R], iterable: Iterable[T], chunksize: int = 1) -> Generator[R, None, None]:
        """Give results one by one in the order of the items, while later ones run; see `ProcessGroup.imap`.

        Args:
            func (Callable[[T], R]): Called in the workers.
            iterable (Iterable[T]): The items; taken as results are asked for, and so far ahead as the group allows.
            chunksize (int): Items handed to a worker at once; 1 lets the group find it.

        Returns:
            Generator[R, None, None]: The results.

        Raises:
            ValueError: The pool was closed.
        """
        self._check_open()
        return self._tasks._imap(func, iterable, chunksize=_wish(chunksize))

    def imap_unordered(
        self, func: Callable[[T], R], iterable: Iterable[T], chunksize: int = 1
    ) -> Generator[R, None, None]:
        """Give results one by one as they arrive.

        Args:
            func (Callable[[T], R]): Called in the workers.
            iterable (Iterable[T]): As of `imap`.
            chunksize (int): As of `imap`.

        Returns:
            Generator[R, None, None]: The results.

        Raises:
            ValueError: The pool was closed.
        """
        self._check_open()
        return self._tasks._imap(func, iterable, chunksize=_wish(chunksize), ordered=False)

    def _collect(
        self, func: Callable[..., Any], iterable: Iterable[Any], chunksize: int | None, *, star: bool
    ) -> list[Any]:
        self._check_open()
        shape = Shape(True, False, True, chunksize, eager=True)
        return self._tasks._stream("map", func, (iterable,), shape, None, MAP_AHEAD, Stream, star=star).collect()

    def _begin(
        self, func: Callable[..., Any], iterable: Iterable[Any], chunksize: int | None, *, star: bool
    ) -> Future[list[Any]]:
        self._check_open()
        shape = Shape(True, False, False, chunksize, eager=True)
        size = window_of(1, None)
        stream = self._tasks._stream("map", func, (iterable,), shape, size, 1, ExecutorStream, star=star)
        future = SafeFuture[list[Any]]()
        stream.begin(self._pending, None, lambda: self._callbacks.run(partial(settle, future, stream.results())))
        return future

    def _check_open(self) -> None:
        if self._state != "open":
            raise ValueError("Pool not running")

    # --- its end ------------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Take no more work; the group goes on. See `join`."""
        self._state = "closed"

    def terminate(self) -> None:
        """Take no more work, and end the asynchronous calls that are under way: their processes are stopped."""
        self._state = "terminated"
        self._pending.stop()

    def join(self) -> None:
        """Wait until the asynchronous calls are done, and their callbacks have run.

        Raises:
            ValueError: The pool was not closed before.
        """
        if self._state == "open":
            raise ValueError("Pool is still running")
        self._pending.wait()
        self._callbacks.flush()

    def __enter__(self) -> Self:
        """Enter the block.

        Returns:
            Self: This pool.
        """
        self._check_open()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Leave the block: terminate it, as a pool of `multiprocessing` does.

        Args:
            exc_type (type[BaseException] | None): Type of the exception that leaves it.
            exc (BaseException | None): The exception.
            traceback (TracebackType | None): Its traceback.
        """
        self.terminate()

    def __repr__(self) -> str:
        """Say of which group it is, and its state.

        Returns:
            str: Such as ``<GroupPool of <ProcessGroup 'etl': 2 processes, open>, open>``.
        """
        return f"<{type(self).__name__} of {self._tasks!r}, {self._state}>"


def _wish(chunksize: int) -> int | None:
    return None if chunksize == 1 else chunksize
