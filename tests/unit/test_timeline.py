"""Timelines: from a trace to numbers, text and pictures; no process."""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
from trace_format import begin, chunk, eventful, finish, write

from procorch import _timeline_plot, _timeline_rich, _timeline_text
from procorch import events as e
from procorch._timeline import STARTING, Cell, Mark, Span, Timeline, cells, marks_in_cells, quantile
from procorch._timeline_axis import duration, ticks
from procorch._timeline_words import PALETTE, TASKS_APART, colours_of, printable, title
from procorch._trace_reading import read
from procorch.trace import TraceFile, save_picture, save_svg, text


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run.json"


@pytest.fixture(scope="module", autouse=True)
def _fonts_open(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Let matplotlib open the fonts that it keeps open, before anything is counted."""
    folder = tmp_path_factory.mktemp("fonts")
    save_picture(write(folder / "run.json", HARD["odd names"]), folder / "run.png")


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
    for length in range(len(b"[\n{"), len(whole)):
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


# --- pictures ---------------------------------------------------------------------------------------------------------


def test_text(path: Path) -> None:
    assert text(write(path, eventful()), width=100).splitlines()[2:] == [
        "",
        "worker  items  failed  busy  restarts  chunk p50     p95  0         0.5 s      1.0 s     1.5 s",
        "etl-1       7       1   70%         0     490 ms  500 ms  █████████████████████R███K█K█T",
        "etl-2      12       1   90%         1     790 ms     1 s  ████████████████X░░█████████████████████",
        "all        19       2   80%         1     500 ms     1 s",
        "",
        "█ shop.pack 69%  █ shop.ship 31%  ░ starting  X crash  T timeout  K SIGTERM, SIGKILL",
        "F failed for good  R tried again",
    ]


HARD: dict[str, list[e.Event]] = {
    "eventful": eventful(),
    "nothing": [],
    "no process": [e.GroupBegan(1.0, "etl", 1.0, 1), e.GroupEnded(1.0, "etl")],
    "no chunk": [*begin(1), *finish(101, 1)],
    "no time": [
        e.GroupBegan(1.0, "g", 1.0, 1), e.ProcessStarted(1.0, 1, "g-1", 2), *chunk(1, 1.0, 1.0), e.GroupEnded(1.0, "g"),
    ],
    "a millisecond": [*begin(1, at=99.99), *chunk(1, 100.0, 100.001), *finish(100.001, 1)],
    "ten hours": [*begin(1, 2, 3), *chunk(2, 101, 36000), *chunk(3, 18000, 36100), *finish(36200, 1, 2, 3)],
    "odd names": [
        *begin(1, 2, group="_$a$\n[b]日本" * 9), *chunk(1, 100.1, 101, task="_m.<lambda>$\\x$"),
        *chunk(2, 100.1, 101, task="m.日本" * 50),
        *finish(102, 1, 2, group="_"),
    ],
    "64 workers": [
        *begin(*range(1, 65)),
        *(
            event
            for slot in range(1, 65)
            for event in chunk(slot, 101.0 + slot, 150.0 + slot, task=f"m.f{slot}", items=10 ** (slot % 7))
        ),
        *(e.ItemRetried(150.0 + slot, slot, 1, "m.f", 1, 1, "timed out") for slot in range(1, 65)),
        *finish(250, *range(1, 65)),
    ],
}  # fmt: skip

hard = pytest.mark.parametrize("events", HARD.values(), ids=HARD.keys())


@hard
def test_any_run_can_be_shown(path: Path, tmp_path: Path, events: list[e.Event]) -> None:
    shown = text(write(path, events), width=80)
    assert all(letter == "\n" or letter.isprintable() for letter in shown)
    save_svg(path, tmp_path / "run.svg")
    assert (tmp_path / "run.svg").read_text().rstrip().endswith("</svg>")
    save_picture(path, tmp_path / "run.png")
    assert (tmp_path / "run.png").read_bytes().startswith(b"\x89PNG")


@hard
def test_nothing_in_a_picture_overlaps_or_is_cut_off(path: Path, events: list[e.Event]) -> None:
    matplotlib = _timeline_plot.library()
    figure = _timeline_plot.Drawing(matplotlib, read(write(path, events))).figure
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph", UserWarning)
        figure.canvas.draw() if hasattr(figure.canvas, "get_renderer") else figure.savefig(path.with_suffix(".png"))
        boxes = [
            (one.get_text(), one.get_window_extent())
            for one in figure.findobj(matplotlib.text.Text)
            if one.get_text().strip() and one.get_visible()
        ]
    width, height = figure.bbox.width, figure.bbox.height
    for name, box in boxes:
        assert box.x0 >= 0, name
        assert box.y0 >= 0, name
        assert box.x1 <= width, name
        assert box.y1 <= height, name
    for number, (name, box) in enumerate(boxes):
        for other_name, other in boxes[:number]:
            across = min(box.x1, other.x1) - max(box.x0, other.x0)
            down = min(box.y1, other.y1) - max(box.y0, other.y0)
            assert across <= 1 or down <= 0.25 * min(box.height, other.height), f"{name!r} over {other_name!r}"


@pytest.mark.limit(60)
def test_many_spans_are_not_drawn_one_by_one(path: Path, tmp_path: Path) -> None:
    spans = tuple(Span(number * 1e-3, number * 1e-3 + 9e-4, "m.f", 1) for number in range(100_000))
    marks = tuple(Mark(span.end, "failure", "") for span in spans)
    timeline = read(write(path, eventful()))
    row = timeline.rows[0]
    many = Timeline(timeline.groups, (type(row)("g", "g-1", 1, 0, spans, marks),), 100.0)
    figure = _timeline_plot.Drawing(_timeline_plot.library(), many).figure
    drawn = [len(one.get_paths()) for one in figure.axes[0].collections]
    assert sum(drawn) <= 20
    assert sum(len(line.get_xdata()) for line in figure.axes[0].lines) <= _timeline_plot.MARK_CELLS
    assert _timeline_text.render(many, width=100)
    _timeline_plot.save(_timeline_plot.library(), many, tmp_path / "many.svg")
    assert (tmp_path / "many.svg").stat().st_size < 100_000


def test_the_suffix_says_what_a_picture_is(path: Path, tmp_path: Path) -> None:
    write(path, eventful())
    save_picture(path, tmp_path / "run.pdf")
    assert (tmp_path / "run.pdf").read_bytes().startswith(b"%PDF")
    with pytest.raises(ValueError, match="nothing"):
        save_picture(path, tmp_path / "run.nothing")


def test_an_svg_fetches_nothing(path: Path, tmp_path: Path) -> None:
    save_svg(write(path, eventful()), tmp_path / "run.svg")
    drawn = (tmp_path / "run.svg").read_text()
    assert "url(" not in drawn.replace("url(#", "")
    assert "font-face" not in drawn
    assert "etl-2" in drawn
    assert "#0072b2" in drawn


@pytest.mark.parametrize(
    ("library", "draw", "words"),
    [
        ("rich", save_svg, r"^a timeline as SVG needs rich: pip install 'procorch\[rich\]'$"),
        ("matplotlib", save_picture, r"^a timeline as a picture needs matplotlib: pip install 'procorch\[plot\]'$"),
    ],
)
def test_a_missing_extra_is_told_before_anything_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, library: str, draw: Callable[[Path, Path], None], words: str
) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(ImportError, match=words):
        draw(tmp_path / "missing", tmp_path / "out")


def test_colours_are_apart() -> None:
    assert len(set(PALETTE)) == TASKS_APART + 1
    assert {f"task {number}" for number in range(TASKS_APART + 1)} <= set(_timeline_rich.STYLES)
