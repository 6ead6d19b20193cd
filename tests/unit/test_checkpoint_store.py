"""Unit: the database of a checkpoint, the thread that writes it, and results in one piece."""

from __future__ import annotations

import array
import importlib.metadata
import os
import pickle
import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import pytest

import procorch
from procorch import CheckpointError, CheckpointMismatch
from procorch._buffers import loads
from procorch._checkpoints import journal as module
from procorch._checkpoints.in_band import hold, in_one
from procorch._checkpoints.journal import Entry, Journal, Known, Plainly
from procorch._checkpoints.store import Identity, Row, Store
from procorch._outcome import pack
from procorch._parcel import Parcel

IDENTITY = Identity("module.work", "code:0123", keyed=False, results=True)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run.db"


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    made = Store(str(path), IDENTITY)
    made.begin_run(b"n" * 16)
    yield made
    made.close()


def row(key: Any, state: str = "done", run: int = 1) -> Row:
    return Row(key, repr(key), b"f" * 16, state, 1, run, 0.0, None, None, None, b"r")


def test_it_is_for_its_owner_only(path: Path, store: Store) -> None:
    assert path.stat().st_mode & 0o777 == 0o600
    assert {file.stat().st_mode & 0o777 for file in path.parent.iterdir()} == {0o600}


def test_it_says_in_its_header_what_it_is(path: Path, store: Store) -> None:
    with sqlite3.connect(path) as other:
        assert other.execute("PRAGMA application_id").fetchone() == (0x70726F63,)
        assert other.execute("PRAGMA user_version").fetchone() == (1,)
        assert other.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    other.close()


def test_a_copy_that_is_not_installed_knows_its_version(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "distribution", missing)
    made = Store(str(path), IDENTITY)
    made.begin_run(b"n" * 16)
    assert made._ask("SELECT procorch FROM runs") == [(procorch.__version__,)]
    made.close()


def test_it_is_opened_again_and_knows(path: Path, store: Store) -> None:
    store.write([row(3), row(5, "failed")], [])
    store.end_run()
    again = Store(str(path), IDENTITY)
    assert again.has_items
    assert again.unfinished() is None
    assert [one.state for one in again.between(range(2, 6)).values()] == ["done", "failed"]
    assert again.between(range(4)).keys() == {3}
    again.close()


@pytest.mark.parametrize(
    ("now", "what", "text"),
    [
        (IDENTITY._replace(function="module.other"), "function", "module.work then, module.other now"),
        (IDENTITY._replace(version="code:4567"), "code", r"code:0123 then, code:4567 now.*version='code:0123'"),
        (IDENTITY._replace(version="2"), "version", "code:0123 then, 2 now"),
        (IDENTITY._replace(keyed=True), "key", "the items' positions then, keys of your own now"),
        (IDENTITY._replace(results=False), "results", "True then, False now"),
    ],
)
def test_another_call_is_refused(path: Path, store: Store, now: Identity, what: str, text: str) -> None:
    with pytest.raises(CheckpointMismatch, match=text) as caught:
        Store(str(path), now)
    assert caught.value.what == what
    assert caught.value.path == str(path)


def test_what_is_no_checkpoint_is_refused_and_stays(path: Path) -> None:
    path.write_bytes(b"something else, of more than a hundred bytes" * 10)
    path.chmod(0o600)
    before = path.read_bytes()
    with pytest.raises(CheckpointError, match="file is not a database"):
        Store(str(path), IDENTITY)
    assert path.read_bytes() == before


def test_another_database_is_refused_and_stays(path: Path) -> None:
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE items (key)")
    other.close()
    path.chmod(0o600)
    before = path.read_bytes()
    with pytest.raises(CheckpointError, match="is a database of something else"):
        Store(str(path), IDENTITY)
    assert path.read_bytes() == before


def test_a_later_schema_is_refused(path: Path, store: Store) -> None:
    with sqlite3.connect(path) as other:
        other.execute("PRAGMA user_version = 7")
    other.close()
    with pytest.raises(CheckpointError, match="tables of version 7"):
        Store(str(path), IDENTITY)


