"""A timeline in colours, through `rich`: in the terminal, and as SVG."""

from __future__ import annotations

import io
import re
from typing import Any

from procorch import _extras
from procorch._timelines.as_text import Piece, lines
from procorch._timelines.timeline import STARTING, Timeline
from procorch._timelines.words import PALETTE

STYLES = {
    "title": "bold",
    "dim": "dim",
    "bad": "bold #d55e00",
    STARTING: "#8c8c8c",
    "crash": "bold #ffffff on #a30000",
    "timeout": "bold #ffffff on #7a2b00",
    "kill": "bold #ffffff on #303030",
    "failure": "bold #a30000 on #ffd9d9",
    "retry": "bold #303030 on #ffffff",
    **{f"task {number}": colour for number, colour in enumerate(PALETTE)},
}


def library() -> Any:
    """Load what it needs.

    Returns:
        Any: The package `rich`.

    Raises:
        ImportError: It is not installed; says how to.
    """
    rich = _extras.load("rich", extra="rich", purpose="a timeline as SVG")
    for module in ("rich.console", "rich.text"):
        _extras.load(module, extra="rich", purpose="a timeline as SVG")
    return rich


def show(rich: Any, timeline: Timeline) -> None:
    """Print it.

    Args:
        rich (Any): What `library` gave.
        timeline (Timeline): What to show.
    """
    console = rich.console.Console(highlight=False)
    _print(rich, console, lines(timeline, width=console.width))


def svg(rich: Any, timeline: Timeline, *, width: int) -> str:
    """Draw it.

    Args:
        rich (Any): What `library` gave.
        timeline (Timeline): What to draw.
        width (int): Columns it may take.

    Returns:
        str: The SVG.
    """
    drawn = lines(timeline, width=width)
    longest = max(sum(len(piece.text) for piece in line) for line in drawn)
    # Recorded as for a terminal with all colours, whatever this one is, and not shown there.
    console = rich.console.Console(
        record=True, file=io.StringIO(), width=max(width, longest), force_terminal=True, color_system="truecolor",
        highlight=False, legacy_windows=False,
    )  # fmt: skip
    _print(rich, console, drawn)
    image: str = console.export_svg(title="procorch", unique_id="timeline")
    # Without the fonts that it would fetch from the net: any with fixed width will do.
    return re.sub(r"@font-face \{.*?\}\s*", "", image, flags=re.DOTALL)


def _print(rich: Any, console: Any, drawn: list[list[Piece]]) -> None:
    for line in drawn:
        pieces = [(piece.text, STYLES.get(piece.style, "")) for piece in line]
        console.print(rich.text.Text.assemble(*pieces), soft_wrap=True)
