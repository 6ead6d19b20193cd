"""Where and with what was measured."""

from __future__ import annotations

import datetime as dt
import os
import platform
from importlib import metadata
from pathlib import Path

from peers import PEERS
from records import Facts

import procorch


def facts() -> Facts:
    """Look at the machine, and at the versions of what is measured."""
    return {
        "date": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "processor": _processor(),
        "processors": os.cpu_count(),
        "usable processors": len(os.sched_getaffinity(0)),
        "memory GB": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
        "system": f"{platform.system()} {platform.release()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "versions": _versions(),
        "load before": load(),
    }


def load() -> list[float]:
    """Tell how many processes wanted to run, over the last 1, 5 and 15 minutes."""
    return [round(one, 2) for one in os.getloadavg()]


def _versions() -> dict[str, str]:
    versions = {"procorch": procorch.__version__}
    for distribution in ("numpy", *(peer.distribution for peer in PEERS.values() if peer.name != "procorch")):
        try:
            versions[distribution] = metadata.version(distribution) if distribution else ""
        except metadata.PackageNotFoundError:
            continue
    return {name: version for name, version in versions.items() if version}


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
