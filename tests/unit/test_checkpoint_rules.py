"""Unit: what becomes of an item when a call goes on from a checkpoint, by what is recorded of it."""

from __future__ import annotations

import enum
import operator
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from procorch import Checkpoint, CheckpointError
from procorch._checkpoints import run as module
from procorch._checkpoints.decisions import Decision, Go, Refuse, Report, Skip
from procorch._checkpoints.journal import Entry, Journal, Plainly
from procorch._checkpoints.ledger import Ledger
from procorch._checkpoints.run import Run
from procorch._checkpoints.store import Store


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run.db"


@pytest.fixture
def begin(path: Path) -> Iterator[Callable[..., Run]]:
    """Begin a run; those that are open at the end are closed."""
    runs: list[Run] = []

    def make(*, retries: int = 0, **options: Any) -> Run:
        run = Run(Checkpoint(path, **options), operator.neg, retries=retries, here=True)
        run.open("etl", lambda: None)
        runs.append(run)
        return run

    yield make
    for run in runs:
        run.finish(clean=True)
        run.wait()


def decide(run: Run, items: list[Any], first: int = 0) -> list[Decision]:
    """Give a decision for each."""
    each: list[Decision] = []
    for decision in run.decisions.decide(first, items, parts=False):
        if isinstance(decision, Go):
            each += [Go([known], decision.begun) for known in decision.knowns]
        elif isinstance(decision, Skip):
            each += [Skip([result]) for result in decision.results]
        else:
            each.append(decision)
    return each


def do(run: Run, items: list[Any], *, begun: tuple[int, ...] = (), **states: list[int]) -> None:
    """Begin some items, so often, and record some outcomes."""
    for one in decide(run, items):
        if not isinstance(one, Go):
            continue
        ((known,), _) = one
        position = known.mark
        assert isinstance(position, int)
        run.prepare(position, one)
        for _ in range(begun[position] if begun else 1):
            run.ledger.note([position])
        for state, positions in states.items():
            if position in positions:
                held = Plainly(-items[position]) if state == "done" else None
                run.record([Entry(known, state, 1, 0.0, None, held)])


def kinds(decisions: list[Decision]) -> list[type]:
    return [type(one) for one in decisions]


def test_a_first_run_begins_everything(begin: Callable[..., Run]) -> None:
    assert kinds(decide(begin(), [1, 2, 3])) == [Go] * 3


def test_after_a_clean_end(begin: Callable[..., Run]) -> None:
    run = begin()
    do(run, [10, 11, 12, 13], done=[0], failed=[1], crashed=[2])
    run.finish(clean=True)
    decisions = decide(begin(), [10, 11, 12, 13, 14])
    # Nobody ends cleanly with item 3 begun; if it were so, it would have been told.
    assert kinds(decisions) == [Skip, Go, Go, Go, Go]
    assert [one.begun for one in decisions if isinstance(one, Go)] == [0] * 4


def test_after_an_interruption(begin: Callable[..., Run]) -> None:
    run = begin()
    do(run, [10, 11, 12, 13], begun=(1, 1, 2, 0), done=[0], failed=[1])
    run.finish(clean=False)
    decisions = decide(begin(), [10, 11, 12, 13, 14])
    assert kinds(decisions) == [Skip, Go, Report, Go, Go]
    report = decisions[2]
    assert isinstance(report, Report)
    assert (report.begun, report.certain) == (2, True)


@pytest.mark.parametrize(("retries", "kind"), [(0, Report), (1, Report), (2, Go), (3, Go)])
def test_the_tries_that_are_left(begin: Callable[..., Run], retries: int, kind: type) -> None:
    run = begin(retries=5)
    do(run, [10], begun=(2,))
    run.finish(clean=False)
    (decision,) = decide(begin(retries=retries), [10])
    assert type(decision) is kind
    assert isinstance(decision, Go | Report)
    assert decision.begun == 2


def test_tries_add_up_over_interruptions(begin: Callable[..., Run]) -> None:
    for number in range(3):
        run = begin(retries=2)
        (decision,) = decide(run, [10])
        assert isinstance(decision, Go)
        assert decision.begun == number
        run.prepare(0, decision)
        run.ledger.note([0])
        run.finish(clean=False)
    assert kinds(decide(begin(retries=2), [10])) == [Report]


