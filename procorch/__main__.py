"""The command line: ``python -m procorch``, or ``procorch`` where it is installed.

Each command is a module of its own in `_commands`, with `add_to` and `run`, loaded only when it is named.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence

from procorch import __version__
from procorch._commands.stopping import UNWANTED, Stopped, stopping

_COMMANDS = {
    "demo": "double numbers in named processes, and digest Python's standard library in many",
    "doctor": "see whether procorch works here, and with what",
    "map": "call a function for each line of the input, in many processes",
    "trace": "show what the workers of a run did, from the trace that it wrote",
}
"""The commands, and what the help that lists them says."""

_EXAMPLE = """\
example:
  $ printf '1\\n4\\n9\\n' | procorch map --json math:sqrt
  1.0
  2.0
  3.0
"""


def parser_for(word: str) -> argparse.ArgumentParser:
    """Make the parser.

    Args:
        word (str): The first one of the command line. If it is a command, only that one is read in full.

    Returns:
        argparse.ArgumentParser: What it reads has ``run``.
    """
    parser = argparse.ArgumentParser(
        "procorch",
        description="Run functions in many processes, and never lose an item.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"procorch {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    for name, text in _COMMANDS.items():
        if name == word:
            importlib.import_module(f"procorch._commands.{name}").add_to(commands)
        else:
            commands.add_parser(name, help=text)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        arguments (Sequence[str] | None): Of the command line; None takes those of this process.

    Returns:
        int: The exit code.
    """
    words = sys.argv[1:] if arguments is None else arguments
    try:
        with stopping():
            parser = parser_for(words[0] if words else "")
            given = parser.parse_args(words)
            if "run" in given:
                code: int = given.run(given)
                if sys.stdout is not None:
                    sys.stdout.flush()  # here, where somebody minds if that fails
                return code
            parser.print_help(sys.stderr)
            return 2
    except Stopped as stopped:
        # Without standard error, print would take standard output; and that nobody reads it changes nothing.
        if sys.stderr is not None:
            try:
                print(f"procorch: {stopped}", file=sys.stderr, flush=True)
            except OSError:
                _give_up_writing(2)
        return stopped.exit_code
    except BrokenPipeError:
        _give_up_writing(1)
        return UNWANTED


def _give_up_writing(fd: int) -> None:
    """Let what is left to write go nowhere, or the interpreter would try again when it ends, and exit with 120."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), fd)


if __name__ == "__main__":
    sys.exit(main())
