"""What has been given to one executor and has no outcome yet: for its `shutdown`, and for the interpreter's exit."""

from __future__ import annotations

import contextlib
import os
import weakref
from multiprocessing import util
from typing import Protocol

from procorch._condition import Condition


class Entry(Protocol):
    """A future, or a map."""

    def give_up(self) -> None:
        """Drop what has not begun."""
        ...

    def stop(self) -> None:
        """Drop everything, and stop what runs."""
        ...


class Pending:
    """The entries of one executor. For any thread."""

    def __init__(self) -> None:
        """Begin open and empty."""
        self._lock = Condition()
        # In the order in which they came, for `give_up`: the group finds at once what waits in front.
        self._entries: dict[Entry, None] = {}
        self._refusal: str | None = None
        self._pid = os.getpid()
        _wait_at_exit(self)

    def check_open(self) -> None:
        """Refuse work after the end.

        Raises:
            RuntimeError: `shut` was called.
        """
        if self._refusal is not None:
            raise RuntimeError(self._refusal)

    def enter(self, entry: Entry) -> None:
        """Take in that something is about to be begun.

        Args:
            entry (Entry): It leaves when it has its outcome.

        Raises:
            RuntimeError: `shut` was called.
        """
        if self._is_copy:
            return  # its group refuses it
        with self._lock:
            self.check_open()
            self._entries[entry] = None

    def leave(self, entry: Entry) -> None:
        """Take in that something has its outcome, and those who wait for it have been told.

        Args:
            entry (Entry): One that has entered; once more changes nothing.
        """
        if self._is_copy:
            return
        with self._lock:
            self._entries.pop(entry, None)
            if not self._entries:
                self._lock.notify_all()

    def shut(self, refusal: str) -> None:
        """Take no more.

        Args:
            refusal (str): What to say to those who come.
        """
        if self._is_copy:
            return
        with self._lock:
            self._refusal = self._refusal or refusal

    def give_up(self) -> None:
        """Drop what has not begun."""
        for entry in self._left():
            entry.give_up()

    def stop(self) -> None:
        """Drop everything, and stop what runs."""
        for entry in self._left():
            entry.stop()

    @property
    def _is_copy(self) -> bool:
        """Whether this process is a forked one. It hears of nothing, and nobody in it may ever release the lock."""
        return self._pid != os.getpid()

    def _left(self) -> list[Entry]:
        if self._is_copy:
            return []
        with self._lock:
            return list(self._entries)

    def wait(self) -> None:
        """Wait until everything has its outcome."""
        if self._is_copy:
            return
        with self._lock:
            self._lock.wait_for(lambda: not self._entries)


_executors: weakref.WeakSet[Pending] = weakref.WeakSet()
_watching_pid: int | None = None


def _wait_at_exit(pending: Pending) -> None:
    global _watching_pid  # noqa: PLW0603 - the hook belongs to the process
    _executors.add(pending)
    if _watching_pid != os.getpid():
        # In a worker, multiprocessing has dropped what its parent had registered.
        _watching_pid = os.getpid()
        util.Finalize(None, _finish_all, exitpriority=30)  # before groups that are still open are ended, see `_exit`


def _finish_all() -> None:
    # A Ctrl-C is enough to go without: the groups are ended next.
    with contextlib.suppress(KeyboardInterrupt):
        for pending in list(_executors):
            pending.shut("cannot schedule new futures after interpreter shutdown")
            pending.wait()
