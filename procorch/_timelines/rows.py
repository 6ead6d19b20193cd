"""The events of one group as rows of a trace: what each becomes, and what is still going on. Knows no file.

The form is the "Trace Event Format" of Chrome, which Perfetto reads as well. A group is a process there, a worker's
slot a thread. Spans are phase X, whose row is written when they end; counters are C, marks i, names M.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TypeAlias, assert_never

import attrs

from procorch import events as e
from procorch._errors import describe_exit

_OfSlot: TypeAlias = e.ItemRetried | e.ItemFailed | e.ServiceRestarted | e.ProcessSignalled | e.ProcessEnded

COUNT_EVERY = 0.01
"""Seconds between two rows of counters: a chunk may take less than a thousandth of that, and no eye sees it."""


@attrs.define
class _Slot:
    """What goes on in a worker's place."""

    starting: e.ProcessStarted | None = None
    """Its process, until that is ready."""
    chunk: e.ChunkBegan | None = None
    """What it has got."""
    signalled: bool = False
    """Whether its process has been sent a signal: then its end is no crash."""
    quiet_end: e.ProcessEnded | None = None
    """How its last process ended, if that looked as it should."""
    args: str = ""
    """Its process, as the last member of a row's args."""


@attrs.frozen
class _Count:
    """How far a group was, at one moment."""

    at: float
    busy: int = 0
    """Workers that have items."""
    done: int = 0
    """Items that have a value."""
    failed: int = 0
    """Items that have failed for good."""


class _Counts:
    """Counts, and holds back what changes too fast to be worth a row."""

    def __init__(self, now: float) -> None:
        self._told = now
        self._last = _Count(now)
        self._is_told = True

    def change(self, now: float, *, busy: int = 0, done: int = 0, failed: int = 0) -> _Count | None:
        """Count; give what it was before, if that stood long enough to be told and has not been."""
        last = self._last
        tell = not self._is_told and now - self._told >= COUNT_EVERY
        if tell:
            self._told = last.at
        self._last = _Count(now, last.busy + busy, last.done + done, last.failed + failed)
        self._is_told = False
        return last if tell else None

    def rest(self) -> _Count | None:
        """Give what has not been told."""
        return None if self._is_told else self._last


