"""Functions for children, of what a worker shows and may use of the machine."""

from __future__ import annotations

import importlib
import os
import subprocess
from pathlib import Path
from typing import Any

import procorch

AT_IMPORT = os.environ.get("OMP_NUM_THREADS")
"""What the environment said when this module was loaded."""

_seen_by_initializer: list[str | None] = []


def bind_to_one() -> None:
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})


def workers_of_a_group() -> int:
    with procorch.ProcessGroup() as group:
        return group._workers


# --- threads ----------------------------------------------------------------------------------------------------------


def variables(names: list[str]) -> dict[str, str | None]:
    return {name: os.environ.get(name) for name in names}


def variables_of_a_program(names: list[str]) -> dict[str, str | None]:
    done = subprocess.run(["env"], capture_output=True, text=True, check=True)
    there = dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)
    return {name: there.get(name) for name in names}


def note_at_import() -> None:
    _seen_by_initializer.append(AT_IMPORT)


def seen_by_initializer() -> list[str | None]:
    return _seen_by_initializer


def threads_of_numpy() -> int:
    """Count the threads of this process after NumPy has multiplied: its library starts them then, at the latest."""
    import numpy as np

    matrix: Any = np.ones((400, 400))
    matrix @ matrix
    return len(list(Path("/proc/self/task").iterdir()))


def threads_allowed_to_libraries() -> list[int]:
    """Tell how many threads each library that is loaded may use."""
    threads_of_numpy()
    return [library["num_threads"] for library in importlib.import_module("threadpoolctl").threadpool_info()]


def threads_in_a_group_inside() -> int:
    with procorch.ProcessGroup(1) as group:
        return group.submit(threads_of_numpy).result()


# --- names ------------------------------------------------------------------------------------------------------------


def shown() -> tuple[str, str]:
    """Tell by what name this process is shown, and its command line."""
    return Path("/proc/self/comm").read_text(), Path("/proc/self/cmdline").read_text()


def shown_of_a_program() -> str:
    command = ["cat", "/proc/self/comm", "/proc/self/cmdline"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout
