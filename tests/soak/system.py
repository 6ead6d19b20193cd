"""What this process holds of the system, and the watchdog that ends a run in which something hangs."""

from __future__ import annotations

import ctypes
import faulthandler
import gc
import os
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import attrs

_SERVER = "procorch._server"
_HELPERS = (_SERVER, "multiprocessing.resource_tracker")
_M_MMAP_THRESHOLD, _M_ARENA_MAX = -3, -8  # of malloc.h
_HARD = 60.0
"""Seconds after the watchdog's limit at which the process ends even if no thread of Python runs any more."""


@attrs.frozen
class Belongings:
    """What this process holds."""

    descriptors: Counter[str]
    threads: frozenset[str]
    children: frozenset[str]
    shared_memory: frozenset[str]
    temporary: frozenset[str]

    @classmethod
    def now(cls, folder: Path) -> Belongings:
        """Look; ``folder`` is where temporary files go."""
        return cls(
            Counter(_descriptors()),
            frozenset(thread.name for thread in threading.enumerate()),
            frozenset(_descendants()),
            frozenset(file.name for file in Path("/dev/shm").iterdir()),
            frozenset(file.name for file in folder.iterdir()),
        )

    def added_since(self, before: Belongings) -> dict[str, object]:
        """Tell what is here now and was not before."""
        added = {
            "descriptors": self.descriptors - before.descriptors,
            "threads": self.threads - before.threads,
            "children": self.children - before.children,
            "/dev/shm": self.shared_memory - before.shared_memory,
            "temporary files": self.temporary - before.temporary,
        }
        return {kind: things for kind, things in added.items() if things}


def give_back_memory() -> None:
    """Let the allocator return what is free: with an arena for each of a thousand threads, its size says nothing."""
    allocator = ctypes.CDLL(None)
    allocator.mallopt(_M_ARENA_MAX, 1)
    allocator.mallopt(_M_MMAP_THRESHOLD, 1 << 17)  # without this, it keeps what is larger, too


@attrs.frozen
class Footprint:
    """How much this process and the fork server hold."""

    resident: int
    """Bytes."""
    descriptors: int
    threads: int
    blocks: int
    """Pieces of memory that Python's objects have."""
    server_resident: int
    """Bytes; 0 without a server."""
    server_descriptors: int

    @classmethod
    def now(cls) -> Footprint:
        """Measure, after what is free has gone back to the system: what the allocator keeps says nothing."""
        gc.collect()
        ctypes.CDLL(None).malloc_trim(0)
        server = next((pid for pid, command in _commands() if _SERVER in command and _parent(pid) == os.getpid()), 0)
        return cls(
            _resident(os.getpid()),
            _count_descriptors(os.getpid()),
            threading.active_count(),
            sys.getallocatedblocks(),
            _resident(server) if server else 0,
            _count_descriptors(server) if server else 0,
        )

    def __str__(self) -> str:
        server = f"; fork server {self.server_resident / 1e6:.1f} MB, {self.server_descriptors} descriptors"
        own = f"{self.resident / 1e6:.1f} MB resident, {self.descriptors} descriptors, {self.threads} threads, "
        own += f"{self.blocks} blocks"
        return own + server * bool(self.server_resident)


def _descriptors() -> Iterator[str]:
    """What the open descriptors are, numbers of sockets and pipes left out."""
    for link in Path("/proc/self/fd").iterdir():
        try:
            target = str(link.readlink())
        except FileNotFoundError:
            continue  # the one of the listing itself
        yield target.partition(":[")[0] if target.startswith(("socket", "pipe")) else target


def _commands() -> Iterator[tuple[int, str]]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                yield int(entry.name), (entry / "cmdline").read_text().replace("\0", " ")
            except OSError:
                continue


def _stat(pid: int) -> list[str]:
    """The fields from the state on; empty if there is no such process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def _parent(pid: int) -> int:
    stat = _stat(pid)
    return int(stat[1]) if stat else 0


def is_below_us(pid: int) -> bool:
    """Tell whether a process is a child of this one, or a child's child, and so on."""
    while pid > 1:
        pid = _parent(pid)
        if pid == os.getpid():
            return True
    return False


def _descendants() -> Iterator[str]:
    """All processes below this one, zombies included, without the helpers that stay."""
    for pid, command in _commands():
        helper = any(name in command for name in _HELPERS) and _parent(pid) == os.getpid()
        if is_below_us(pid) and not helper:
            yield f"{pid}: {command}({' '.join(_stat(pid)[:1])})"


def lives(pid: int, born: int) -> bool:
    """Tell whether the process that got this id at that time has not ended."""
    stat = _stat(pid)
    return bool(stat) and int(stat[19]) == born and stat[0] not in {"Z", "X"}


def _resident(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


def _count_descriptors(pid: int) -> int:
    return sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())


def wait_for(true: Callable[[], bool], seconds: float) -> bool:
    """Wait for something that can only be seen by looking."""
    until = time.monotonic() + seconds
    while not true():
        if time.monotonic() > until:
            return False
        time.sleep(0.005)
    return True


class Watchdog:
    """Ends this process, with the stacks of all its threads, if something takes too long."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._timer: threading.Timer | None = None

    def watch(self, tell: Callable[[], str]) -> None:
        """Begin anew; ``tell`` says what hangs, if it comes to that."""
        self.rest()
        self._timer = threading.Timer(self._seconds, self._bark, (tell,))
        self._timer.name = "watchdog"
        self._timer.daemon = True
        self._timer.start()
        faulthandler.dump_traceback_later(self._seconds + _HARD, exit=True)

    def rest(self) -> None:
        """Watch no longer."""
        faulthandler.cancel_dump_traceback_later()
        if self._timer is not None:
            self._timer.cancel()
            self._timer.join()
            self._timer = None

    def _bark(self, tell: Callable[[], str]) -> None:
        print(f"HANGS: not done after {self._seconds} s\n{tell()}", file=sys.stderr, flush=True)
        for descendant in sorted(_descendants()):
            print("child", descendant, file=sys.stderr)
        faulthandler.dump_traceback(all_threads=True)
        os._exit(1)
