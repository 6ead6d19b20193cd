"""How worker processes are started, watched and signalled, one class for each start method.

These stand in the place of the standard library's Popen classes. What differs:

- a process's end is watched by its pidfd where the system has one, since a pipe stays open as long as a grandchild
  holds it, and is asked for under a lock, so that two threads cannot hide its exit code from each other;
- the fork server is ours;
- the pipe by which a worker knows that its parent lives is open in the parent only.

Where a function here replaces one of the standard library's, the signature is the standard library's.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import signal
import threading
from collections.abc import Callable, Sequence
from functools import partial
from multiprocessing import connection, reduction, resource_tracker, spawn, util
from multiprocessing.process import BaseProcess
from typing import TYPE_CHECKING

from procorch import _server
from procorch._pgroup import interrupts_held_back, signal_group
from procorch._process import ForkServerWorker, ForkWorker, SpawnWorker, WorkerProcess

if TYPE_CHECKING:
    from multiprocessing import popen_fork

    # What typeshed leaves out of multiprocessing, or has with narrower types than it takes.

    class _StandardPopen(popen_fork.Popen):
        def _launch(self, process_obj: BaseProcess) -> None: ...
        def _send_signal(self, sig: int) -> None: ...

    def set_spawning_popen(popen: Popen | None) -> None: ...
    def close_fds(*fds: int) -> None: ...
    def spawnv_passfds(path: str, args: Sequence[str], passfds: Sequence[int]) -> int: ...
else:
    from multiprocessing.context import set_spawning_popen
    from multiprocessing.popen_fork import Popen as _StandardPopen
    from multiprocessing.util import close_fds, spawnv_passfds


_servers = [_server.ForkServer()]
"""The fork server of this process; in a list, so that a forked process can have another."""

_lifelines: set[int] = set()
"""The parent's ends of the pipes by which workers know that it lives. Nobody else may have them open."""

_NO_ROOM = {errno.EMFILE, errno.ENFILE, errno.ENOMEM}

_EXIT_CODE_SECONDS = 1.0
"""Longest wait for the fork server to pass on the exit code of a process that has ended."""


def _after_fork_in_child() -> None:
    """Let go of what belongs to the process that was copied."""
    _servers[0].forget()
    _servers[0] = _server.ForkServer()
    while _lifelines:
        os.close(_lifelines.pop())


def _let_server_go() -> None:
    _servers[0].forget()


os.register_at_fork(after_in_child=_after_fork_in_child)
# At the interpreter's exit, after the groups that were left open have ended (see `_exit`): a socket that nobody closes
# makes a warning, where these are shown.
util.Finalize(None, _let_server_go, exitpriority=-1)


class Popen(_StandardPopen):
    """What all three ways share: the watch on the process's end, and signals that cannot hit a stranger."""

    pid = 0
    """0 while there is no process."""
    pidfd: int | None = None
    """Readable when the process has ended; None where the system has none."""

    def __init__(self, process_obj: BaseProcess) -> None:
        self._lock = threading.Lock()
        self._fds: list[int] = []
        try:
            super().__init__(process_obj)
        except BaseException:
            if self.pid > 0:
                os.kill(self.pid, signal.SIGKILL)  # nobody would hear of this process
                self.wait()
                self.close()
            raise

    def _watch(self) -> None:
        """Open the pidfd; call it before anybody can reap the process."""
        if hasattr(os, "pidfd_open"):
            try:
                self.pidfd = os.pidfd_open(self.pid)
            except OSError as error:
                if error.errno in _NO_ROOM:
                    raise
                # It was reaped already, or the system has none after all; the sentinel does as well.

    def _open_pipes(self) -> tuple[int, int, int]:
        """Open the pipe whose end is the sentinel, and the one by which the worker knows that this process lives.

        Returns:
            tuple[int, int, int]: The worker's end of the first; the worker's and this process's end of the second.
        """
        self.sentinel, child_end = os.pipe()
        try:
            child_reads, parent_writes = os.pipe()
        except OSError:
            close_fds(self.sentinel, child_end)
            raise
        return child_end, child_reads, parent_writes

    def _keep(self, parent_writes: int) -> None:
        """Keep the pipe by which the worker knows that this process lives, until `close`."""
        _lifelines.add(parent_writes)
        self.finalizer = util.Finalize(self, _close, (self.sentinel, parent_writes))

    @property
    def death_fd(self) -> int:
        """The descriptor that becomes readable when the process has ended."""
        return self.sentinel if self.pidfd is None else self.pidfd

    def has_ended(self) -> bool:
        """Tell whether the process has ended; without collecting what it left."""
        return self.returncode is not None or bool(connection.wait([self.death_fd], 0))

    def exit_code(self) -> int | None:
        """Give the exit code of a process that has ended; None if it cannot be known."""
        # With a pidfd, what it left can be collected at once, if nobody else has: a handler of SIGCHLD, say.
        code = self.poll(0 if self.pidfd is None else os.WNOHANG)
        if code is None:
            self._unknown()
        return code

    def _is_kept(self) -> bool:
        """Tell whether the process has ended, and the system still keeps its number for it."""
        if not hasattr(os, "waitid"):
            return bool(connection.wait([self.death_fd], 0))
        try:
            return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
        except ChildProcessError:
            return False  # somebody else has collected it, or it was never kept: SIGCHLD is ignored

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
            if self.returncode is None and self._is_kept():
                # Before anybody collects it, and be it multiprocessing itself, which looks at all its processes when it
                # starts another: as long as it is kept, nobody else can have its number, which is that of its group.
                signal_group(self.pid, signal.SIGKILL)
            return super().poll(flag)

    def wait(self, timeout: float | None = None) -> int | None:
        if self.returncode is None and not connection.wait([self.death_fd], timeout):
            return None
        # Blocks for no longer than the system takes between the two.
        return self.poll(0)

    def send_signal(self, sig: int) -> None:
        """Send a signal to the process alone; nothing happens if it has ended.

        Args:
            sig (int): The signal's number.
        """
        self._send_signal(sig)

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
        # Not of the buffer itself, which cannot come to its end while an error keeps a view of it.
        return memoryview(buffer.getvalue())


