"""`python -m procorch doctor`: says what there is of all that procorch uses, and what to do if something is amiss."""

from __future__ import annotations

import argparse
import json
import math
import sys

import attrs

from procorch._commands.checkup import Finding, findings

_SECONDS = 20.0
"""Longest time for trying a start method: some hundred times what it takes."""


def add_to(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to those of `python -m procorch`.

    Args:
        commands (argparse._SubParsersAction[argparse.ArgumentParser]): Where.
    """
    text = "Look at Python, the system and the libraries that procorch uses, and try each start method."
    parser = commands.add_parser(
        "doctor",
        help="see whether procorch works here",
        description=text,
        epilog="Exit status: 0 if it works, 1 if not.",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument(
        "--timeout",
        type=_seconds,
        default=_SECONDS,
        metavar="SECONDS",
        help="for each start method (default: %(default)g)",
    )
    parser.set_defaults(run=run)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise argparse.ArgumentTypeError(f"must be more than 0 seconds, not {text}")
    return seconds


def run(given: argparse.Namespace) -> int:
    """Look, and print what is found.

    Args:
        given (argparse.Namespace): ``json`` and ``timeout``.

    Returns:
        int: 0 if all that procorch needs is there, else 1.
    """
    found = [Finding("procorch", sys.modules["procorch"].__version__)]
    if not given.json:
        _show(found[0])
    for finding in findings(given.timeout):
        found.append(finding)
        if not given.json:
            _show(finding)
    broken = [finding.name for finding in found if finding.broken]
    if given.json:
        print(json.dumps({"works": not broken, "findings": [attrs.asdict(finding) for finding in found]}, indent=2))
    else:
        print(f"result: it does not work: {', '.join(broken)}" if broken else "result: procorch works here")
    return 1 if broken else 0


def _show(finding: Finding) -> None:
    # Each at once: a start method that hangs takes a while.
    print(f"{finding.name}: {finding.value}", flush=True)
    if finding.advice:
        print(f"  {'problem' if finding.broken else 'note'}: {finding.advice}", flush=True)
