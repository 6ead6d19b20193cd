"""The group of processes that users hold, and its views."""

from __future__ import annotations

import functools
import warnings
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor
from multiprocessing.context import BaseContext
from types import TracebackType
from typing import Any, ClassVar, Literal, Self, TypeVar, overload

from procorch._configured import Place, Wishes
from procorch._engine import Engine
from procorch._errors import NotPicklable, Task
from procorch._facades import Facades
from procorch._functions import Functions
from procorch._handle import ProcessHandle
from procorch._handles import Handles
from procorch._info import GroupStats, ProcessInfo
from procorch._options import TaskOptions, checked_options
from procorch._policy import ANY_NUMBER, Limits, check_bool, check_callable, check_count, check_name, check_wait
from procorch._public import known_as, public
from procorch._share import Shared
from procorch._shares import Shares, pickled
from procorch._signatures import MapCall
from procorch._supervisor import Supervisor
from procorch._tasks import Tasks
from procorch._usable import usable_cpus
from procorch._verdict import shorten
from procorch.events import Event

T = TypeVar("T")


class _Map:
    """`ProcessGroup.map`: on a group it is that group's, on the class it makes a group for the one call."""

    @overload
    def __get__(self, group: None, owner: type[ProcessGroup]) -> MapCall: ...
    @overload
    def __get__(self, group: Tasks, owner: type[Tasks]) -> MapCall: ...
    def __get__(self, group: Tasks | None, owner: type[Any]) -> Any:
        if group is not None:
            return group._map
        call = functools.partial(_map_once, owner)
        call.__doc__ = Tasks._map.__doc__
        return call


@known_as("ProcessGroup.map")
def _map_once(group_class: type[ProcessGroup], fn: Callable[..., Any], /, *iterables: Any, **options: Any) -> list[Any]:
    with group_class() as group:
        return group._map(fn, *iterables, **options)


@public
class GroupView(Facades):
    """A group seen with other task options, from `ProcessGroup.options`: gives work to the same processes."""

    map: ClassVar[_Map] = _Map()
    """As `ProcessGroup.map`."""

    def __init__(self, group: ProcessGroup, options: TaskOptions) -> None:
        """Not for users: `ProcessGroup.options` makes views.

        Args:
            group (ProcessGroup): Kept alive by its views.
            options (TaskOptions): For what is given through this view.
        """
        super().__init__(group._supervisor, group._functions, group._workers, options, group._handles)
        self._group = group


