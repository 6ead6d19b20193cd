"""Worker processes as `multiprocessing` processes, one class for each start method. Loaded in every worker.

To users they are the standard library's processes (`current_process`, `active_children`). What differs:

- the fork server is ours alone: it has loaded the worker's side of this package, and never the caller's ``__main__``;
- a process's end is watched by its pidfd where the system has one, since a pipe stays open as long as a grandchild
  holds it, and is asked for under a lock, so that two threads cannot hide its exit code from each other;
- a worker leads a process group, so that Ctrl-C at a terminal reaches only the parent;
- a forked worker closes the ends that belong to other workers, or these would never see their parent's death.

Where a function here replaces one of the standard library's, the signature is the standard library's.
"""

from __future__ import annotations

import contextlib
import io
import os
import signal
import socket
import sys
import threading
import weakref
from collections.abc import Sequence
from multiprocessing import connection, forkserver, reduction, spawn, util
from multiprocessing.process import BaseProcess
from typing import TYPE_CHECKING, ClassVar, Protocol

from procorch import _child

if TYPE_CHECKING:
    from multiprocessing import popen_fork

    # What typeshed leaves out of multiprocessing, or has with narrower types than it takes.

    class _StandardPopen(popen_fork.Popen):
        def _launch(self, process_obj: BaseProcess) -> None: ...
        def _send_signal(self, sig: int) -> None: ...

    def get_spawning_popen() -> _Popen: ...
    def set_spawning_popen(popen: _Popen | None) -> None: ...
    def close_fds(*fds: int) -> None: ...
    def spawnv_passfds(path: str, args: Sequence[str], passfds: Sequence[int]) -> int: ...
else:
    from multiprocessing.context import get_spawning_popen, set_spawning_popen
    from multiprocessing.popen_fork import Popen as _StandardPopen
    from multiprocessing.util import close_fds, spawnv_passfds


class End(Protocol):
    """Something of a parent that its forked workers must not keep open."""

    def close(self) -> None:
        """Close it in this process only."""
        ...


ends: weakref.WeakSet[End] = weakref.WeakSet()
"""The parent's ends of all channels of this process."""

starting = threading.Lock()
"""Held from the making of a channel to the start of its process, so that no fork in between inherits half of it."""


def _new_server() -> forkserver.ForkServer:
    server = forkserver.ForkServer()
    server.set_forkserver_preload([__name__])
    return server


_server = _new_server()

_EXIT_CODE_SECONDS = 1.0
"""Longest wait for the fork server to pass on the exit code of a process that has ended."""


def _after_fork_in_child() -> None:
    """Forget the threads and the fork server of the process that was copied."""
    global starting, _server  # noqa: PLW0603 - they belong to the process
    starting = threading.Lock()
    # Not ours to reap here, so not ours to use. Its descriptor stays: closing it could end it under its owner only
    # if no other process held one, and the owner does.
    _server = _new_server()


os.register_at_fork(after_in_child=_after_fork_in_child)