def test_doubts_last_until_they_are_settled(begin: Callable[..., Run]) -> None:
    run = begin()
    do(run, [10, 11, 12])
    run.finish(clean=False)
    for clean in (True, False, True):  # whoever comes no further than that changes nothing
        run = begin()
        decisions = decide(run, [10])
        assert kinds(decisions) == [Report]
        assert [known.mark for known in run.decisions.other_doubts(0)] == [1, 2]
        run.finish(clean=clean)
    run = begin()
    decisions = decide(run, [10, 11, 12])
    for one in decisions:
        assert isinstance(one, Report)
        run.record([Entry(one.known, "interrupted", one.begun, 0.0, None, None)])
    run.finish(clean=True)
    assert kinds(decide(begin(), [10, 11, 12])) == [Go] * 3


def test_a_failure_that_was_being_tried_again_is_in_doubt(begin: Callable[..., Run]) -> None:
    run = begin()
    do(run, [10, 11], failed=[0, 1])
    run.finish(clean=True)
    run = begin()
    do(run, [10, 11], begun=(1, 0))
    run.finish(clean=False)
    assert kinds(decide(begin(), [10, 11])) == [Report, Go]


def test_lost_notes_put_everything_in_doubt(begin: Callable[..., Run], path: Path) -> None:
    run = begin()
    do(run, [10, 11, 12], done=[0], failed=[1])
    run.finish(clean=True)
    run = begin()
    do(run, [10, 11, 12], begun=(0, 0, 1), done=[])
    run.finish(clean=False)
    Path(f"{path}-begun").unlink()
    run = begin()
    decisions = decide(run, [10, 11, 12, 13])
    assert kinds(decisions) == [Skip, Report, Report, Report]
    assert [one.certain for one in decisions if isinstance(one, Report)] == [False] * 3
    for one in decisions[1:]:
        assert isinstance(one, Report)
        run.record([Entry(one.known, "interrupted", 0, 0.0, None, None)])
    run.finish(clean=True)
    assert kinds(decide(begin(retries=1), [10, 11, 12, 13, 14])) == [Skip, Go, Go, Go, Go]


def test_notes_of_another_run_are_lost_notes(begin: Callable[..., Run], path: Path) -> None:
    run = begin()
    do(run, [10])
    run.finish(clean=False)
    Path(f"{path}-begun").write_bytes(b"something else" * 100)
    (decision,) = decide(begin(), [10])
    assert isinstance(decision, Report)
    assert not decision.certain


def test_keys(begin: Callable[..., Run]) -> None:
    run = begin(key=str)
    decisions = decide(run, [10, 11, 12])
    for position, one in enumerate(decisions):
        assert isinstance(one, Go)
        run.prepare(position, one)
    run.ledger.note([0, 1])
    first = decisions[0]
    assert isinstance(first, Go)
    run.record([Entry(first.knowns[0], "done", 1, 0.0, None, Plainly(-10))])
    run.finish(clean=False)
    decisions = decide(begin(key=str), [12, 11, 13, 10])
    assert kinds(decisions) == [Go, Report, Go, Skip]


