"""Unit: the notes of what has begun: who may write them, who may read them, and when."""

from __future__ import annotations

import errno
import fcntl
import os
import pickle
from pathlib import Path
from typing import Any

import pytest

from procorch._checkpoints.digests import BYTES, digest_of
from procorch._checkpoints.ledger import InUse, Ledger
from procorch._noting import Noting

NONCE, ANOTHER = b"n" * 16, b"a" * 16


def ledger(path: Path, nonce: bytes = NONCE, *, keyed: bool = False) -> Ledger:
    made = Ledger(str(path), 0.0)
    made.begin(nonce, keyed)
    assert made.share()
    return made


def noting(path: Path, nonce: bytes = NONCE, fn: Any = divmod, stride: int = 1) -> Noting:
    made: Noting = pickle.loads(pickle.dumps(Noting(fn, str(path), nonce, stride)))
    return made


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run.db-begun"


def test_what_a_worker_begins_is_noted_before(path: Path) -> None:
    ours = ledger(path)
    ours.prepare(0, [None] * 5)
    work = noting(path)
    assert work(3, 7, 2) == (3, 1)
    with pytest.raises(ZeroDivisionError):
        work(1, 7, 0)
    work(3, 7, 2)
    assert ours.counts(range(5)) == [0, 1, 0, 2, 0]
    ours.close()
    later = Ledger(str(path), 0.0)
    assert list(later.begun(NONCE, keyed=False) or ()) == [(1, 1), (3, 2)]
    assert later.begun(ANOTHER, keyed=False) is None
    assert later.begun(NONCE, keyed=True) is None
    later.close()


def test_items_with_keys_are_noted_by_these(path: Path) -> None:
    ours = ledger(path, keyed=True)
    marks = [digest_of(key) for key in "abc"]
    ours.prepare(0, marks)
    ours.prepare(3, [digest_of("d")], begun=4)
    noting(path, stride=BYTES + 1)(1, 7, 2)
    ours.close()
    later = Ledger(str(path), 0.0)
    assert list(later.begun(NONCE, keyed=True) or ()) == [(digest_of("b"), 1), (digest_of("d"), 4)]
    later.close()


def test_counts_end_where_a_byte_does(path: Path) -> None:
    ours = ledger(path)
    ours.prepare(0, [None], begun=254)
    work = noting(path)
    work(0, 1, 1)
    work(0, 1, 1)
    ours.note([0])
    assert ours.counts(range(1)) == [255]
    ours.close()


def test_nobody_else_gets_it_meanwhile(path: Path) -> None:
    ours = ledger(path)
    with pytest.raises(InUse) as caught:
        Ledger(str(path), 0.03)
    assert caught.value.pid == os.getpid()
    ours.close()
    Ledger(str(path), 0.0).close()


def test_who_comes_next_waits_for_an_item_that_still_runs(path: Path) -> None:
    ours = ledger(path)
    ours.prepare(0, [None])

    def item() -> None:
        ours.close()  # as if its process had been killed
        with pytest.raises(InUse):
            Ledger(str(path), 0.03)

    work = Noting(item, str(path), NONCE, 1)
    work(0)
    Ledger(str(path), 0.0).close()


@pytest.mark.parametrize("share", [True, False])
def test_a_worker_of_an_earlier_run_begins_nothing(path: Path, share: bool) -> None:
    work = noting(path)
    ours = ledger(path)
    ours.prepare(0, [None])
    work(0, 7, 2)
    ours.close()
    other = Ledger(str(path), 0.0)
    other.begin(ANOTHER, keyed=False)
    if share:
        other.share()
    with pytest.raises(RuntimeError, match="another run"):
        work(0, 7, 2)
    assert other.counts(range(1)) == [0]
    other.close()


def test_a_worker_that_cannot_note_keeps_nobody_out(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ours = ledger(path)

    def refuse(fd: int, data: bytes, at: int) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch, pytest.raises(OSError, match="No space"):
        patch.setattr(os, "pwrite", refuse)
        work = noting(path)
        work(0, 7, 2)
    ours.close()
    Ledger(str(path), 0.0).close()


def test_another_run_may_come_in_between(path: Path) -> None:
    ours = Ledger(str(path), 0.0)
    ours.begin(NONCE, keyed=False)
    fcntl.flock(ours._file.fd, fcntl.LOCK_UN)  # as the kernel does, to change a lock
    other = Ledger(str(path), 0.0)
    assert not ours.share()
    other.close()


def test_it_is_looked_for_again_where_another_has_removed_it(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = ledger(path)
    lock, calls = fcntl.flock, list[int]()

    def flock(fd: int, how: int) -> None:
        calls.append(fd)
        if len(calls) == 1:
            first.remove()
        lock(fd, how)

    monkeypatch.setattr(fcntl, "flock", flock)
    again = Ledger(str(path), 0.0)
    assert path.exists()
    assert len(calls) > 2
    again.remove()
    assert not path.exists()


def test_room_is_made_before(path: Path) -> None:
    ours = ledger(path)
    ours.prepare(1_000_000, [None] * 10)
    assert path.stat().st_blocks * 512 >= 1_000_010
    ours.close()


@pytest.mark.parametrize("number", [errno.EOPNOTSUPP, errno.EINVAL])
def test_a_file_system_may_know_another_way_only(path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def refuse(fd: int, at: int, count: int) -> None:
        raise OSError(number, "no")

    monkeypatch.setattr(os, "posix_fallocate", refuse)
    ours = ledger(path)
    ours.prepare(100_000, [None])
    assert path.stat().st_size > 100_000
    ours.close()


def test_room_is_there_to_its_end_or_not_at_all(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ours = ledger(path)
    room, pwrite = path.stat().st_size, os.pwrite

    def write(fd: int, data: bytes, at: int) -> int:
        if at >= room + 1000:
            raise OSError(errno.ENOSPC, "No space left on device")
        return pwrite(fd, data[: room + 1000 - at], at)

    monkeypatch.delattr(os, "posix_fallocate")
    monkeypatch.setattr(os, "pwrite", write)
    with pytest.raises(OSError, match="No space"):
        ours.prepare(room, [None])
    ours.close()


def test_there_may_be_no_room(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ours = ledger(path)

    def refuse(fd: int, at: int, count: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", refuse)
    with pytest.raises(OSError, match="No space"):
        ours.prepare(1_000_000, [None])
    ours.close()


def test_a_link_is_not_followed(path: Path, tmp_path: Path) -> None:
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic"):
        Ledger(str(path), 0.0)
    assert not (tmp_path / "elsewhere").exists()


def test_it_is_for_its_owner_only(path: Path) -> None:
    ledger(path).close()
    assert path.stat().st_mode & 0o777 == 0o600
