"""The database of a checkpoint: made, checked, read and written. Its tables are described in docs/resume.md.

Knows nothing of groups; who has it, and what has begun, is settled before by the ledger.
"""

from __future__ import annotations

import contextlib
import os
import platform
import socket
import sqlite3
import sys
import time
import warnings
from collections.abc import Generator, Iterable, Sequence
from typing import Any, NamedTuple, TypeAlias

from procorch._checkpoint import Key
from procorch._checkpoints.files import make_sure, told
from procorch._condition import Condition
from procorch._errors import CheckpointError, CheckpointMismatch

Connection: TypeAlias = sqlite3.Connection

APPLICATION = 0x70_72_6F_63
"""``application_id`` of the database: what it is, in its header."""
SCHEMA = 1
"""``user_version``: changes whenever its tables do."""

_BUSY_SECONDS = 30.0
"""How long somebody else's lock on the database is waited for."""
_AT_ONCE = 256
"""Keys in one query."""

_TABLES = """
CREATE TABLE meta (name TEXT PRIMARY KEY NOT NULL, value);
CREATE TABLE runs (run INTEGER PRIMARY KEY, nonce BLOB NOT NULL, pid INTEGER NOT NULL, host TEXT, python TEXT,
    procorch TEXT, began REAL NOT NULL, ended REAL, how TEXT);
CREATE TABLE items (key {type} PRIMARY KEY NOT NULL, item TEXT, fingerprint BLOB, state TEXT NOT NULL,
    attempts INTEGER NOT NULL, run INTEGER NOT NULL, ended REAL NOT NULL, process TEXT, error_type TEXT, error TEXT,
    result BLOB);
CREATE TABLE doubts (item PRIMARY KEY NOT NULL, attempts INTEGER NOT NULL);
"""


class Identity(NamedTuple):
    """What has to be the same from run to run."""

    function: str
    version: str
    keyed: bool
    results: bool


class Row(NamedTuple):
    """What became of an item, as it is recorded."""

    key: Key
    item: str | None
    fingerprint: bytes | None
    state: str
    attempts: int
    run: int
    ended: float
    process: str | None
    error_type: str | None
    error: str | None
    result: bytes | None


class Found(NamedTuple):
    """What is recorded of an item, as it is looked up."""

    key: Key
    item: str | None
    fingerprint: bytes | None
    state: str
    run: int
    result: bytes | None


