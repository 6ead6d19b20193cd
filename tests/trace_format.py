"""Holds a trace against the "Trace Event Format", and makes traces without processes."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any

from procorch import events as e
from procorch.trace import TraceFile

_MEMBERS = {
    "X": {"name", "cat", "ph", "ts", "dur", "pid", "tid", "args"},
    "B": {"name", "cat", "ph", "ts", "pid", "tid", "args"},
    "i": {"name", "cat", "ph", "ts", "s", "pid", "tid", "args"},
    "C": {"name", "ph", "ts", "pid", "args"},
    "M": {"name", "ph", "pid", "tid", "args"},
}
"""The members of each phase that is used: all that the format asks for, and none that it does not know."""

_NAMES = {
    "process_name": "name",
    "process_labels": "labels",
    "process_sort_index": "sort_index",
    "thread_name": "name",
    "thread_sort_index": "sort_index",
}
"""What may be named, and by which of the args."""

Row = dict[str, Any]


def check(path: Path) -> list[Row]:
    """Fail if a trace is not as the format wants it; give its rows."""
    rows: list[Row] = json.loads(path.read_text(encoding="ascii"))
    for row in rows:
        _check_row(row)
    named = {(row["pid"], row["tid"]) for row in rows if row["name"] == "thread_name"}
    processes = {row["pid"] for row in rows if row["name"] == "process_name"}
    assert {(row["pid"], row["tid"]) for row in rows if row["ph"] in "XBi"} <= named
    assert {row["pid"] for row in rows} == processes
    _check_that_nothing_overlaps(rows)
    return rows


def _check_row(row: Row) -> None:
    assert set(row) == _MEMBERS[row["ph"]], row
    assert isinstance(row["name"], str)
    for member in {"ts", "dur", "pid", "tid"} & set(row):
        assert type(row[member]) is int
        assert row[member] >= 0
    match row["ph"]:
        case "C":
            assert row["args"]
            assert all(type(value) is int for value in row["args"].values())
        case "i":
            assert row["s"] == "t"
        case "M":
            assert type(row["args"][_NAMES[row["name"]]]) is (int if "index" in row["name"] else str)
        case _:
            assert isinstance(row["args"], dict)


def _check_that_nothing_overlaps(rows: list[Row]) -> None:
    """Spans of a thread lie beside each other: those that overlap without one being in the other are not allowed."""
    spans: dict[tuple[int, int], list[tuple[int, float]]] = defaultdict(list)
    for row in rows:
        if row["ph"] in "XB":
            end = row["ts"] + row["dur"] if row["ph"] == "X" else float("inf")
            spans[row["pid"], row["tid"]].append((row["ts"], end))
    for found in spans.values():
        found.sort()
        assert all(one[1] <= other[0] for one, other in pairwise(found))


# --- events by hand ---------------------------------------------------------------------------------------------------


def write(path: Path, events: Iterable[e.Event]) -> Path:
    """Make a trace of some events."""
    with TraceFile(path) as trace:
        for event in events:
            trace(event)
    return path


def begin(*slots: int, group: str = "etl", at: float = 100.0) -> list[e.Event]:
    """The first events of a group: its processes are ready after 10 ms."""
    events: list[e.Event] = [e.GroupBegan(at, group, 1_700_000_000.5, 4242)]
    events += [e.ProcessStarted(at, slot, f"{group}-{slot}", 5000 + slot) for slot in slots]
    events += [e.ProcessReady(at + 0.01, slot, f"{group}-{slot}", 5000 + slot) for slot in slots]
    return events


def chunk(
    slot: int, begin: float, end: float, *, task: str = "shop.pack", items: int = 4, failed: int = 0
) -> list[e.Event]:
    """A chunk of items."""
    return [
        e.ChunkBegan(begin, slot, 1, task, 0, items),
        e.ChunkEnded(end, slot, 1, task, 0, items, failed, begin),
    ]


def finish(at: float, *slots: int, group: str = "etl") -> list[e.Event]:
    """The last events of a group."""
    events: list[e.Event] = [e.ProcessEnded(at, slot, f"{group}-{slot}", 5000 + slot, 0) for slot in slots]
    return [*events, e.GroupEnded(at, group)]


def eventful() -> list[e.Event]:
    """A run of two workers in 2 s: a crash, a timeout that takes SIGKILL, an item that is tried again."""
    return [
        *begin(1, 2),
        *chunk(1, 100.01, 100.5),
        *chunk(1, 100.5, 101.0, failed=1),
        e.ItemRetried(101.0, 1, 1, "shop.pack", 3, 1, "raised"),
        *chunk(2, 100.01, 100.8, items=2),
        e.ProcessEnded(100.8, 2, "etl-2", 5002, -11),
        e.ItemFailed(100.8, 2, 1, "shop.pack", 2, "crashed"),
        e.ProcessStarted(100.8, 2, "etl-2", 5003),
        e.ProcessReady(100.9, 2, "etl-2", 5003),
        e.ProcessSignalled(101.2, 1, "etl-1", 5001, "SIGTERM"),
        e.ProcessSignalled(101.3, 1, "etl-1", 5001, "SIGKILL"),
        *chunk(1, 101.0, 101.4, items=0),
        e.ProcessEnded(101.4, 1, "etl-1", 5001, -9),
        e.ItemFailed(101.4, 1, 1, "shop.pack", 7, "timed out"),
        *chunk(2, 100.9, 101.9, task="shop.ship", items=10),
        *finish(102.0, 2),
    ]