class _Popen(_StandardPopen):
    """What all three ways share: the watch on the process's end, and signals that cannot hit a stranger."""

    pidfd: int | None = None
    """Readable when the process has ended; None where the system has none."""

    def __init__(self, process_obj: WorkerProcess) -> None:
        self._lock = threading.Lock()
        self._fds: list[int] = []
        super().__init__(process_obj)

    def _watch(self) -> None:
        """Open the pidfd; call it before anybody can reap the process."""
        if hasattr(os, "pidfd_open"):
            try:
                self.pidfd = os.pidfd_open(self.pid)
            except ProcessLookupError:
                pass  # It has ended and was reaped by the fork server already; the sentinel says so.
            except OSError:
                os.kill(self.pid, signal.SIGKILL)  # no descriptor is left; nobody would hear of this process
                self.wait()
                self.close()
                raise

    @property
    def death_fd(self) -> int:
        """The descriptor that becomes readable when the process has ended."""
        return self.sentinel if self.pidfd is None else self.pidfd

    def exit_code(self) -> int | None:
        """Give the exit code of a process that has ended; None if it cannot be known."""
        # With a pidfd, what it left can be collected at once, if nobody else has: a handler of SIGCHLD, say.
        code = self.poll(0 if self.pidfd is None else os.WNOHANG)
        if code is None:
            self._unknown()
        return code

    def _unknown(self) -> None:
        """Let the exit code count as known, so that nobody waits for it."""
        self.returncode = 255

    def close(self) -> None:
        super().close()
        if self.pidfd is not None:
            os.close(self.pidfd)
            self.pidfd = None

    def poll(self, flag: int = os.WNOHANG) -> int | None:
        with self._lock:
            return super().poll(flag)

    def wait(self, timeout: float | None = None) -> int | None:
        if self.returncode is None and not connection.wait([self.death_fd], timeout):
            return None
        # Blocks for no longer than the system takes between the two.
        return self.poll(0)

    def _send_signal(self, sig: int) -> None:
        if self.pidfd is None:
            super()._send_signal(sig)
        elif self.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self.pidfd, sig)

    def _pickle(self, process_obj: BaseProcess) -> memoryview:
        """Make what the new interpreter reads first: how to prepare, then the process object."""
        preparation = spawn.get_preparation_data(process_obj.name)
        # No worker runs the caller's script: what lives there goes by value, or `_main` imports it if it must.
        preparation.pop("init_main_from_path", None)
        preparation.pop("init_main_from_name", None)
        buffer = io.BytesIO()
        set_spawning_popen(self)
        try:
            reduction.dump(preparation, buffer)
            reduction.dump(process_obj, buffer)
        finally:
            set_spawning_popen(None)
        return buffer.getbuffer()


class _ForkPopen(_Popen):
    method = "fork"

    def _launch(self, process_obj: BaseProcess) -> None:
        super()._launch(process_obj)
        self._watch()


class _SpawnPopen(_Popen):
    method = "spawn"

    def duplicate_for_child(self, fd: int) -> int:
        self._fds.append(fd)
        return fd

    def _launch(self, process_obj: BaseProcess) -> None:
        from multiprocessing import resource_tracker  # as the standard library does: workers need it only if they spawn

        tracker_fd = resource_tracker.getfd()
        assert tracker_fd is not None  # it has been started just now
        data = self._pickle(process_obj)
        self.sentinel, child_end = os.pipe()
        try:
            child_reads, parent_writes = os.pipe()
        except OSError:
            close_fds(self.sentinel, child_end)
            raise
        # The write end stays open in this process: its closing tells the worker of our death.
        self.finalizer = util.Finalize(self, close_fds, (self.sentinel, parent_writes))
        try:
            command = spawn.get_command_line(tracker_fd=tracker_fd, pipe_handle=child_reads)
            fds = [*self._fds, tracker_fd, child_reads, child_end]
            self.pid = spawnv_passfds(spawn.get_executable(), command, fds)
            self._watch()
        finally:
            os.close(child_end)
            os.close(child_reads)
        _write(parent_writes, data)