class Store:
    """The open database. Any thread."""

    def __init__(self, path: str, identity: Identity) -> None:
        """Open it, made anew if there is none. Called by who has the ledger.

        Args:
            path (str): The file, from the root.
            identity (Identity): Of the call.

        Raises:
            CheckpointError: It cannot be opened, or is not to be trusted.
            CheckpointMismatch: It is another call's.
        """
        self.path = path
        self._lock = Condition()
        make_sure(path)
        with told(path, "cannot be opened"):
            self._connection = sqlite3.connect(
                path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False
            )
        try:
            with told(path, "cannot be read"):
                if self._ask("SELECT count(*) FROM sqlite_master")[0][0]:
                    self._check(identity)
                    self._set_modes()
                else:
                    self._set_modes()
                    self._make(identity)
                self.has_items: bool = bool(self._ask("SELECT 1 FROM items LIMIT 1"))
                """Whether anything has been recorded before."""
                self.doubts: dict[int | bytes, int] = dict(self._ask("SELECT item, attempts FROM doubts"))
                """Of items whose fate is not known, how often each has begun: by position or key's fingerprint."""
                self.lost_run: int = self._meta("lost_run") or 0
                """The last run of which it is not known what had begun."""
        except BaseException:
            self._connection.close()
            raise
        self.run: int = 0
        """Number of this run."""

    # --- opening ------------------------------------------------------------------------------------------------------

    def _ask(self, query: str, values: Sequence[object] = ()) -> list[Any]:
        with self._lock:
            return self._connection.execute(query, values).fetchall()

    def _meta(self, name: str) -> Any:
        rows = self._ask("SELECT value FROM meta WHERE name = ?", [name])
        return rows[0][0] if rows else None

    def _check(self, identity: Identity) -> None:
        if self._ask("PRAGMA application_id")[0][0] != APPLICATION:
            raise CheckpointError(self.path, "is a database of something else")
        schema = self._ask("PRAGMA user_version")[0][0]
        if schema != SCHEMA:
            raise CheckpointError(self.path, f"has tables of version {schema}, and this procorch knows {SCHEMA}")
        for what, now in zip(Identity._fields, identity, strict=True):
            recorded = self._meta(what)
            if recorded != now:
                raise CheckpointMismatch(self.path, *_difference(what, recorded, now))

    def _make(self, identity: Identity) -> None:
        with self._transaction() as connection:
            for statement in _TABLES.format(type="" if identity.keyed else "INTEGER").split(";")[:-1]:
                connection.execute(statement)
            values = {**identity._asdict(), "created": time.time()}
            connection.executemany("INSERT INTO meta VALUES (?, ?)", values.items())
            connection.execute(f"PRAGMA application_id = {APPLICATION}")
            connection.execute(f"PRAGMA user_version = {SCHEMA}")

    def _set_modes(self) -> None:
        mode = self._ask("PRAGMA journal_mode = WAL")[0][0]
        if mode != "wal":
            self._ask("PRAGMA journal_mode = DELETE")
            warnings.warn(
                f"the checkpoint {self.path!r} lies where SQLite has no write-ahead log, as on a network: it is slower",
                RuntimeWarning,
                stacklevel=2,
            )
        # What a power cut may cost: the last moments. What a killed process may cost: nothing.
        self._ask("PRAGMA synchronous = NORMAL")

    @contextlib.contextmanager
    def _transaction(self) -> Generator[Connection]:
        with self._lock:
            connection = self._connection
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                with contextlib.suppress(sqlite3.Error):  # a full disk has ended it already
                    connection.execute("ROLLBACK")
                raise

    # --- runs ---------------------------------------------------------------------------------------------------------

    def unfinished(self) -> tuple[int, bytes] | None:
        """Tell whether the last run never ended.

        Returns:
            tuple[int, bytes] | None: Its number and its nonce; None if it did.
        """
        rows = self._ask("SELECT run, nonce, ended FROM runs ORDER BY run DESC LIMIT 1")
        return (rows[0][0], rows[0][1]) if rows and rows[0][2] is None else None

    def settle(self, run: int, begun: Iterable[tuple[int | bytes, int]] | None) -> None:
        """Record what is in doubt after a run that never ended.

        Args:
            run (int): Its number.
            begun (Iterable[tuple[int | bytes, int]] | None): What it had begun, recorded or not; None if that is lost.
        """
        column = "fingerprint" if self._meta("keyed") else "key"
        recorded = {row[0] for row in self._ask(f"SELECT {column} FROM items WHERE run = ?", [run])}
        doubts = [(item, count) for item, count in begun or () if item not in recorded]
        with self._transaction() as connection:
            connection.executemany("INSERT OR REPLACE INTO doubts VALUES (?, ?)", doubts)
            if begun is None:
                connection.execute("INSERT OR REPLACE INTO meta VALUES ('lost_run', ?)", [run])
            connection.execute("UPDATE runs SET ended = ?, how = 'interrupted' WHERE run = ?", [time.time(), run])
        self.doubts.update(doubts)
        if begun is None:
            self.lost_run = run

    def begin_run(self, nonce: bytes) -> None:
        """Record that a run is under way.

        Args:
            nonce (bytes): Of the run.
        """
        ours = vars(sys.modules["procorch"])["__version__"]  # not its metadata, which only an installed copy has
        values = (nonce, os.getpid(), socket.gethostname(), platform.python_version(), ours, time.time())
        with self._transaction() as connection:
            connection.execute(
                "INSERT INTO runs (nonce, pid, host, python, procorch, began) VALUES (?, ?, ?, ?, ?, ?)", values
            )
            self.run = connection.execute("SELECT last_insert_rowid()").fetchone()[0]

    def is_ours(self) -> bool:
        """Tell whether no other run has begun since.

        Returns:
            bool: Of this moment.
        """
        last = self.unfinished()
        return last is not None and last[0] == self.run

    def end_run(self) -> None:
        """Record that the run is over, and everything of it recorded."""
        with self._transaction() as connection:
            connection.execute("UPDATE runs SET ended = ?, how = 'ended' WHERE run = ?", [time.time(), self.run])

    # --- items --------------------------------------------------------------------------------------------------------

    def between(self, positions: range) -> dict[Key, Found]:
        """Look up items by position.

        Args:
            positions (range): Theirs.

        Returns:
            dict[Key, Found]: Those that are recorded.
        """
        query = "SELECT key, item, fingerprint, state, run, result FROM items WHERE key >= ? AND key < ?"
        with told(self.path, "cannot be read"):
            return {row[0]: Found(*row) for row in self._ask(query, [positions.start, positions.stop])}

    def with_keys(self, keys: Sequence[Key]) -> dict[Key, Found]:
        """Look up items by key.

        Args:
            keys (Sequence[Key]): Theirs.

        Returns:
            dict[Key, Found]: Those that are recorded.
        """
        found: dict[Key, Found] = {}
        with told(self.path, "cannot be read"):
            for at in range(0, len(keys), _AT_ONCE):
                part = keys[at : at + _AT_ONCE]
                marks = ",".join("?" * len(part))
                query = f"SELECT key, item, fingerprint, state, run, result FROM items WHERE key IN ({marks})"
                found.update((row[0], Found(*row)) for row in self._ask(query, part))
        return found

    def write(self, rows: Sequence[Row], settled: Sequence[int | bytes]) -> None:
        """Record items.

        Args:
            rows (Sequence[Row]): What became of them.
            settled (Sequence[int | bytes]): Doubts that are none any more.

        Raises:
            sqlite3.Error: Nothing of it is recorded.
        """
        with self._transaction() as connection:
            marks = ",".join("?" * len(Row._fields))
            connection.executemany(f"INSERT OR REPLACE INTO items VALUES ({marks})", rows)
            if settled:
                connection.executemany("DELETE FROM doubts WHERE item = ?", [(one,) for one in settled])

    @property
    def most_bytes(self) -> int:
        """The longest value that the database takes."""
        return self._connection.getlimit(sqlite3.SQLITE_LIMIT_LENGTH)

    def close(self) -> None:
        """Close it."""
        with self._lock:
            self._connection.close()


def _difference(what: str, recorded: Any, now: Any) -> tuple[str, str, str, str]:
    """Say what differs: as the rest of `CheckpointMismatch`."""
    if what == "keyed":
        names = ("the items' positions", "keys of your own")
        what, recorded, now = "key", names[bool(recorded)], names[bool(now)]
        advice = "give the key= of then, or take another file"
    elif what == "results":
        recorded, now = bool(recorded), bool(now)
        advice = "give the results= of then, or take another file"
    elif what == "function":
        advice = "take another file for another function"
    else:
        what = "code" if str(recorded).startswith("code:") and now.startswith("code:") else "version"
        advice = f"if what is recorded is still right: Checkpoint(..., version={recorded!r}), else take another file"
    return f"was made with another {what}: {recorded} then, {now} now; {advice}", what, str(recorded), str(now)
