"""The two signals that mean something to a worker: SIGINT its item, and another that it is to show its stack.

Loaded in every worker.
"""

from __future__ import annotations

import faulthandler
import os
import signal

STACK_SIGNAL = signal.SIGUSR2
"""What makes a worker write down its stack, wherever it is."""

in_item = False
"""Whether code of the user's runs, so that an interrupt means that."""


def _interrupt(signum: int, frame: object) -> None:
    """Handle SIGINT. Not by ignoring it, which programs that an item starts would inherit."""
    if in_item:
        raise KeyboardInterrupt


def handle(stack_fd: int, start: int) -> None:
    """Begin to handle them. Stacks are written in a crash, too; neither needs the GIL.

    Args:
        stack_fd (int): Where the threads' stacks are written; stays open.
        start (int): From which byte on.
    """
    signal.signal(signal.SIGINT, _interrupt)
    os.lseek(stack_fd, start, os.SEEK_SET)
    faulthandler.enable(stack_fd)
    faulthandler.register(STACK_SIGNAL, stack_fd)


def let_go() -> None:
    """Write no more stacks: this is a forked copy."""
    faulthandler.unregister(STACK_SIGNAL)
    faulthandler.disable()