def test_an_empty_file_is_a_new_one(path: Path) -> None:
    path.touch(mode=0o600)  # whoever made it was killed before it had any table
    Store(str(path), IDENTITY).close()


@pytest.mark.parametrize("end", ["", "-wal", "-shm", "-journal", "-begun"])
def test_a_file_that_others_may_write_is_refused(path: Path, end: str) -> None:
    Store(str(path), IDENTITY).close()
    file = Path(f"{path}{end}")
    file.touch()
    file.chmod(0o620)
    with pytest.raises(CheckpointError, match=r"may be written by others \(mode 0620\)"):
        Store(str(path), IDENTITY)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
@pytest.mark.parametrize("end", ["", "-wal"])
def test_a_file_of_another_user_is_refused(path: Path, end: str) -> None:
    Store(str(path), IDENTITY).close()
    file = Path(f"{path}{end}")
    file.touch(mode=0o600)
    os.chown(file, 12345, -1)
    with pytest.raises(CheckpointError, match="belongs to user 12345, not to 0"):
        Store(str(path), IDENTITY)


def test_a_folder_is_refused(path: Path) -> None:
    path.mkdir()
    with pytest.raises(CheckpointError, match="is no file"):
        Store(str(path), IDENTITY)


def test_without_a_write_ahead_log_it_warns(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # SQLite has none of a database in memory: stands for a file system where it can have none.
    connect = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda path, *args, **kw: connect(":memory:", *args, **kw))
    with pytest.warns(RuntimeWarning, match="no write-ahead log"):
        made = Store(str(path), IDENTITY)
    made.begin_run(b"n" * 16)
    made.write([row(1)], [])
    made.close()


@pytest.mark.parametrize("keyed", [False, True])
def test_what_a_run_left_is_settled(tmp_path: Path, keyed: bool) -> None:
    path, identity = tmp_path / "run.db", IDENTITY._replace(keyed=keyed)
    store = Store(str(path), identity)
    store.begin_run(b"n" * 16)
    marks: list[Any] = [bytes([one]) * 16 for one in range(5)] if keyed else [0, 1, 2, 3, 4]
    recorded = row("key" if keyed else 1)._replace(fingerprint=marks[1])
    store.write([recorded], [])
    store.close()
    again = Store(str(path), identity)
    assert again.unfinished() == (1, b"n" * 16)
    again.settle(1, [(marks[1], 1), (marks[4], 2)])
    assert again.unfinished() is None
    again.close()
    third = Store(str(path), identity)
    assert third.doubts == {marks[4]: 2}
    assert not third.lost_run
    third.begin_run(b"m" * 16)
    assert third.is_ours()
    third.write([], [marks[4]])
    third.settle(2, None)
    third.close()
    last = Store(str(path), identity)
    assert last.doubts == {}
    assert last.lost_run == 2
    last.close()


def test_keys_of_every_type_are_told_apart(tmp_path: Path) -> None:
    store = Store(str(tmp_path / "run.db"), IDENTITY._replace(keyed=True))
    keys: list[Any] = [1, "1", b"1", "", b"", -(1 << 63), *(f"key {number}" for number in range(600))]
    store.write([row(key) for key in keys], [])
    assert {(type(key), key) for key in store.with_keys(keys)} == {(type(key), key) for key in keys}
    assert store.with_keys(["another", 2]) == {}
    store.close()


# --- the journal ------------------------------------------------------------------------------------------------------


def entry(key: int, held: Any = None, state: str = "done") -> Entry:
    return Entry(Known(key, key, repr(key), None), state, 1, 0.0, "etl-1", held)


Begin: TypeAlias = Callable[..., Journal]


@pytest.fixture
def begin(store: Store) -> Iterator[Begin]:
    journals: list[Journal] = []

    def make(failed: Callable[[], None] = lambda: None) -> Journal:
        journal = Journal(store, "etl", failed)
        journal.start()
        journals.append(journal)
        return journal

    yield make
    for journal in journals:
        end(journal)


