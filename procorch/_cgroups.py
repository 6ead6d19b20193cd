"""What the control groups of this process allow it, read from the files of Linux.

A process is in one group of each hierarchy: the one of version 2, and those of version 1, of which there may be several
beside it. A limit may be set at a group or at any above it, and the smallest holds. Where the system has no such files,
or does not let them be read, there is no limit.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

import attrs

_ROOT = Path("/")

_NO_MEMORY_LIMIT = 1 << 60
"""Bytes from which a limit is none: version 1 writes the largest number of pages that there can be."""


@attrs.frozen
class Limit:
    """What one control group allows."""

    amount: float
    """Processors, or bytes."""
    version: int
    """Of control groups: 1 or 2."""
    group: str
    """Its path below the place where the hierarchy is mounted."""


@attrs.frozen
class _Mount:
    """A place where a hierarchy is to be seen."""

    version: int
    controllers: frozenset[str]
    """Among other options of the mount. In version 2 they are not told: any may be there."""
    root: PurePosixPath
    """Which group of the hierarchy stands there."""
    place: PurePosixPath


def cpu_quotas(root: Path = _ROOT) -> list[Limit]:
    """Look how much processor time this process may use.

    Args:
        root (Path): Where the system's files are.

    Returns:
        list[Limit]: In processors, of each group that has such a limit.
    """
    return _limits(root, "cpu", {2: _quota_of_version_2, 1: _quota_of_version_1})


def memory_limits(root: Path = _ROOT) -> list[Limit]:
    """Look how much memory the groups of this process may use.

    Args:
        root (Path): Where the system's files are.

    Returns:
        list[Limit]: In bytes, of each group that has such a limit.
    """
    return _limits(root, "memory", {2: _memory("memory.max"), 1: _memory("memory.limit_in_bytes")})


def _limits(root: Path, controller: str, readers: dict[int, Callable[[Path], float | None]]) -> list[Limit]:
    groups = dict(_groups(root, controller))
    found: list[Limit] = []
    for version, group in groups.items():
        mounts = [
            one for one in _mounts(root) if one.version == version and (version == 2 or controller in one.controllers)
        ]
        for top, folder in _folders(mounts, group):
            amount = readers[version](root / folder.relative_to("/"))
            if amount is not None:
                found.append(Limit(amount, version, f"/{folder.relative_to(top)}".removesuffix("/.") or "/"))
    return found


def _groups(root: Path, controller: str) -> Iterator[tuple[int, PurePosixPath]]:
    """Find the groups of this process that the controller may belong to, with their versions."""
    for line in _read(root / "proc/self/cgroup").splitlines():
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if path.startswith("/"):
            if number == "0" and not controllers:
                yield 2, PurePosixPath(path)
            elif controller in controllers.split(","):
                yield 1, PurePosixPath(path)


def _mounts(root: Path) -> Iterator[_Mount]:
    for line in _read(root / "proc/self/mountinfo").splitlines():
        before, _, after = line.partition(" - ")
        fields, kind = before.split(" "), after.split(" ")
        if len(fields) >= 6 and len(kind) >= 3 and kind[0] in {"cgroup", "cgroup2"}:
            top, place = (PurePosixPath(_unescaped(field)) for field in fields[3:5])
            if place.is_absolute():
                yield _Mount(2 if kind[0] == "cgroup2" else 1, frozenset(kind[2].split(",")), top, place)


def _unescaped(field: str) -> str:
    """Undo how the system writes blanks and the like in a path."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), field)


def _folders(mounts: list[_Mount], group: PurePosixPath) -> Iterator[tuple[PurePosixPath, PurePosixPath]]:
    """Give the folders of a group and of all above it that are to be seen, each with the place of the mount."""
    above = [mount for mount in mounts if group.is_relative_to(mount.root) and ".." not in group.parts]
    if above:
        # The one that shows most of the groups above.
        mount = min(above, key=lambda one: len(one.root.parts))
        folder = mount.place / group.relative_to(mount.root)
    elif mounts:
        # In a container whose files name groups as seen from elsewhere. What it has mounted is its own, or above it.
        mount = mounts[0]
        folder = mount.place
    else:
        return
    yield mount.place, folder
    while folder != mount.place:
        folder = folder.parent
        yield mount.place, folder


def _quota_of_version_2(folder: Path) -> float | None:
    quota, _, period = _read(folder / "cpu.max").strip().partition(" ")
    return _processors(quota, period or "100000")


def _quota_of_version_1(folder: Path) -> float | None:
    return _processors(_read(folder / "cpu.cfs_quota_us").strip(), _read(folder / "cpu.cfs_period_us").strip())


def _processors(quota: str, period: str) -> float | None:
    # No limit is "max" in version 2, and -1 in version 1.
    if quota.isdecimal() and period.isdecimal() and int(quota) and int(period):
        return int(quota) / int(period)
    return None


def _memory(name: str) -> Callable[[Path], float | None]:
    def read(folder: Path) -> float | None:
        text = _read(folder / name).strip()
        return int(text) if text.isdecimal() and int(text) < _NO_MEMORY_LIMIT else None

    return read


def _read(path: Path) -> str:
    with contextlib.suppress(OSError, UnicodeError):
        return path.read_text()
    return ""
