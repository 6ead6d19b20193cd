"""A timeline as lines of text: numbers of each worker, and a bar of blocks. Knows styles by name, and no colours."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from procorch._timelines.axis import duration, ticks
from procorch._timelines.timeline import MARKS, STARTING, Cell, MarkKind, Row, Timeline, cells, marks_in_cells, quantile
from procorch._timelines.words import MARK_WORDS, colours_of, origin, printable, room, task_words, title

LEAST_BAR = 20
"""Columns that a bar has at least."""

LETTERS: dict[MarkKind, str] = {"crash": "X", "timeout": "T", "kill": "K", "failure": "F", "retry": "R"}
_BLOCKS = "▁▂▃▄▅▆▇█"
_STARTING = "░"
_LONGEST_NAME = 24
_HEADS = ("worker", "items", "failed", "busy", "restarts", "chunk p50", "p95")
_FAILED = 2  # the column


@attrs.frozen
class Piece:
    """Some text in one style."""

    text: str
    style: str = ""
    """What it is: ``"title"``, ``"dim"``, ``"bad"``, `STARTING`, ``"task 0"`` and so on, a kind of mark, or nothing."""


def render(timeline: Timeline, *, width: int) -> str:
    """Show it without colours.

    Args:
        timeline (Timeline): What to show.
        width (int): Columns it may take.

    Returns:
        str: Lines, the last one ended too.
    """
    return "".join("".join(piece.text for piece in line).rstrip() + "\n" for line in lines(timeline, width=width))


def lines(timeline: Timeline, *, width: int) -> list[list[Piece]]:
    """Lay it out.

    Args:
        timeline (Timeline): What to show.
        width (int): Columns it may take; it takes more if the bars would have less than `LEAST_BAR`.

    Returns:
        list[list[Piece]]: Lines of text.
    """
    found = [[Piece(title(timeline), "title")], *([Piece(line, "dim")] for line in origin(timeline))]
    if not timeline.rows:
        return [*found, [Piece("no process was started")]]
    table = [_HEADS, *(_numbers(row.name, [row], timeline.seconds) for row in timeline.rows)]
    if len(timeline.rows) > 1:
        table.append(_numbers("all", timeline.rows, timeline.seconds))
    widths = [max(room(line[column]) for line in table) for column in range(len(_HEADS))]
    bar = max(LEAST_BAR, width - sum(widths) - 2 * len(widths))
    heads, *numbers = [_aligned(line, widths) for line in table]
    found += [[], [*heads, Piece(_axis(timeline.seconds, bar), "dim")]]
    colours = colours_of(timeline)
    for row, line in zip(timeline.rows, numbers, strict=False):
        found.append([*line, *_bar(row, bar, timeline.seconds, colours)])
    found += numbers[len(timeline.rows) :]
    return [*found, [], *_legend(timeline, colours, width)]


def _numbers(name: str, rows: Sequence[Row], seconds: float) -> tuple[str, ...]:
    times = [span.seconds for row in rows for span in row.chunks]
    busy = sum(row.busy for row in rows) / len(rows) / seconds if seconds else 0.0
    return (
        printable(name, _LONGEST_NAME),
        f"{sum(row.items for row in rows):,}",
        f"{sum(row.failed for row in rows):,}",
        f"{busy:.0%}",
        f"{sum(row.restarts for row in rows):,}",
        *(duration(quantile(times, part)) if times else "-" for part in (0.5, 0.95)),
    )


def _aligned(line: Sequence[str], widths: Sequence[int]) -> list[Piece]:
    pieces = [Piece(line[0] + " " * (widths[0] - room(line[0]) + 2))]
    for column in range(1, len(line)):
        bad = column == _FAILED and line[column] not in ("0", _HEADS[column])
        pieces.append(Piece(line[column].rjust(widths[column]) + "  ", "bad" if bad else ""))
    return pieces


def _axis(seconds: float, width: int) -> str:
    line = [" "] * width
    for tick in ticks(seconds, max(2, width // 8)):
        place = min(width - 1, int(tick.at / seconds * width)) if seconds else 0
        # A label stands right of its place, or left of the end if it would go beyond it; what has no room is left out.
        begin = min(place, width - len(tick.label))
        if line[max(0, begin - 2) : begin + 1] == [" "] * min(3, begin + 1):
            line[begin : begin + len(tick.label)] = tick.label
    return "".join(line)


def _bar(row: Row, width: int, seconds: float, colours: dict[str, int]) -> list[Piece]:
    pieces = [_block(cell, colours) for cell in cells(row.spans, width, seconds)]
    marks = marks_in_cells(row.marks, width, seconds)
    for kind in reversed(MARKS):  # the gravest last: it is seen
        for place, which in marks:
            if which == kind:
                pieces[place] = Piece(LETTERS[kind], kind)
    return pieces


def _block(cell: Cell | None, colours: dict[str, int]) -> Piece:
    if cell is None:
        return Piece(" ")
    if cell.task == STARTING:
        return Piece(_STARTING, STARTING)
    return Piece(_BLOCKS[min(len(_BLOCKS) - 1, int(cell.share * len(_BLOCKS)))], f"task {colours[cell.task]}")


def _legend(timeline: Timeline, colours: dict[str, int], width: int) -> list[list[Piece]]:
    entries = [
        [Piece("█", f"task {colour}"), Piece(f" {words}  ")] for colour, words in task_words(timeline, colours).items()
    ]
    entries.append([Piece(_STARTING, STARTING), Piece(" starting  ")])
    entries += [[Piece(LETTERS[kind], kind), Piece(f" {MARK_WORDS[kind]}  ")] for kind in MARKS if timeline.count(kind)]
    found: list[list[Piece]] = [[]]
    for entry in entries:
        if found[-1] and sum(len(piece.text) for piece in found[-1] + entry) > width:
            found.append([])
        found[-1] += entry
    return found
