"""The generator functions that tests of streams run. Importable by name in processes, whatever the start method."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from array import array
from collections.abc import AsyncIterator, Generator, Iterator
from pathlib import Path
from typing import Any, NoReturn

from targets import append


def count_to(count: int) -> Generator[tuple[int, str], None, str]:
    for number in range(count):
        yield number, "row"
    return f"{count} rows"


def logged(log: str) -> Iterator[int]:
    """Rows without end; each is logged when it begins, and when the generator is closed."""
    number = 0
    try:
        while True:
            append(log, f"{number} {os.getpid()}")
            yield number
            number += 1
    finally:
        append(log, "-1 closed")


def given(rows: list[Any]) -> Generator[Any, None, int]:
    yield from rows
    return len(rows)


def same(row: Any, count: int) -> Iterator[Any]:
    for _ in range(count):
        yield row


def raises_after(count: int) -> Iterator[int]:
    yield from range(count)
    raise LookupError("no more")


def exits_after(count: int) -> Iterator[int]:
    yield from range(count)
    os._exit(7)


def killed_after(count: int) -> Iterator[int]:
    yield from range(count)
    os.kill(os.getpid(), signal.SIGKILL)


def unpicklable_at(number: int) -> Iterator[object]:
    yield from range(number)
    yield threading.Lock()
    yield "after it"


def returns_unpicklable() -> Generator[int, None, object]:
    yield 1
    return threading.Lock()


class Hostile:
    """Cannot be rebuilt."""

    def __reduce__(self) -> Any:
        return refuse, ()


def refuse() -> NoReturn:
    raise LookupError("not to be rebuilt")


def hostile() -> Iterator[object]:
    yield 0
    yield Hostile()
    yield 2


def arrays(size: int, count: int) -> Iterator[array[int]]:
    for number in range(count):
        yield array("q", [number]) * size


def hangs_after(count: int, log: str) -> Iterator[int]:
    """Then a row takes for ever."""
    yield from range(count)
    append(log, f"{os.getpid()} hangs")
    time.sleep(1000)


def waits_between(gate: str, count: int) -> Iterator[int]:
    """A row that waits for a file, after some that come at once."""
    yield from range(count)
    while not Path(gate).exists():
        time.sleep(0.001)
    yield count


def fails_to_close() -> Iterator[int]:
    try:
        yield 0
        yield 1
    finally:
        raise LookupError("not closed")


class Reader:
    """Has methods that are generator functions."""

    def __init__(self, start: int) -> None:
        self.start = start

    def rows(self, count: int) -> Iterator[int]:
        yield from range(self.start, self.start + count)

    def __call__(self, count: int) -> Iterator[int]:
        yield from self.rows(count)


async def ticks(count: int, log: str = "") -> AsyncIterator[int]:
    try:
        for number in range(count):
            await asyncio.sleep(0)
            yield number
    finally:
        await asyncio.sleep(0)
        if log:
            append(log, "-1 closed")


async def loops(count: int) -> AsyncIterator[int]:
    for _ in range(count):
        yield id(asyncio.get_running_loop())


async def double_later(number: int) -> int:
    await asyncio.sleep(0)
    return 2 * number


def returns_large(size: int) -> Generator[int, None, bytes]:
    yield from ()
    return bytes(size)
