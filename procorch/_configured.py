"""What a group is made with, checked: where its workers run, and how they get ready."""

from __future__ import annotations

import importlib
import multiprocessing
import warnings
from collections.abc import Callable, Iterable
from concurrent.futures import Executor
from multiprocessing.context import BaseContext
from pathlib import Path
from typing import Any

import attrs

from procorch import _extras, _threads
from procorch._engine import ALL, Capabilities, Engine, Room
from procorch._errors import NotPicklable, NotSupported, Task
from procorch._functions import name_of
from procorch._local import LocalEngine
from procorch._messages import NO_SETUP, Setup
from procorch._pickles import Pickles
from procorch._policy import check_callable, check_count
from procorch._popen import METHODS
from procorch._shares import Shares

_MANY_THREADS = 1 << 16
"""More than any library would make; the number has to fit into the message that brings it."""

_MANY_BYTES = (1 << 63) - 1
"""More than any process has; likewise, and the system takes no more for a limit."""


@attrs.frozen
class Place:
    """Where a group's workers run."""

    make_engine: Callable[[], Engine]
    """Gives the engine when there is work."""
    have_main: bool
    """Whether workers have the caller's ``__main__`` from the start."""
    room: Room | None = None
    """How much it takes, by itself; None if it does not tell."""
    distant: bool = False
    """Whether the way there is long."""
    capabilities: Capabilities = ALL
    """What it keeps of a group's promises."""
    keeps_limits: bool = False
    """Whether items that run too long are stopped there, by itself."""
    sends_shared: bool = True
    """Whether what is shared has to be pickled for it."""
    replaces: bool = False
    """Whether processes that have served long enough are replaced there, by itself."""


@attrs.frozen
class Wishes:
    """What a user asks for that only processes on this machine can have: arguments of `ProcessGroup`, as given."""

    mp_context: object = None
    initializer: Callable[..., object] | None = None
    initargs: Iterable[Any] = ()
    finalizer: Callable[..., object] | None = None
    finalargs: Iterable[Any] = ()
    max_memory_per_child: int | None = None
    memory_limit: int | None = None
    threads_per_worker: int | None = None

    def here(self, shares: Shares, *, forward_logs: bool) -> Place:
        """Check them, for processes on this machine.

        Args:
            shares (Shares): What workers share.
            forward_logs (bool): As of `ProcessGroup`.

        Returns:
            Place: Without an engine yet.

        Raises:
            TypeError: See `ProcessGroup`.
            ValueError: Likewise.
            NotPicklable: Likewise.
        """
        method = _start_method(self.mp_context)
        setup = self._setup(method, _extras.title_library())

        def make_engine() -> Engine:
            return LocalEngine(method, setup, forward_logs=forward_logs, shares=shares)

        return Place(make_engine, have_main=method == "fork")

    def _setup(self, method: str, title_library: str) -> Setup:
        """Check how processes are to get ready, and make it fit to travel."""
        calls = (
            *_call("initializer", self.initializer, "initargs", self.initargs),
            *_call("finalizer", self.finalizer, "finalargs", self.finalargs),
        )
        return Setup(
            _pickled(calls, Pickles(have_main=method == "fork")),
            _most_memory(self.max_memory_per_child),
            _memory_limit(self.memory_limit),
            _thread_count(self.threads_per_worker, method),
            title_library,
        )

    def elsewhere(self, given: object, shares: Shares, max_tasks: int | None) -> Place:
        """Check them, for an engine of the user's, and refuse what it cannot keep.

        Args:
            given (object): The engine, or an executor.
            shares (Shares): What workers share.
            max_tasks (int | None): As ``max_tasks_per_child`` of `ProcessGroup`.

        Returns:
            Place: There.

        Raises:
            NotSupported: There is one.
            TypeError: It is neither.
        """
        engine = _as_engine(given)
        prepares = engine.capabilities.prepare
        memory = ("max_memory_per_child", "memory_limit")
        refused = () if prepares else ("initializer", *memory, "threads_per_worker")
        for name in ("mp_context", "finalizer", *refused):
            if getattr(self, name) is not None:
                raise NotSupported(name, repr(engine), "does not let its processes be set up like that")
        if max_tasks is not None and not engine.capabilities.recycle:
            raise NotSupported("max_tasks_per_child", repr(engine), "does not replace its processes")
        setup = self._setup("elsewhere", "") if prepares else NO_SETUP

        def make_engine() -> Engine:
            engine.open(shares, setup, max_tasks)
            return engine

        return Place(
            make_engine,
            engine.has_main,
            engine.room,
            engine.distant,
            engine.capabilities,
            engine.keeps_limits,
            engine.wants_shared_data,
            replaces=prepares,
        )


