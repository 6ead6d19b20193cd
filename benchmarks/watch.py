"""The stopwatch of a measurement: what lies in its blocks is timed."""

from __future__ import annotations

import time
from typing import Self

import proc


class Watch:
    """Adds up the time of its blocks, and notes what had been used before the first."""

    def __init__(self) -> None:
        self.laps: list[float] = []
        """Seconds of each block."""
        self.cpu_before = 0.0
        """Processor seconds used before the first block."""
        self._began = 0.0

    @property
    def seconds(self) -> float:
        """Seconds of all blocks."""
        return sum(self.laps)

    def __enter__(self) -> Self:
        if not self.laps:
            proc.forget_peak()
            self.cpu_before = proc.cpu_seconds()
        self._began = time.perf_counter()
        return self

    def __exit__(self, *exc: object) -> None:
        self.laps.append(time.perf_counter() - self._began)
