"""A worker's process group: what its items start belongs to it, and all of it dies with the parent.

Loaded in every worker.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import signal
from collections.abc import Generator

from procorch._signals import STACK_SIGNAL


@contextlib.contextmanager
def interrupts_held_back() -> Generator[None]:
    """Hold back a Ctrl-C in this thread, and so in a process that it starts here until that calls `lead`."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def lead() -> None:
    """Make this process the leader of a group of its own, so that Ctrl-C at a terminal does not reach it."""
    with contextlib.suppress(OSError):  # it leads a session already
        os.setpgid(0, 0)
    # A Ctrl-C before this moment has been held back, and was not meant for this process.
    default = signal.signal(signal.SIGINT, signal.SIG_IGN)
    # The others in case that the parent has blocked them, as programs do that wait for signals in one thread.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT, signal.SIGTERM, STACK_SIGNAL})
    signal.signal(signal.SIGINT, default)


def tie(fd: int) -> None:
    """Let this process's group die with whoever can write to a pipe, and never does.

    The kernel itself sends SIGKILL to the group when the last who could has ended: so it does not matter what the
    group's members are doing, nor who holds which lock. (``PR_SET_PDEATHSIG`` would reach this process alone, and
    leave the programs that it has started.)

    Args:
        fd (int): The pipe's end to read from; stays open. Nobody else may tie anything to it.
    """
    pid = os.getpid()
    # A negative number stands for a group. One that this process does not lead is not ours to kill.
    target = -pid if os.getpgid(0) == pid else pid
    if hasattr(fcntl, "F_SETSIG"):
        with contextlib.suppress(OSError):  # no /proc: then an item that leaves the group leaves what ties it
            # A second opening of the same end, for this process alone: an item may move it to another group.
            _tie(os.open(f"/proc/self/fd/{fd}", os.O_RDONLY | os.O_CLOEXEC), pid)
        _tie(fd, target)
        if _has_ended(fd, 0):
            os.kill(target, signal.SIGKILL)  # it happened just before
    else:
        from procorch._daemon import Daemon  # here: workers on Linux need none

        Daemon(_kill_at_end, "procorch-lifeline", (fd, target)).start()


def _tie(fd: int, target: int) -> None:
    fcntl.fcntl(fd, fcntl.F_SETOWN, target)
    fcntl.fcntl(fd, fcntl.F_SETSIG, signal.SIGKILL)
    fcntl.fcntl(fd, fcntl.F_SETFL, fcntl.fcntl(fd, fcntl.F_GETFL) | os.O_ASYNC)


def _has_ended(fd: int, timeout: float | None) -> bool:
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(timeout))


def _kill_at_end(fd: int, target: int) -> None:
    _has_ended(fd, None)
    os.kill(target, signal.SIGKILL)


def signal_group(pid: int, number: int) -> bool:
    """Send a signal to all members of a process group.

    Args:
        pid (int): Of its leader, who may have ended.
        number (int): The signal's.

    Returns:
        bool: False if there is no such group.
    """
    try:
        os.killpg(pid, number)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # all that is left of it runs as somebody else
    return True
