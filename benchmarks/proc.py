"""What the system tells of a process and of all below it. Linux."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from pathlib import Path

_TICK = 1 / os.sysconf("SC_CLK_TCK")


def _fields(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def descendants(pid: int) -> list[int]:
    """List all processes below one, those that nobody has collected yet included."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (fields := _fields(int(entry.name))):
            parents[int(entry.name)] = int(fields[1])
    return [one for one in parents if pid in _above(one, parents)]


def _above(pid: int, parents: dict[int, int]) -> Iterator[int]:
    while (pid := parents.get(pid, 0)) > 1:
        yield pid


def cpu_seconds() -> float:
    """Tell the processor time that this process and all below it have used so far; of the latter by 10 ms ticks."""
    own, ended = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    used = own.ru_utime + own.ru_stime + ended.ru_utime + ended.ru_stime
    for pid in descendants(os.getpid()):
        # Of itself, and of those below it that it has collected.
        used += _TICK * sum(int(ticks) for ticks in _fields(pid)[11:15])
    return used


def pss(pid: int) -> float:
    """Tell the memory of a process and all below it in MB, where what several share is counted once."""
    total = 0
    for one in [pid, *descendants(pid)]:
        try:
            lines = Path(f"/proc/{one}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total / 1000


def forget_peak() -> None:
    """Let the system count the most resident memory of this process anew."""
    Path("/proc/self/clear_refs").write_text("5")


def peak() -> float:
    """Tell the most resident memory of this process since then, in MB."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1000
