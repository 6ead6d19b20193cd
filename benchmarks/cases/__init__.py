"""The cases by name, in the order of the tables."""

from __future__ import annotations

from cases.base import Case
from cases.calls import Latency, RoundTrip
from cases.faults import Recovery
from cases.heavy import Durations, Uneven
from cases.large import Arguments, Results
from cases.light import Scale, Stream, Trivial
from cases.lives import Close, Open, Workers

_ALL: tuple[Case, ...] = (
    Trivial(),
    Scale(),
    Stream(),
    RoundTrip(),
    Latency(),
    Results(),
    Arguments(),
    Durations(),
    Uneven(),
    Open(),
    Close(),
    Workers(),
    Recovery(),
)

CASES: dict[str, Case] = {case.name: case for case in _ALL}