def end(journal: Journal) -> bool:
    """Give whether everything has been written."""
    written: list[bool] = []
    journal.finish(written.append)
    journal._thread.join()
    return bool(written) and written[0]


def recorded(path: Path) -> list[tuple[Any, ...]]:
    with sqlite3.connect(path) as other:
        rows = other.execute("SELECT key, state, error_type, error, result FROM items ORDER BY key").fetchall()
    other.close()
    return rows


def test_outcomes_are_written(path: Path, begin: Begin, store: Store) -> None:
    journal = begin()
    journal.put([entry(1, Plainly(7)), entry(2, pickle.dumps("text")), entry(3, ValueError("no"), "failed"), entry(4)])
    journal.flush()
    rows = recorded(path)
    assert [pickle.loads(one[4]) for one in rows[:2]] == [7, "text"]
    assert rows[2:] == [(3, "failed", "ValueError", "no", None), (4, "done", None, None, None)]
    assert end(journal)


def test_many_are_written_at_once(begin: Begin, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_EVERY_SECONDS", 60.0)
    writes: list[int] = []
    write = store.write

    def count(rows: list[Row], settled: list[Any]) -> None:
        writes.append(len(rows))
        write(rows, settled)

    monkeypatch.setattr(store, "write", count)
    journal = begin()
    for number in range(100):
        journal.put([entry(number)])
    assert end(journal)
    assert sum(writes) == 100
    assert len(writes) <= 2


def test_it_takes_no_more_than_it_can(begin: Begin, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = threading.Event()
    write = store.write
    monkeypatch.setattr(store, "write", lambda rows, settled: (gate.wait(), write(rows, settled)))
    monkeypatch.setattr(module, "_MOST_BYTES", 100)
    journal = begin()
    journal.put([entry(0)])
    while journal._queue:
        pass
    journal.put([entry(1, b"x" * 200)])
    waiter = threading.Thread(target=journal.wait_for_room)
    waiter.start()
    waiter.join(0.05)
    assert waiter.is_alive()
    gate.set()
    waiter.join()
    assert end(journal)


@pytest.mark.parametrize("error", [sqlite3.OperationalError("database or disk is full"), MemoryError()])
def test_what_cannot_be_written_stays_and_is_tried_once_more(
    begin: Begin, path: Path, store: Store, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    failed = threading.Event()
    journal = begin(failed.set)
    journal.put([entry(0)])
    journal.flush()

    def refuse(rows: object, settled: object) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(store, "write", refuse)
        journal.put([entry(1)])
        assert failed.wait(10)
        journal.put([entry(2)])
        journal.wait_for_room()
        journal.flush()
        assert (str(error) or "MemoryError") in str(journal.error)
        assert len(recorded(path)) == 1
    assert end(journal), "there is room now"
    assert len(recorded(path)) == 3
    assert journal.error is not None


def test_what_cannot_be_written_at_last_is_told(begin: Begin, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(rows: object, settled: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(store, "write", refuse)
    journal = begin()
    journal.put([entry(0)])
    assert not end(journal)


def test_a_full_database_loses_nothing(path: Path, begin: Begin, store: Store) -> None:
    failed = threading.Event()
    pages = store._ask("PRAGMA page_count")[0][0]
    store._ask(f"PRAGMA max_page_count = {pages + 4}")
    journal = begin(failed.set)
    for number in range(100):
        journal.put([entry(number, Plainly("x" * 100_000 if number else "x"))])
        if not number:
            journal.flush()
    assert failed.wait(10)
    assert not end(journal)
    assert "database or disk is full" in str(journal.error)
    assert recorded(path)[0][0] == 0


def test_a_result_that_is_too_large_is_told(path: Path, begin: Begin, store: Store) -> None:
    store._connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, 10_000)
    failed = threading.Event()
    journal = begin(failed.set)
    journal.put([entry(1), entry(2, Plainly("x" * 20_000))])
    assert failed.wait(10)
    assert "cannot keep what item 2 gave: the result is too large" in str(journal.error)
    end(journal)
    assert [one[:3] for one in recorded(path)] == [(1, "done", None), (2, "failed", "procorch.CheckpointError")]


def test_what_no_text_can_hold_is_replaced(path: Path, begin: Begin, store: Store) -> None:
    journal = begin()
    journal.put([entry(1, ValueError("\udc80"), "failed")])
    assert end(journal)
    assert recorded(path)[0][3] == "?"


def test_a_repr_that_no_text_can_hold_is_replaced(path: Path, begin: Begin, store: Store) -> None:
    journal = begin()
    journal.put([entry(1)._replace(known=Known(1, 1, "\udc80", None))])
    assert end(journal)
    assert store.between(range(2))[1].item == "?"


def test_what_an_item_raises_is_its_own_business(path: Path, begin: Begin, store: Store) -> None:
    journal = begin()
    journal.put([entry(1, CheckpointError("another.db", "is in use"), "failed")])
    assert end(journal)
    assert journal.error is None


class Mute(Exception):
    def __str__(self) -> str:
        raise ValueError("no text")


class Unloadable:
    """Is opened to be pickled anew, as what is of a main module; and cannot be opened."""

    def __reduce__(self) -> tuple[Any, ...]:
        return raise_mute, (b"procorch._tokens",)


def raise_mute(_: object) -> None:
    raise Mute


def test_what_cannot_be_pickled_anew_has_failed_whatever_it_says(path: Path, begin: Begin, store: Store) -> None:
    journal = begin()
    journal.put([entry(0, pickle.dumps(Unloadable()))])
    assert end(journal)
    assert journal.error is None
    ((_, state, kind, text, _),) = recorded(path)
    assert (state, kind, text) == ("failed", f"{__name__}.Mute", "<no text: its __str__ failed>")


def test_large_results_that_wait_are_counted(begin: Begin, store: Store) -> None:
    payload = pack(LARGE)
    assert isinstance(payload, Parcel)
    assert payload.descriptor is not None
    payload.descriptor.size = 0  # as where it has come from another process
    assert entry(1, hold(payload)).size >= len(LARGE)


# --- results in one piece ---------------------------------------------------------------------------------------------


class Writable:
    """Has a large buffer, which goes beside its pickle."""

    def __init__(self, data: Any) -> None:
        self.data = data

    def __reduce_ex__(self, protocol: Any) -> Any:
        return Writable, (pickle.PickleBuffer(self.data),)


LARGE = bytes(range(256)) * 4096


@pytest.mark.parametrize(
    "value",
    [
        LARGE,
        bytearray(LARGE),
        [LARGE[:100_000]] * 8,
        array.array("d", [1.5]) * 100_000,
        list(range(300_000)),
    ],
    ids=["bytes", "bytearray", "list", "array", "numbers"],
)
def test_a_large_result_is_read_by_plain_pickle(value: Any) -> None:
    payload = pack(value)
    held = hold(payload)
    assert loads(payload) == value, "its receiver opens it first"
    assert pickle.loads(in_one(held)) == value


@pytest.mark.parametrize("kind", [bytes, bytearray])
def test_buffers_come_back_as_they_were(kind: type) -> None:
    things = [Writable(kind(LARGE)), 7, Writable(kind(LARGE[::-1])), "x" * 70_000]
    payload = pack(things)
    assert isinstance(payload, Parcel)
    again = pickle.loads(in_one(hold(payload)))
    assert [type(again[0].data), bytes(again[0].data) == LARGE, bytes(again[2].data) == LARGE[::-1]] == [
        kind,
        True,
        True,
    ]
    assert [again[1], again[3]] == [7, "x" * 70_000]


def test_what_was_lost_on_the_way_has_failed(path: Path, begin: Begin, store: Store) -> None:
    payload = pack(LARGE)
    assert isinstance(payload, Parcel)
    journal = begin()
    journal.put([entry(1, hold(Parcel(payload.text, None)))])
    assert end(journal)
    assert recorded(path)[0][1:4] == (1, "failed", "OSError", "too many files were open when it came")[1:]
