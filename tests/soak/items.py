"""What the soak lets worker processes do. Each run of an item begins with one line in the round's log.

Every worker loads this, often enough to run one item and be killed: so what takes long to load is imported where it is
needed. (With the whole of procorch loaded first, a worker would take longer to begin than its saboteur lets it live.)
"""

from __future__ import annotations

import functools
import os
import signal
import sys
import threading
import time
from typing import Any, Literal, NamedTuple, TypeAlias, get_args

Method: TypeAlias = Literal["forkserver", "spawn", "fork"]
METHODS: tuple[Method, ...] = get_args(Method)

Tame = Literal["quick", "sleep", "log", "large", "raise", "retriable", "memory", "thread"]
Wild = Literal[
    "interrupt", "exit", "exit code", "segfault", "kill", "no result", "no argument",
    "subprocess", "fork", "fork twice", "nested",
]  # fmt: skip
Hang = Literal["hang", "hang in C", "hang deaf", "hang deaf in C", "hang with family"]
Kind: TypeAlias = Tame | Wild | Hang
TAME: tuple[Tame, ...] = get_args(Tame)
WILD: tuple[Wild, ...] = get_args(Wild)
HANGS: tuple[Hang, ...] = get_args(Hang)

HOARDED = 20_000_000
"""Bytes that an item of the kind "memory" keeps."""
_MOST_HOARDS = 3
EXIT_CODE = 3


class Item(NamedTuple):
    """One piece of work."""

    id: int
    kind: Kind
    log: str
    amount: int
    """Milliseconds to sleep, records to log, bytes to return: what the kind wants."""
    needs_setup: bool
    """Whether an initializer must have run before."""
    cargo: Any = b""
    """Only travels, to the worker and back."""


class Result(NamedTuple):
    """What an item gives back."""

    id: int
    data: Any
    cargo: Any


class Failed(Exception):
    """An item's own error."""


class Retriable(Exception):
    """An item's own error, worth another try."""


class NoSetup(Exception):
    """An item ran in a process whose initializer had not run."""


class Unpicklable:
    """Cannot cross."""

    def __reduce__(self) -> Any:
        raise RuntimeError("does not travel")


_is_set_up = False
_hoard: list[bytes] = []


def note(log: str, number: int, mark: str, pid: int | None = None) -> None:
    """Append a line to the log: item, mark, process, its start in ticks, now. One write, so it is whole or not there.

    Marks: B an item begins, C it has started this process, I an initializer, F a finalizer has run.
    """
    born = _own_birth(os.getpid()) if pid is None else birth(pid)
    line = f"{number} {mark} {pid or os.getpid()} {born} {time.monotonic()}\n"
    fd = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.write(fd, line.encode())
    finally:
        os.close(fd)


def birth(pid: int) -> int:
    """When a process was started, in the kernel's ticks: with this, an id that is used again is another. 0 if gone."""
    try:
        with open(f"/proc/{pid}/stat") as file:  # noqa: PTH123 - see above
            return int(file.read().rpartition(")")[2].split()[19])
    except OSError:
        return 0


@functools.lru_cache(1)
def _own_birth(pid: int) -> int:
    return birth(pid)


def set_up(log: str) -> None:
    """Be a group's initializer."""
    global _is_set_up  # noqa: PLW0603 - what initializers do
    _is_set_up = True
    note(log, 0, "I")


def wind_up(log: str) -> None:
    """Be a group's finalizer."""
    note(log, 0, "F")


def perform(item: Item) -> Result:
    """Run an item."""
    note(item.log, item.id, "B")
    if item.needs_setup and not _is_set_up:
        raise NoSetup(item.id)
    return Result(item.id, _do(item), item.cargo)


def _do(item: Item) -> Any:
    match item.kind:
        case "quick":
            return item.amount * 2
        case "sleep":
            time.sleep(item.amount / 1000)
        case "log":
            import logging

            for number in range(item.amount):
                logging.getLogger("soak").info("%d %d", item.id, number)
        case "large":
            return bytes([item.id % 256]) * item.amount
        case "raise":
            raise Failed(item.id)
        case "retriable":
            if os.urandom(1)[0] < 180:
                raise Retriable(item.id)
        case "memory":
            _hoard.append(b"x" * HOARDED)
            del _hoard[:-_MOST_HOARDS]
        case "thread":
            threading.Thread(target=time.sleep, args=(item.amount / 1000,)).start()
        case "interrupt":
            raise KeyboardInterrupt(item.id)
        case "exit":
            sys.exit(item.id)
        case _:
            return _do_wildly(item)
    return None


def _do_wildly(item: Item) -> Any:
    match item.kind:
        case "exit code":
            os._exit(EXIT_CODE)
        case "segfault":
            import ctypes

            ctypes.string_at(0)
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "no result":
            return Unpicklable()
        case "subprocess":
            _leave_program(item)
        case "fork":
            _fork(item)
        case "fork twice":
            _return_twice(item)
        case "nested":
            from procorch import ProcessGroup

            with ProcessGroup(2, mp_context=METHODS[item.amount % 3]) as group:
                return group.map(_double, range(4), [item.log] * 4, [item.id] * 4)
        case _:
            _hang(item)
    return None


def _double(number: int, log: str, above: int) -> int:
    note(log, above, "C")
    return number * 2


def _leave_program(item: Item) -> None:
    import subprocess

    note(item.log, item.id, "C", subprocess.Popen(["sh", "-c", "sleep 1000 & wait"]).pid)


def _fork(item: Item) -> None:
    child = os.fork()
    if not child:
        time.sleep(1000)
        os._exit(0)
    note(item.log, item.id, "C", child)


def _return_twice(item: Item) -> None:
    """Return from the item in two processes; only one of them has a result."""
    child = os.fork()
    if child:
        os.waitpid(child, 0)
    else:
        note(item.log, item.id, "C")


def _hang(item: Item) -> None:
    """Never end by oneself, in some way."""
    if "deaf" in item.kind:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if "family" in item.kind:
        _leave_program(item)
    if "in C" in item.kind:
        import re

        re.match(r"(a+)+$", "a" * 80 + "b")
    time.sleep(1000)
