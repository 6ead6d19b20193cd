"""Process tests: traces of real groups, and the command that shows them."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from functools import partial
from pathlib import Path

import pytest
import targets as t
import targets_trace as tt
from helpers import Method, read_all, script, wait_until
from trace_format import check, eventful, write

from procorch import ProcessGroup, WorkerCrashed
from procorch._commands import trace
from procorch._timelines.reading import read
from procorch.testing import FakeEngine
from procorch.trace import TraceFile, save_picture


@pytest.fixture(scope="module", autouse=True)
def _fonts_open(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Let matplotlib open the fonts that it keeps open, before anything is counted."""
    folder = tmp_path_factory.mktemp("fonts")
    save_picture(write(folder / "run.json", eventful()), folder / "run.png")


def shown(*arguments: str) -> int:
    """Run the command, as ``python -m procorch`` does."""
    parser = argparse.ArgumentParser()
    trace.add_to(parser.add_subparsers(required=True))
    given = parser.parse_args(["trace", *arguments])
    code: int = given.run(given)
    return code


@pytest.mark.limit(60)
def test_what_befell_a_group_is_in_its_trace(method: Method, tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    for number in (3, 5, 7):
        (tmp_path / str(number)).mkdir()
    with TraceFile(path) as trace, ProcessGroup(2, name="etl", mp_context=method, on_event=trace) as group:
        view = group.options(retries=2, timeout=0.5, retry_on=ConnectionError)
        results = view.map(partial(tt.troubled, str(tmp_path)), range(20), return_exceptions=True)
        pids = {info.pid for info in group.processes}
    assert [number for number, one in enumerate(results) if isinstance(one, Exception)] == [9]
    rows = check(path)
    assert not [row for row in rows if row["ph"] == "B"]
    # Each has its start in there; of the last ones that were started, one may not have come to work.
    assert pids <= {row["args"]["process"] for row in rows if row["name"] == "starting"}
    assert pids & {row["args"]["process"] for row in rows if row.get("cat") == "chunk"}
    marks = [(row["cat"], row["name"]) for row in rows if row["ph"] == "i"]
    assert marks.count(("crash", "crash: was killed by SIGSEGV")) == 1
    assert marks.count(("retry", "retry (crashed)")) == 1
    assert marks.count(("retry", "retry (timed out)")) == 1
    assert marks.count(("retry", "retry (raised)")) == 3
    assert marks.count(("failure", "failed (raised)")) == 1
    assert marks.count(("signal", "SIGTERM")) == 1
    timeline = read(path)
    assert timeline.whole
    assert {row.name for row in timeline.rows} == {"etl-1", "etl-2"}
    assert sum(row.items for row in timeline.rows) == 20
    assert sum(row.failed for row in timeline.rows) == 1
    assert sum(row.restarts for row in timeline.rows) in (1, 2)  # the last to die may not be needed any more
    assert [row["args"] for row in rows if row["name"] == "items"][-1] == {"done": 19, "failed": 1}
    assert [row["args"] for row in rows if row["name"] == "busy workers"][-1] == {"busy": 0}
    end = max(row["ts"] + row.get("dur", 0) for row in rows if "ts" in row)
    assert 500_000 <= end <= 60e6


def test_a_process_that_leaves_with_code_0_has_crashed_all_the_same(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    with ProcessGroup(1, on_event=TraceFile(path)) as group, pytest.raises(WorkerCrashed):
        group.submit(tt.leave, 0).result()
    assert [row["name"] for row in check(path) if row["ph"] == "i"] == [
        "ended",
        "crash: ended with exit code 0",
        "failed (crashed)",
    ]


def test_two_groups_share_a_file(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    with (
        TraceFile(path) as trace,
        ProcessGroup(1, name="load", on_event=trace) as load,
        ProcessGroup(1, name="fit", on_event=trace) as fit,
    ):
        futures = [group.submit(t.doubler, number) for number in range(10) for group in (load, fit)]
        assert [future.result() for future in futures] == [number * 2 for number in range(10) for _ in range(2)]
    rows = check(path)
    names = {row["pid"]: row["args"]["name"] for row in rows if row["name"] == "process_name"}
    assert sorted(names.values()) == ["fit", "load"]
    timeline = read(path)
    assert {(row.group, row.name, row.items) for row in timeline.rows} == {("load", "load-1", 10), ("fit", "fit-1", 10)}
    assert timeline.whole


def test_groups_one_after_the_other_add_to_a_file(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    trace = TraceFile(path)
    for _ in range(2):
        with ProcessGroup(1, on_event=trace) as group:
            assert group.map(t.doubler, [1, 2]) == [2, 4]
        assert read(path).whole
    assert [row.items for row in read(path).rows] == [2, 2]


def test_a_file_that_cannot_be_written_any_more_costs_the_group_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "run.json"
    with TraceFile(path) as trace, ProcessGroup(1, on_event=trace) as group:
        path.unlink()
        assert group.map(t.doubler, range(100)) == [number * 2 for number in range(100)]
    assert [record.exc_info[0] for record in caplog.records if record.exc_info] == [FileNotFoundError]


def test_without_processes(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    with ProcessGroup(1, engine=FakeEngine(), on_event=TraceFile(path)) as group:
        assert group.map(t.doubler, [1, 2]) == [2, 4]
    assert [row["args"].get("items") for row in check(path) if row.get("cat") == "chunk"]


def test_a_program_that_is_killed_leaves_what_was_going_on(tmp_path: Path, gate: Path) -> None:
    path, source = tmp_path / "run.json", tmp_path / "program.py"
    source.write_text(f"""
import targets as t
from procorch import ProcessGroup
from procorch.trace import TraceFile

if __name__ == "__main__":
    with ProcessGroup(2, name="etl", on_event=TraceFile({str(path)!r})) as group:
        group.map(t.doubler, range(10))
        group.map(t.wait_for, [{str(gate)!r}] * 2)
""")

    def waiting() -> int:
        text = path.read_text() if path.exists() else "[]"
        rows = json.loads(text) if text.endswith("]\n") else []
        return len([row for row in rows if row["ph"] == "B" and row["name"] == "targets.wait_for"])

    with script(str(source)) as program:
        wait_until(lambda: waiting() == 2)
        program.send_signal(signal.SIGKILL)
        assert program.wait() == -signal.SIGKILL
    check(path)
    timeline = read(path)
    assert not timeline.whole
    assert [row.spans[-1].open for row in timeline.rows] == [True, True]
    assert sum(row.items for row in timeline.rows) == 10


# --- the command ------------------------------------------------------------------------------------------------------


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write(tmp_path / "run.json", eventful())


def test_the_command_shows_and_draws(path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert shown(str(path), "--svg", str(tmp_path / "run.svg")) == 0
    output = capsys.readouterr()
    assert "etl: 2 workers, 2 s, 19 items, 2 failed, 1 retry, 1 timeout, 1 crash\n" in output.out
    assert "etl-2      12" in output.out
    assert "\x1b" not in output.out
    assert output.err == ""
    assert "</svg>" in (tmp_path / "run.svg").read_text()


def test_the_command_in_a_process_of_its_own(path: Path, tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text("""
import argparse
from procorch._commands import trace
parser = argparse.ArgumentParser()
trace.add_to(parser.add_subparsers(required=True))
given = parser.parse_args()
raise SystemExit(given.run(given))
""")
    with script(str(program), "trace", str(path), "--png", str(tmp_path / "run.png"), stdout=-1, stderr=-1) as process:
        out, error = process.communicate()
    assert (process.returncode, error) == (0, "")
    assert "etl-1" in out
    assert (tmp_path / "run.png").read_bytes().startswith(b"\x89PNG")


def test_the_command_where_only_ascii_can_be_written(
    path: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with (tmp_path / "out").open("w", encoding="ascii") as out:
        monkeypatch.setattr(sys, "stdout", out)
        assert shown(str(path)) == 0
    assert "etl-1       7" in (tmp_path / "out").read_text()


def test_the_command_at_a_terminal_shows_colours(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    mine, other = os.openpty()
    with os.fdopen(other, "w") as out:
        monkeypatch.setattr(sys, "stdout", out)
        assert shown(str(path)) == 0
    seen = read_all(mine)
    assert "etl-1" in seen
    assert "\x1b[" in seen


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["missing.json"], "No such file or directory: 'missing.json'"),
        (["."], "Is a directory: '.'"),
        (["bad.json"], "bad.json is not a trace of procorch"),
        (["run.json", "--svg", "no/such.svg"], "No such file or directory: 'no/such.svg'"),
        (["run.json", "--png", "no/such.png"], "No such file or directory: "),
        (["run.json", "--png", "run.nothing"], "Format 'nothing' is not supported"),
    ],
)
def test_what_cannot_be_done_is_told_in_a_line(
    path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    monkeypatch.chdir(path.parent)
    Path("bad.json").write_text("not JSON")
    assert shown(*arguments) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.startswith("procorch trace: ")
    assert words in output.err
    assert output.err.count("\n") == 1


@pytest.mark.parametrize(("option", "library", "extra"), [("--svg", "rich", "rich"), ("--png", "matplotlib", "plot")])
def test_a_missing_extra_is_told_with_what_installs_it(
    path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    option: str,
    library: str,
    extra: str,
) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    assert shown("missing.json", option, str(path.with_name("out"))) == 2
    assert f"needs {library}: pip install 'procorch[{extra}]'\n" in capsys.readouterr().err
    assert not path.with_name("out").exists()
