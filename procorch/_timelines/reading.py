"""From a trace file to a timeline. Forgives what a killed program leaves: no end of the file, spans without an end."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, TypeAlias, cast

import attrs

from procorch._timelines.timeline import STARTING, Group, Mark, Row, Span, Timeline

_Event: TypeAlias = dict[str, Any]  # one row of the file, as JSON gives it


def read(path: str | os.PathLike[str]) -> Timeline:
    """Read what a `TraceFile` has written.

    Args:
        path (str | os.PathLike[str]): Where it is.

    Returns:
        Timeline: What is in it.

    Raises:
        OSError: It cannot be read.
        ValueError: It is no trace of a group; names the file.
    """
    data = Path(path).read_bytes()
    try:
        found, whole = _events(data.decode())
        return _timeline(found, whole=whole)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{os.fspath(path)} is not a trace of procorch") from error


def _events(text: str) -> tuple[list[_Event], bool]:
    """Give all rows, and whether there is an end behind the last."""
    try:
        found: Any = json.loads(text)
    except ValueError:
        return _events_line_by_line(text), False
    if isinstance(found, dict):
        found = cast("dict[str, Any]", found)["traceEvents"]
    return cast("list[_Event]", found), True


def _events_line_by_line(text: str) -> list[_Event]:
    begin, *lines = text.splitlines() or [""]
    if begin.strip() != "[":
        raise ValueError("no list of rows, each in a line of its own")
    found: list[_Event] = []
    for number, line in enumerate(lines):
        try:
            found.append(json.loads(line.strip().removesuffix(",")))
        except ValueError:
            if number < len(lines) - 1:
                raise
    return found


@attrs.define
class _Slot:
    """What is known of one row of the picture so far."""

    group: int
    number: int
    name: str = ""
    started: int = 0
    ended: int = 0
    again: int = 0
    spans: list[Span] = attrs.Factory(list[Span])
    marks: list[Mark] = attrs.Factory(list[Mark])
    open: list[_Event] = attrs.Factory(list[_Event])


def _timeline(events: list[_Event], *, whole: bool) -> Timeline:
    groups: dict[int, Group] = {}
    slots: dict[tuple[int, int], _Slot] = {}
    end = 0.0
    for event in events:
        args = event.get("args", {})
        if event["ph"] == "M":
            _name(event, args, groups, slots)
        elif event["ph"] in "XBi":
            slot = _slot(event, slots)
            end = max(end, (event["ts"] + event.get("dur", 0)) / 1e6)
            _note(event, args, slot)
    if events and not groups:
        raise ValueError("no group in it")
    for slot in slots.values():
        slot.spans += [_span(event, event["args"], end) for event in slot.open]
    ordered = sorted(slots.values(), key=lambda slot: (slot.group, slot.number))
    rows = [_row(slot, groups[slot.group].name) for slot in ordered]
    alive = any(slot.open or slot.ended < slot.started for slot in ordered)
    return Timeline(tuple(groups.values()), tuple(rows), end, whole=whole and not alive)


def _name(event: _Event, args: _Event, groups: dict[int, Group], slots: dict[tuple[int, int], _Slot]) -> None:
    if event["name"] == "process_name" and "wall" in args:
        groups[event["pid"]] = Group(str(args["name"]), args["process"], float(args["wall"]))
    elif event["name"] == "thread_name":
        _slot(event, slots).name = str(args["name"])


def _slot(event: _Event, slots: dict[tuple[int, int], _Slot]) -> _Slot:
    key = (event["pid"], event["tid"])
    return slots.setdefault(key, _Slot(*key))


def _note(event: _Event, args: _Event, slot: _Slot) -> None:
    match event["cat"]:
        case "process" if event["ph"] == "i":
            slot.ended += 1
        case "process" | "chunk":
            slot.started += event["cat"] == "process"
            if event["ph"] == "B":
                slot.open.append(event)
            else:
                slot.spans.append(_span(event, args, (event["ts"] + event["dur"]) / 1e6))
        case "crash":
            slot.ended += "exitcode" in args  # one that was known late has been counted
            slot.marks.append(Mark(event["ts"] / 1e6, "crash", str(event["name"])))
        case "signal":
            slot.marks.append(Mark(event["ts"] / 1e6, "kill", str(event["name"])))
        case "retry" | "failure" as kind:
            slot.marks.append(Mark(event["ts"] / 1e6, kind, str(event["name"])))
            slot.again += kind == "retry" and args["reason"] == "raised"
            if args["reason"] == "timed out":
                slot.marks.append(Mark(event["ts"] / 1e6, "timeout", str(event["name"])))
        case _:
            raise ValueError(f"unknown category {event['cat']}")


def _span(event: _Event, args: _Event, end: float) -> Span:
    begin = event["ts"] / 1e6
    if event["cat"] == "process":
        return Span(begin, max(begin, end), STARTING, open=event["ph"] == "B")
    if event["ph"] == "B":
        return Span(begin, max(begin, end), str(event["name"]), open=True)
    return Span(begin, end, str(event["name"]), int(args["items"]), int(args["failed"]))


def _row(slot: _Slot, group: str) -> Row:
    spans = sorted(slot.spans, key=lambda span: span.begin)
    marks = sorted(slot.marks, key=lambda mark: mark.at)
    name = slot.name or f"slot {slot.number}"
    return Row(group, name, slot.started, slot.again, tuple(spans), tuple(marks))