@pytest.mark.parametrize("keyed", [False, True])
def test_what_comes_after_a_refusal_is_not_decided(begin: Callable[..., Run], keyed: bool) -> None:
    run = begin(key=lambda item: 1 // item) if keyed else begin()
    if not keyed:
        do(run, [1, 2, 3], done=[0, 1, 2])
        run.finish(clean=True)
        run = begin()
    assert kinds(decide(run, [1, 0, 3])) == [Go if keyed else Skip, Refuse]


def test_another_call_waits_for_one_that_is_about_to_end(begin: Callable[..., Run]) -> None:
    run = begin()
    with pytest.raises(CheckpointError, match="in use by another call of this process"):
        begin()
    run.closing = True
    others: list[Run] = []
    thread = threading.Thread(target=lambda: others.append(begin()))
    thread.start()
    thread.join(0.05)
    assert not others
    run.finish(clean=True)
    thread.join()
    assert others


def test_it_begins_again_where_another_process_came_in_between(
    begin: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = iter([False, True])
    monkeypatch.setattr(Store, "is_ours", lambda self: next(answers))
    assert kinds(decide(begin(), [1])) == [Go]


def test_a_refusal_leaves_nothing(begin: Callable[..., Run], path: Path) -> None:
    path.mkdir()
    with pytest.raises(CheckpointError, match="is no file"):
        begin()
    assert list(path.parent.iterdir()) == [path]


def test_a_path_may_be_a_link(begin: Callable[..., Run], path: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    path.symlink_to(elsewhere / "real.db")
    begin()
    assert sorted(file.name for file in elsewhere.iterdir())[:2] == ["real.db", "real.db-begun"]


def test_what_another_process_has_got_in_between_is_left_to_it(
    begin: Callable[..., Run], path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    others: list[Ledger] = []

    def lose(self: Ledger) -> bool:
        self.close()  # as the kernel does, for a moment, to change a lock
        others.append(Ledger(self.path, 0.0))
        return False

    monkeypatch.setattr(Ledger, "share", lose)
    monkeypatch.setattr(module, "_PATIENCE_SECONDS", 0.0)
    with pytest.raises(CheckpointError, match="is in use by process"):
        begin()
    assert Path(f"{path}-begun").exists()
    others[0].close()


def test_an_interrupt_while_it_opens_lets_go_of_it(
    begin: Callable[..., Run], path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(self: object) -> None:
        raise KeyboardInterrupt

    places: list[tuple[type, str]] = [(Run, "_enter"), (Ledger, "share"), (Store, "is_ours"), (Journal, "start")]
    for owner, name in places:
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(owner, name, interrupt)
            begin()
    run = begin()
    assert kinds(decide(run, [1, 2])) == [Go, Go], "nothing had begun"


def test_a_forked_copy_of_the_process_ends_nothing(begin: Callable[..., Run], path: Path) -> None:
    run = begin()
    do(run, [10])
    pid = os.fork()
    if not pid:
        run.finish(clean=True)
        run.wait()
        os._exit(0)
    os.waitpid(pid, 0)
    assert Path(f"{path}-begun").exists()
    run.finish(clean=False)
    assert kinds(decide(begin(), [10])) == [Report]


class Number(enum.IntEnum):
    ONE = 1


class Name(str):
    __slots__ = ()


def test_keys_of_subclasses_are_those_of_their_types(begin: Callable[..., Run]) -> None:
    items: list[Any] = [Number.ONE, Name("one")]
    run = begin(key=lambda item: item)
    for position, one in enumerate(decide(run, items)):
        assert isinstance(one, Go)
        run.prepare(position, one)
        run.record([Entry(one.knowns[0], "done", 1, 0.0, None, Plainly(0))])
    run.finish(clean=True)
    assert kinds(decide(begin(key=lambda item: item), ["one", 1])) == [Skip, Skip]


def test_keys_may_be_bytes(begin: Callable[..., Run]) -> None:
    (decision,) = decide(begin(key=str.encode), ["a"])
    assert isinstance(decision, Go)
    assert decision.knowns[0].key == b"a"


def test_another_item_that_looks_the_same_is_said_to(begin: Callable[..., Run]) -> None:
    """Of a long text, errors and the file have the ends only."""
    long = "x" * 1000
    run = begin()
    (one,) = decide(run, [f"{long}a{long}"])
    assert isinstance(one, Go)
    run.prepare(0, one)
    run.record([Entry(one.knowns[0], "done", 1, 0.0, None, Plainly(0))])
    run.finish(clean=True)
    (refused,) = decide(begin(), [f"{long}b{long}"])
    assert isinstance(refused, Refuse)
    assert "they look the same, but their pickles differ" in str(refused.error)


def test_a_key_that_no_text_can_hold_is_refused(begin: Callable[..., Run]) -> None:
    refused = decide(begin(key=str), ["a", "\udc80"])[1]
    assert isinstance(refused, Refuse)
    assert "a str that UTF-8 can hold, not '\\udc80'" in str(refused.error)
