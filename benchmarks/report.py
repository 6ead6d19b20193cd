"""Turn the JSON of a run into a table in Markdown.

python benchmarks/report.py results.json
python benchmarks/report.py --brief results.json    # one line for each case and variant, for a page of documentation
"""

from __future__ import annotations

import sys
from pathlib import Path

from cases import CASES
from records import Facts, Report
from summary import Line, find, tables

_HEAD = (
    "peer",
    "range",
    "to procorch",
    "to serial",
    "items",
    "wall s",
    "CPU s",
    "parent MB",
    "worker MB",
    "all MB",
    "",
)


def markdown(report: Report) -> str:
    """Write the tables.

    Args:
        report (Report): As `run.py` writes it.

    Returns:
        str: Markdown: what was measured where, then a table for each case and variant.
    """
    parts = ["# Results", "", *_facts(report.facts), ""]
    named = ""
    for (case, variant), lines in tables(report).items():
        if case != named:
            parts += [f"## {case}", "", f"{CASES[case].title[:1].upper()}{CASES[case].title[1:]}.", ""]
            named = case
        parts += [f"### {case}: {variant}", "", *_table(case, lines), ""]
    return "\n".join(parts)


def brief(report: Report) -> str:
    """Write one table with a line for each case and variant, and a column for each peer with its defaults.

    Args:
        report (Report): As `run.py` writes it.

    Returns:
        str: Markdown.
    """
    found = tables(report)
    peers = list(dict.fromkeys(line.peer for lines in found.values() for line in lines if "(" not in line.peer))
    head = ["case", "unit", *peers]
    rows = [head, ["---", "---", *["---:"] * len(peers)]]
    for (case, variant), lines in found.items():
        by_peer = {line.peer: line for line in lines}
        cells = [_brief_cell(by_peer.get(peer)) for peer in peers]
        rows.append([f"{case}: {variant}", CASES[case].unit, *cells])
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def _brief_cell(line: Line | None) -> str:
    if line is None:
        return ""
    value = number(line.value) or "none"
    return f"**{value}**" if line.peer == "procorch" else value


def _facts(facts: Facts) -> list[str]:
    versions = ", ".join(f"{name} {version}" for name, version in facts["versions"].items())
    plain = {name: value for name, value in facts.items() if name not in {"versions", "skipped"}}
    lines = [f"- {name}: {_listed(value)}" for name, value in plain.items()]
    lines.append(f"- versions: {versions}")
    lines += [f"- {peer}: {word}" for peer, word in facts.get("skipped", {}).items()]
    return lines


def _listed(value: object) -> str:
    return ", ".join(str(one) for one in value) if isinstance(value, list) else str(value)


def _table(case: str, lines: list[Line]) -> list[str]:
    head = [_HEAD[0], CASES[case].unit, *_HEAD[1:]]
    ours, serial = find(lines, "procorch"), find(lines, "serial")
    rows = [head, ["---", *["---:"] * (len(head) - 2), "---"], *(_cells(line, ours, serial) for line in lines)]
    return ["| " + " | ".join(row) + " |" for row in rows]


def _cells(line: Line, ours: Line | None, serial: Line | None) -> list[str]:
    spread = f"{number(line.least)} to {number(line.most)}" if line.least != line.most else ""
    return [
        f"**{line.peer}**" if line.peer == "procorch" else line.peer,
        number(line.value) or "none",
        spread,
        number(line.times(ours)),
        number(line.times(serial)),
        f"{line.items:,}" if line.items else "",
        number(line.wall),
        number(line.cpu),
        *(f"{figure:.0f}" if figure is not None else "" for figure in (line.rss_parent, line.rss_worker, line.pss)),
        line.remarks.replace("|", "/"),
    ]


def number(figure: float | None) -> str:
    """Write a figure with three digits that count."""
    if figure is None:
        return ""
    if abs(figure) >= 1000:
        return f"{figure:,.0f}"
    return f"{figure:.3g}"


if __name__ == "__main__":
    write = brief if "--brief" in sys.argv[1:-1] else markdown
    print(write(Report.read(Path(sys.argv[-1]))))
