"""Trace files, from events made by hand; no process."""

from __future__ import annotations

import json
import os
import shutil
import threading
from itertools import pairwise
from pathlib import Path

import pytest
from trace_format import begin, check, chunk, eventful, finish, write

from procorch import events as e
from procorch.trace import BURST, LINES, TraceFile


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run.json"


def test_each_event_has_its_row(path: Path) -> None:
    rows = check(write(path, eventful()))
    assert [row["args"]["name"] for row in rows if row["name"] in ("process_name", "thread_name")] == [
        "etl",
        "etl-1",
        "etl-2",
    ]
    began = next(row for row in rows if row["name"] == "process_name")
    assert began["args"] == {"name": "etl", "process": 4242, "wall": 1_700_000_000.5}
    assert next(row for row in rows if row["name"] == "process_labels")["args"]["labels"] == (
        "pid 4242, began 2023-11-14T22:13:20.500+00:00"
    )
    spans = [
        (row["tid"], row["name"], row["ts"], row["dur"], row["args"]["process"]) for row in rows if row["ph"] == "X"
    ]
    assert spans == [
        (1, "starting", 0, 10_000, 5001),
        (2, "starting", 0, 10_000, 5002),
        (1, "shop.pack", 10_000, 490_000, 5001),
        (1, "shop.pack", 500_000, 500_000, 5001),
        (2, "shop.pack", 10_000, 790_000, 5002),
        (2, "starting", 800_000, 100_000, 5003),
        (1, "shop.pack", 1_000_000, 400_000, 5001),
        (2, "shop.ship", 900_000, 1_000_000, 5003),
    ]
    assert next(row for row in rows if row["name"] == "shop.ship")["args"] == {
        "job": 1, "first": 0, "items": 10, "failed": 0, "process": 5003,
    }  # fmt: skip
    marks = [(row["cat"], row["name"], row["ts"]) for row in rows if row["ph"] == "i"]
    assert marks == [
        ("retry", "retry (raised)", 1_000_000),
        ("crash", "crash: was killed by SIGSEGV", 800_000),
        ("failure", "failed (crashed)", 800_000),
        ("signal", "SIGTERM", 1_200_000),
        ("signal", "SIGKILL", 1_300_000),
        ("process", "ended", 1_400_000),
        ("failure", "failed (timed out)", 1_400_000),
        ("process", "ended", 2_000_000),
    ]
    assert next(row["args"] for row in rows if row.get("cat") == "retry") == {
        "job": 1, "item": 3, "attempts": 1, "task": "shop.pack", "reason": "raised", "process": 5001,
    }  # fmt: skip
    assert [row["args"] for row in rows if row["ph"] == "C"][-2:] == [{"busy": 0}, {"done": 19, "failed": 2}]


def test_a_service_that_is_started_again_has_a_mark(path: Path) -> None:
    restarted = e.ServiceRestarted(3.0, 1, "web-1", 2, 0.5, "raised", 'ValueError: "no"')
    write(
        path,
        [
            e.GroupBegan(1.0, "etl", 0.0, 1),
            e.ProcessStarted(1.0, 1, "web-1", 7),
            e.ProcessReady(1.5, 1, "web-1", 7),
            e.ServiceReady(2.0, 1, "web-1", 7),
            restarted,
            e.GroupEnded(4.0, "etl"),
        ],
    )
    marks = [row for row in check(path) if row["ph"] == "i"]
    assert [(row["cat"], row["name"], row["ts"], row["tid"]) for row in marks] == [
        ("retry", "restart (raised)", 2_000_000, 1)
    ]
    told = {"restarts": 2, "reason": "raised", "detail": 'ValueError: "no"'}
    assert told.items() <= marks[0]["args"].items()


def test_the_file_is_whole_after_each_event(path: Path) -> None:
    trace = TraceFile(path)
    for event in eventful():
        trace(event)
        rows = check(path)
    assert not [row for row in rows if row["ph"] == "B"]


