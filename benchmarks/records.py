"""What is to be measured, what was, and how both are written as JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, TypeAlias

import attrs

Facts: TypeAlias = dict[str, Any]
"""Of the machine and the versions; see `machine`."""


@attrs.frozen
class Job:
    """One measurement in a process of its own."""

    case: str
    variant: str
    peer: str
    tuned: bool
    """Whether the peer is set up for this work, as its documentation tells, or has its defaults."""
    workers: int
    quick: bool
    round: int
    limit: float
    """Seconds until it is given up."""

    @property
    def row(self) -> str:
        """Name of the line of the table to which it belongs."""
        return f"{self.peer} (tuned)" if self.tuned else self.peer


@attrs.frozen
class Found:
    """What a case has found, said in the fresh process."""

    value: float | None = None
    """In the unit of the case; None if there is none, and the word says why."""
    items: int = 0
    """How many items that was measured with."""
    word: str = ""
    """What else the reader should know."""
    extra: dict[str, float] = attrs.field(factory=dict)
    """Further figures, by name and unit."""


@attrs.frozen
class Result:
    """What is known of one measurement in the end."""

    job: Job
    found: Found
    wall: float | None = None
    """Seconds of what was timed."""
    cpu: float | None = None
    """Seconds of processor time of all processes, from the begin of what was timed until all have ended."""
    rss_parent: float | None = None
    """Most resident memory of the process that called the peer, in MB."""
    rss_worker: float | None = None
    """Most resident memory of any process below it, in MB."""
    pss: float | None = None
    """Most memory of all processes together, shared pages counted once, in MB; looked at several times a second."""


@attrs.frozen
class Report:
    """A whole run."""

    facts: Facts
    results: tuple[Result, ...]

    def write(self, path: Path) -> None:
        """Write all as JSON."""
        path.write_text(json.dumps(attrs.asdict(self), indent=1) + "\n")

    @classmethod
    def read(cls, path: Path) -> Report:
        """Read what `write` has written."""
        data = json.loads(path.read_text())
        return cls(data["facts"], tuple(_result(**one) for one in data["results"]))


def _result(job: dict[str, Any], found: dict[str, Any], **figures: float | None) -> Result:
    return Result(Job(**job), Found(**found), **figures)
