"""One call with a checkpoint: what is skipped, tried again or in doubt, and what is recorded.

ledger locked -> database opened -> what the last run left is settled -> this run is under way -> ... -> over
"""

from __future__ import annotations

import os
import secrets
import sqlite3
from collections.abc import Callable
from functools import partial
from typing import Any

from procorch._checkpoint import Checkpoint
from procorch._checkpoints.code import fingerprint
from procorch._checkpoints.decisions import Decisions, Go
from procorch._checkpoints.digests import BYTES
from procorch._checkpoints.files import reason_of, told
from procorch._checkpoints.journal import Entry, Journal
from procorch._checkpoints.ledger import InUse, Ledger
from procorch._checkpoints.store import Identity, Store
from procorch._condition import Condition
from procorch._errors import CheckpointError
from procorch._noting import Noting

_PATIENCE_SECONDS = 10.0
"""How long the processes of a run that was killed are waited for: they end within 2 s."""

_news = Condition()
_under_way: dict[str, Run] = {}
"""The runs of this process, by path; under the lock of `_news`."""


def _after_fork_in_child() -> None:
    """Know nothing of the runs of the process that was copied: they are not this one's, and the lock may be taken."""
    global _news  # noqa: PLW0603 - it belongs to the process
    _news = Condition()
    _under_way.clear()


os.register_at_fork(after_in_child=_after_fork_in_child)


