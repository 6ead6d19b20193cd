"""What was given out in a round, what came of it, and whether that is what is promised."""

from __future__ import annotations

import itertools
import re
import signal
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, Future
from pathlib import Path
from typing import Any, Literal, TypeAlias

import attrs
from items import EXIT_CODE, HANGS, Failed, Item, Result, Retriable

from procorch import GroupClosed, NotPicklable, ProcessHandle, TaskTimeout, WorkerCrashed
from procorch.events import Event, ItemRetried

Call: TypeAlias = Literal["submit", "map", "imap", "start"]
Ending: TypeAlias = Literal["finish", "leave", "close", "raise", "terminate"]
"""How a group comes to its end: left when its work is done, left or closed while more is given, ended by force."""
_OURS = (WorkerCrashed, TaskTimeout, NotPicklable)
_FROM_OUTSIDE = {-signal.SIGKILL, -signal.SIGTERM}
"""What a worker's exit code may be whatever it runs: the saboteur's signals."""
_OWN_EXITS = {"exit code": EXIT_CODE, "segfault": -signal.SIGSEGV, "kill": -signal.SIGKILL}
_INDEX = re.compile(r"procorch: item (\d+) ")

Handled: TypeAlias = defaultdict[int, list[tuple[int, int]]]
"""What items have logged, by item, as it was handled here: process and number."""

_ids = itertools.count(1)


class Dropped:
    """The outcome of an item that nobody wanted any more: its call ended before it."""


class Refused:
    """The outcome of an item that the group did not take."""


@attrs.frozen
class Options:
    """Of `ProcessGroup.options`."""

    timeout: float | None = None
    retries: int = 0
    retries_own: bool = False
    """Whether `Retriable` is worth another try."""
    backoff: float | tuple[float, ...] = 0.0


@attrs.define(eq=False)
class Record:
    """One item that was given out."""

    item: Item
    call: Call
    options: Options
    future: Future[Any] | None = None
    handle: ProcessHandle[Any] | None = None
    outcome: Any = None
    right: bool = False
    """Whether its result is what it should be."""
    settled: int = 0
    """How many outcomes it had."""
    called_back: int = 0
    done_at: float = 0.0
    cancelled: bool = False
    """Whether somebody cancelled it, or asked its process to end."""
    records_seen: int = 0
    """Log records that had been handled when the outcome was there."""

    def settle(self, outcome: Any) -> None:
        """Take in what came of it. A result is looked at now: all of a round's together would take much memory."""
        self.settled += 1
        self.outcome = outcome
        if isinstance(outcome, Result):
            self.right = _is_right(self.item, outcome)
            self.outcome = outcome._replace(data=None, cargo=None)
            self.item = self.item._replace(cargo=None)

    def settle_by(self, result: Callable[[], Any]) -> Any:
        """Take in what a call gives or raises."""
        try:
            outcome = result()
        except BaseException as error:  # noqa: BLE001 - items raise all there is
            outcome = error
        self.settle(outcome)
        return outcome

    @property
    def verdict(self) -> str:
        """What came of it, in a word or two."""
        match self.outcome:
            case Result():
                return "value"
            case CancelledError():
                return "cancelled"
            case Dropped() | GroupClosed():
                return "dropped"
            case Refused():
                return "refused"
            case WorkerCrashed() | TaskTimeout() | NotPicklable():
                return type(self.outcome).__name__
            case Failed() | Retriable() | SystemExit() | KeyboardInterrupt():
                return "own error"
            case _:
                return "nothing"


def index_in(error: BaseException) -> int:
    """Tell which item of a call an error is of, from its note; -1 if none."""
    found = [_INDEX.match(text) for text in getattr(error, "__notes__", ())]
    return next((int(match[1]) for match in found if match), -1)


@attrs.frozen
class Line:
    """One of the log; see `items.note`."""

    item: int
    mark: str
    pid: int
    born: int
    at: float


def lines_of(log: Path) -> list[Line]:
    """Read the log."""
    words = (line.split() for line in log.read_text().splitlines())
    return [Line(int(item), mark, int(pid), int(born), float(at)) for item, mark, pid, born, at in words]


class Ledger:
    """Of one group."""

    def __init__(self, log: Path, complain: Callable[[str], None], handled: Handled) -> None:
        self.log = log
        self.complain = complain
        self.handled = handled
        self.records: list[Record] = []
        self.exposed: list[Record] = []
        """Some of which the outcome is awaited, for the saboteur: those with a future or a process of their own."""
        self.ended_tries = 0
        """How often the group says that an item is begun again since its process died, or was ended."""
        self._lock = threading.Lock()

    def hear(self, event: Event) -> None:
        """Take in what the group tells of itself."""
        if isinstance(event, ItemRetried) and event.reason in {"crashed", "timed out"}:
            self.ended_tries += 1

    def add(self, call: Call, options: Options, make: Callable[[int], Item]) -> Record:
        """Note that an item is given out."""
        record = Record(make(next(_ids)), call, options)
        with self._lock:
            self.records.append(record)
        return record

    def expose(self, record: Record) -> None:
        """Let the saboteur know of an item that has a future or a process of its own."""
        with self._lock:
            self.exposed = [*(one for one in self.exposed if not one.settled), record]

    def unsettled(self) -> Iterator[str]:
        """Tell what has no outcome."""
        for record in tuple(self.records):
            if not record.settled:
                yield f"{record.call} of {record.item[:2]} with {record.options}, {record.future or record.handle}"


