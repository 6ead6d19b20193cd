"""The call that gives a function a process of its own: the same on the group itself and on its views."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Generator, Iterator
from typing import Any, TypeVar, TypeVarTuple, overload

from procorch._errors import NotPicklable, Task
from procorch._functions import Functions, name_of
from procorch._handle import ProcessHandle
from procorch._handles import Handles
from procorch._options import TaskOptions
from procorch._policy import check_callable, check_count, check_name
from procorch._process_stream import ProcessStream
from procorch._public import known_as
from procorch._restart import Restart
from procorch._staying import Staying
from procorch._supervisor import Supervisor
from procorch._targets import rows_of, runnable
from procorch._verdict import shorten

R = TypeVar("R")
T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class Starts:
    """What starts processes, and what it takes to give work to a group at all."""

    def __init__(
        self,
        supervisor: Supervisor,
        functions: Functions,
        workers: int,
        options: TaskOptions,
        handles: Handles,
    ) -> None:
        """Begin.

        Args:
            supervisor (Supervisor): Of the group.
            functions (Functions): Of the group.
            workers (int): Most workers of the group.
            options (TaskOptions): For what is given through this object.
            handles (Handles): Of the group.
        """
        self._supervisor = supervisor
        self._functions = functions
        self._workers = workers
        self._options = options
        self._handles = handles

    @overload
    def start(
        self,
        fn: Callable[[*Ts], Generator[T, Any, R]],
        /,
        *args: *Ts,
        name: str | None = None,
        buffersize: int | None = None,
    ) -> ProcessStream[T, R]: ...
    @overload
    def start(
        self,
        fn: Callable[[*Ts], AsyncGenerator[T, Any] | AsyncIterator[T]],
        /,
        *args: *Ts,
        name: str | None = None,
        buffersize: int | None = None,
    ) -> ProcessStream[T, None]: ...
    @overload
    def start(
        self, fn: Callable[[*Ts], Iterator[T]], /, *args: *Ts, name: str | None = None, buffersize: int | None = None
    ) -> ProcessStream[T, Any]: ...
    @overload
    def start(
        self,
        fn: Callable[[*Ts], Coroutine[Any, Any, R]],
        /,
        *args: *Ts,
        name: str | None = None,
        restart: Restart | None = None,
    ) -> ProcessHandle[R]: ...
    @overload
    def start(
        self, fn: Callable[[*Ts], R], /, *args: *Ts, name: str | None = None, restart: Restart | None = None
    ) -> ProcessHandle[R]: ...
    @known_as("ProcessGroup.start")
    def start(
        self,
        fn: Callable[[*Ts], Any],
        /,
        *args: *Ts,
        name: str | None = None,
        restart: Restart | None = None,
        buffersize: int | None = None,
    ) -> ProcessHandle[Any]:
        """Start a process of its own for ``fn(*args)``, beyond the group's workers, at once.

        Args:
            fn (Callable[[*Ts], Any]): Called in the new process, after the group's initializer. Pickled here. There,
                `current_process` tells whether it is to stop, and gives and takes messages. A coroutine function runs
                in an event loop. A generator function, or an async one, makes a stream.
            *args (*Ts): Positional arguments for ``fn``; pickled here.
            name (str | None): Name of the process; None takes the group's name and the next number.
            restart (Restart | None): How the process is kept up: it is a service then, which leaving the group's block
                stops when all else is done. None: it runs once. Not for a stream.
            buffersize (int | None): For a stream: most rows that are made, or are being made, and have not been given
                to the consumer; at least 1, exact. None begins with 4 and grows, while the consumer is kept waiting,
                to 4096, unless rows are large.

        Returns:
            ProcessHandle[Any]: The process, and later what ``fn`` returned. A failure that nobody asks for with
            `ProcessHandle.result` is raised on leaving the group's block. For a generator function a `ProcessStream`,
            which gives the rows, too.

        Raises:
            GroupClosed: The group has been closed or left, or cannot start processes.
            NotSupported: There is a ``restart``, and the engine cannot ask processes to stop; or ``fn`` is a generator
                function, and the engine cannot have it make row after row.
            TypeError: ``fn`` is not callable, ``name`` is neither a str nor None, ``restart`` no `Restart`, or
                ``buffersize`` not an int.
            ValueError: ``name`` is empty, ``buffersize`` is below 1, or given for what is no stream; there are both a
                ``restart`` and ``retries``; or ``fn`` is a generator function, and there is one of these.
        """
        rows = self._checked(fn, name, restart, buffersize)
        self._supervisor.check_open()
        target = runnable(fn) if rows is None else rows

        def task() -> Task:
            return Task(name_of(target), show_call(args, {}))

        pickles = self._functions.pickles()
        travelling = target if restart is None else Staying(target)
        function = self._functions.get(travelling, pickles, task, self._options.raises_again, name=name_of(target))
        call: tuple[object, ...] = (args, {}) if rows is None else args
        payload = pickles.item(call, task)
        name = next(self._supervisor.names) if name is None else name
        common = (self._supervisor, name, self._functions.pickles, task)
        handle = ProcessHandle[Any](*common) if rows is None else ProcessStream[Any, Any](*common, buffersize)
        if isinstance(function, NotPicklable):
            handle._refuse(function)
        elif isinstance(payload, NotPicklable):
            handle._refuse(payload)
        else:
            job = handle._job_for(function, payload, self._options, restart)
            self._supervisor.open(job, sealed=rows is None)
            handle._bind(job)
        self._handles.add(handle)
        return handle

    def _checked(
        self, fn: Callable[..., Any], name: str | None, restart: object, buffersize: int | None
    ) -> Callable[..., Any] | None:
        """Refuse what cannot be started; give what makes the rows of a stream, None if it is none."""
        check_callable("fn", fn)
        if name is not None:
            check_name(name)
        rows = rows_of(fn)
        if rows is not None:
            self._check_rows(rows, restart, buffersize)
        elif buffersize is not None:
            raise ValueError(f"buffersize is for generator functions, and {name_of(fn)} is none")
        else:
            self._check_restart(restart)
        return rows

    def _check_restart(self, restart: object) -> None:
        if restart is None:
            return
        if not isinstance(restart, Restart):
            raise TypeError(f"restart must be a Restart or None, not {restart!r}")
        if self._options.retries:
            raise ValueError("restart takes the place of options(retries=): one of them only")
        if not self._supervisor.capabilities.converse:
            raise self._supervisor.unsupported("start(restart=)", "cannot ask what it runs to stop")

    def _check_rows(self, fn: Callable[..., Any], restart: object, buffersize: int | None) -> None:
        if buffersize is not None:
            check_count("buffersize", buffersize, least=1)
        if self._options.retries or self._options.retry_on or restart is not None:
            raise ValueError(
                f"retries, retry_on and restart are not for a generator function as {name_of(fn)}: "
                "a fresh process would begin again with the first row"
            )
        if not self._supervisor.capabilities.rows:
            raise self._supervisor.unsupported(
                "start() of a generator function", "cannot have a process make row after row"
            )


def show_call(args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
    """Represent arguments in an error.

    Args:
        args (tuple[Any, ...]): Positional ones.
        kwargs (dict[str, Any]): Keyword arguments.

    Returns:
        str: As in a call, shortened.
    """
    shown = [shorten(value) for value in args]
    shown += [f"{name}={shorten(value)}" for name, value in kwargs.items()]
    return ", ".join(shown)
