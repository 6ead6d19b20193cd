"""How many processors there are for this process. Loaded in every worker, so it imports next to nothing."""

from __future__ import annotations

import os


def usable_cpus() -> int:
    """Count the processors that this process may use.

    Returns:
        int: At least 1. Affinity counts where the system has it.
    """
    # Looked up by name: os.process_cpu_count is new in 3.13, sched_getaffinity is missing on macOS.
    count = getattr(os, "process_cpu_count", None)
    if count is not None:
        return count() or 1
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity is not None else os.cpu_count() or 1
