"""Functions for children, of what a worker shows and may use of the machine."""

from __future__ import annotations

import os

from procorch import ProcessGroup


def bind_to_one() -> None:
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})


def workers_of_a_group() -> int:
    with ProcessGroup() as group:
        return group._workers
