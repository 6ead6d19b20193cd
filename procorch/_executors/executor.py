"""A group as a `concurrent.futures.Executor`: a facade with the standard library's contract, without a process."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from typing import Any, ParamSpec, TypeVar

from typing_extensions import override

from procorch._errors import GroupClosed
from procorch._executors.future import ExecutorFuture, refusal
from procorch._executors.maps import ExecutorStream, shape_of, window_of
from procorch._executors.pending import Pending
from procorch._policy import check_count
from procorch._public import public
from procorch._tasks import Tasks

P = ParamSpec("P")
R = TypeVar("R")


@public
class GroupExecutor(Executor):
    """A group seen as an executor of the standard library, from `ProcessGroup.as_executor`.

    What is given through it runs in the group's processes, beside what else the group has to do. Shutting it down waits
    for that and ends nothing: the processes belong to the group.
    """

    def __init__(self, tasks: Tasks) -> None:
        """Not for users: `ProcessGroup.as_executor` makes executors.

        Args:
            tasks (Tasks): The group, or a view of it; kept alive.
        """
        self._tasks = tasks
        self._supervisor = tasks._supervisor
        self._pending = Pending()
        # Under this name dask looks for it, as with the standard library's executors.
        self._max_workers = tasks._workers

    @override
    def submit(self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Future[R]:
        """Run ``fn(*args, **kwargs)`` once in one of the group's processes.

        Args:
            fn (Callable[P, R]): Called in a worker. Pickled here: by its name if it can be imported.
            *args (P.args): Positional arguments for ``fn``; pickled here.
            **kwargs (P.kwargs): Keyword arguments for ``fn``; pickled here. None is taken by the executor.

        Returns:
            Future[R]: Ends as one of `ProcessGroup.submit`, but its ``cancel`` never stops what runs: it is False then,
            as the standard library has it. If the group cannot start workers it holds a ``BrokenExecutor``; if the
            group is terminated it is cancelled, or holds a `GroupClosed` if it was running.

        Raises:
            RuntimeError: This executor was shut down, or its group takes no work. A ``BrokenExecutor`` if that is since
                the group cannot start workers.
            TypeError: ``fn`` is not callable.
        """
        try:
            return submit(self._tasks, self._pending, fn, args, kwargs)
        except GroupClosed as closed:
            raise refusal(self._supervisor.ending, closed) from closed.__cause__

    @override
    def map(
        self,
        fn: Callable[..., R],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,
        buffersize: int | None = None,
    ) -> Iterator[R]:
        """Run ``fn`` on every item, beginning at this call, and give the results in the order of the input.

        Args:
            fn (Callable[..., R]): Called in the workers with one item of each iterable. Pickled once, at this call.
            *iterables (Iterable[Any]): The items; the shortest ends it. Taken at this call, or with ``buffersize`` as
                there is room.
            timeout (float | None): Seconds from this call after which a result that is not there is not waited for;
                None for no limit.
            chunksize (int): Items handed to a worker at once, at least 1. There is no need to set it: with 1, the
                group finds a good size by itself, and no item waits behind a long one while others are idle.
            buffersize (int | None): Most chunks of the given size taken whose results have not been given; at least 1.
                None for no limit.

        Returns:
            Iterator[R]: Raises what an item raised in its turn, or ``TimeoutError``. Leaving it early, or by an error,
            cancels what has not begun.

        Raises:
            RuntimeError: As of `submit`.
            NotPicklable: ``fn`` cannot be pickled.
            TypeError: ``fn`` is not callable, an iterable is none, or a number is not an int.
            ValueError: A number is too small.
        """
        check_count("chunksize", chunksize, least=1)
        if buffersize is not None:
            check_count("buffersize", buffersize, least=1)
        self._pending.check_open()
        if not iterables:
            return iter(())  # as the standard library does
        try:
            shape, size = shape_of(chunksize, buffersize), window_of(chunksize, buffersize)
            stream = self._tasks._stream("map", fn, iterables, shape, size, 1, ExecutorStream)
            return stream.begin(self._pending, timeout)
        except GroupClosed as closed:
            raise refusal(self._supervisor.ending, closed) from closed.__cause__

    @override
    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more work. The group, and what else it has to do, goes on.

        Args:
            wait (bool): Whether to wait until everything given through this executor has its outcome and callbacks have
                run. If not, the interpreter still waits for it before it exits.
            cancel_futures (bool): Whether to cancel what has not begun. What runs is not stopped.
        """
        self._pending.shut("cannot schedule new futures after shutdown")
        if cancel_futures:
            self._pending.give_up()
        if wait:
            self._pending.wait()
            self._supervisor.callbacks.flush()

    @override
    def __repr__(self) -> str:
        """Say of which group it is.

        Returns:
            str: Such as ``<GroupExecutor of <ProcessGroup 'etl': 2 processes, open>>``.
        """
        return f"<{type(self).__name__} of {self._tasks!r}>"


def submit(
    tasks: Tasks, pending: Pending, fn: Callable[..., R], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> ExecutorFuture[R]:
    """Give a call to a group.

    Args:
        tasks (Tasks): The group.
        pending (Pending): Where the call is until it has its outcome.
        fn (Callable[..., R]): Called in a worker.
        args (tuple[Any, ...]): Its positional arguments.
        kwargs (dict[str, Any]): Its keyword arguments.

    Returns:
        ExecutorFuture[R]: Its result.

    Raises:
        GroupClosed: The group takes no work.
        RuntimeError: Whoever ``pending`` belongs to takes none.
    """
    future = ExecutorFuture[R](tasks._supervisor, pending)
    try:
        pending.enter(future)  # in here: whatever comes once it has entered, it leaves again
        tasks._submit(future, fn, args, kwargs)
        if future.done():
            future.release()  # it may have been refused before it came to the group
    except BaseException:
        future.release()
        raise
    future.tell_again()
    return future
