"""The command ``doctor``: says what there is of all that procorch uses, and what to do if something is amiss."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

import attrs

from procorch._commands.checkup import Finding, findings
from procorch._commands.numbers import read_seconds

_SECONDS = 20.0
"""Longest time for trying a start method: some hundred times what it takes."""


def add_to(commands: Any) -> None:
    """Add the command.

    Args:
        commands (Any): What `argparse.ArgumentParser.add_subparsers` returns.
    """
    text = "Look at Python, the system and the libraries that procorch uses, and try each start method."
    parser = commands.add_parser("doctor", description=text, epilog="Exit code: 0 if it works, 1 if not.")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument(
        "--timeout",
        type=read_seconds,
        default=_SECONDS,
        metavar="SECONDS",
        help="for each start method (default: %(default)g)",
    )
    parser.set_defaults(run=run)


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
