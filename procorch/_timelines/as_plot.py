"""A timeline as a picture, through `matplotlib`: one row for each worker, with the time from left to right."""

from __future__ import annotations

import textwrap
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from procorch import _extras
from procorch._timelines.axis import ticks
from procorch._timelines.timeline import MARKS, STARTING, MarkKind, Row, Span, Timeline, cells, marks_in_cells
from procorch._timelines.words import (
    MARK_WORDS,
    PALETTE,
    colours_of,
    count,
    origin,
    printable,
    room,
    task_words,
    title,
)

WIDTH = 12.0
"""Inches."""
DOTS = 110
"""Per inch, where the picture is made of dots."""
CELLS = 1200
"""So many pieces of time are told apart: about one for each dot."""
WIDE = 5
"""A span of so many of them is drawn by itself; narrower ones are drawn as what they take together."""
MARK_CELLS = 300
"""Likewise for marks: each as wide as one."""

_SHADES = 4
_BAR = 0.62  # of a row's height; marks stand at its edges, or in its middle
_ROW_INCHES = ((12, 0.34), (32, 0.26), (80, 0.2))  # up to so many rows, each has this height
_LEAST_ROW = 0.13
_HIGHEST = 100.0  # inches: matplotlib draws nothing beyond 65,536 dots
_RIGHT = 2.0
_GREY, _INK = "#d9d9d9", "#222222"

_OPEN = {"color": _INK, "linestyle": (0, (1, 0.6)), "linewidth": 3.0}
"""The end of a span that has none."""

_MARKERS: dict[MarkKind, tuple[str, str, float, float]] = {
    "crash": ("X", "#a30000", 0.0, 1.25),
    "timeout": ("D", "#ffffff", 0.0, 0.85),
    "kill": ("v", _INK, -0.5, 1.0),
    "failure": ("s", "#a30000", 0.5, 0.8),
    "retry": ("o", "#ffffff", 0.5, 0.85),
}
"""Of each kind: its shape, its colour, how far below the middle of the row, in bars, and its size to the others'."""


def library() -> Any:
    """Load what it needs.

    Returns:
        Any: The package `matplotlib`.

    Raises:
        ImportError: It is not installed; says how to.
    """
    matplotlib = _extras.load("matplotlib", extra="plot", purpose="a timeline as a picture")
    for module in ("matplotlib.figure", "matplotlib.lines", "matplotlib.patches"):
        _extras.load(module, extra="plot", purpose="a timeline as a picture")
    return matplotlib


def save(matplotlib: Any, timeline: Timeline, path: Path) -> None:
    """Draw it into a file.

    Args:
        matplotlib (Any): What `library` gave.
        timeline (Timeline): What to draw.
        path (Path): Where to; the suffix says which form.

    Raises:
        OSError: It cannot be written there.
        ValueError: There is no such form.
    """
    drawing = Drawing(matplotlib, timeline)
    with warnings.catch_warnings():
        # Names in scripts that its font does not have are drawn as boxes.
        warnings.filterwarnings("ignore", "Glyph", UserWarning)
        drawing.figure.savefig(path, dpi=DOTS)