class ForkPopen(Popen):
    method = "fork"

    def _launch(self, process_obj: BaseProcess) -> None:
        child_end, child_reads, parent_writes = self._open_pipes()
        try:
            with interrupts_held_back():
                self.pid = os.fork()
                if not self.pid:
                    close_fds(self.sentinel, parent_writes)
                    bootstrap: Callable[[int], int] = process_obj._bootstrap  # type: ignore[attr-defined]  # noqa: SLF001
                    _server.end_with(partial(bootstrap, child_reads))
        except OSError:
            close_fds(self.sentinel, child_end, child_reads, parent_writes)
            raise
        close_fds(child_end, child_reads)
        self._keep(parent_writes)
        self._watch()


class SpawnPopen(Popen):
    method = "spawn"

    def duplicate_for_child(self, fd: int) -> int:
        self._fds.append(fd)
        return fd

    def _launch(self, process_obj: BaseProcess) -> None:
        tracker_fd = resource_tracker.getfd()
        assert tracker_fd is not None  # it has been started just now
        data = self._pickle(process_obj)
        child_end, child_reads, parent_writes = self._open_pipes()
        self._keep(parent_writes)
        try:
            command = _without_gc(spawn.get_command_line(tracker_fd=tracker_fd, pipe_handle=child_reads))
            fds = [*self._fds, tracker_fd, child_reads, child_end]
            with interrupts_held_back():
                self.pid = spawnv_passfds(spawn.get_executable(), command, fds)
        finally:
            os.close(child_end)
            os.close(child_reads)
        self._watch()
        _write(parent_writes, data)


class ForkServerPopen(Popen):
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
                raise OSError("the fork server ends while it starts a process, or has no room for one") from None
        self._watch()

    def _request(self, data: memoryview) -> None:
        self.sentinel, parent_writes = _servers[0].request(self._fds)
        try:
            _write(parent_writes, data)
            number = _server.read_number(self.sentinel)
            if number < 0:
                raise OSError(-number, os.strerror(-number))
        except BaseException:
            close_fds(self.sentinel, parent_writes)
            raise
        self.pid = number
        self._keep(parent_writes)

    def poll(self, flag: int = os.WNOHANG) -> int | None:
        with self._lock:
            if self.returncode is None and connection.wait([self.sentinel], None if flag == 0 else 0):
                try:
                    self.returncode = _server.read_number(self.sentinel)
                except (OSError, EOFError):
                    self.returncode = 255  # as the standard library says it; see exit_code
                    self._server_died = True
            return self.returncode

    def exit_code(self) -> int | None:
        # The server ends its group, and passes the code on at once, unless somebody stopped it.
        connection.wait([self.sentinel], _EXIT_CODE_SECONDS)
        if self.poll() is None:
            self._unknown()
            self._server_died = True
        return None if self._server_died else self.returncode


METHODS: dict[str, Callable[[str, int, int], WorkerProcess]] = {
    "fork": partial(ForkWorker, ForkPopen),
    "spawn": partial(SpawnWorker, SpawnPopen),
    "forkserver": partial(ForkServerWorker, ForkServerPopen),
}
"""Makes a process of each start method; see `WorkerProcess`."""


def _without_gc(command: list[str]) -> list[str]:
    """Let a new interpreter not look for garbage while it loads what a worker needs; `SpawnWorker` ends that."""
    if "-c" in command:  # else the program is frozen, and knows its own way
        place = command.index("-c") + 1
        command[place] = f"import gc; gc.disable(); {command[place]}"
    return command


def _close(sentinel: int, parent_writes: int) -> None:
    _lifelines.discard(parent_writes)  # first, or a fork in between would close a number that stands for nothing
    close_fds(sentinel, parent_writes)


def _write(fd: int, data: memoryview) -> None:
    """Write all of it. A worker that dies before it has read it is found dead by its pidfd, not here."""
    with contextlib.suppress(BrokenPipeError):
        while data:
            data = data[os.write(fd, data) :]
