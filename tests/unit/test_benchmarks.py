"""Unit tests of the benchmarks: the table, the plan, and that the README names everything. No timing is tested."""

from __future__ import annotations

from pathlib import Path

import pytest
from cases import CASES
from peers import PEERS
from plan import Wish, plan
from records import Found, Job, Report, Result
from report import brief, markdown
from summary import find, tables

README = (Path(__file__).parents[2] / "benchmarks" / "README.md").read_text()
FACTS = {"processor": "a fast one", "load before": [0.5, 0.25, 0.0], "versions": {"loky": "3"}, "skipped": {"ray": "x"}}


def result(peer: str, value: float | None, word: str = "", *, tuned: bool = False, round_: int = 0) -> Result:
    job = Job("trivial", "int", peer, tuned, 2, True, round_, 10.0)
    return Result(job, Found(value, 1000 if value else 0, word, {"p99 µs": 5.0}), wall=1.5, cpu=2.5, rss_parent=30.4)


REPORT = Report(
    FACTS,
    (
        result("serial", 0.25),
        result("procorch", 0.5),
        result("procorch", 1.5, round_=1),
        result("procorch", 0.5, round_=2),
        result("pool", 2.0, tuned=True),
        result("pebble", None, "hangs (over 10 s)"),
    ),
)


def test_a_report_survives_its_file(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    REPORT.write(path)
    assert Report.read(path) == REPORT


def test_a_line_has_the_median_and_ratios() -> None:
    lines = tables(REPORT)["trivial", "int"]
    ours, pool = find(lines, "procorch"), find(lines, "pool (tuned)")
    assert ours is not None
    assert pool is not None
    assert (ours.value, ours.least, ours.most) == (0.5, 0.5, 1.5)
    assert pool.times(ours) == 4.0


def test_the_table() -> None:
    text = markdown(REPORT)
    assert "- load before: 0.5, 0.25, 0.0\n" in text
    assert "- ray: x\n" in text
    assert "### trivial: int\n" in text
    assert "| **procorch** | 0.5 | 0.5 to 1.5 | 1 | 2 | 1,000 | 1.5 | 2.5 | 30 |  |  | p99 µs 5 |\n" in text
    assert "| pool (tuned) | 2 |  | 4 | 8 | 1,000 |" in text
    assert "| pebble | none |  |  |  |  | 1.5 | 2.5 | 30 |  |  | hangs (over 10 s); p99 µs 5 |\n" in text


def test_the_brief_table() -> None:
    text = brief(REPORT)
    assert "| case | unit | serial | procorch | pebble |\n" in text
    assert text.endswith("| trivial: int | µs/item | 0.25 | **0.5** | none |")


@pytest.mark.parametrize("name", [*CASES, *PEERS])
def test_the_readme_names_every_case_and_peer(name: str) -> None:
    assert f"\n| `{name}` | " in README


def test_peers_take_turns() -> None:
    jobs = plan(Wish(("trivial",), ("serial", "procorch", "pool"), 2, quick=True, rounds=2))
    forwards = ["serial", "procorch", "pool", "pool (tuned)"]
    assert [job.row for job in jobs] == forwards + forwards[::-1]


def test_a_quick_run_has_every_case_with_every_peer() -> None:
    jobs = plan(Wish(tuple(CASES), tuple(PEERS), 2, quick=True))
    assert {job.case for job in jobs} == set(CASES)
    assert {job.peer for job in jobs} == set(PEERS)
