"""Draw the results as SVG, if matplotlib is there.

python benchmarks/plot.py results.json FOLDER
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

from cases import CASES
from peers import PEERS
from records import Report
from summary import Line, find, tables

Tables = dict[tuple[str, str], list[Line]]


def draw(report: Report, folder: Path) -> list[Path]:
    """Draw what can be drawn.

    Args:
        report (Report): As `run.py` writes it.
        folder (Path): Where the files go.

    Returns:
        list[Path]: The files; none without matplotlib.
    """
    try:
        matplotlib: Any = importlib.import_module("matplotlib")
        matplotlib.use("svg")
        pyplot: Any = importlib.import_module("matplotlib.pyplot")
    except ImportError:
        return []
    grouped = tables(report)
    drawn = [
        _curves(pyplot, grouped, "scale", "items", "µs an item", folder),
        _curves(pyplot, grouped, "workers", "workers", "ms", folder),
        _ratios(pyplot, grouped, folder),
    ]
    return [path for path in drawn if path is not None]


def _curves(pyplot: Any, grouped: Tables, case: str, across: str, up: str, folder: Path) -> Path | None:
    """One line for each peer over the variants, which are numbers, both axes logarithmic."""
    points: dict[str, list[tuple[float, float]]] = {}
    for (name, variant), lines in grouped.items():
        for line in lines if name == case else []:
            if line.value is not None:
                points.setdefault(line.peer, []).append((float(variant.replace(",", "")), line.value))
    if not points:
        return None
    figure, axes = pyplot.subplots(figsize=(9, 6))
    for peer, all_ in points.items():
        look = "--" if _is_tuned(peer) else "-"
        width = 3 if peer == "procorch" else 1.2
        axes.loglog(*zip(*sorted(all_), strict=True), look, marker="o", label=peer, linewidth=width, color=_color(peer))
    axes.set(xlabel=across, ylabel=up, title=CASES[case].title.replace("`", ""))
    return _saved(pyplot, figure, axes, folder / f"{case}.svg")


def _ratios(pyplot: Any, grouped: Tables, folder: Path) -> Path | None:
    """A dot for each peer in each variant: how many times as long as procorch it takes, or as little it carries."""
    shown = {key: ratios for key, lines in grouped.items() if (ratios := _times_as_long(key[0], lines))}
    if not shown:
        return None
    figure, axes = pyplot.subplots(figsize=(9, 1.5 + 0.3 * len(shown)))
    labels = [f"{case}, {variant}" for case, variant in shown]
    for peer in dict.fromkeys(peer for ratios in shown.values() for peer in ratios):
        dots = [(ratios[peer], number) for number, ratios in enumerate(shown.values()) if peer in ratios]
        fill = "none" if _is_tuned(peer) else _color(peer)
        axes.scatter(*zip(*dots, strict=True), label=peer, edgecolors=_color(peer), facecolors=fill, zorder=3)
    axes.set_xscale("log")
    axes.set_yticks(range(len(labels)), labels)
    axes.invert_yaxis()
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set_xlabel("times as long as procorch: to the right of the line procorch is faster")
    return _saved(pyplot, figure, axes, folder / "ratios.svg")


def _is_tuned(row: str) -> bool:
    return row.endswith("(tuned)")


def _color(row: str) -> str:
    """Give both lines of a peer the same colour, in all drawings."""
    name = row.removesuffix(" (tuned)")
    return "black" if name == "procorch" else f"C{[peer for peer in PEERS if peer != 'procorch'].index(name)}"


def _times_as_long(case: str, lines: list[Line]) -> dict[str, float]:
    ours = find(lines, "procorch")
    times = {line.peer: line.times(ours) for line in lines}
    if CASES[case].better == "more":
        return {peer: 1 / ratio for peer, ratio in times.items() if ratio}
    return {peer: ratio for peer, ratio in times.items() if ratio}


def _saved(pyplot: Any, figure: Any, axes: Any, path: Path) -> Path:
    axes.grid(visible=True, which="major", alpha=0.3)
    axes.legend(fontsize="small", loc="upper left", bbox_to_anchor=(1.01, 1))
    figure.savefig(path, bbox_inches="tight")
    pyplot.close(figure)
    return path


if __name__ == "__main__":
    for made in draw(Report.read(Path(sys.argv[1])), Path(sys.argv[2])):
        print(made)
