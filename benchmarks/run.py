"""Measure procorch side by side with its peers.

    python benchmarks/run.py [--quick] [--only CASE...] [--peers PEER...] [--rounds N] [--workers N] [--out FOLDER]

Writes results.json, results.md and, with matplotlib, some SVG files. See the README beside this file.
"""

from __future__ import annotations

import argparse
import os
import signal
import time
from collections.abc import Mapping
from pathlib import Path

import harness
from cases import CASES
from machine import facts, load
from peers import PEERS
from plan import Wish, plan
from plot import draw
from records import Facts, Job, Report, Result
from report import markdown, number


def main() -> None:
    """Do what the command line says."""
    given = _parser().parse_args()
    if given.list:
        print("\n".join(f"{case.name}: {case.title}" for case in CASES.values()))
        return
    asked = _named(given.peers, PEERS)
    skipped = {name: "not installed" for name in asked if not PEERS[name].is_installed()}
    peers = tuple(name for name in asked if name not in skipped)
    wish = Wish(_named(given.only, CASES), peers, given.workers, given.quick, given.rounds)
    known = facts() | {"workers": given.workers, "quick": given.quick, "skipped": skipped}
    for name in skipped:
        print(f"{name}: not installed, so it is left out")
    given.out.mkdir(parents=True, exist_ok=True)
    _write(_measure(plan(wish), known), given.out)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few items, one round: to see that it works")
    parser.add_argument("--only", nargs="+", default=[], metavar="CASE", help="these cases; see --list")
    parser.add_argument("--peers", nargs="+", default=[], metavar="PEER", help=f"of {', '.join(PEERS)}")
    parser.add_argument("--rounds", type=int, help="rounds of each case; without it, as many as it is worth")
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)), help="processes of each pool")
    parser.add_argument("--out", type=Path, default=Path("benchmark-results"), metavar="FOLDER", help="for the results")
    parser.add_argument("--list", action="store_true", help="tell what cases there are, and end")
    return parser


def _named(given: list[str], known: Mapping[str, object]) -> tuple[str, ...]:
    """Read names, apart by spaces or commas; all if there are none."""
    names = [name for word in given for name in word.split(",") if name]
    unknown = [name for name in names if name not in known]
    if unknown:
        raise SystemExit(f"there is no {', '.join(unknown)}; there are {', '.join(known)}")
    return tuple(name for name in known if not names or name in names)


def _measure(jobs: list[Job], known: Facts) -> Report:
    """Do one after the other; what is there when it is interrupted is kept."""
    harness.adopt()
    results: list[Result] = []
    without_value: set[tuple[str, str, str]] = set()
    began = time.monotonic()
    try:
        for done, job in enumerate(jobs, 1):
            key = job.case, job.variant, job.row
            # What hangs or fails once is not waited for again.
            if key not in without_value:
                result = harness.run(job, watch_memory=CASES[job.case].watch_memory)
                results.append(result)
                print(f"[{done}/{len(jobs)}, {time.monotonic() - began:.0f} s] {_told(result)}", flush=True)
                if result.found.value is None:
                    without_value.add(key)
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second one is not to cost what has been measured
        print("interrupted")
        harness.end_all()
    known |= {"load after": load(), "seconds": round(time.monotonic() - began)}
    return Report(known, tuple(results))


def _told(result: Result) -> str:
    job, found = result.job, result.found
    value = f"{number(found.value)} {CASES[job.case].unit}" if found.value is not None else ""
    return f"{job.case}, {job.variant}: {job.row}: {' '.join(filter(None, [value, found.word]))}"


def _write(report: Report, folder: Path) -> None:
    report.write(folder / "results.json")
    (folder / "results.md").write_text(markdown(report))
    drawn = draw(report, folder)
    print("\n".join(str(path) for path in [folder / "results.json", folder / "results.md", *drawn]))
    if not drawn:
        print("no drawings: matplotlib is not installed")


if __name__ == "__main__":
    main()
