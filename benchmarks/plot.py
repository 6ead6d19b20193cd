"""Draw the results as SVG, if matplotlib is there.

python benchmarks/plot.py results.json FOLDER
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

from cases import CASES
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
        ours = peer == "procorch"
        style = "--" if "tuned" in peer else "-"
        axes.loglog(*zip(*sorted(all_), strict=True), style, marker="o", label=peer, linewidth=3 if ours else 1.2)
    axes.set(xlabel=across, ylabel=up, title=CASES[case].title)
    axes.grid(visible=True, which="major", alpha=0.3)
    axes.legend(fontsize="small")
    return _saved(pyplot, figure, folder / f"{case}.svg")


def _ratios(pyplot: Any, grouped: Tables, folder: Path) -> Path | None:
    """Bars: how many times as long as procorch, or how many times as little where more is better."""
    shown = {key: bars for key, lines in grouped.items() if (bars := _bars(key[0], lines))}
    if not shown:
        return None
    height = sum(len(bars) + 2 for bars in shown.values()) * 0.17
    sizes = [len(bars) + 1 for bars in shown.values()]
    figure, all_axes = pyplot.subplots(
        len(shown), figsize=(9, height + 1), squeeze=False, gridspec_kw={"height_ratios": sizes, "hspace": 0.9}
    )
    for axes, ((case, variant), bars) in zip(all_axes[:, 0], shown.items(), strict=True):
        names = list(bars)[::-1]
        axes.barh(names, [bars[name] for name in names], color=["C1" if name == "procorch" else "C0" for name in names])
        axes.set_xscale("log")
        axes.axvline(1, color="black", linewidth=0.8)
        axes.set_title(f"{case}: {variant}", fontsize="small", loc="left")
        axes.tick_params(labelsize=6)
    figure.suptitle("times as long as procorch (right of the line: procorch is faster)", y=0.995)
    return _saved(pyplot, figure, folder / "ratios.svg")


def _bars(case: str, lines: list[Line]) -> dict[str, float]:
    ours = find(lines, "procorch")
    times = {line.peer: line.times(ours) for line in lines}
    if CASES[case].better == "more":
        return {peer: 1 / ratio for peer, ratio in times.items() if ratio}
    return {peer: ratio for peer, ratio in times.items() if ratio}


def _saved(pyplot: Any, figure: Any, path: Path) -> Path:
    figure.savefig(path, bbox_inches="tight")
    pyplot.close(figure)
    return path


if __name__ == "__main__":
    for made in draw(Report.read(Path(sys.argv[1])), Path(sys.argv[2])):
        print(made)