def _as_engine(given: object) -> Engine:
    if isinstance(given, Executor):
        # Loaded here, as a reader of entry points would: who runs on this machine needs none of it.
        adapt: Callable[[Executor], Engine] = importlib.import_module("procorch.engines").adapt
        return adapt(given)
    if not isinstance(given, Engine):
        raise TypeError(
            f"engine must be one of procorch.engines or a concurrent.futures.Executor, not {given!r}; "
            "for a client of dask: procorch.engines.dask.DaskEngine(client)"
        )
    return given


def start_methods() -> list[str]:
    """List the start methods that there are here.

    Returns:
        list[str]: First the one that a group takes by default.
    """
    known = [method for method in multiprocessing.get_all_start_methods() if method in METHODS]
    default = "forkserver" if "forkserver" in known else "spawn"
    return [default, *(method for method in known if method != default)]


def _start_method(mp_context: object) -> str:
    known = start_methods()
    if mp_context is None:
        return known[0]
    if isinstance(mp_context, BaseContext):
        return mp_context.get_start_method()
    if not isinstance(mp_context, str):
        raise TypeError(f"mp_context must be one of {known}, a multiprocessing context or None, not {mp_context!r}")
    if mp_context not in known:
        raise ValueError(f"mp_context must be one of {known}, not {mp_context!r}")
    return mp_context


def _call(
    name: str, fn: Callable[..., object] | None, name_of_arguments: str, arguments: Iterable[Any]
) -> tuple[Callable[..., object] | None, tuple[Any, ...]]:
    try:
        given = tuple(arguments)
    except TypeError:
        raise TypeError(f"{name_of_arguments} must be iterable, not {arguments!r}") from None
    if fn is not None:
        check_callable(name, fn)
    return fn, given


def _pickled(calls: tuple[Any, ...], pickles: Pickles) -> bytes:
    named = [name_of(fn) for fn in calls[::2] if fn is not None]
    if not named:
        return b""
    payload = pickles.function(calls, "argument", lambda: Task(" and ".join(named), "..."))
    if isinstance(payload, NotPicklable):
        raise payload
    return payload


def _most_memory(given: int | None) -> int:
    if given is None:
        return 0
    if not Path("/proc/self/statm").exists():
        raise ValueError("max_memory_per_child needs a system that has /proc/self/statm, which this one has not")
    return min(check_count("max_memory_per_child", given, least=1), _MANY_BYTES)


def _memory_limit(given: int | None) -> int:
    return 0 if given is None else min(check_count("memory_limit", given, least=1), _MANY_BYTES)


def _thread_count(given: int | None, method: str) -> int:
    if given is None:
        return 0
    count = check_count("threads_per_worker", given, least=1)
    if method == "fork":
        loaded = _threads.out_of_reach(has_threadpoolctl=_extras.is_installed("threadpoolctl"))
        if loaded:
            warnings.warn(
                f"threads_per_worker={count} does not reach what is loaded already and comes to the workers by fork: "
                f"{', '.join(loaded)}; use another start method, or load it in the workers only"
                + (
                    " (threadpoolctl, once installed, reaches libraries)" if any(".so" in one for one in loaded) else ""
                ),
                RuntimeWarning,
                stacklevel=5,
            )
    return min(count, _MANY_THREADS)