class _ForkServerPopen(_Popen):
    method = "forkserver"
    _server_died = False

    def duplicate_for_child(self, fd: int) -> int:
        self._fds.append(fd)
        return len(self._fds) - 1

    def _launch(self, process_obj: BaseProcess) -> None:
        data = self._pickle(process_obj)
        try:
            self._request(data)
        except (ConnectionError, EOFError):
            # The server died since it was last used; the next request starts another.
            try:
                self._request(data)
            except EOFError:
                raise OSError("the fork server ends while it starts a process") from None
        self._watch()

    def _request(self, data: memoryview) -> None:
        self.sentinel, parent_writes = _server.connect_to_new_process(self._fds)
        try:
            _write(parent_writes, data)
            self.pid = forkserver.read_signed(self.sentinel)
        except BaseException:
            close_fds(self.sentinel, parent_writes)
            raise
        # The write end stays open in this process: its closing tells the worker of our death.
        self.finalizer = util.Finalize(self, close_fds, (self.sentinel, parent_writes))

    def poll(self, flag: int = os.WNOHANG) -> int | None:
        with self._lock:
            if self.returncode is None and connection.wait([self.sentinel], None if flag == 0 else 0):
                try:
                    self.returncode = forkserver.read_signed(self.sentinel)
                except (OSError, EOFError):
                    self.returncode = 255  # as the standard library says it; see exit_code
                    self._server_died = True
            return self.returncode

    def exit_code(self) -> int | None:
        # The server passes the code on at once, unless somebody stopped it.
        connection.wait([self.sentinel], _EXIT_CODE_SECONDS)
        if self.poll() is None:
            self._unknown()
            self._server_died = True
        return None if self._server_died else self.returncode


def _write(fd: int, data: memoryview) -> None:
    """Write all of it. A worker that dies before it has read it is found dead by its pidfd, not here."""
    with contextlib.suppress(BrokenPipeError):
        while data:
            data = data[os.write(fd, data) :]


class WorkerProcess(BaseProcess):
    """A process that runs `_child.serve`."""

    _start_method: ClassVar[str]
    _popen: _Popen
    """Made by the standard library's `start`, through the method `_Popen`; in the parent only, and None before."""

    def __init__(self, name: str, connection_fd: int, page_fd: int) -> None:
        """Prepare a process; `start` starts it.

        Args:
            name (str): Its name.
            connection_fd (int): The worker's end of its socket; still the caller's to close.
            page_fd (int): Its shared page; still the caller's to close.
        """
        super().__init__(name=name, daemon=False)
        self._channel = (connection_fd, page_fd)

    @property
    def popen(self) -> _Popen:
        """The started process as the system knows it; in the parent only."""
        return self._popen

    def run(self) -> None:
        """Be a worker. Runs in the new process."""
        with contextlib.suppress(OSError):
            os.setpgid(0, 0)
        connection_fd, page_fd = self._inherited()
        with socket.socket(fileno=connection_fd) as own:
            code = _child.serve(own, page_fd)
        if code:
            sys.exit(code)

    def _inherited(self) -> tuple[int, int]:
        """Tell by what numbers the channel's descriptors are known in the new process."""
        return self._channel

    def __getstate__(self) -> dict[str, object]:
        state = self.__dict__.copy()
        popen = get_spawning_popen()
        state["_channel"] = tuple(popen.duplicate_for_child(fd) for fd in self._channel)
        return state


class ForkWorker(WorkerProcess):
    """A copy of this process."""

    _start_method = "fork"

    @staticmethod
    def _Popen(process_obj: WorkerProcess) -> _ForkPopen:  # noqa: N802 - the standard library's name
        return _ForkPopen(process_obj)

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

    @staticmethod
    def _Popen(process_obj: WorkerProcess) -> _SpawnPopen:  # noqa: N802 - the standard library's name
        return _SpawnPopen(process_obj)


class ForkServerWorker(WorkerProcess):
    """A copy of a server process that has no threads and holds no locks."""

    _start_method = "forkserver"

    @staticmethod
    def _Popen(process_obj: WorkerProcess) -> _ForkServerPopen:  # noqa: N802 - the standard library's name
        return _ForkServerPopen(process_obj)

    def _inherited(self) -> tuple[int, int]:
        fds = forkserver.get_inherited_fds()
        assert fds is not None  # here is a copy of the server
        return fds[self._channel[0]], fds[self._channel[1]]


METHODS: dict[str, type[WorkerProcess]] = {
    "fork": ForkWorker,
    "spawn": SpawnWorker,
    "forkserver": ForkServerWorker,
}
