"""The calls that give work to a group: the same on the group itself and on a view of it with other task options."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future
from functools import partial
from types import ModuleType
from typing import Any, NoReturn, ParamSpec, TypeVar

from typing_extensions import override

from procorch._bar import teller
from procorch._checkpoint import Checkpoint, Given, checked_checkpoint
from procorch._chunks import Window
from procorch._errors import NotPicklable, Task
from procorch._fed_intake import FedIntake
from procorch._feed import Feed
from procorch._functions import name_of
from procorch._future import FutureSink, TaskFuture
from procorch._intake import Intake
from procorch._job import Call
from procorch._messages import Style
from procorch._pickles import Pickles
from procorch._policy import check_callable, check_count
from procorch._progress import Progress, Reporter, total_of
from procorch._public import known_as
from procorch._shape import Shape
from procorch._signatures import ImapCall
from procorch._starts import Starts, show_call
from procorch._stream import Stream
from procorch._watched_stream import WatchedStream

P = ParamSpec("P")
R = TypeVar("R")
S = TypeVar("S", bound=Stream)

AHEAD = 4
"""Items for each worker that `imap` reads ahead at first: one runs, one waits behind it, and as many again."""

MAP_AHEAD = 1024
"""The same for `map`, whose results are all kept anyway; the bound is for the pickles of what has not run yet."""

_GROWTH = 1024
"""How many times its first size a window may become."""

HAVE_THEIR_ITEMS = {list, tuple, range, set, frozenset, dict, str, bytes, bytearray, deque}
"""Types whose iterators never wait for an item. A length says nothing of that: a lazy loader of data may have one."""


class Tasks(Starts):
    """What a group and its views have in common."""

    @override
    def __reduce__(self) -> NoReturn:
        """Refuse to be pickled, by name: often it is ``self.group`` of an object whose method is to run in a worker.

        Raises:
            TypeError: Always.
        """
        raise TypeError(f"a {type(self).__name__} stays in the process that made it, and so does what holds one")

    @known_as("ProcessGroup.submit")
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
            return Task(name_of(fn), show_call(args, kwargs))

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
            TypeError: ``fn`` is not callable, an iterable is none, a number is not an int, or ``progress`` or
                ``checkpoint`` is none of these.
            ValueError: A number is too small, or ``checkpoint`` names no file.
        """
        return self._imap

    @known_as("ProcessGroup.imap", imap)
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

    @known_as("ProcessGroup.map")
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
        """Run ``fn`` on every item and give the list of results, in the order of the input.

        ``map(fn, iterable1, *iterables, chunksize=None, buffersize=None, return_exceptions=False, progress=None,
        checkpoint=None)``

        On the class, ``ProcessGroup.map(fn, items)`` makes a group with the defaults for this one call.

        Args:
            fn (Callable[..., R]): Called in the workers with one item, or with one item of each iterable. Pickled
                once, at this call.
            iterable1 (Iterable): The items; each is pickled when it is taken, in this thread.
            *iterables (Iterable): More of them; the shortest ends the call.
            chunksize (int | None): Items handed to a worker at once, at least 1; None adapts it to what they cost.
            buffersize (int | None): Most inputs taken whose results are not known; at least 1. None lets the group
                choose.
            return_exceptions (bool): Run every item, and give exceptions in the place of results.
            progress (bool | Callable[[Progress], object] | None): A bar if True, else called with a `Progress` each
                time, as for `imap`; None for nothing.
            checkpoint (str | PathLike[str] | Checkpoint | None): A file that keeps what is done, so that the next call
                with it skips that and gives the results of then; see `Checkpoint`.

        Returns:
            list[R]: One for each item.

        Raises:
            BaseException: The first error in the order of the input: what that item raised, or a `TaskError`, with a
                note that names item, index, process and pid. Once an error is known nothing more is begun, and what
                runs before that item is waited for.
            CheckpointError: The checkpoint cannot be used, or (`CheckpointMismatch`) was made by another call.
            GroupClosed: The group has been closed or left, was terminated meanwhile, or cannot start its workers.
            ImportError: ``progress`` is True, and tqdm is not installed.
            NotPicklable: ``fn`` cannot be pickled.
            TypeError: ``fn`` is not callable, an iterable is none, a number is not an int, or ``progress`` or
                ``checkpoint`` is none of these.
            ValueError: A number is too small, or ``checkpoint`` names no file.
        """
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
        again = self._options.raises_again
        function = self._functions.get(travelling, pickles, lambda: Task(name, "..."), again, name=name)
        if isinstance(function, NotPicklable):
            raise function
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
