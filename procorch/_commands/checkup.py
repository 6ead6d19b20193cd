"""What there is of all that procorch uses: of Python, of the system, and of libraries. Prints nothing."""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import platform
import resource
import sys
from collections.abc import Iterator

import attrs

from procorch import _cgroups, _extras
from procorch._commands.round_trip import Failed, try_out
from procorch._configured import start_methods
from procorch._usable import usable_cpus

EXTRAS = {
    "pickle": "cloudpickle",
    "progress": "tqdm",
    "rich": "rich",
    "plot": "matplotlib",
    "title": "setproctitle",
    "dask": "distributed",
}
"""The library of each extra."""

_DESCRIPTORS = 64
"""Open files of a process without workers, with some room; each worker takes up to eight."""

_LIMITS = {
    "open files": "RLIMIT_NOFILE",
    "processes": "RLIMIT_NPROC",
    "locked memory": "RLIMIT_MEMLOCK",
    "address space": "RLIMIT_AS",
    "data": "RLIMIT_DATA",
}
_IN_BYTES = {"locked memory", "address space", "data"}
_UNITS = ("bytes", "KiB", "MiB", "GiB", "TiB")


@attrs.frozen
class Finding:
    """One thing that was looked at."""

    name: str
    value: str
    """What was found."""
    advice: str = ""
    """What is amiss, and what to do; empty if nothing is."""
    broken: bool = False
    """Whether procorch cannot work like that."""


def findings(seconds: float) -> Iterator[Finding]:
    """Look at everything, one after the other.

    Args:
        seconds (float): Longest time for trying each start method.

    Yields:
        Finding: Each as soon as it is known.
    """
    yield Finding("Python", f"{platform.python_implementation()} {platform.python_version()}, {sys.executable}")
    yield _platform()
    default, *others = start_methods()
    yield Finding("start methods", ", ".join([f"{default} (default)", *others]))
    yield from _processors()
    yield _memfd()
    yield _pidfd()
    yield _shared_memory()
    yield from _limits()
    yield _memory()
    yield from map(_extra, EXTRAS)
    for method in (default, *others):
        yield _start_method(method, seconds, is_default=method == default)


def _platform() -> Finding:
    tested = sys.platform == "linux"
    advice = (
        "" if tested else "procorch is tested on Linux only; elsewhere some promises are weaker, see docs/guarantees.md"
    )
    return Finding("platform", platform.platform(), advice)


def _processors() -> Iterator[Finding]:
    usable = usable_cpus()
    yield Finding("usable CPUs", f"{usable.count} ({usable.reason})")
    yield Finding("CPU limits", ", ".join(f"{limit.count} ({limit.reason})" for limit in usable.candidates))


def _memfd() -> Finding:
    if not hasattr(os, "memfd_create"):
        return Finding(
            "memfd", "no", "large data go through sockets, which takes longer; there is a memfd on Linux only"
        )
    try:
        os.close(os.memfd_create("procorch", os.MFD_CLOEXEC))
    except OSError as error:
        return Finding(
            "memfd", f"refused: {error.strerror}", "let the sandbox or container allow memfd_create", broken=True
        )
    return Finding("memfd", "yes")


def _pidfd() -> Finding:
    missing = "the ends of processes are seen by their pipes instead"
    if not hasattr(os, "pidfd_open"):
        return Finding("pidfd", "no", f"{missing}; there is a pidfd from Linux 5.3 on")
    try:
        os.close(os.pidfd_open(os.getpid()))
    except OSError as error:
        return Finding(
            "pidfd", f"refused: {error.strerror}", f"{missing}; there is a pidfd from Linux 5.3 on, if allowed"
        )
    return Finding("pidfd", "yes")


def _shared_memory() -> Finding:
    try:
        found = os.statvfs("/dev/shm")
    except OSError:
        advice = "procorch does without; multiprocessing's locks and shared memory need it: mount a tmpfs there"
        return Finding("/dev/shm", "no", "" if sys.platform != "linux" else advice)
    whole, free = found.f_blocks * found.f_frsize, found.f_bavail * found.f_frsize
    return Finding("/dev/shm", f"{_bytes(whole)}, of which {_bytes(free)} are free")


def _limits() -> Iterator[Finding]:
    for name, constant in _LIMITS.items():
        number = getattr(resource, constant, None)
        if number is not None:
            soft, hard = resource.getrlimit(number)
            show = _bytes if name in _IN_BYTES else str
            value = " of at most ".join(
                "unlimited" if one == resource.RLIM_INFINITY else show(one) for one in (soft, hard)
            )
            yield Finding(f"limit of {name}", value, _advice_on_files(soft) if name == "open files" else "")


def _advice_on_files(soft: int) -> str:
    wanted = _DESCRIPTORS + 8 * usable_cpus().count
    enough = soft == resource.RLIM_INFINITY or soft >= wanted
    return "" if enough else f"that many workers need about {wanted}: raise it with `ulimit -n {wanted}`, or use fewer"


def _memory() -> Finding:
    limits = _cgroups.memory_limits()
    if not limits:
        return Finding("memory of control groups", "no limit")
    least = min(limits, key=lambda limit: limit.amount)
    value = f"{_bytes(int(least.amount))} (cgroup v{least.version}, {least.group})"
    return Finding("memory of control groups", value)


def _bytes(number: int) -> str:
    power = min(max(number.bit_length() - 1, 0) // 10, len(_UNITS) - 1)
    return f"{number / 1024**power:.4g} {_UNITS[power]}"


def _extra(extra: str) -> Finding:
    library = EXTRAS[extra]
    if not _extras.is_installed(library):
        return Finding(f"extra {extra}", f"{library} is not installed: pip install 'procorch[{extra}]'")
    version = "of unknown version"
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        version = importlib.metadata.version(library)
    return Finding(f"extra {extra}", f"{library} {version}")


def _start_method(method: str, seconds: float, *, is_default: bool) -> Finding:
    name = f"round trip with {method}"
    result = try_out(method, seconds)
    if isinstance(result, Failed):
        advice = (
            "it is the default: choose another that works, as ProcessGroup(mp_context=...)"
            if is_default
            else "do not use it"
        )
        return Finding(name, f"failed: {result.reason}", advice, broken=is_default)
    return Finding(name, f"{1e3 * result.start:.0f} ms to start, {1e6 * result.call:.0f} us for a call")
