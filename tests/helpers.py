"""What process tests share: waiting for a thing instead of sleeping, and reading the log of executions."""

from __future__ import annotations

import select
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Literal, TypeAlias

from procorch import ProcessGroup, ProcessInfo

Method: TypeAlias = Literal["forkserver", "spawn", "fork"]


def wait_until(true: Callable[[], object], seconds: float = 20.0) -> None:
    """Wait for something that can only be seen by looking."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not come to that"
        select.select([], [], [], 0.002)


def executions(log: Path) -> Counter[int]:
    """Count the executions of each item: the first word of each line of the log."""
    return Counter(int(line.split()[0]) for line in log.read_text().splitlines())


def the_worker(group: ProcessGroup, state: str = "idle") -> ProcessInfo:
    """Wait until the group's only process is in a state, and give it."""
    wait_until(lambda: [info.state for info in group.processes] == [state])
    return group.processes[0]