def test_what_goes_on_is_in_the_file(path: Path) -> None:
    trace = TraceFile(path)
    trace(e.GroupBegan(5.0, "etl", 1.0, 1))
    trace(e.ProcessStarted(5.0, 1, "etl-1", 7))
    assert [row["name"] for row in check(path) if row["ph"] == "B"] == ["starting"]
    trace(e.ProcessReady(5.5, 1, "etl-1", 7))
    trace(e.ChunkBegan(6.0, 1, 3, "shop.pack", 20, 5))
    assert [row for row in check(path) if row["ph"] == "B"] == [
        {"name": "shop.pack", "cat": "chunk", "ph": "B", "ts": 1_000_000, "pid": 1, "tid": 1,
         "args": {"job": 3, "first": 20, "items": 5, "process": 7}},
    ]  # fmt: skip
    assert [row["args"] for row in check(path) if row["ph"] == "C"] == [{"busy": 1}, {"done": 0, "failed": 0}]


def test_a_crash_that_only_its_item_shows(path: Path) -> None:
    events: list[e.Event] = [
        *begin(1),
        *chunk(1, 101, 102, items=0),
        e.ProcessEnded(102, 1, "etl-1", 5001, 0),
        e.ItemFailed(102, 1, 1, "shop.pack", 0, "crashed"),
        e.ItemFailed(102, 1, 1, "shop.pack", 0, "raised"),
        e.GroupEnded(103, "etl"),
    ]
    names = [row["name"] for row in check(write(path, events)) if row["ph"] == "i"]
    assert names == ["ended", "crash: ended with exit code 0", "failed (crashed)", "failed (raised)"]


def test_a_process_without_a_number(path: Path) -> None:
    events: list[e.Event] = [
        e.GroupBegan(0, "g", 1.0, 1),
        e.ProcessStarted(0, 1, "g-1", None),
        e.ProcessReady(1, 1, "g-1", None),
    ]
    rows = check(write(path, [*events, *chunk(1, 1, 2), e.ProcessEnded(3, 1, "g-1", None, None), e.GroupEnded(3, "g")]))
    assert [row["args"] for row in rows if row["name"] == "starting"] == [{"ready": True}]
    assert [row["args"] for row in rows if row["name"] == "ended"] == [{"exitcode": None}]


@pytest.mark.parametrize("name", ['a"b', "new\nline", "tab\t", "ümläut", "\udc80", "a\\", "<lambda>", "日本"])
def test_any_name(path: Path, name: str) -> None:
    rows = check(
        write(path, [*begin(1, group=name), *chunk(1, 100.01, 100.02, task=name), *finish(101, 1, group=name)])
    )
    assert [row["args"]["name"] for row in rows if row["name"] == "process_name"] == [name]
    assert [row["name"] for row in rows if row.get("cat") == "chunk"] == [name]


def test_neighbours_do_not_overlap_by_rounding(path: Path) -> None:
    moments = [100.01 + number * 1.0000003e-5 / 3 for number in range(500)]
    chunks = [event for a, b in pairwise(moments) for event in chunk(1, a, b)]
    assert len([row for row in check(write(path, [*begin(1), *chunks, *finish(101, 1)])) if row["ph"] == "X"]) == 500


def test_counters_are_thinned_and_end_right(path: Path) -> None:
    chunks = [event for number in range(1000) for event in chunk(1, 100.1 + number * 1e-3, 100.1005 + number * 1e-3)]
    rows = check(write(path, [*begin(1), *chunks, *finish(102, 1)]))
    counts = [row for row in rows if row["ph"] == "C" and row["name"] == "items"]
    assert 50 < len(counts) <= 110
    assert counts[-1]["args"] == {"done": 4000, "failed": 0}
    assert [row["args"] for row in rows if row["name"] == "busy workers"][-1] == {"busy": 0}


# --- several groups ---------------------------------------------------------------------------------------------------


def test_groups_at_the_same_time_are_told_apart(path: Path) -> None:
    with TraceFile(path) as trace:
        turn = threading.Barrier(2)

        def tell(events: list[e.Event]) -> None:
            for event in events:
                turn.wait()
                trace(event)

        histories = [
            [*begin(1, group=name), *chunk(1, 100.1, 101, task=name), *finish(102, 1, group=name)]
            for name in ("a", "b")
        ]
        threads = [threading.Thread(target=tell, args=(history,)) for history in histories]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    rows = check(path)
    names = {row["pid"]: row["args"]["name"] for row in rows if row["name"] == "process_name"}
    assert sorted(names) == [1, 2]
    assert {(names[row["pid"]], row["name"]) for row in rows if row.get("cat") == "chunk"} == {("a", "a"), ("b", "b")}


