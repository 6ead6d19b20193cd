"""How many processors this process may use, and what decides that. For the parent; see `_cpus` for workers."""

from __future__ import annotations

import math
import os
import re
import sys
from pathlib import Path

import attrs

from procorch import _cgroups, _cpus
from procorch._public import public


@public
@attrs.frozen
class CpuLimit:
    """Something that bounds how many processors this process may use. See `usable_cpus`."""

    reason: str
    """What it is, such as ``"affinity"`` or ``"cgroup v2 quota 1.5 of /batch"``."""
    count: int
    """Processors that it leaves, at least 1. A quota that is no whole number is rounded up."""


@public
@attrs.frozen
class UsableCpus:
    """How many processors this process may use, and why. From `usable_cpus`."""

    count: int
    """Processors, at least 1."""
    reason: str
    """What decided: ``"PYTHON_CPU_COUNT"``, ``"-X cpu_count"``, ``"os.cpu_count"`` if nothing leaves less than the
    machine has, ``"affinity"``, or the quota of a control group, such as ``"cgroup v2 quota 1.5 of /batch"``."""
    candidates: tuple[CpuLimit, ...]
    """All that was considered."""


@public
def usable_cpus() -> UsableCpus:
    """Count the processors that this process may use now, and tell what decides.

    What a user has set comes first: ``-X cpu_count`` or ``PYTHON_CPU_COUNT``. From Python 3.13 on the interpreter reads
    these when it starts; before that, this function reads them. Else it is the smallest of

    - the processors of the machine;
    - those to which this process is bound (affinity);
    - the quota of processor time of its control groups on Linux (cgroup v1 and v2), at each level, rounded up.

    ``ProcessGroup()`` makes as many workers.

    Returns:
        UsableCpus: The number, what decided, and all that was considered.
    """
    given = _given()
    limits = [given] if given is not None else _of_system()
    limits += _of_groups(Path("/"))
    decides = given or min(limits, key=lambda limit: limit.count)  # of equals the first: what is more general
    return UsableCpus(decides.count, decides.reason, tuple(limits))


def _given() -> CpuLimit | None:
    """Look what the user has set."""
    option = sys._xoptions.get("cpu_count")  # noqa: SLF001 - documented, in spite of its name
    variable = None if sys.flags.ignore_environment else os.environ.get("PYTHON_CPU_COUNT")
    configured = getattr(sys, "_get_cpu_count_config", None)
    if configured is not None:
        # What the interpreter has made of them when it started: the environment may be another by now.
        named = option not in {None, "default"}
        return CpuLimit("-X cpu_count" if named else "PYTHON_CPU_COUNT", configured()) if configured() > 0 else None
    if option == "default":
        return None
    for reason, text in (("-X cpu_count", option), ("PYTHON_CPU_COUNT", variable)):
        if isinstance(text, str) and re.fullmatch(r"\s*\+?0*[1-9]\d{0,8}", text, re.ASCII):
            return CpuLimit(reason, int(text))
    return None


def _of_system() -> list[CpuLimit]:
    machine = os.cpu_count()
    limits = [] if machine is None else [CpuLimit("os.cpu_count", machine)]
    return [*limits, CpuLimit("affinity", _cpus.usable_cpus())]


def _of_groups(root: Path) -> list[CpuLimit]:
    return [
        CpuLimit(f"cgroup v{limit.version} quota {limit.amount:g} of {limit.group}", math.ceil(limit.amount))
        for limit in _cgroups.cpu_quotas(root)
    ]
