"""Random work, and harm, for as long as one likes.

    python tests/soak/soak.py --seconds N [--seed S] [--method M]...

Groups of each start method get random work from several threads while their workers are killed, their futures
cancelled and they themselves ended; then everything is held against what is promised. Ends with 1 at the first fault.
"""

from __future__ import annotations

import argparse
import logging
import os
import random
import resource
import secrets
import sys
import tempfile
import time
from pathlib import Path

import attrs
from items import METHODS, Method
from rounds import Round, Tally, choose_methods
from system import Belongings, Footprint, Watchdog, give_back_memory

from procorch import ProcessGroup

_WARM_UP = 5
"""Rounds until the first look at what is held: by then everything has been loaded once."""
_MAY_GROW = 24_000_000
"""Bytes by which resident memory may grow after that: the largest results of a round come to some megabytes."""
_MAY_GROW_BLOCKS = 10_000
"""The same in pieces of memory: caches that are bounded, and the numbers for the report."""


@attrs.define
class Soak:
    """A whole run."""

    seconds: float
    seed: int
    methods: list[Method]
    folder: Path
    temporary: Path
    verbose: bool = False
    tally: Tally = attrs.field(factory=Tally)
    faults: list[str] = attrs.field(factory=list)
    logs: dict[Path, int] = attrs.field(factory=dict)
    warm: Footprint | None = None
    round: Round | None = None

    def run(self, watchdog: Watchdog) -> None:
        """Play rounds until the time is up or a fault is found."""
        chance = random.Random(self.seed)
        self._start_helpers()
        before, began = Belongings.now(self.temporary), time.monotonic()
        number = 0
        while time.monotonic() - began < self.seconds and not self.faults:
            self._play(Round(number, self.seed, choose_methods(number, chance, self.methods), self.folder), watchdog)
            number += 1
            if number == _WARM_UP:
                self.warm = Footprint.now()
        self._check_logs()
        self._report(time.monotonic() - began)
        added = Belongings.now(self.temporary).added_since(before)
        if added:
            self.faults.append(f"left behind at the end: {added}")

    def _start_helpers(self) -> None:
        """Start the fork server and the resource tracker before anything is counted: they stay."""
        for method in self.methods:
            with ProcessGroup(1, mp_context=method) as group:
                group.submit(abs, -1).result()

    def _play(self, one: Round, watchdog: Watchdog) -> None:
        watchdog.watch(lambda: f"seed {self.seed}, {one}")
        one.play(self.tally, self.temporary)
        watchdog.rest()
        self._check_logs()
        for log in self.logs:
            log.unlink()
        self.logs = one.logs()
        self.faults += [f"round {one.number}: {fault}" for fault in one.faults]
        if self.verbose:
            print(one, flush=True)

    def _check_logs(self) -> None:
        """Look whether something has begun since the round's end."""
        self.faults += [f"{log} has grown" for log, size in self.logs.items() if log.stat().st_size != size]

    def _report(self, took: float) -> None:
        tally = self.tally
        end = Footprint.now()
        print(f"\nseed {self.seed}, {took:.0f} s, CPython {sys.version.split()[0]}, {os.cpu_count()} processors")
        for name, counter in (
            ("rounds", tally.rounds),
            ("items by outcome", tally.outcomes),
            ("items by kind", tally.kinds),
            ("harm", tally.harm),
        ):
            print(
                f"{name}, {counter.total()}: " + ", ".join(f"{what} {count}" for what, count in counter.most_common())
            )
        print(f"worst time from an item's limit to its error: {tally.latest:.2f} s")
        print(f"longest round: {tally.longest:.1f} s; at most {tally.slowest_end:.2f} s until all was gone after it")
        print(f"after {_WARM_UP} rounds: {self.warm or 'not so many rounds'}")
        print(f"at the end: {end}")
        if self.warm is not None:
            self._compare(self.warm, end)

    def _compare(self, warm: Footprint, end: Footprint) -> None:
        fields = ("descriptors", "threads", *(["server_descriptors"] if warm.server_resident else []))
        for field in fields:
            if getattr(end, field) > getattr(warm, field):
                self.faults.append(f"more {field} than after the warm-up")
        if end.blocks > warm.blocks + _MAY_GROW_BLOCKS:
            self.faults.append("more objects than after the warm-up")
        for field in ("resident", *(["server_resident"] if warm.server_resident else [])):
            if getattr(end, field) > getattr(warm, field) + _MAY_GROW:
                self.faults.append(f"{field} memory has grown")


def main() -> int:
    """Run and report; give the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60.0, help="how long to begin rounds")
    parser.add_argument("--seed", type=int, help="decides what is done; another each time without it")
    parser.add_argument("--method", action="append", choices=METHODS, help="start method; may be repeated")
    parser.add_argument("--limit", type=float, default=180.0, help="seconds after which a round hangs")
    parser.add_argument("--verbose", action="store_true", help="tell of each round")
    given = parser.parse_args()
    seed = secrets.randbelow(10**6) if given.seed is None else given.seed
    print(f"seed {seed}", flush=True)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # the crashes are meant
    give_back_memory()
    logger = logging.getLogger("soak")
    logger.setLevel(logging.INFO)
    logger.propagate = False
    with tempfile.TemporaryDirectory(prefix="soak-") as name:
        folder, temporary = Path(name), Path(name) / "temporary"
        temporary.mkdir()
        os.environ["TMPDIR"] = tempfile.tempdir = str(temporary)
        soak = Soak(given.seconds, seed, given.method or list(METHODS), folder, temporary, given.verbose)
        soak.run(Watchdog(given.limit))
    for fault in soak.faults:
        print("FAULT", fault)
    print("failed" if soak.faults else "no fault", flush=True)
    return bool(soak.faults)


if __name__ == "__main__":
    sys.exit(main())