class Drawing:
    """One picture."""

    def __init__(self, matplotlib: Any, timeline: Timeline) -> None:
        """Draw it.

        Args:
            matplotlib (Any): What `library` gave.
            timeline (Timeline): What to draw.
        """
        self._library = matplotlib
        self._timeline = timeline
        self._colours = colours_of(timeline)
        # Without pyplot, which would look for a display and keep the figure.
        rows = max(1, len(timeline.rows))
        self._row = next((inches for up_to, inches in _ROW_INCHES if rows <= up_to), min(_LEAST_ROW, _HIGHEST / rows))
        legend = self._legend_entries()
        columns = min(len(legend), 4)
        self._below = 0.4 + 0.2 * -(-len(legend) // columns)
        names = [printable(row.name, 24) for row in timeline.rows]
        left = 0.25 + 0.075 * max([6, *map(room, names)])
        words = title(timeline)
        # By the widest letters that words have: to measure would take a renderer, and to draw twice.
        self._title = textwrap.wrap(words, int((WIDTH - left - 0.1) / 0.125 * len(words) / room(words)))
        self._above = 0.42 + 0.2 * len(self._title) + 0.2 * max(0, len(origin(timeline)) - 1)
        height = self._above + rows * self._row + self._below
        self.figure = matplotlib.figure.Figure(figsize=(WIDTH, height), facecolor="white")
        place = (left / WIDTH, self._below / height, (WIDTH - left - _RIGHT) / WIDTH, rows * self._row / height)
        self._axes = self.figure.add_axes(place)
        self._frame(names)
        self._head(left / WIDTH, height)
        for number, row in enumerate(timeline.rows):
            self._draw_row(number, row)
        self.figure.legend(
            [handle for handle, _ in legend], [label for _, label in legend], ncols=columns, fontsize=8, frameon=False,
            loc="lower left", bbox_to_anchor=(left / WIDTH - 0.005, 0.0), borderaxespad=0.4, columnspacing=2.0,
        )  # fmt: skip

    # --- around the rows ----------------------------------------------------------------------------------------------

    @property
    def _seconds(self) -> float:
        return self._timeline.seconds or 1e-6

    @property
    def _size(self) -> float:
        """Of marks, in points: they fit a row."""
        return min(7.5, self._row * 72 * 0.45)

    def _frame(self, names: list[str]) -> None:
        axes, rows = self._axes, max(1, len(names))
        axes.set_xlim(0, self._seconds)
        axes.set_ylim(rows - 0.5, -0.5)
        shown = ticks(self._timeline.seconds, 11)
        axes.set_xticks([tick.at for tick in shown], [tick.label for tick in shown], fontsize=8)
        every = 1 if self._row > _LEAST_ROW else -(-rows // 200)
        axes.set_yticks(range(0, len(names), every), [_plain(name) for name in names[::every]])
        axes.tick_params(axis="y", length=0, labelsize=max(6.0, min(9.0, self._row * 72 * 0.62)))
        axes.tick_params(axis="x", length=3, color="#888888")
        axes.grid(axis="x", color="#e6e6e6", linewidth=0.6, zorder=0)
        axes.set_axisbelow(True)
        for side in ("top", "right", "left"):
            axes.spines[side].set_visible(False)
        axes.spines["bottom"].set_color("#888888")

    def _head(self, left: float, height: float) -> None:
        write = self.figure.text
        for number, line in enumerate(self._title):
            write(left, 1 - (0.12 + 0.2 * number) / height, _plain(line), fontsize=11, fontweight="bold", va="top")
        below = 0.14 + 0.2 * len(self._title)
        for number, line in enumerate(origin(self._timeline)):
            write(left, 1 - (below + 0.17 * number) / height, _plain(line), fontsize=8, color="#666666", va="top")
        if not self._timeline.rows:
            self._axes.text(
                0.5, 0.5, "no process was started", transform=self._axes.transAxes, ha="center", va="center"
            )

    def _legend_entries(self) -> list[tuple[Any, str]]:
        patch, line = self._library.patches.Patch, self._library.lines.Line2D
        # A label that begins with an underscore would be left out.
        words = task_words(self._timeline, self._colours)
        entries = [(patch(color=PALETTE[colour]), f" {_plain(label)}") for colour, label in words.items()]
        entries.append((patch(facecolor=_GREY, hatch="/////", edgecolor="#999999", linewidth=0), " starting"))
        if any(span.open for row in self._timeline.rows for span in row.spans):
            entries.append((line([], [], **_OPEN), " not ended"))
        entries += [
            (line([], [], linestyle="", **self._marker(kind, 6.0)), f" {MARK_WORDS[kind]}")
            for kind in MARKS
            if self._timeline.count(kind)
        ]
        return entries

    @staticmethod
    def _marker(kind: MarkKind, size: float) -> dict[str, Any]:
        shape, colour, _, scale = _MARKERS[kind]
        edge = "white" if colour != "#ffffff" else _INK
        return {
            "marker": shape,
            "markersize": size * scale,
            "markerfacecolor": colour,
            "markeredgecolor": edge,
            "markeredgewidth": 0.6 if edge == "white" else 1.1,
        }

    # --- a row --------------------------------------------------------------------------------------------------------

    def _draw_row(self, number: int, row: Row) -> None:
        least = WIDE * self._seconds / CELLS
        wide = [span for span in row.spans if span.seconds >= least]
        narrow = [span for span in row.spans if span.seconds < least]
        for colour, share, parts in self._runs(narrow):
            self._bars(number, parts, facecolor=colour, alpha=share, linewidth=0)
        self._draw_spans(number, wide)
        self._draw_marks(number, row)
        self._write_numbers(number, row)

    def _bars(self, number: int, parts: list[tuple[float, float]], **look: Any) -> None:
        self._axes.broken_barh(parts, (number - _BAR / 2, _BAR), **look)

    def _draw_spans(self, number: int, spans: list[Span]) -> None:
        for task in dict.fromkeys(span.task for span in spans):
            parts = [(span.begin, span.seconds) for span in spans if span.task == task]
            if task == STARTING:
                self._bars(number, parts, facecolor=_GREY, hatch="/////", edgecolor="#999999", linewidth=0)
            else:
                self._bars(number, parts, facecolor=PALETTE[self._colours[task]], edgecolor="white", linewidth=0.5)
        for span in spans:
            if span.open:
                ends = [number - _BAR / 2, number + _BAR / 2]
                self._axes.plot([span.end] * 2, ends, **_OPEN, clip_on=False)

    def _runs(self, spans: list[Span]) -> Iterator[tuple[str, float, list[tuple[float, float]]]]:
        """Put together what looks the same: a colour, how strong, and where."""
        width = self._seconds / CELLS
        looks: dict[tuple[str, float], list[tuple[float, float]]] = {}
        before: tuple[str, float] | None = None
        for place, cell in enumerate(cells(spans, CELLS, self._seconds) if spans else ()):
            look = None
            if cell is not None:
                colour = "#b3b3b3" if cell.task == STARTING else PALETTE[self._colours[cell.task]]
                look = (colour, max(1, round(cell.share * _SHADES)) / _SHADES)
                parts = looks.setdefault(look, [])
                if look == before:
                    parts[-1] = (parts[-1][0], parts[-1][1] + width)
                else:
                    parts.append((place * width, width))
            before = look
        for (colour, share), parts in looks.items():
            yield colour, share, parts

    def _draw_marks(self, number: int, row: Row) -> None:
        width = self._seconds / MARK_CELLS
        where = marks_in_cells(row.marks, MARK_CELLS, self._seconds)
        for kind in reversed(MARKS):
            places = [(place + 0.5) * width for place, which in where if which == kind]
            if places:
                level = number + _MARKERS[kind][2] * _BAR
                look = self._marker(kind, self._size)
                self._axes.plot(places, [level] * len(places), linestyle="", clip_on=False, zorder=5, **look)

    def _write_numbers(self, number: int, row: Row) -> None:
        if self._row <= _LEAST_ROW:
            return
        busy = row.busy / self._seconds
        size = min(8.0, self._row * 72 * 0.55)
        look = {"transform": self._axes.get_yaxis_transform(), "va": "center", "ha": "right", "fontsize": size}
        inch = 1 / (self._axes.get_position().width * WIDTH)
        self._axes.text(1 + 1.15 * inch, number, count(row.items, "item"), color="#444444", **look)
        self._axes.text(1 + 1.85 * inch, number, f"{busy:.0%} busy", color="#444444", **look)


def _plain(text: str) -> str:
    """Keep matplotlib from taking dollars for mathematics."""
    return text.replace("$", r"\$")