@public
class ProcessGroup(Facades):
    """A group of processes that run functions and give back what these return.

    Workers are started as work comes, up to ``max_workers``, and serve `map`, `imap` and `submit`; `start` gives a
    function a process of its own. What a worker loses by dying is the one item that it ran.

    Leaving the ``with`` block waits for all work and all processes; leaving it by an exception terminates them. All
    methods may be called from any thread. Afterwards no process, thread or descriptor of the group is left.
    """

    map: ClassVar[_Map] = _Map()

    def __init__(
        self,
        max_workers: int | None = None,
        *,
        name: str = "Process",
        mp_context: Literal["forkserver", "spawn", "fork"] | BaseContext | None = None,
        initializer: Callable[..., object] | None = None,
        initargs: Iterable[Any] = (),
        finalizer: Callable[..., object] | None = None,
        finalargs: Iterable[Any] = (),
        max_tasks_per_child: int | None = None,
        max_memory_per_child: int | None = None,
        memory_limit: int | None = None,
        threads_per_worker: int | None = None,
        forward_logs: bool = True,
        on_event: Callable[[Event], object] | None = None,
        engine: Engine | Executor | None = None,
    ) -> None:
        """Make a group. No process starts before there is work.

        Args:
            max_workers (int | None): Most worker processes at once, at least 1; None takes as many as this process
                may use processors, see `usable_cpus`. Processes of `start` come on top.
            name (str): From which processes are named, with a number: ``"etl"`` gives ``etl-1``, ``etl-2``.
            mp_context (Literal["forkserver", "spawn", "fork"] | BaseContext | None): Start method, or a context of
                `multiprocessing` that has one. None takes ``"forkserver"`` where there is one, else ``"spawn"``;
                never the interpreter's own default.
            initializer (Callable[..., object] | None): Called in each process before its first work. If it raises,
                the group's work ends with that error, and the group takes no more.
            initargs (Iterable[Any]): Arguments for ``initializer``.
            finalizer (Callable[..., object] | None): Called in each process before it ends in an orderly way: not in
                one that crashes or is stopped. It may take its time. If it raises, leaving the block raises that.
            finalargs (Iterable[Any]): Arguments for ``finalizer``.
            max_tasks_per_child (int | None): Items after which a worker is replaced by a fresh process, at least 1;
                None for no such number.
            max_memory_per_child (int | None): Bytes of resident memory; a worker that holds more after an item is
                replaced by a fresh process. None for no such bound. Only where the system has ``/proc``.
            memory_limit (int | None): Bytes of memory beyond which the system refuses more to a process, so that the
                item gets a `MemoryError`: ``RLIMIT_DATA`` on Linux, which counts what is its own and writable, else
                ``RLIMIT_AS``. What items start has the same limit, each for itself. None for no such limit.
            threads_per_worker (int | None): Threads that each numerical library may use in a process: OpenMP, OpenBLAS,
                MKL, BLIS, Accelerate, NumExpr, Numba, Polars and what uses Rayon. Set in the process's environment
                before anything of the user's is loaded there, in the place of what it says. With ``"fork"``, see the
                warning below. None leaves them alone.
            forward_logs (bool): Whether what is logged in the processes, warnings included, goes to the loggers and
                handlers of this one, at the levels set here. False leaves logging in them as it is.
            on_event (Callable[[Event], object] | None): Called with what happens, one value of `procorch.events` after
                the other, in order, in the thread that the group keeps for callbacks; it may use the group. Whatever it
                raises is logged and ignored. All events have been told when the block is left. None for nobody.
            engine (Engine | Executor | None): Another place to run: an engine of `procorch.engines`, such as a cluster,
                `procorch.testing.FakeEngine`, or any `concurrent.futures.Executor`. What is passed in here is not
                closed with the group. ``max_workers`` then bounds how many items run there at once; None takes as many
                as it has room for. None runs processes on this machine.

        Raises:
            TypeError: An argument has a wrong type.
            NotSupported: The engine cannot keep an option.
            ValueError: A number is below 1, ``name`` is empty, the start method is not known here,
                ``max_memory_per_child`` cannot be watched, or the engine does not tell its size and ``max_workers`` is
                None.
            NotPicklable: ``initializer``, ``finalizer`` or their arguments cannot be pickled.

        Warns:
            RuntimeWarning: ``threads_per_worker`` cannot bound what forked workers inherit: libraries that are loaded
                here already, unless threadpoolctl is installed, and Arrow, NumExpr, Numba and Polars.
        """
        if max_workers is not None:
            check_count("max_workers", max_workers, least=1)
        check_name(name)
        if max_tasks_per_child is not None:
            check_count("max_tasks_per_child", max_tasks_per_child, least=1)
        check_bool("forward_logs", forward_logs)
        if on_event is not None:
            check_callable("on_event", on_event)
        shares = self._shares = Shares(name)
        memory = (max_memory_per_child, memory_limit)
        wishes = Wishes(mp_context, initializer, initargs, finalizer, finalargs, *memory, threads_per_worker)
        if engine is None:
            place = wishes.here(shares, forward_logs=forward_logs)
        else:
            place = wishes.elsewhere(engine, shares, max_tasks_per_child)
        self._sends_shared = place.sends_shared
        workers, most = _sizes(max_workers, place, engine)
        supervisor = Supervisor(
            name,
            place.make_engine,
            _limits(most, place, wishes, max_tasks_per_child),
            capabilities=place.capabilities,
            engine_name="" if engine is None else repr(engine),
            on_event=on_event,
        )
        super().__init__(supervisor, Functions(have_main=place.have_main), workers, TaskOptions(), Handles())
        # Not at exit: then the supervisors' own hook terminates what is left.
        self._finalizer = weakref.finalize(self, _abandon, supervisor)
        self._finalizer.atexit = False

    # --- tasks --------------------------------------------------------------------------------------------------------

    def options(
        self,
        *,
        timeout: float | None = None,
        retries: int = 0,
        retry_on: type[BaseException] | tuple[type[BaseException], ...] = (),
        backoff: float | Sequence[float] = 0.0,
    ) -> GroupView:
        """Give a view of this group that treats items otherwise.

        Args:
            timeout (float | None): Seconds that an item may run, more than 0; None for any time. The process of one
                that runs longer is stopped, whatever it is doing, and the item gets a `TaskTimeout`. The clock starts
                when the item does: waiting, the start of a process, its initializer and importing the function's
                module do not count; unpickling the item and pickling its result do.
            retries (int): Extra tries, at least 0, for an item whose process died under it or was stopped for taking
                too long, or that raised one of ``retry_on``: it is begun at most ``retries + 1`` times. With 0 it is
                begun at most once, whatever happens.
            retry_on (type[BaseException] | tuple[type[BaseException], ...]): Types of exceptions that are worth another
                try as well. They travel to the workers with the function.
            backoff (float | Sequence[float]): Seconds to wait before an extra try. A number is doubled for each
                further one, up to an hour; of a sequence the last holds for all further ones.

        Returns:
            GroupView: Has `map`, `imap`, `submit` and `start`.

        Raises:
            TypeError: An argument has a wrong type.
            ValueError: A number is out of range.
            NotSupported: There is a ``timeout``, and the engine cannot stop what it runs.
        """
        options = checked_options(timeout, retries, retry_on, backoff)
        if options.timeout is not None and not self._supervisor.capabilities.limit:
            raise self._supervisor.unsupported("options(timeout=)", "cannot stop an item that runs")
        return GroupView(self, options)

    def share(self, obj: T) -> Shared[T]:
        """Put an object once where all workers of this group find it, those that are started later included.

        What items carry is a handle of some hundred bytes, as an argument, inside of one, or with a function that holds
        it; ``handle.value`` is the object. Its data lie in memory once for all workers, as long as nobody writes to
        them; who does so has a copy of that part.

        Args:
            obj (T): Pickled here: later changes to it do not reach the workers.

        Returns:
            Shared[T]: Lives until it is closed, nobody refers to it, or the group has ended. Keep it as long as items
            need it.

        Raises:
            GroupClosed: The group has been closed or left, or cannot start its workers.
            NotPicklable: ``obj`` cannot be pickled.
            NotSupported: The engine cannot do that.
        """
        self._supervisor.check_open()
        if not self._supervisor.capabilities.broadcast:
            raise self._supervisor.unsupported("share()", "cannot bring an object to each of its processes")
        payload = pickled(obj, self._functions.pickles(), lambda: Task("procorch.ProcessGroup.share", shorten(obj)))
        if isinstance(payload, NotPicklable):
            raise payload
        # Elsewhere than in processes of ours, items find the object itself.
        return self._shares.add(obj, payload if self._sends_shared else None)

    def as_completed(self) -> Iterator[ProcessHandle[Any]]:
        """Wait for the processes of `start`.

        Yields:
            ProcessHandle[Any]: Each as its process has ended, in that order; those started meanwhile too. One whose
            result was taken and to which nobody refers any more is left out.
        """
        yield from self._handles.as_completed()

    @property
    def processes(self) -> tuple[ProcessInfo, ...]:
        """The processes that there are now: workers and those of `start`, in the order of their slots."""
        return self._supervisor.processes()

    def stats(self) -> GroupStats:
        """Count what has come of the work given so far. Also after the group's end, and in signal handlers.

        Returns:
            GroupStats: Of this moment.
        """
        return self._supervisor.stats()

    # --- its end ------------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Take no more work, and end the workers when what was given is done. Returns at once; see `join`.

        A `ProcessStream` is closed: rows that were made can still be taken, then comes `GroupClosed`.
        """
        self._supervisor.close()

    def join(self, timeout: float | None = None) -> bool:
        """Wait until all work is done and the processes of `start` have ended; once closed, until all have.

        Args:
            timeout (float | None): Seconds to wait at most; None for no limit.

        Returns:
            bool: Whether it came to that.

        Raises:
            TypeError: ``timeout`` is neither a number nor None.
            ValueError: ``timeout`` is negative or not a number.
        """
        joined = self._supervisor.join(check_wait("timeout", timeout))
        if joined and self._supervisor.state != "open":
            self._shares.close()
        return joined

    def terminate(self) -> None:
        """End all processes now, and what they have started: SIGTERM, and SIGKILL 1.5 s later.

        What is left of a process's group when that process has ended gets SIGKILL at once. Returns without waiting; see
        `join`. May be called from any thread, from a callback, from a signal handler, and twice.

        Futures without a result are cancelled; `map` and `imap` that wait in other threads raise `GroupClosed`.
        """
        self._supervisor.terminate()

    def __enter__(self) -> Self:
        """Enter the block.

        Returns:
            Self: This group.
        """
        return self

    def __exit__(
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

        Raises:
            BaseExceptionGroup: Processes of `start` failed, and nobody asked for their results; or the finalizer
                failed, of which the first error stands for all. An ExceptionGroup unless one ended with a SystemExit
                or the like.
        """
        if exc_type is not None:
            self.terminate()
            self.join()
            return
        try:
            self.close()
            self.join()
        except BaseException:
            self.terminate()
            self.join()
            raise
        failures = self._handles.uncollected_failures()
        count = len(failures)
        ending = self._supervisor.ending
        if ending.finalizer_error is not None:
            failures.append(ending.finalizer_error())
            count += ending.finalizers_failed
        if failures:
            number = "a process" if count == 1 else f"{count} processes"
            raise BaseExceptionGroup(f"{number} of the group {self._supervisor.name!r} failed", failures)

    def __repr__(self) -> str:
        """Say name, size and state.

        Returns:
            str: Such as ``<ProcessGroup 'etl': 2 processes, open>``.
        """
        alive = len(self._supervisor.processes())
        return f"<{type(self).__name__} {self._supervisor.name!r}: {alive} processes, {self._supervisor.state}>"


def _sizes(max_workers: int | None, place: Place, engine: object) -> tuple[int, int]:
    """Tell how many workers to reckon with, and how many there may be."""
    if max_workers is not None:
        return max_workers, max_workers
    if place.room is not None:
        return max(1, place.room.workers), ANY_NUMBER
    if place.distant:
        raise ValueError(f"max_workers must be given: {engine!r} does not tell how many items it runs at once")
    count = usable_cpus().count
    return count, count


def _limits(most: int, place: Place, wishes: Wishes, max_tasks: int | None) -> Limits:
    return Limits(
        max_workers=most,
        distant=place.distant,
        limits_elsewhere=place.keeps_limits,
        timed_alone=place.capabilities.limit and place.capabilities.crash_isolation != "item",
        max_tasks=None if place.replaces else max_tasks,
        initializes=wishes.initializer is not None,
        finalizes=wishes.finalizer is not None,
    )


def _abandon(supervisor: Supervisor) -> None:
    """Close a group that nobody refers to any more. Runs at any moment, in any thread."""
    forgotten = supervisor.state == "open" and supervisor.used
    supervisor.close()
    if forgotten:
        warnings.warn(f"the group {supervisor.name!r} was never closed", ResourceWarning, stacklevel=2)