@attrs.define
class Judge:
    """Holds the records of a round against the promises."""

    ledger: Ledger
    ending: Ending
    left_at: float
    forwards: bool
    begins: dict[int, list[Line]] = attrs.field(factory=lambda: defaultdict(list))
    _unseen: int = 0
    """Tries that count, of which there is no line: a process may be killed between the mark and the first line."""

    def judge(self) -> list[float]:
        """Complain of all that is wrong; give by how much errors of timeouts came after their limits."""
        lines = lines_of(self.ledger.log)
        for line in lines:
            if line.mark == "B":
                self.begins[line.item].append(line)
            if line.at > self.left_at:
                self.ledger.complain(f"{line} is {line.at - self.left_at} s after the group was left")
        late: list[float] = []
        for record in self.ledger.records:
            begins = self.begins[record.item.id]
            for fault in self._faults(record, len(begins)):
                history = [(line.pid, line.at) for line in begins]
                self.ledger.complain(
                    f"{fault}: {attrs.evolve(record, item=record.item._replace(cargo=None))} {history}"
                )
            if record.call == "submit" and isinstance(record.outcome, TaskTimeout) and begins and record.done_at:
                late.append(record.done_at - begins[-1].at - record.outcome.limit)
        return late

    @property
    def _by_force(self) -> bool:
        return self.ending in {"raise", "terminate"}

    def _faults(self, record: Record, begun: int) -> Iterator[str]:
        most = 1 + record.options.retries
        if record.settled != 1:
            yield f"{record.settled} outcomes"
        if record.future is not None and record.called_back != 1:
            yield f"its callback was called {record.called_back} times"
        if begun > most:
            yield f"begun {begun} times"
        if record.verdict in {"value", "own error"} and not begun:
            yield "has an outcome of its own without a run"
        if record.verdict == "refused" and begun:
            yield "refused, and begun"
        if not self._is_explained(record, begun):
            yield "its outcome is none that it can have"
        yield from self._log_faults(record)

    def _is_explained(self, record: Record, begun: int) -> bool:
        item, outcome = record.item, record.outcome
        match outcome:
            case Result():
                return record.right
            case CancelledError():
                return record.cancelled or self._by_force
            case GroupClosed():
                return self._by_force
            case Refused():
                return self.ending != "finish"
            case Dropped():
                return record.call in {"map", "imap"}
            case Failed():
                return item.kind == "raise"
            case Retriable():
                # Once `map` knows of an error, nothing more is begun: no further try either.
                again = record.options.retries_own and not self._by_force and record.call != "map"
                return item.kind == "retriable" and (not again or self._has_no_try_left(record, begun))
            case KeyboardInterrupt():
                return item.kind == "interrupt"
            case SystemExit():
                return item.kind == "exit" and outcome.code == item.id
            case NotPicklable():
                return item.kind == f"no {outcome.what}" and (outcome.what == "result" or not begun)
            case TaskTimeout():
                return outcome.limit == record.options.timeout and self._has_tried(record, outcome.attempts, begun)
            case WorkerCrashed():
                known = outcome.exitcode in _FROM_OUTSIDE or outcome.exitcode == _OWN_EXITS.get(item.kind)
                return known and self._has_tried(record, outcome.attempts, begun)
            case _:
                return False

    def _has_no_try_left(self, record: Record, begun: int) -> bool:
        self._unseen += max(0, 1 + record.options.retries - begun)
        return self._unseen <= self.ledger.ended_tries

    def _has_tried(self, record: Record, attempts: int, begun: int) -> bool:
        """Whether an item was tried as often as it says and as was asked for."""
        most = 1 + record.options.retries
        given_up = attempts == 0 or self._by_force or record.cancelled or record.call == "map"
        return begun <= attempts <= most and (given_up or attempts == most)

    def _log_faults(self, record: Record) -> Iterator[str]:
        handled = self.ledger.handled[record.item.id]
        if record.item.kind != "log" or not self.forwards:
            if handled:
                yield f"{len(handled)} log records from nowhere"
            return
        by_process: dict[int, list[int]] = defaultdict(list)
        for pid, number in handled:
            by_process[pid].append(number)
        if any(numbers != list(range(len(numbers))) for numbers in by_process.values()):
            yield f"log records out of order: {by_process}"
        if record.verdict == "value" and record.records_seen < record.item.amount:
            yield f"only {record.records_seen} log records were handled before the outcome"


def _is_right(item: Item, result: Result) -> bool:
    expected = {"quick": item.amount * 2, "large": bytes([item.id % 256]) * item.amount, "nested": [0, 2, 4, 6]}
    right = result.data == expected.get(item.kind) and item.kind not in {
        "raise",
        "exit",
        "interrupt",
        *HANGS,
        *_OWN_EXITS,
    }
    return right and result.id == item.id and result.cargo == item.cargo


def now_called_back(record: Record, _: Future[Any]) -> None:
    """Be a future's callback."""
    record.called_back += 1
    record.done_at = time.monotonic()


def settle_all(records: Sequence[Record], outcome: Any) -> None:
    """Give the same outcome to those that have none yet."""
    for record in records:
        if not record.settled:
            record.settle(outcome)
