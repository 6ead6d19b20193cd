"""The command ``map``: a function over lines. What it does stands in `_commands.mapping`, loaded when it is run."""

from __future__ import annotations

import argparse
from typing import Any

from procorch._commands.halting import Halt, read_halt
from procorch._commands.numbers import read_count, read_further, read_seconds

_EXAMPLE = """\
FUNC gets each line, without its end, as a str. Results are written as JSON, one line for each, in the order of
the input, each as soon as it is known. Whatever FUNC prints goes to standard error.

Exit code: 0 if all went well, 1 if some lines failed, 2 if it could not begin, 130 after Ctrl-C.

example:
  $ printf 'a/b\\nc/d\\n' | procorch map os.path:basename
  "b"
  "d"
"""


def add_to(commands: Any) -> None:
    """Add the command.

    Args:
        commands (Any): What `argparse.ArgumentParser.add_subparsers` returns.
    """
    parser = commands.add_parser(
        "map",
        description="Call a function for each line of the input, in many processes.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run, mode="text")
    parser.add_argument("function", metavar="MODULE:FUNC", help="such as os.path:basename, or ./script.py:function")
    parser.add_argument("file", metavar="FILE", nargs="?", help="what to read; without it, or with -, standard input")
    _add_input(parser)
    _add_work(parser)
    _add_output(parser)


def _add_input(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("input").add_mutually_exclusive_group()
    for mode, text in (
        ("json", "each line is JSON, and that value is the argument"),
        ("star", "each line is a JSON array of arguments"),
        ("kwargs", "each line is a JSON object of keyword arguments"),
    ):
        group.add_argument(f"--{mode}", dest="mode", action="store_const", const=mode, help=text)


def _add_work(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("work")
    add = group.add_argument
    add("-j", "--jobs", metavar="N", type=read_count, help="most processes at once; without it, one for each processor")
    add("--timeout", metavar="SECONDS", type=read_seconds, help="stop the process of a line that runs longer")
    add("--retries", metavar="N", type=read_further, default=0, help="extra tries for a line that fails")
    add(
        "--halt",
        metavar="WHEN",
        type=read_halt,
        default=Halt(),
        help="give up: never (the default); soon,fail=N: after N failures begin nothing more; now,fail=N: also stop "
        "what runs",
    )
    add("--initializer", metavar="MODULE:FUNC", help="called in each process first, without arguments")
    add(
        "--max-tasks-per-child",
        metavar="N",
        type=read_count,
        help="lines after which a process is replaced by a fresh one",
    )
    add("--mp-context", choices=("forkserver", "spawn", "fork"), help="how processes are started")


def _add_output(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("output").add_argument
    add("--unordered", action="store_true", help="write results as they come, not in the order of the input")
    add(
        "--outcomes",
        action="store_true",
        help='write {"line": N, "result": ...} or {"line": N, "error": "..."} for each line; without this, one that '
        "failed has nothing on standard output",
    )
    add("--progress", action="store_true", help="draw a bar on standard error, if that is a terminal")
    add("--trace", metavar="FILE", help="write what each process did when, for `procorch trace FILE` and Perfetto")
    add("--verbose", action="store_true", help="show the traceback of each failure")
    add("--dry-run", action="store_true", help="write the calls, and run none")


def run(given: argparse.Namespace) -> int:
    """Run the command.

    Args:
        given (argparse.Namespace): What was given.

    Returns:
        int: The exit code.
    """
    from procorch._commands import mapping  # here: help needs no group

    return mapping.run(given)
