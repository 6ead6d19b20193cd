"""The functions and objects that tests of `procorch.aio` use in worker processes, and in threads of this one."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from collections.abc import Iterator
from typing import Any

from targets import append, wait_for


async def double_later(number: int) -> int:
    await asyncio.sleep(0)
    return number * 2


async def add_later(first: int, second: int = 0, *, third: int = 0) -> int:
    await asyncio.sleep(0)
    return first + second + third


async def fail_later(number: int) -> float:
    await asyncio.sleep(0)
    return 1 / number


class CalledLater:
    """An object whose call gives a coroutine."""

    async def __call__(self, number: int) -> int:
        await asyncio.sleep(0)
        return -number


def raise_it(error: BaseException) -> None:
    raise error


def log_and_wait(log: str, gate: str, value: Any = None) -> Any:
    """Note that it has begun, and by which process; wait until the gate is there."""
    append(log, f"{value} {os.getpid()}")
    wait_for(gate)
    return value


def log_and_wait_stubbornly(log: str, gate: str, value: Any = None) -> Any:
    signal.signal(signal.SIGTERM, lambda *_: None)  # one that ignores it is not waited for
    return log_and_wait(log, gate, value)


def log_and_wait_deafly(log: str, gate: str, value: Any = None) -> Any:
    """As that, but it cannot be seen from outside that SIGTERM is in vain: it is waited for."""
    signal.signal(signal.SIGTERM, lambda *_: None)
    return log_and_wait(log, gate, value)


def wait_or_fail(log: str, gate: str, value: int) -> int:
    """Item 0 fails once two others have begun; these wait."""
    append(log, f"{value} {os.getpid()}")
    while value == 0:
        with open(log) as file:  # noqa: PTH123 - it is read often
            if len(file.readlines()) >= 3:
                raise ZeroDivisionError
        time.sleep(0.002)
    wait_for(gate)
    return value


class Signals:
    """Two events for one thread that blocks and one that sees to it that it may go on."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.go_on = threading.Event()
        self.blocking = False

    def block(self) -> None:
        self.blocking = True
        self.begun.set()
        there = self.go_on.wait(20)
        self.blocking = False
        assert there, "nobody was there to let it go on"


signals = Signals()


class Blocks:
    """Blocks whoever pickles it, until the loop has let it go on; so it never would in the loop."""

    def __reduce__(self) -> Any:
        signals.block()
        return int, (7,)


def blocking_items(count: int) -> Iterator[int]:
    """Block before the first item, and note the thread in which it is closed."""
    signals.block()
    yield from range(count)


class Noting:
    """An infinite generator's life: what was taken of it, in which threads, and where it was closed."""

    def __init__(self) -> None:
        self.taken = 0
        self.threads: set[int] = set()
        self.closed_in: int | None = None
        self.most_ahead = 0
        self.given = 0

    def _take(self) -> int:
        self.threads.add(threading.get_ident())
        self.taken += 1
        self.most_ahead = max(self.most_ahead, self.taken - self.given)
        return self.taken - 1

    def items(self) -> Iterator[int]:
        try:
            while True:
                yield self._take()
        finally:
            self.closed_in = threading.get_ident()

    async def items_later(self, pause: bool = False) -> Any:
        try:
            while True:
                if pause:
                    await asyncio.sleep(0)
                yield self._take()
        finally:
            self.closed_in = threading.get_ident()
