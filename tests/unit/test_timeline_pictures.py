"""Pictures of timelines: text, SVG, PNG; no process."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
from trace_format import begin, chunk, eventful, finish, write

from procorch import events as e
from procorch._timelines import as_plot, as_rich, as_text
from procorch._timelines.reading import read
from procorch._timelines.timeline import Mark, Span, Timeline
from procorch._timelines.words import PALETTE, TASKS_APART
from procorch.trace import save_picture, save_svg, text


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run.json"


@pytest.fixture(scope="module", autouse=True)
def _fonts_open(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Let matplotlib open the fonts that it keeps open, before anything is counted."""
    folder = tmp_path_factory.mktemp("fonts")
    save_picture(write(folder / "run.json", HARD["odd names"]), folder / "run.png")


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
    "many groups with many troubles": [
        *(event for number in range(20) for event in (*begin(1, group=f"quite a long name {number}"), *finish(102, 1))),
        *begin(1),
        *(e.ItemRetried(101, 1, 1, "m.f", 1, 1, "timed out") for _ in range(1000)),
        *(e.ItemFailed(101, 1, 1, "m.f", 1, "crashed") for _ in range(1000)),
        *(e.ProcessEnded(101, 1, "etl-1", 5001, 1) for _ in range(1000)),
        *finish(102, 1),
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
    matplotlib = as_plot.library()
    figure = as_plot.Drawing(matplotlib, read(write(path, events))).figure
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
    figure = as_plot.Drawing(as_plot.library(), many).figure
    drawn = [len(one.get_paths()) for one in figure.axes[0].collections]
    assert sum(drawn) <= 20
    assert sum(len(line.get_xdata()) for line in figure.axes[0].lines) <= as_plot.MARK_CELLS
    assert as_text.render(many, width=100)
    as_plot.save(as_plot.library(), many, tmp_path / "many.svg")
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
    assert {f"task {number}" for number in range(TASKS_APART + 1)} <= set(as_rich.STYLES)
