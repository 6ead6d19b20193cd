"""Outcomes on their way into the database: a queue, and the thread that writes it down, many in one transaction.

    outcomes arrive --> queue --(at once, or 20 ms after the last time)--> database

Once that has failed (a full disk) nothing more is written until the end, where it is tried once more.
"""

from __future__ import annotations

import pickle
import threading
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from procorch._checkpoint import Key
from procorch._checkpoints.files import reason_of
from procorch._checkpoints.in_band import Beside, lasting
from procorch._checkpoints.store import Row, Store
from procorch._condition import Condition
from procorch._daemon import Daemon
from procorch._errors import CheckpointError
from procorch._messages import PROTOCOL, Failure
from procorch._outcome import name_of_type, read_report, text_of

_EVERY_SECONDS = 0.02
"""Between two transactions, at least: each costs about 0.2 ms. What ends in this time is in doubt after a SIGKILL."""

_MOST = 8192
"""Outcomes that may wait; then no further inputs are taken."""

_MOST_BYTES = 1 << 26
"""The same of their results."""


class Known(NamedTuple):
    """What is known of an item beforehand."""

    key: Key
    mark: int | bytes
    """Position, or fingerprint of the key."""
    item: str | None
    fingerprint: bytes | None


class Plainly(NamedTuple):
    """A result that is plain data, as it is."""

    value: Any


class Entry(NamedTuple):
    """What became of an item."""

    known: Known
    state: str
    attempts: int
    ended: float
    process: str | None
    held: bytes | Beside | Plainly | Failure | BaseException | None
    """The result or what was raised, not looked at yet; None if it is not kept."""

    @property
    def size(self) -> int:
        """About how many bytes wait."""
        if isinstance(self.held, Beside):
            return self.held.size
        return len(self.held) if isinstance(self.held, bytes) else 0


class Journal:
    """See the module's text."""

    def __init__(self, store: Store, name: str, failed: Callable[[], None]) -> None:
        """Begin; `start` follows.

        Args:
            store (Store): Open; closed by the caller.
            name (str): Of the group, for the thread's.
            failed (Callable[[], None]): Called in some thread once something could not be written.
        """
        self._store = store
        self._failed = failed
        # A daemon: whoever has to be sure waits for the end.
        self._thread = Daemon(self._run, f"procorch-{name}-checkpoint")
        self._news = Condition()
        # From here on under its lock.
        self._queue: list[Entry] = []
        self._bytes = 0
        self._is_writing = False
        self._then: Callable[[bool], None] | None = None
        self.error: CheckpointError | None = None
        """Why nothing is written any more."""

    def start(self) -> None:
        """Start the thread: before anything begins whose outcome it is to write, as there may be no room for one."""
        self._thread.start()

    @property
    def is_here(self) -> bool:
        """Whether this is its thread."""
        return threading.current_thread() is self._thread

    @property
    def _ending(self) -> bool:
        return self._then is not None

    def put(self, entries: list[Entry]) -> None:
        """Take outcomes in.

        Args:
            entries (list[Entry]): At least one.
        """
        with self._news:
            if self._ending:
                return  # what is not recorded is in doubt, if it has begun
            self._queue += entries
            self._bytes += sum(entry.size for entry in entries)
            self._news.notify_all()

    def fail(self, error: CheckpointError) -> None:
        """Write nothing more before the end. Any thread.

        Args:
            error (CheckpointError): Why.
        """
        with self._news:
            self.error = self.error or error
            self._news.notify_all()
        self._failed()

    def wait_for_room(self) -> None:
        """Wait until not too much is waiting."""
        with self._news:
            self._news.wait_for(lambda: self.error is not None or not self._is_full)

    @property
    def _is_full(self) -> bool:
        return len(self._queue) >= _MOST or self._bytes >= _MOST_BYTES

    def flush(self) -> None:
        """Wait until all that has been put is written, or cannot be."""
        with self._news:
            self._news.wait_for(lambda: self.error is not None or not (self._queue or self._is_writing))

    def finish(self, then: Callable[[bool], None]) -> None:
        """Write what is left, and end, soon. Nothing happens if it has been told before.

        Args:
            then (Callable[[bool], None]): Called at last, in the thread, where no Ctrl-C comes in between: with whether
                everything has been written.
        """
        with self._news:
            if self._then is None:
                self._then = then
                self._news.notify_all()

    # --- in the thread ------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        self._write_all()
        assert self._then is not None
        self._then(not self._queue)

    def _write_all(self) -> None:
        last = 0.0
        while self._has_more(last):
            with self._news:
                entries, size = self._queue, self._bytes
                self._queue, self._bytes = [], 0
                self._is_writing = True
            error = self._write(entries)
            last = time.monotonic()
            with self._news:
                self._is_writing = False
                if error is not None:
                    # They stay: at the end there may be room again.
                    self._queue, self._bytes = entries + self._queue, size + self._bytes
                    self.error = self.error or error
                self._news.notify_all()
                if error is not None and self._ending:
                    return
            if error is not None:
                self._failed()

    def _has_more(self, last: float) -> bool:
        """Wait until there is something to write, and it is time to."""
        with self._news:
            self._news.wait_for(lambda: self._ending or (bool(self._queue) and self.error is None))
            self._news.wait_for(lambda: self._ending or self._is_full, last + _EVERY_SECONDS - time.monotonic())
            return bool(self._queue)

    def _write(self, entries: list[Entry]) -> CheckpointError | None:
        try:
            rows = [self._row(entry) for entry in entries]
            doubts = self._store.doubts
            self._store.write(rows, [entry.known.mark for entry in entries if entry.known.mark in doubts])
        except Exception as error:  # noqa: BLE001 - there may be no memory for it, to begin with
            reason = f"cannot be written to: {reason_of(error)}. What was recorded before stays; begin again to go on"
            return CheckpointError(self._store.path, reason)
        return self._too_large(entries, rows)

    def _row(self, entry: Entry) -> Row:
        known, state, attempts, ended, process, held = entry
        kind = text = result = None
        match held:
            case Failure():
                report = read_report(held)
                kind, text = report.name, report.text
            case BaseException():
                kind, text = name_of_type(type(held)), str(held)
            case Plainly(value):
                result = pickle.dumps(value, PROTOCOL)
            case None:
                pass
            case _:
                try:
                    result = lasting(held)
                except Exception as error:  # noqa: BLE001 - the user's code may raise anything
                    state, kind, text = "failed", name_of_type(type(error)), text_of(error)
        if result is not None and len(result) > self._store.most_bytes - 4096:
            kind, text = "procorch.CheckpointError", f"the result is too large to be recorded ({len(result)} bytes)"
            state, result = "failed", None
        item, kind, text = map(_as_utf8, (known.item, kind, text))
        run = self._store.run
        return Row(known.key, item, known.fingerprint, state, attempts, run, ended, process, kind, text, result)

    def _too_large(self, entries: list[Entry], rows: list[Row]) -> CheckpointError | None:
        for entry, row in zip(entries, rows, strict=True):
            if entry.state == "done" and row.error_type == "procorch.CheckpointError":
                advice = "Let the item return a path instead, or take Checkpoint(..., results=False)"
                return CheckpointError(
                    self._store.path, f"cannot keep what item {row.item} gave: {row.error}. {advice}"
                )
        return None


def _as_utf8(text: str | None) -> str | None:
    """Give a text as SQLite takes it."""
    return text.encode(errors="replace").decode() if text is not None else None
