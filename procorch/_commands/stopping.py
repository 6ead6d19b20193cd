"""Being told to stop: Ctrl-C and SIGTERM end a command once, in one way, with the exit code that shells expect.

Likewise that nobody reads the output, of which a command hears in ways of its own.
"""

from __future__ import annotations

import contextlib
import functools
import os
import signal
from collections.abc import Generator
from types import FrameType
from typing import Any

UNWANTED = 128 + signal.SIGPIPE
"""The exit code when nobody reads the output: that of a program which the system ends for it."""

_SIGNALS = (signal.SIGINT, signal.SIGTERM)

_before: dict[int, Any] = {}
"""The handlers of these signals from before the block; empty outside of it."""


class Stopped(BaseException):
    """A signal has asked for an end. Not an Exception: nothing on the way is to take it for an error."""

    def __init__(self, signum: int) -> None:
        """Say by which.

        Args:
            signum (int): The signal.
        """
        super().__init__(signum)
        self.signum = signum

    @property
    def exit_code(self) -> int:
        """What shells make of it: 130 after Ctrl-C, 143 after SIGTERM."""
        return 128 + self.signum

    def __str__(self) -> str:
        """Say what happened.

        Returns:
            str: One word.
        """
        return "interrupted" if self.signum == signal.SIGINT else "terminated"


def _stop(signum: int, frame: FrameType | None) -> None:
    # Once is enough: what follows is bounded, and a second one would break into it.
    for one in _SIGNALS:
        signal.signal(one, signal.SIG_IGN)
    raise Stopped(signum)


def _restore() -> None:
    for signum, handler in _before.items():
        signal.signal(signum, handler)
    _before.clear()


@functools.cache
def _forget_in_forks() -> None:
    """Let a forked worker end by these signals: what is raised here is the parent's way to end."""
    os.register_at_fork(after_in_child=_restore)


@contextlib.contextmanager
def stopping() -> Generator[None]:
    """Let these signals raise `Stopped` in the block, once. One that is ignored already stays so, as under ``nohup``.

    Afterwards all is as before, unless it came to that: then the process is about to end, and no further one counts.
    """
    _forget_in_forks()
    _before.update({signum: signal.getsignal(signum) for signum in _SIGNALS})
    for signum, handler in _before.items():
        if handler is not signal.SIG_IGN:
            signal.signal(signum, _stop)
    is_stopped = False
    try:
        yield
    except Stopped:
        is_stopped = True
        raise
    finally:
        if not is_stopped:
            _restore()
