"""Worker processes as `multiprocessing` processes, one class for each start method. Loaded in every worker.

How they are started stands in `_popen`: a worker that starts none has no use for that.

To users they are the standard library's processes (`current_process`, `active_children`). What differs:

- a worker leads a process group, which dies with the parent; Ctrl-C at a terminal reaches only the parent;
- a forked worker closes the ends that belong to other workers, or these would never see their parent's death;
- none ever loads the caller's ``__main__`` when it starts.
"""

from __future__ import annotations

import gc
import os
import socket
import sys
import threading
import weakref
from collections.abc import Callable
from multiprocessing import parent_process
from multiprocessing.process import BaseProcess, _children, _cleanup
from typing import TYPE_CHECKING, ClassVar, Protocol, TypeAlias

from procorch import _child, _pgroup

if TYPE_CHECKING:

    class Popen(Protocol):
        """A started process as the system knows it; see `_popen`."""

        pid: int

        @property
        def death_fd(self) -> int: ...
        def has_ended(self) -> bool: ...
        def exit_code(self) -> int | None: ...
        def send_signal(self, sig: int) -> None: ...
        def duplicate_for_child(self, fd: int) -> int: ...

    def get_spawning_popen() -> Popen: ...
else:
    from multiprocessing.context import get_spawning_popen

Start: TypeAlias = "Callable[[WorkerProcess], Popen]"
"""Starts a process."""


class End(Protocol):
    """Something of a parent that its forked workers must not keep open."""

    def close(self) -> None:
        """Close it in this process only."""
        ...


ends: weakref.WeakSet[End] = weakref.WeakSet()
"""The parent's ends of all channels of this process."""

starting = threading.Lock()
"""Held from the making of a channel to the start of its process, so that no fork in between inherits half of it."""

inherited: tuple[int, ...] = ()
"""In a worker that a fork server has forked: the descriptors that were sent with the request."""


def _after_fork_in_child() -> None:
    """Forget the threads of the process that was copied."""
    global starting  # noqa: PLW0603 - it belongs to the process
    starting = threading.Lock()


os.register_at_fork(after_in_child=_after_fork_in_child)


class WorkerProcess(BaseProcess):
    """A process that runs `_child.serve`."""

    _start_method: ClassVar[str]
    _popen: Popen
    """Made by the standard library's `start`, through the method `_Popen`; in the parent only, and None before."""

    def __init__(self, start: Start, name: str, connection_fd: int, page_fd: int) -> None:
        """Prepare a process; `start` starts it.

        Args:
            start (Start): Starts it, in its way.
            name (str): Its name.
            connection_fd (int): The worker's end of its socket; still the caller's to close.
            page_fd (int): Its shared page; still the caller's to close.
        """
        super().__init__(name=name, daemon=False)
        self._start_by = start
        self._channel = (connection_fd, page_fd)

    @staticmethod
    def _Popen(process_obj: WorkerProcess) -> Popen:  # noqa: N802 - the standard library's name
        return process_obj._start_by(process_obj)

    def start(self) -> None:
        # As the standard library's, which refuses in a daemonic process: that is killed without a word, and what it has
        # started would live on. A worker does not: the system ends it, see `_pgroup`.
        _cleanup()
        self._popen = self._Popen(self)
        self._sentinel = self._popen.sentinel
        del self._target, self._args, self._kwargs
        _children.add(self)

    @property
    def popen(self) -> Popen:
        """The started process as the system knows it; in the parent only."""
        return self._popen

    def run(self) -> None:
        """Be a worker. Runs in the new process."""
        _pgroup.lead()
        parent = parent_process()
        assert parent is not None  # here is a process that it has started
        _pgroup.tie(parent.sentinel)
        connection_fd, page_fd = self._inherited()
        own = socket.socket(fileno=connection_fd)
        try:
            code = _child.serve(own, page_fd)
        finally:
            own.detach()  # left open: what is logged from here on goes to the parent, too
        if code:
            sys.exit(code)

    def _inherited(self) -> tuple[int, int]:
        """Tell by what numbers the channel's descriptors are known in the new process."""
        return self._channel

    def __getstate__(self) -> dict[str, object]:
        state = self.__dict__.copy()
        del state["_start_by"]  # or the new process would load what starts others
        popen = get_spawning_popen()
        state["_channel"] = tuple(popen.duplicate_for_child(fd) for fd in self._channel)
        return state


class ForkWorker(WorkerProcess):
    """A copy of this process."""

    _start_method = "fork"

    def _inherited(self) -> tuple[int, int]:
        # The thread that forked is a daemon and is this process's main thread now; threads take that after it, and
        # those of the user would be cut off at the end instead of being waited for. A living thread takes no `daemon`.
        threading.current_thread()._daemonic = False  # type: ignore[attr-defined]  # noqa: SLF001 - see above
        connection_fd, page_fd = (os.dup(fd) for fd in self._channel)  # the originals are among what is closed now
        # Through their owners, not by number: an owner that still believed itself open would close a number that
        # by then stands for something else.
        for end in list(ends):
            end.close()
        return connection_fd, page_fd


class SpawnWorker(WorkerProcess):
    """A new interpreter."""

    _start_method = "spawn"

    def run(self) -> None:
        # What has been loaded so far stays to the end. To look through it again and again for garbage, while loading
        # and when the interpreter ends, takes a tenth of the time of starting and ending a worker.
        gc.freeze()
        gc.enable()
        super().run()


class ForkServerWorker(WorkerProcess):
    """A copy of a server process that has no threads and holds no locks."""

    _start_method = "forkserver"

    def _inherited(self) -> tuple[int, int]:
        first, second = self._channel
        return inherited[first], inherited[second]
