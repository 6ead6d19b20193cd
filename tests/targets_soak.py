"""The functions that tests of what the soak has found run in worker processes."""

from __future__ import annotations

import threading
from pathlib import Path

from targets import append, wait_for


def leave_thread_and_fail(gate: str) -> None:
    """Fail, and let a thread keep the process alive."""
    threading.Thread(target=wait_for, args=(gate,)).start()
    raise KeyError(gate)


def leave_thread_and_fail_once(log: str, gate: str) -> int:
    """Do that at the first try; give the number of the one that is not the first."""
    append(log, "x")
    tries = len(Path(log).read_text().splitlines())
    if tries == 1:
        leave_thread_and_fail(gate)
    return tries