class GroupRows:
    """Turns the events of one group into rows, each of them a JSON object in one line."""

    def __init__(self, number: int, shift: int, began: e.GroupBegan) -> None:
        """Begin.

        Args:
            number (int): Tells groups of the same trace apart, from 1.
            shift (int): Microseconds from the beginning of the trace to that of the group.
            began (GroupBegan): The group's first event.
        """
        self._number = number
        self._zero = began.at
        self._shift = shift
        self._began = began
        self._slots: dict[int, _Slot] = {}
        self._names: dict[str, str] = {}
        self._counts = _Counts(began.at)

    def rows(self, event: e.Event) -> list[str]:
        """Hear the next event.

        Args:
            event (Event): It.

        Returns:
            list[str]: What is to be written for it, perhaps nothing.
        """
        match event:
            case e.ChunkBegan():
                return self._chunk_began(event)
            case e.ChunkEnded():
                return self._chunk_ended(event)
            case e.ItemRetried():
                args = f'"attempts":{event.attempts},{self._item(event)}'
                return [*self._crash_of(event), self._mark(event, "retry", f"retry ({event.reason})", args)]
            case e.ItemFailed():
                name = f"failed ({event.reason})"
                rows = self._counters(self._counts.change(event.at, failed=1))
                return [*rows, *self._crash_of(event), self._mark(event, "failure", name, self._item(event))]
            case e.ServiceRestarted():
                args = f'"restarts":{event.restarts},"reason":"{event.reason}","detail":{json.dumps(event.detail)}'
                return [self._mark(event, "retry", f"restart ({event.reason})", args)]
            case e.ServiceReady():
                return []
            case e.ProcessSignalled():
                self._slot(event.slot).signalled = True
                return [self._mark(event, "signal", event.signal, f'"signal":"{event.signal}"')]
            case e.ProcessStarted():
                return self._started(event)
            case e.ProcessReady():
                return self._ready(event)
            case e.ProcessEnded():
                return self._ended(event)
            case e.GroupBegan():
                return self._group_began()
            case e.GroupEnded():
                return self._counters(self._counts.rest())
            case _:
                assert_never(event)

    def open_rows(self) -> list[str]:
        """Tell what is going on, for whoever reads the trace of a program that was killed.

        Returns:
            list[str]: Rows that hold until the next event.
        """
        rows = self._counters(self._counts.rest())
        for number, slot in self._slots.items():
            if slot.starting is not None:
                rows.append(self._row("starting", "process", '"ph":"B"', slot.starting.at, number, slot.args[1:]))
            if slot.chunk is not None:
                chunk = slot.chunk
                args = f'"job":{chunk.job},"first":{chunk.first},"items":{chunk.items}'
                rows.append(self._row(chunk.task, "chunk", '"ph":"B"', chunk.at, number, args + slot.args))
        return rows

    # --- the group and its processes ----------------------------------------------------------------------------------

    def _group_began(self) -> list[str]:
        began = self._began
        moment = datetime.fromtimestamp(began.wall, tz=UTC).isoformat(timespec="milliseconds")
        name = f'"name":{json.dumps(began.group)},"process":{began.pid},"wall":{began.wall:.6f}'
        return [
            self._meta("process_name", name),
            self._meta("process_labels", f'"labels":"pid {began.pid}, began {moment}"'),
            self._meta("process_sort_index", f'"sort_index":{self._number}'),
        ]

    def _started(self, event: e.ProcessStarted) -> list[str]:
        first = event.slot not in self._slots
        slot = self._slot(event.slot)
        slot.starting, slot.signalled, slot.quiet_end = event, False, None
        slot.args = "" if event.pid is None else f',"process":{event.pid}'
        if not first:
            return []
        return [
            self._meta("thread_name", f'"name":{json.dumps(event.name)}', event.slot),
            self._meta("thread_sort_index", f'"sort_index":{event.slot}', event.slot),
        ]

    def _ready(self, event: e.ProcessReady | e.ProcessEnded) -> list[str]:
        slot = self._slot(event.slot)
        started, slot.starting = slot.starting, None
        if started is None:
            return []
        ready = "true" if isinstance(event, e.ProcessReady) else "false"
        return [self._span("starting", "process", started.at, event.at, event.slot, f'"ready":{ready}{slot.args}')]

    def _ended(self, event: e.ProcessEnded) -> list[str]:
        rows = self._ready(event)
        slot = self._slot(event.slot)
        crashed = not slot.signalled and event.exitcode not in (0, None)
        slot.quiet_end = None if crashed or slot.signalled else event
        name = f"crash: {describe_exit(event.exitcode)}" if crashed else "ended"
        code = "null" if event.exitcode is None else str(event.exitcode)
        rows.append(self._mark(event, "crash" if crashed else "process", name, f'"exitcode":{code}'))
        return rows

    def _crash_of(self, event: e.ItemRetried | e.ItemFailed) -> list[str]:
        """Tell of a crash that only its item shows: the process ended with exit code 0, or nobody knows how."""
        slot = self._slot(event.slot)
        if event.reason != "crashed" or slot.quiet_end is None:
            return []
        ended, slot.quiet_end = slot.quiet_end, None
        return [self._mark(event, "crash", f"crash: {describe_exit(ended.exitcode)}", '"late":true')]

    # --- chunks -------------------------------------------------------------------------------------------------------

    def _chunk_began(self, event: e.ChunkBegan) -> list[str]:
        self._slot(event.slot).chunk = event
        return self._counters(self._counts.change(event.at, busy=1))

    def _chunk_ended(self, event: e.ChunkEnded) -> list[str]:
        slot = self._slot(event.slot)
        slot.chunk = None
        rows = self._counters(self._counts.change(event.at, busy=-1, done=event.items - event.failed))
        args = f'"job":{event.job},"first":{event.first},"items":{event.items},"failed":{event.failed}{slot.args}'
        rows.append(self._span(event.task, "chunk", event.began, event.at, event.slot, args))
        return rows

    def _counters(self, count: _Count | None) -> list[str]:
        if count is None:
            return []
        head = f'"ph":"C","ts":{self._time(count.at)},"pid":{self._number}'
        return [
            f'{{"name":"busy workers",{head},"args":{{"busy":{count.busy}}}}}',
            f'{{"name":"items",{head},"args":{{"done":{count.done},"failed":{count.failed}}}}}',
        ]

    # --- rows ---------------------------------------------------------------------------------------------------------

    def _slot(self, number: int) -> _Slot:
        slot = self._slots.get(number)
        if slot is None:
            slot = self._slots[number] = _Slot()
        return slot

    def _item(self, event: e.ItemRetried | e.ItemFailed) -> str:
        return f'"job":{event.job},"item":{event.item},"task":{self._name(event.task)},"reason":"{event.reason}"'

    def _name(self, text: str) -> str:
        name = self._names.get(text)
        if name is None:
            name = self._names[text] = json.dumps(text)
        return name

    def _time(self, at: float) -> int:
        # Whole microseconds: the ends of spans are rounded, not their lengths, so that neighbours never overlap.
        return round((at - self._zero) * 1e6) + self._shift

    def _row(self, name: str, category: str, phase: str, at: float, slot: int, args: str) -> str:
        """Write a row of a slot.

        Args:
            name (str): What it shows.
            category (str): Its kind.
            phase (str): What of a span or mark it is, and other members that this kind has.
            at (float): When.
            slot (int): Where.
            args (str): The members of its args.

        Returns:
            str: The row.
        """
        return (
            f'{{"name":{self._name(name)},"cat":"{category}",{phase},"ts":{self._time(at)},'
            f'"pid":{self._number},"tid":{slot},"args":{{{args}}}}}'
        )

    def _span(self, name: str, category: str, began: float, ended: float, slot: int, args: str) -> str:
        duration = self._time(ended) - self._time(began)
        return self._row(name, category, f'"ph":"X","dur":{duration}', began, slot, args)

    def _mark(self, event: _OfSlot, category: str, name: str, args: str) -> str:
        args = args + self._slot(event.slot).args
        return self._row(name, category, '"ph":"i","s":"t"', event.at, event.slot, args)

    def _meta(self, name: str, args: str, slot: int = 1) -> str:
        return f'{{"name":"{name}","ph":"M","pid":{self._number},"tid":{slot},"args":{{{args}}}}}'
