"""The fork server: a process without threads that has loaded the worker's side, and forks itself into workers.

What differs from the standard library's: it is reached through a socket without a name, so that no death leaves a file
behind and nobody else can ask it for anything; a worker's process group ends with the worker; and it never loads the
caller's ``__main__``. Workers of a server have this loaded, others do not.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import os
import select
import signal
import socket
import struct
import sys
import threading
from collections.abc import Callable, Sequence
from multiprocessing import resource_tracker as resource_tracker_module
from multiprocessing import spawn as spawn_module
from multiprocessing import util as util_module
from typing import Any, NoReturn

from procorch import _process
from procorch._pgroup import interrupts_held_back, signal_group

# Typeshed leaves out much of what is used of these here.
resource_tracker: Any = resource_tracker_module
spawn: Any = spawn_module
util: Any = util_module

_NUMBER = struct.Struct("q")
_MOST_FDS = 16

_IDLE_MS = 100
"""A server that has had nothing to do for so long loads what can wait; longer than a group's first workers take."""


def read_number(fd: int) -> int:
    """Read what the server has to say of a worker: first its process id, in the end its exit code.

    Args:
        fd (int): The worker's pipe.

    Returns:
        int: The number. In the place of a process id, the negative number of the error that refused one.

    Raises:
        EOFError: The server has ended.
    """
    data = os.read(fd, _NUMBER.size)  # written in one piece, which a pipe keeps together
    if not data:
        raise EOFError("the fork server has ended")
    number: int = _NUMBER.unpack(data)[0]
    return number