class Run:
    """See the module's text. One thread decides, any records."""

    def __init__(self, checkpoint: Checkpoint, fn: Callable[..., Any], *, retries: int, here: bool) -> None:
        """Begin; nothing is opened yet.

        Args:
            checkpoint (Checkpoint): As given by the user.
            fn (Callable[..., Any]): The function.
            retries (int): Extra tries of an item.
            here (bool): Whether it runs in processes of this machine, which can note what they begin.
        """
        self.path: str = os.path.realpath(checkpoint.path)
        self.here: bool = here
        self.closing: bool = False
        """Whether nothing more of it will be begun."""
        self.done: bool = False
        """Whether all of it has been recorded as far as possible, and nothing is open."""
        self._finishing = False
        self._checkpoint = checkpoint
        self._retries = retries
        self._nonce = secrets.token_bytes(16)
        self._pid = os.getpid()
        name, code = fingerprint(fn)
        version = code if checkpoint.version is None else str(checkpoint.version)
        self._identity = Identity(name, version, checkpoint.key is not None, checkpoint.results)
        self._decisions: Decisions | None = None
        self._ledger: Ledger | None = None
        self._store: Store | None = None
        self._journal: Journal | None = None

    def noting(self, fn: Callable[..., Any]) -> Noting:
        """Wrap the function so that it notes what it begins.

        Args:
            fn (Callable[..., Any]): The function.

        Returns:
            Noting: Takes an item's position before its parts.
        """
        return Noting(fn, self._ledger_path, self._nonce, self._stride)

    @property
    def _ledger_path(self) -> str:
        return f"{self.path}-begun"

    @property
    def _keyed(self) -> bool:
        return self._identity.keyed

    @property
    def _stride(self) -> int:
        return BYTES + 1 if self._keyed else 1

    # --- opening and closing ------------------------------------------------------------------------------------------

    @property
    def is_open(self) -> bool:
        """Whether it has been opened, and its end has not begun."""
        return self._journal is not None and not self._finishing

    @property
    def ledger(self) -> Ledger:
        """What has begun; once it is open."""
        assert self._ledger is not None
        return self._ledger

    @property
    def decisions(self) -> Decisions:
        """What becomes of its items; once it is open."""
        assert self._decisions is not None
        return self._decisions

    @property
    def error(self) -> CheckpointError | None:
        """Why nothing is recorded any more."""
        return self._journal.error if self._journal is not None else None

    def open(self, name: str, failed: Callable[[], None]) -> None:
        """Open the checkpoint, and settle what the last run left.

        Args:
            name (str): Of the group.
            failed (Callable[[], None]): Called in another thread once something cannot be recorded.

        Raises:
            CheckpointError: It cannot be used.
            CheckpointMismatch: It is another call's.
        """
        try:
            self._enter()
            while not self._try_to_open():
                pass
            assert self._store is not None
            self._decisions = Decisions(self._store, self._checkpoint.key, self._retries)
            self._journal = Journal(self._store, name, failed)
            self._journal.start()
        except BaseException:
            journal, self._journal = self._journal, None
            if journal is not None:
                journal.finish(lambda written: None)
            if self._ledger is not None and self._ledger.is_new and not (self._store is not None and self._store.run):
                self._ledger.remove()  # nothing says that there is a run whose notes these are
            self._leave()
            raise

    def _enter(self) -> None:
        """Be the only run of this process with this file."""
        with _news:
            _news.wait_for(lambda: self.path not in _under_way or not _under_way[self.path].closing)
            if self.path in _under_way:
                raise CheckpointError(
                    self.path, "is in use by another call of this process, which has not come to its end"
                )
            _under_way[self.path] = self

    def _leave(self) -> None:
        try:
            for one in (self._store, self._ledger):
                if one is not None:
                    one.close()
        finally:
            with _news:
                self.done = True
                if _under_way.get(self.path) is self:
                    del _under_way[self.path]
                _news.notify_all()

    def _try_to_open(self) -> bool:
        """Open everything; False if another process came in between."""
        try:
            with told(self.path, "cannot be made, as nothing can be written beside it"):
                ledger = self._ledger = Ledger(self._ledger_path, _PATIENCE_SECONDS)
        except InUse as error:
            raise CheckpointError(self.path, f"is in use by process {error.pid or 'unknown'}") from None
        # Under the lock: nobody else has the database now, and nothing runs that an earlier run has begun.
        store = self._store = Store(self.path, self._identity)
        with told(self.path, "cannot be written to"):
            last = store.unfinished()
            if last is not None:
                run, nonce = last
                store.settle(run, ledger.begun(nonce, self._keyed))
            # In this order: whoever finds a run under way finds its notes.
            ledger.begin(self._nonce, self._keyed)
            store.begin_run(self._nonce)
            if ledger.share() and store.is_ours():
                return True
        store.close()
        ledger.close()
        self._store = self._ledger = None  # they are the other's now
        return False

    def flush(self) -> None:
        """Wait until all that is known has been recorded, or cannot be."""
        if self._journal is not None and not self._finishing:
            self._journal.flush()

    def finish(self, *, clean: bool) -> None:
        """Record what is left, and close, soon: see `wait`. Nothing happens if it has been told before.

        Args:
            clean (bool): Whether nothing can run any more that has no outcome. If not, the next run looks.
        """
        if os.getpid() != self._pid:
            return  # in a forked copy of the process: the run is not that one's
        self._finishing = self.closing = True
        if self._journal is not None:
            self._journal.finish(partial(self._end, clean=clean))
        else:
            self._leave()

    def _end(self, written: bool, *, clean: bool) -> None:
        try:
            if written and clean:
                assert self._store is not None
                self._store.end_run()
                self.ledger.remove()
        except sqlite3.Error:
            pass  # the next run does it
        finally:
            self._leave()

    def wait(self) -> None:
        """Wait until it is done: after `finish`, or where somebody else is about to call that."""
        if os.getpid() == self._pid and not (self._journal is not None and self._journal.is_here):
            with _news:
                _news.wait_for(lambda: self.done)

    # --- beginning and recording --------------------------------------------------------------------------------------

    def prepare(self, first: int, going: Go) -> None:
        """Make ready for neighbours to begin. Waits as long as too much is to be recorded.

        Args:
            first (int): Position of the first.
            going (Go): They.

        Raises:
            CheckpointError: There is no room, or nothing can be recorded.
        """
        assert self._journal is not None
        self._journal.wait_for_room()
        self.check()
        marks = [one.mark if isinstance(one.mark, bytes) else None for one in going.knowns]
        with told(self.path, "has no room for what begins"):
            self.ledger.prepare(first, marks, going.begun)

    def begun_at(self, position: int) -> int:
        """Tell how often an item has begun.

        Args:
            position (int): Its position.

        Returns:
            int: In earlier runs as well, if it is in doubt.
        """
        return self.ledger.counts(range(position, position + 1))[0]

    def check(self) -> None:
        """Refuse to go on if nothing can be recorded any more.

        Raises:
            CheckpointError: Why.
        """
        error = self.error
        if error is not None:
            raise CheckpointError(error.path, error.reason) from error.__cause__

    def fail(self, error: Exception) -> None:
        """Record nothing more, as nobody knows how often what has ended had begun. Any thread.

        Args:
            error (Exception): Of reading that.
        """
        assert self._journal is not None
        reason = f"cannot be read: {reason_of(error)}. What was recorded before stays; begin again to go on"
        self._journal.fail(CheckpointError(self._ledger_path, reason))

    def record(self, entries: list[Entry]) -> None:
        """Record outcomes, soon. Any thread.

        Args:
            entries (list[Entry]): Theirs.
        """
        assert self._journal is not None
        if entries:
            self._journal.put(entries)

    @property
    def keeps_results(self) -> bool:
        """Whether results are recorded."""
        return self._identity.results
