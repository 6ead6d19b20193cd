"""Lines of a table, made from the measurements of all rounds."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable

import attrs
from records import Report, Result


@attrs.frozen
class Line:
    """One peer in one variant of a case."""

    peer: str
    value: float | None
    """The median of all rounds."""
    least: float | None
    most: float | None
    items: int
    wall: float | None
    cpu: float | None
    rss_parent: float | None
    rss_worker: float | None
    pss: float | None
    remarks: str

    def times(self, other: Line | None) -> float | None:
        """Tell how often the value of another line goes into this one's."""
        if self.value is None or other is None or not other.value:
            return None
        return self.value / other.value


def tables(report: Report) -> dict[tuple[str, str], list[Line]]:
    """Group the measurements by case and variant, in the order in which these first came."""
    groups: dict[tuple[str, str], dict[str, list[Result]]] = {}
    for result in report.results:
        job = result.job
        groups.setdefault((job.case, job.variant), {}).setdefault(job.row, []).append(result)
    return {key: [_line(row, results) for row, results in rows.items()] for key, rows in groups.items()}


def find(lines: Iterable[Line], peer: str) -> Line | None:
    """Find a peer's line."""
    return next((line for line in lines if line.peer == peer), None)


def _line(row: str, results: list[Result]) -> Line:
    values = [result.found.value for result in results if result.found.value is not None]
    return Line(
        row,
        _median(values),
        min(values, default=None),
        max(values, default=None),
        max(result.found.items for result in results),
        _of(results, lambda result: result.wall),
        _of(results, lambda result: result.cpu),
        _of(results, lambda result: result.rss_parent),
        _of(results, lambda result: result.rss_worker),
        _of(results, lambda result: result.pss),
        _remarks(results),
    )


def _of(results: list[Result], figure: Callable[[Result], float | None]) -> float | None:
    return _median([one for result in results if (one := figure(result)) is not None])


def _median(values: list[float]) -> float | None:
    return statistics.median(values) if values else None


def _remarks(results: list[Result]) -> str:
    words = dict.fromkeys(result.found.word for result in results if result.found.word)
    figures = {name: [] for result in results for name in result.found.extra}  # type: dict[str, list[float]]
    for result in results:
        for name, figure in result.found.extra.items():
            figures[name].append(figure)
    # What counts outcomes is in the words already.
    shown = [f"{name} {statistics.median(all_):.4g}" for name, all_ in figures.items() if " " in name or "/" in name]
    return "; ".join([*words, *shown])
