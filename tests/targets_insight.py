"""What children run for the tests of insight."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path


def live_or_not(folder: str, number: int) -> int:
    """Fail in one's own way, by one's number: 3 dies the first time, 5 always, 7 hangs, 11 raises the first time."""
    first = _is_first(folder, number)
    if number == 5 or (number == 3 and first):
        os.kill(os.getpid(), signal.SIGKILL)
    if number == 7:
        time.sleep(1000)
    if number == 11 and first:
        raise KeyError(number)
    if number == 13:
        raise ValueError(number)
    return number


def _is_first(folder: str, number: int) -> bool:
    mark = Path(folder) / str(number)
    if mark.exists():
        return False
    mark.touch()
    return True
