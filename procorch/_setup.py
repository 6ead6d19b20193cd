"""How a worker gets ready for its work, and for its end. Loaded in every worker."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from multiprocessing import current_process
from typing import Protocol, TypeAlias

from procorch import _forked, _signals, _titles
from procorch import _messages as m
from procorch._messages import Failure
from procorch._outcome import capture

Call: TypeAlias = tuple[Callable[..., object], tuple[object, ...]]
"""A function and its arguments."""


class Wearing(Protocol):
    """What may want to be replaced."""

    is_worn: Callable[[], bool] | None
    """Asked after each item; None for never."""


def set_up(setup: m.Setup, worker: Wearing) -> Call | Failure | None:
    """Get ready.

    Args:
        setup (m.Setup): How.
        worker (Wearing): Told how to see that it wants to be replaced.

    Returns:
        Call | Failure | None: The finalizer if there is one; or why it is not ready.
    """
    try:
        _titles.show(current_process().name, setup.title_library)
        if setup.threads:
            _cap_threads(setup.threads)
        if setup.memory_limit:
            _limit_memory(setup.memory_limit)
        if setup.most_memory:
            worker.is_worn = _Wear(setup.most_memory)
        if not setup.payload:
            return None
        initializer, initargs, finalizer, finalargs = pickle.loads(setup.payload)
    except BaseException as error:  # noqa: BLE001 - loading may import the user's modules, which may raise anything
        return capture(error, "raised")
    failed = try_call((initializer, initargs)) if initializer is not None else None
    if failed is not None:
        return failed
    return (finalizer, finalargs) if finalizer is not None else None


def try_call(call: Call) -> Failure | None:
    """Call an initializer or a finalizer.

    Args:
        call (Call): Which, and with what.

    Returns:
        Failure | None: What it raised.
    """
    _signals.in_item = True
    try:
        call[0](*call[1])
    except BaseException as error:  # noqa: BLE001 - whatever it is, the caller is to know
        _forked.end_copy(error)
        return capture(error, "raised")
    finally:
        _signals.in_item = False
    _forked.leave_copy()
    return None


def _cap_threads(count: int) -> None:
    from procorch import _threads  # here: few workers need it

    _threads.cap(count)  # before anything of the user's is loaded


def _limit_memory(limit: int) -> None:
    import resource  # here: few workers need it

    # The private writable memory where the system counts that by itself: what is only reserved, or belongs to files,
    # does no harm. Elsewhere all addresses.
    kind = resource.RLIMIT_DATA if os.uname().sysname == "Linux" else resource.RLIMIT_AS
    _, hard = resource.getrlimit(kind)
    if hard != resource.RLIM_INFINITY:
        limit = min(limit, hard)  # which nobody may raise
    resource.setrlimit(kind, (limit, limit))


class _Wear:
    """Tells whether this process holds more memory than it should."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._fd = os.open("/proc/self/statm", os.O_RDONLY | os.O_CLOEXEC)
        self._page = os.sysconf("SC_PAGE_SIZE")

    def __call__(self) -> bool:
        # Two microseconds; the second number counts the resident pages.
        return int(os.pread(self._fd, 128, 0).split()[1]) * self._page > self._most