def test_groups_one_after_the_other(path: Path) -> None:
    trace = TraceFile(path)
    for number, wall in ((1, 50.0), (2, 52.5), (3, 40.0)):
        trace(e.GroupBegan(7.0 * number, "g", wall, 1))
        trace(e.ProcessStarted(7.0 * number + 1, 1, "g-1", 2))
        trace(e.ProcessEnded(7.0 * number + 2, 1, "g-1", 2, 0))
        trace(e.GroupEnded(7.0 * number + 3, "g"))
        rows = check(path)
    # By the clock on the wall; one that was put back does not make times negative.
    assert [(row["pid"], row["ts"]) for row in rows if row["ph"] == "X"] == [
        (1, 1_000_000),
        (2, 3_500_000),
        (3, 1_000_000),
    ]


def test_events_of_nobody_are_dropped(path: Path) -> None:
    assert check(write(path, [*chunk(1, 1, 2), *finish(3, 1)])) == []


# --- the file ---------------------------------------------------------------------------------------------------------


def test_one_that_is_never_used_is_an_empty_trace(path: Path) -> None:
    path.write_text("something longer that was there before")
    trace = TraceFile(path)
    assert json.loads(path.read_text()) == []
    assert repr(trace) == f"<TraceFile {str(path)!r}>"
    trace.close()
    trace.close()
    assert json.loads(path.read_text()) == []
    assert repr(trace) == f"<TraceFile {str(path)!r} closed>"


def test_no_descriptor_stays_open(path: Path) -> None:
    trace = TraceFile(path)
    for event in eventful()[:-3]:
        trace(event)
    links = [link for link in Path("/proc/self/fd").iterdir() if link.exists()]
    assert path not in [link.readlink() for link in links]


def test_a_relative_path_stays_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    trace = TraceFile("run.json")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    for event in eventful():
        trace(event)
    assert check(tmp_path / "run.json")


@pytest.mark.parametrize("where", ["no/such/folder.json", ".", "/dev/full"])
def test_what_cannot_be_written_is_told_at_once(tmp_path: Path, where: str) -> None:
    with pytest.raises(OSError, match=r"Errno"):
        TraceFile(tmp_path / where)


def test_what_cannot_be_written_any_more_is_told_once(path: Path) -> None:
    trace = TraceFile(path)
    first, *others = eventful()
    trace(first)
    path.unlink()
    with pytest.raises(FileNotFoundError):
        trace(others[0])
    for event in others:
        trace(event)
    trace.close()
    assert not path.exists()


def test_what_comes_after_the_end_is_dropped(path: Path) -> None:
    trace = TraceFile(path)
    events = eventful()
    for event in events[:6]:
        trace(event)
    trace.close()
    before = path.read_text()
    for event in events[6:]:
        trace(event)
    assert path.read_text() == before


def test_many_events_are_written_together(path: Path, tmp_path: Path) -> None:
    trace = TraceFile(path)
    for event in begin(1):
        trace(event)
    seen: list[int] = []
    for number in range(2 * LINES):
        for event in chunk(1, 100.1 + number * 1e-6, 100.1 + (number + 1) * 1e-6):
            trace(event)
        seen.append(path.stat().st_size)
    assert len(set(seen)) <= BURST + 4
    shutil.copy(path, tmp_path / "copy")
    assert len(check(tmp_path / "copy")) >= LINES
    trace(e.ItemFailed(101.2, 1, 1, "shop.pack", 7, "raised"))  # a second later: written at once again
    assert [row["ts"] for row in check(path) if row.get("cat") == "failure"] == [1_200_000]
    trace.close()
    assert len([row for row in check(path) if row.get("cat") == "chunk"]) == 2 * LINES


def test_a_forked_copy_leaves_the_file_alone(path: Path) -> None:
    with TraceFile(path) as trace:
        *events, last = eventful()
        for event in events[: len(events) // 2]:
            trace(event)
        reader, writer = os.pipe()
        pid = os.fork()
        if not pid:
            os.close(writer)
            os.read(reader, 1)  # comes when the parent has written more
            trace.close()
            os._exit(0)
        os.close(reader)
        for event in events[len(events) // 2 :]:
            trace(event)
        os.close(writer)
        assert os.waitpid(pid, 0) == (pid, 0)
        trace(last)
    check(path)
