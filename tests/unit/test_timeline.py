"""Timelines: from a trace to numbers and words; no process."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from trace_format import begin, chunk, eventful, finish, write

from procorch import events as e
from procorch._timelines.axis import duration, ticks
from procorch._timelines.reading import read
from procorch._timelines.timeline import STARTING, Cell, Mark, Span, cells, marks_in_cells, quantile
from procorch._timelines.words import TASKS_APART, colours_of, printable, title
from procorch.trace import TraceFile, text


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run.json"


# --- reading ----------------------------------------------------------------------------------------------------------


def test_a_trace_becomes_rows_of_spans_and_marks(path: Path) -> None:
    timeline = read(write(path, eventful()))
    first, second = timeline.rows
    assert (first.name, first.items, first.failed, first.restarts) == ("etl-1", 7, 1, 0)
    assert (second.name, second.items, second.failed, second.restarts) == ("etl-2", 12, 1, 1)
    assert second.spans == (
        Span(0.0, 0.01, STARTING),
        Span(0.01, 0.8, "shop.pack", 2, 0),
        Span(0.8, 0.9, STARTING),
        Span(0.9, 1.9, "shop.ship", 10, 0),
    )
    assert second.busy == pytest.approx(1.79)
    assert [mark.kind for mark in first.marks] == ["retry", "kill", "kill", "failure", "timeout"]
    assert second.marks == (
        Mark(0.8, "crash", "crash: was killed by SIGSEGV"),
        Mark(0.8, "failure", "failed (crashed)"),
    )
    assert timeline.tasks == ["shop.pack", "shop.ship"]
    assert timeline.seconds == 2.0
    assert timeline.whole
    assert title(timeline) == "etl: 2 workers, 2 s, 19 items, 2 failed, 1 retry, 1 timeout, 1 crash"


def test_a_trace_cut_off_anywhere_is_read(path: Path) -> None:
    whole = write(path, eventful()).read_bytes()
    complete = read(path)
    lengths = [*range(3, len(whole), 11), *range(len(whole) - 150, len(whole))]  # also in each place of the last rows
    for length in lengths:
        path.write_bytes(whole[:length])
        try:
            timeline = read(path)
        except ValueError:
            assert b"process_labels" not in whole[:length], "more than nothing was there"
            continue
        assert not timeline.whole or length > len(whole) - 3
        assert timeline.rows[:1] == () or timeline.rows[0].name in ("etl-1", "slot 1")
    assert complete.whole


def test_what_had_not_ended_goes_to_the_end(path: Path) -> None:
    trace = TraceFile(path)
    for event in [*begin(1, 2), *chunk(2, 101, 104), e.ChunkBegan(102, 1, 1, "shop.pack", 0, 4)]:
        trace(event)
    timeline = read(path)
    assert timeline.rows[0].spans[-1] == Span(2.0, 4.0, "shop.pack", open=True)
    assert not timeline.whole
    assert "not whole: the program was killed, or is still running\n" in text(path)


def test_a_trace_of_the_form_with_other_data(path: Path) -> None:
    rows = json.loads(write(path, eventful()).read_text())
    before = read(path)
    path.write_text(json.dumps({"traceEvents": rows}))
    assert read(path) == before


@pytest.mark.parametrize(
    "content",
    [
        "", "hello", "{}", "3", "[1]", '["a"]', "[{}]", "[\nhello\n{}", '[{"ph": "X"}]', "\xff", "null",
        '[{"name": "process_name", "ph": "M", "pid": 1, "tid": 1, "args": {"name": "other"}}]',
        '[{"name": "f", "cat": "function", "ph": "X", "ts": 1, "dur": 2, "pid": 1, "tid": 1}]',
        '[{"name": "f", "cat": "chunk", "ph": "X", "ts": "1", "dur": 2, "pid": 1, "tid": 1}]',
    ],
)  # fmt: skip
def test_what_is_no_trace_of_ours_is_refused(path: Path, content: str) -> None:
    path.write_bytes(content.encode("latin-1"))
    with pytest.raises(ValueError, match=r"run\.json is not a trace of procorch$"):
        read(path)


# --- numbers ----------------------------------------------------------------------------------------------------------


def test_quantiles() -> None:
    assert quantile([3.0], 0.5) == quantile([3.0], 0.95) == 3.0
    assert [quantile(range(1, 101), part) for part in (0.0, 0.5, 0.95, 1.0)] == [1, 50, 95, 100]


def test_cells_tell_what_took_most_and_how_much() -> None:
    spans = [Span(0.0, 1.0, "a"), Span(2.0, 2.25, "b"), Span(2.25, 2.5, "a"), Span(2.5, 2.75, "b"), Span(4.0, 4.0, "c")]
    a, none, b, nothing, c = cells(spans, 5, 5.0)
    assert a == Cell("a", 1.0)
    assert none is nothing is None
    assert b == Cell("b", 0.75)
    assert c is not None
    assert c.task == "c"
    assert 0 < c.share < 0.001


def test_the_last_cell_has_what_ends_with_it() -> None:
    assert cells([Span(0.0, 1.0, "a")], 3, 1.0) == [Cell("a", 1.0)] * 3
    assert cells([Span(0.0, 0.0, "a")], 2, 0.0)[1] is None
    assert marks_in_cells([Mark(1.0, "kill", ""), Mark(1.0, "kill", "")], 4, 1.0) == {(3, "kill"): 2}


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 s"), (3e-6, "3 µs"), (0.000999, "999 µs"), (0.0009996, "1 ms"), (0.0123, "12.3 ms"), (0.9999, "1 s"),
        (1.25, "1.25 s"), (99.9, "100 s"), (100, "1:40 min"), (3599.4, "59:59 min"), (3599.6, "1:00 h"),
        (36000, "10:00 h"),
    ],
)  # fmt: skip
def test_durations(seconds: float, words: str) -> None:
    assert duration(seconds) == words


@pytest.mark.parametrize(
    ("seconds", "labels"),
    [
        (0, ["0"]),
        (0.001, ["0", "0.2 ms", "0.4 ms", "0.6 ms", "0.8 ms", "1.0 ms"]),
        (2.2, ["0", "0.5 s", "1.0 s", "1.5 s", "2.0 s"]),
        (59, ["0", "10 s", "20 s", "30 s", "40 s", "50 s"]),
        (200, ["0", "0:30 min", "1:00 min", "1:30 min", "2:00 min", "2:30 min", "3:00 min"]),
        (5400, ["0", "0:15 h", "0:30 h", "0:45 h", "1:00 h", "1:15 h", "1:30 h"]),
        (36000, ["0", "2 h", "4 h", "6 h", "8 h", "10 h"]),
        (1e6, ["0", "2 d", "4 d", "6 d", "8 d", "10 d"]),
    ],
)
def test_ticks(seconds: float, labels: list[str]) -> None:
    assert [tick.label for tick in ticks(seconds, 8)] == labels


@pytest.mark.parametrize("at_most", [2, 5, 11])
def test_ticks_are_never_too_many_nor_beyond_the_end(at_most: int) -> None:
    for exponent in range(-28, 40):
        seconds = 1.7**exponent
        found = ticks(seconds, at_most)
        assert 1 <= len(found) <= at_most
        assert found[-1].at <= seconds * 1.0001
        assert len({tick.label for tick in found}) == len(found)


def test_names_are_made_fit_to_be_shown() -> None:
    assert printable("a\x1b[31m\nb") == "a?[31m?b"
    assert printable("x" * 100, 5) == "…xxxx"


def test_only_so_many_tasks_have_a_colour_of_their_own(path: Path) -> None:
    chunks = [
        event
        for number in range(9)
        for event in chunk(1, 100.0 + 10 * number, 109.0 + 10 * number - number, task=f"m.f{number}")
    ]
    timeline = read(write(path, [*begin(1, at=99.0), *chunks, *finish(200.0, 1)]))
    assert list(colours_of(timeline).values()) == [0, 1, 2, 3, 4, 5, TASKS_APART, TASKS_APART, TASKS_APART]
    assert "other tasks 13%" in text(path)