class ForkServer:
    """The server of this process, started when it is first used."""

    def __init__(self) -> None:
        """Begin without a server."""
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self._pid = 0

    def request(self, fds: Sequence[int]) -> tuple[int, int]:
        """Ask for a worker.

        Args:
            fds (Sequence[int]): Descriptors for it; it finds them as `_process.inherited`.

        Returns:
            tuple[int, int]: Descriptors of this process: from the first `read_number` reads, to the second goes what
            the worker reads before anything else. While that is open the worker knows that this process lives.

        Raises:
            OSError: The system refuses descriptors or a server.
        """
        tracker: int = resource_tracker.getfd()
        status, status_end = os.pipe()
        try:
            data_end, data = os.pipe()
        except OSError:
            _close(status, status_end)
            raise
        try:
            with self._lock:
                self._send([data_end, status_end, tracker, *fds])
        except BaseException:
            _close(status, data)
            raise
        finally:
            _close(status_end, data_end)
        return status, data

    def _send(self, fds: Sequence[int]) -> None:
        try:
            socket.send_fds(self._running(), [_wanted()], fds)
        except (BrokenPipeError, ConnectionResetError):
            self.forget()
            with contextlib.suppress(ChildProcessError):
                os.waitpid(self._pid, 0)  # it died since it was last used
            socket.send_fds(self._running(), [_wanted()], fds)

    def _running(self) -> socket.socket:
        if self._socket is None:
            self._socket = self._start()
        return self._socket

    def _start(self) -> socket.socket:
        own, end = socket.socketpair(type=socket.SOCK_SEQPACKET)
        with end:
            entries: list[object] = [*sys.path]
            path = [entry or _here() for entry in entries if isinstance(entry, str)]  # others are not looked at
            code = f"import gc; gc.disable(); import sys; sys.path[:] = {path!r}"
            code += f"; from {__name__} import main; main({end.fileno()})"
            flags = util._args_from_interpreter_flags()  # noqa: SLF001 - as multiprocessing does
            command = [spawn.get_executable(), *flags, "-c", code]
            try:
                with interrupts_held_back():
                    self._pid = util.spawnv_passfds(command[0], command, [end.fileno()])
            except BaseException:
                own.close()
                raise
        return own

    def forget(self) -> None:
        """Let go of the server: it has died, or belongs to the process that this one is a forked copy of."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def _wanted() -> bytes:
    """Tell the server whether workers are to find there what loads pickles by value, since this process uses it."""
    return b"\1" if "cloudpickle" in sys.modules else b"\0"


def _here() -> str:
    """Name the working directory; if it is gone, what stands for it finds nothing either."""
    try:
        return os.getcwd()  # noqa: PTH109 - workers load no pathlib
    except OSError:
        return ""


def _close(*fds: int) -> None:
    for fd in fds:
        os.close(fd)


# --- in the server ----------------------------------------------------------------------------------------------------


def main(fd: int) -> None:
    """Be a server until its owner is gone.

    Args:
        fd (int): The socket to its owner.
    """
    gc.freeze()  # what has been loaded so far, here and in the workers
    gc.enable()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    news, wake = os.pipe()
    os.set_blocking(news, False)
    os.set_blocking(wake, False)
    signal.signal(signal.SIGCHLD, _hear)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})  # which its owner may have blocked
    poll = select.poll()
    poll.register(news, select.POLLIN)
    poll.register(fd, select.POLLIN)
    workers: dict[int, int] = {}  # their pipes by process id
    to_load = {"procorch._logs"}
    with socket.socket(fileno=fd) as owner:
        while True:
            ready = {ready for ready, _ in poll.poll(_IDLE_MS if to_load else None)}
            if not ready:
                # What many workers come to need. The first did not have to wait for it.
                _load(to_load)
            if news in ready:
                os.read(news, 1 << 16)
                _bury(workers)
            if fd in ready:
                request, fds, flags, _ = socket.recv_fds(owner, 1, _MOST_FDS)
                if not request:
                    break
                if flags & socket.MSG_CTRUNC:
                    _close(*fds)  # there is no room for all of them: the owner finds its pipes closed
                    continue
                if request == b"\1" and "procorch._values" not in sys.modules:
                    _load({"procorch._values", "cloudpickle"})
                _fork(fds, [fd, news, wake], workers)
    for pid in workers:  # which the system has killed already, where it can
        signal_group(pid, signal.SIGKILL)


def _load(names: set[str]) -> None:
    """Load modules that workers find loaded then; empties the set."""
    gc.disable()
    while names:
        with contextlib.suppress(Exception):  # workers that need it will say what is wrong with it
            importlib.import_module(names.pop())
    gc.freeze()
    gc.enable()


def _hear(signum: int, frame: object) -> None:
    """Handle SIGCHLD, by nothing: only a signal with a handler is written to the wake-up descriptor."""


def _bury(workers: dict[int, int]) -> None:
    """Tell of the workers that have ended, and end what they have left."""
    for pid, status in list(workers.items()):
        # As long as it is not reaped, nobody else can have its number.
        if hasattr(os, "waitid") and os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            continue
        signal_group(pid, signal.SIGKILL)
        done, code = os.waitpid(pid, os.WNOHANG)
        if done:
            del workers[pid]
            _say(status, os.waitstatus_to_exitcode(code))
            os.close(status)


def _fork(fds: list[int], own: list[int], workers: dict[int, int]) -> None:
    data, status, *rest = fds
    try:
        pid = os.fork()
    except OSError as error:
        _say(status, -(error.errno or 1))
        _close(*fds)
        return
    if not pid:
        end_with(lambda: _be_worker(data, rest, [status, *own, *workers.values()]))
    workers[pid] = status
    _say(status, pid)
    _close(data, *rest)


def _say(status: int, number: int) -> None:
    with contextlib.suppress(BrokenPipeError):  # nobody wants to know any more
        os.write(status, _NUMBER.pack(number))


def _be_worker(data: int, fds: list[int], others: list[int]) -> int:
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    _close(*others)
    # So that shared memory and semaphores are tracked by one and the same process for the whole family.
    resource_tracker._resource_tracker._fd, *rest = fds  # noqa: SLF001 - as multiprocessing does
    _process.inherited = tuple(rest)
    code: int = spawn._main(data, os.dup(data))  # noqa: SLF001 - likewise
    return code


def end_with(be_worker: Callable[[], int]) -> NoReturn:
    """Be a worker, in a process that has just been forked, to its end.

    Args:
        be_worker (Callable[[], int]): Gives the exit code.
    """
    code = 1
    try:
        atexit._clear()  # noqa: SLF001 - what the process that was copied has registered is not for this one
        atexit.register(util._exit_function)  # noqa: SLF001 - as multiprocessing does
        code = be_worker()
    except BaseException as error:  # noqa: BLE001 - nobody is left to see it
        sys.excepthook(type(error), error, error.__traceback__)
    finally:
        with contextlib.suppress(BaseException):
            atexit._run_exitfuncs()  # noqa: SLF001 - likewise
        os._exit(code)
