"""The command ``trace``: shows what a `TraceFile` has written."""

from __future__ import annotations

import argparse
import importlib.util
import shutil
import sys
from pathlib import Path
from typing import Any

from procorch._timelines import as_plot, as_rich, as_text
from procorch._timelines.reading import read
from procorch._timelines.timeline import Timeline


def add_to(commands: Any) -> None:
    """Add the command.

    Args:
        commands (Any): What `argparse.ArgumentParser.add_subparsers` returns.
    """
    text = "Show what the workers of a run did, from the trace that on_event=TraceFile(...) wrote."
    parser = commands.add_parser("trace", description=text)
    parser.add_argument("file", metavar="FILE", type=Path, help="the trace; also that of a program that was killed")
    parser.add_argument("--svg", metavar="OUT", type=Path, help="draw the same as SVG (needs the extra rich)")
    parser.add_argument(
        "--png", metavar="OUT", type=Path, help="draw a picture: .png, .svg, .pdf (needs the extra plot)"
    )
    parser.set_defaults(run=run)


def run(given: argparse.Namespace) -> int:
    """Run the command.

    Args:
        given (argparse.Namespace): What was given on the command line.

    Returns:
        int: 0, or 2 if it cannot be done; then the reason stands on standard error.
    """
    try:
        # Before any work: what is missing, if anything.
        rich = as_rich.library() if given.svg else None
        matplotlib = as_plot.library() if given.png else None
        timeline = read(given.file)
        if given.svg:
            given.svg.write_text(as_rich.svg(rich, timeline, width=120), encoding="utf-8")
        if given.png:
            as_plot.save(matplotlib, timeline, given.png)
    except (ImportError, OSError, ValueError) as error:
        print(f"procorch trace: {error}", file=sys.stderr)
        return 2
    _show(timeline)
    return 0


def _show(timeline: Timeline) -> None:
    """Print it: in colours where somebody sees them."""
    if sys.stdout is None:  # closed: only a picture was wanted
        return
    if sys.stdout.isatty() and importlib.util.find_spec("rich") is not None:
        as_rich.show(as_rich.library(), timeline)
        return
    shown = as_text.render(timeline, width=shutil.get_terminal_size((100, 24)).columns)
    encoding = sys.stdout.encoding or "ascii"
    # Where blocks cannot be written, question marks tell as much as a traceback, and the numbers are there.
    sys.stdout.write(shown.encode(encoding, "replace").decode(encoding))
