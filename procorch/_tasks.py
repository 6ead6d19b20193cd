"""The calls that give work to a group: the same on the group itself and on a view of it with other task options."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Generator, Iterator
from concurrent.futures import Future
from functools import partial
from types import ModuleType
from typing import Any, ParamSpec, TypeVar, TypeVarTuple, overload

import attrs

from procorch._bar import teller
from procorch._checkpoint import Checkpoint, Given, checked_checkpoint
from procorch._chunks import Window
from procorch._errors import NotPicklable, Task
from procorch._fed_intake import FedIntake
from procorch._feed import Feed
from procorch._functions import Functions, name_of
from procorch._future import FutureSink, TaskFuture
from procorch._handle import Handles, HandleSink, ProcessHandle
from procorch._intake import Intake
from procorch._job import Call
from procorch._messages import Style
from procorch._options import TaskOptions
from procorch._pickles import Pickles
from procorch._policy import check_callable, check_count, check_name
from procorch._process_stream import ProcessStream
from procorch._progress import Progress, Reporter, total_of
from procorch._restart import Restart
from procorch._shape import Shape
from procorch._signatures import ImapCall
from procorch._stream import Stream
from procorch._supervisor import Supervisor
from procorch._targets import rows_of, runnable
from procorch._verdict import shorten
from procorch._watched_stream import WatchedStream

P = ParamSpec("P")
R = TypeVar("R")
S = TypeVar("S", bound=Stream)
T = TypeVar("T")
Ts = TypeVarTuple("Ts")

AHEAD = 4
"""Items for each worker that `imap` reads ahead at first: one runs, one waits behind it, and as many again."""

MAP_AHEAD = 1024
"""The same for `map`, whose results are all kept anyway; the bound is for the pickles of what has not run yet."""

_GROWTH = 1024
"""How many times its first size a window may become."""


HAVE_THEIR_ITEMS = {list, tuple, range, set, frozenset, dict, str, bytes, bytearray, deque}
"""Types whose iterators never wait for an item. A length says nothing of that: a lazy loader of data may have one."""


class Tasks:
    """What a group and its views have in common."""

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

    def submit(self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Future[R]:
        """Run ``fn(*args, **kwargs)`` once in one of the group's processes.

        Args:
            fn (Callable[P, R]): Called in a worker. Pickled here: by its name if it can be imported.
            *args (P.args): Positional arguments for ``fn``; pickled here.
            **kwargs (P.kwargs): Keyword arguments for ``fn``; pickled here. None is taken by the group.

        Returns:
            Future[R]: Ends in this process with what ``fn`` returned or raised, or with a `TaskError`: `WorkerCrashed`
            if the process died under it, `TaskTimeout` if it was stopped for taking too long, `NotPicklable` if
            something could not cross. It is cancelled if the group is terminated first. Its ``cancel`` also stops
            the process that runs it.

        Raises:
            GroupClosed: The group has been closed or left, or cannot start its workers.
            TypeError: ``fn`` is not callable.
        """
        future = TaskFuture[R](self._supervisor)
        self._submit(future, fn, args, kwargs)
        return future

    def _submit(
        self, future: TaskFuture[Any], fn: Callable[..., object], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        """Run a call whose result goes to a new future."""
        check_callable("fn", fn)
        self._supervisor.check_open()

        def task() -> Task:
            return Task(name_of(fn), _show_call(args, kwargs))

        pickles = self._functions.pickles()
        function = self._functions.get(fn, pickles, task, self._options.raises_again)
        payload = pickles.item((args, kwargs), task)
        if isinstance(function, NotPicklable):
            future.set_exception(function)
        elif isinstance(payload, NotPicklable):
            future.set_exception(payload)
        else:
            sink = FutureSink(future, task, self._supervisor.ending)
            job = Call(function, Style.CALL, self._options.spec(), sink, payload=payload)
            future.bind(job)
            try:
                self._supervisor.open(job, sealed=True)
            except BaseException:
                future.release()  # or the two would keep each other, and a descriptor, until garbage is looked for
                raise

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
        check_callable("fn", fn)
        if name is not None:
            check_name(name)
        rows = rows_of(fn)
        if rows is not None:
            return self._start_stream(rows, args, name, restart, buffersize)
        if buffersize is not None:
            raise ValueError(f"buffersize is for generator functions, and {name_of(fn)} is none")
        self._check_restart(restart)
        fn = runnable(fn)
        self._supervisor.check_open()

        def task() -> Task:
            return Task(name_of(fn), _show_call(args, {}))

        pickles = self._functions.pickles()
        function = self._functions.get(fn, pickles, task, self._options.raises_again, is_service=restart is not None)
        call: tuple[tuple[object, ...], dict[str, object]] = (args, {})
        payload = pickles.item(call, task)
        name = next(self._supervisor.names) if name is None else name
        handle = ProcessHandle[Any](self._supervisor, name, self._functions.pickles)
        if isinstance(function, NotPicklable):
            handle._refuse(function)
        elif isinstance(payload, NotPicklable):
            handle._refuse(payload)
        else:
            spec = self._options.spec(dedicated=True, name=name, restart=restart)
            sink = HandleSink(handle, task, self._supervisor.ending)
            job = Call(function, Style.CALL, spec, sink, payload=payload, talk=handle._talk_for_job)
            self._supervisor.open(job, sealed=True)
            handle._bind(job)
        self._handles.add(handle)
        return handle

    def _check_restart(self, restart: object) -> None:
        if restart is None:
            return
        if not isinstance(restart, Restart):
            raise TypeError(f"restart must be a Restart or None, not {restart!r}")
        if self._options.retries:
            raise ValueError("restart takes the place of options(retries=): one of them only")
        if not self._supervisor.capabilities.converse:
            raise self._supervisor.unsupported("start(restart=)", "cannot ask what it runs to stop")

    def _start_stream(
        self,
        fn: Callable[..., Any],
        args: tuple[Any, ...],
        name: str | None,
        restart: Restart | None,
        buffersize: int | None,
    ) -> ProcessStream[Any, Any]:
        """Start a process that makes rows."""
        supervisor, options = self._supervisor, self._options
        if buffersize is not None:
            check_count("buffersize", buffersize, least=1)
        if options.retries or options.retry_on or restart is not None:
            raise ValueError(
                f"retries, retry_on and restart are not for a generator function as {name_of(fn)}: "
                "a fresh process would begin again with the first row"
            )
        if not supervisor.capabilities.rows:
            raise supervisor.unsupported("start() of a generator function", "cannot have a process make row after row")
        supervisor.check_open()

        def task() -> Task:
            return Task(name_of(fn), _show_call(args, {}))

        pickles = self._functions.pickles()
        function = self._functions.get(fn, pickles, task)
        payload = pickles.item(args, task)
        name = next(supervisor.names) if name is None else name
        stream = ProcessStream[Any, Any](supervisor, name, self._functions.pickles, buffersize, task)
        if isinstance(function, NotPicklable):
            stream._refuse(function)
        elif isinstance(payload, NotPicklable):
            stream._refuse(payload)
        else:
            job = stream._job_for(function, payload, options)
            supervisor.open(job, sealed=False)
            stream._bind(job)
        self._handles.add(stream)
        return stream

    @property
    def imap(self) -> ImapCall:
        """Give results one by one, while later items run and further inputs are taken.

        ``imap(fn, iterable1, *iterables, ordered=True, chunksize=None, buffersize=None, return_exceptions=False,
        progress=None, checkpoint=None)``

        Nothing begins before the first result is asked for. Inputs are taken in the thread that asks for results, at
        most so far ahead of it as the bound allows; so the input may be infinite. Leaving the loop early closes the
        iterator: no further item begins, and an input that is a generator is closed.

        Args:
            fn (Callable[..., R]): Called in the workers with one item, or with one item of each iterable. Pickled
                once, at this call.
            iterable1 (Iterable): The items; each is pickled when it is taken.
            *iterables (Iterable): More of them; the shortest ends the stream.
            ordered (bool): Give results in the order of the input; if False, as they arrive.
            chunksize (int | None): Items handed to a worker at once, at least 1; None adapts it to what they cost.
            buffersize (int | None): Most inputs taken whose results have not been given; at least 1, exact. None
                begins with 4 for each worker and grows, while the consumer is kept waiting, to 4096 for each.
            return_exceptions (bool): Give the exceptions of items as if they were results. The other errors (of the
                iterable itself, of the closed group) are still raised.
            progress (bool | Callable[[Progress], object] | None): True draws a bar on standard error if that is a
                terminal, which needs the extra ``progress``. A callable is called with a `Progress` in the thread that
                asks for results: at the beginning, then at most every 0.1 s as items finish and at least every second
                while a result is waited for, and once at the end, in whatever way that comes. What it raises is raised
                here, and ends the stream.
            checkpoint (str | PathLike[str] | Checkpoint | None): A file that keeps what is done, so that the next call
                with it skips that and gives the results of then; see `Checkpoint`.

        Returns:
            Generator[R, None, None]: Raises what an item raised in its turn, with a note that names item, index,
            process and pid, and ends with that; likewise what the iterable raises.

        Raises:
            CheckpointError: The checkpoint cannot be used, or (`CheckpointMismatch`) was made by another call; when the
                first result is asked for, or later.
            GroupClosed: The group has been closed or left, or cannot start its workers.
            ImportError: ``progress`` is True, and tqdm is not installed.
            NotPicklable: ``fn`` cannot be pickled.
            TypeError: ``fn`` is not callable, an iterable is none, a number is not an int, or ``progress`` is none of
                these.
            ValueError: A number is too small.
        """
        return self._imap

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
    ) -> Generator[Any, None, None]:
        shape = Shape(ordered, return_exceptions, False, chunksize, eager=False)
        kept = checked_checkpoint(checkpoint)
        make = stream_class(progress, fn, iterables, kept)
        return self._stream("imap", fn, iterables, shape, buffersize, AHEAD, make, checkpoint=kept).results()

    def _imap_fed(
        self, fn: Callable[..., Any], feed: Feed, *, ordered: bool, progress: bool | Callable[[Progress], object] | None
    ) -> Stream:
        """Give a stream whose inputs come from a feed, and in which exceptions are results."""
        make = stream_class(progress, fn, (feed,))
        shape = Shape(ordered, True, False, None, eager=False)
        stream = self._stream("imap", fn, (feed,), shape, None, AHEAD, make, feed=partial(FedIntake, [feed], [0]))
        feed.wake = stream.look_again
        return stream

    def _map(
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
        shape = Shape(True, return_exceptions, True, chunksize, eager=buffersize is None)
        kept = checked_checkpoint(checkpoint)
        make = stream_class(progress, fn, iterables, kept)
        stream = self._stream("map", fn, iterables, shape, buffersize, MAP_AHEAD, make, checkpoint=kept)
        try:
            return stream.collect()
        except NotPicklable as error:
            # It has all that there is to know, and our lines on the way here have nothing.
            raise error.with_traceback(None)  # noqa: B904 - the same error

    def _stream(
        self,
        call: str,
        fn: Callable[..., Any],
        iterables: tuple[Any, ...],
        shape: Shape,
        buffersize: int | None,
        ahead: int,
        make: Callable[..., S],
        *,
        star: bool = False,
        feed: Callable[[Pickles], Intake] | None = None,
        checkpoint: Checkpoint | None = None,
    ) -> S:
        check_callable("fn", fn)
        inputs = _inputs(call, iterables) if feed is None else []
        if shape.chunksize is not None:
            check_count("chunksize", shape.chunksize, least=1)
        if buffersize is not None:
            check_count("buffersize", buffersize, least=1)
            window = Window(buffersize, buffersize)
        else:
            size = self._workers * max(ahead, 2 * (shape.chunksize or 1))
            window = Window(size, size * _GROWTH)
        self._supervisor.check_open()
        name = name_of(fn)
        pickles = self._functions.pickles()
        runs, travelling = self._begin_run(checkpoint, fn)
        function = self._functions.get(travelling, pickles, lambda: Task(name, "..."), self._options.raises_again)
        if isinstance(function, NotPicklable):
            raise function
        if travelling is not fn:
            function = attrs.evolve(function, name=name)
        style = Style.ONE if len(iterables) == 1 and not star else Style.MANY
        if feed is not None:
            intake = feed(pickles)
        else:
            ready = all(type(iterable) in HAVE_THEIR_ITEMS for iterable in iterables)
            intake = Intake(inputs, style, pickles, ready=ready, star=star)
        return make(*runs, self._supervisor, function, style, intake, shape, self._options, window, self)

    def _begin_run(
        self, checkpoint: Checkpoint | None, fn: Callable[..., Any]
    ) -> tuple[tuple[object, ...], Callable[..., Any]]:
        """Give what a stream needs that keeps what it has done, and what travels in the place of the function."""
        if checkpoint is None:
            return (), fn
        here = self._supervisor.is_here
        run = _recording().Run(checkpoint, fn, retries=self._options.retries, here=here)
        return (run,), run.noting(fn) if here else fn


def _recording() -> ModuleType:
    from procorch import _recorded_stream  # here: it loads a database, and few calls keep what they have done

    return _recorded_stream


def stream_class(
    progress: object, fn: Callable[..., object], iterables: tuple[Any, ...], checkpoint: Checkpoint | None = None
) -> Callable[..., Stream]:
    """Choose what a call with this ``progress=`` is; it knows how many items there are, if the iterables do.

    Args:
        progress (object): As given by the user.
        fn (Callable[..., object]): Likewise.
        iterables (tuple[Any, ...]): Likewise.
        checkpoint (Checkpoint | None): Likewise, checked.

    Returns:
        Callable[..., Stream]: Makes a stream; with a checkpoint, it takes the run first.

    Raises:
        ImportError: A bar is wanted, and tqdm is not installed.
        TypeError: ``fn`` is not callable, or ``progress`` nothing of what is allowed.
    """
    check_callable("fn", fn)
    tell = teller(progress, name_of(fn))
    if checkpoint is None:
        return Stream if tell is None else partial(WatchedStream, Reporter(tell, total_of(iterables)))
    kinds = _recording()
    if tell is None:
        plain: Callable[..., Stream] = kinds.RecordedStream
        return plain
    watched: Callable[..., Stream] = kinds.WatchedRecordedStream
    return partial(watched, Reporter(tell, total_of(iterables)))


def _inputs(call: str, iterables: tuple[Any, ...]) -> list[Iterator[Any]]:
    if not iterables:
        raise TypeError(f"{call} needs at least one iterable")
    for number, iterable in enumerate(iterables, 1):
        if not hasattr(iterable, "__iter__") and not hasattr(iterable, "__getitem__"):
            raise TypeError(f"iterable {number} of {call} must be iterable, not {iterable!r}")
    return [iter(iterable) for iterable in iterables]


def _show_call(args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
    shown = [shorten(value) for value in args]
    shown += [f"{name}={shorten(value)}" for name, value in kwargs.items()]
    return ", ".join(shown)
