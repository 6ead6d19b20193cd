"""Unit: a chunk done in a process of somebody else's, from values to values, and what others may ask meanwhile."""

from __future__ import annotations

import os
import pickle
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import targets
from crates import assignment, engine_id, new_engine, plain, sent, values
from helpers import wait_until

from procorch import _far, _share
from procorch import _messages as m
from procorch._assignments import Answer, Given, Progress
from procorch._crates import Crate, pack
from procorch._outcome import pack as pickled
from procorch._outcome import read_report

calls: list[Any] = []
act: Callable[[Any], Any] = calls.append
"""What `note` does besides; a test puts in its own."""


def note(item: Any) -> Any:
    calls.append(item)
    act(item)
    return item


def by_value(item: int) -> int:
    return item


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    calls.clear()
    monkeypatch.setitem(globals(), "act", lambda _: None)
    name = new_engine()
    yield
    _far.forget(name)


def when(item: Any, do: Callable[[], object]) -> Callable[[Any], object]:
    return lambda one: do() if one == item else None


# --- outcomes ---------------------------------------------------------------------------------------------------------


def test_plain_items() -> None:
    answer = _far.run(assignment(targets.doubler, plain(1, 2, 3)))
    assert values(answer) == [2, 4, 6]
    assert all(isinstance(one, list) for one in answer.outcomes)
    assert (answer.pid, answer.exitcode, answer.refused, answer.broken) == (os.getpid(), 0, "", "")
    assert answer.host
    assert answer.busy >= 0


def test_items_that_are_not_plain() -> None:
    assert values(_far.run(assignment(targets.identity, [[1], {2: 3}, "a"]))) == [[1], {2: 3}, "a"]


def test_large_items_and_results() -> None:
    large = bytearray([1]) * (1 << 20)
    answer = _far.run(assignment(targets.identity, [large, 1]))
    assert isinstance(answer.outcomes[0].payload, Crate)  # type: ignore[union-attr]
    assert values(answer) == [large, 1]
    again: Answer = pickle.loads(pickle.dumps(answer))
    assert values(again) == [large, 1]


def test_a_failure_costs_its_item() -> None:
    answer = _far.run(assignment(targets.divide, plain(1, 0, 2)))
    one, failed, half = values(answer)
    assert (one, half) == (1, 0.5)
    assert type(failed) is m.Failure
    assert read_report(failed).name == "ZeroDivisionError"


def test_a_failure_may_end_the_chunk() -> None:
    answer = _far.run(assignment(targets.divide, plain(1, 0, 2), stop_on_error=True))
    assert [type(one) for one in values(answer)] == [float, m.Failure]
    assert answer.exitcode == 1


def test_what_is_worth_another_try_says_so() -> None:
    function = sent(targets.divide)._replace(payload=pickle.dumps(m.Retrying(targets.divide, (ZeroDivisionError,))))
    [failed] = values(_far.run(assignment(targets.divide, plain(0), function=function)))
    assert type(failed) is m.Retriable


def test_a_function_that_cannot_be_loaded_fails_each_item() -> None:
    function = sent(targets.doubler)._replace(payload=pickle.dumps(targets.Unloadable()))
    failed = values(_far.run(assignment(targets.doubler, plain(1, 2), function=function)))
    assert [type(one) for one in failed] == [m.Failure, m.Failure]


def test_an_interrupt_raised_by_an_item_is_its_outcome() -> None:
    [failed] = values(_far.run(assignment(targets.exit_with, [3])))
    assert read_report(failed).name == "SystemExit"


# --- once -------------------------------------------------------------------------------------------------------------


def test_the_same_chunk_is_done_once() -> None:
    chunk = assignment(note, plain(1))
    assert values(_far.run(chunk)) == [1]
    refused = _far.run(chunk)
    assert "begun before" in refused.refused
    assert (refused.outcomes, calls) == ([], [1])


def test_only_the_process_that_it_was_sent_to_does_it() -> None:
    chunk = assignment(note, plain(1), process="this")
    refused = _far.run(chunk, "another")
    assert "gone" in refused.refused
    assert calls == []
    assert values(_far.run(chunk, "this")) == [1]


def test_chunks_of_two_engines_may_have_the_same_number() -> None:
    chunk = assignment(note, plain(1))
    _far.run(chunk)
    assert values(_far.run(chunk._replace(engine="another"))) == [1]
    _far.forget("another")


def test_chunks_at_the_same_time_keep_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    barrier = threading.Barrier(2)
    monkeypatch.setitem(globals(), "act", lambda _: barrier.wait(10))
    with ThreadPoolExecutor(2) as threads:
        given = [threads.submit(_far.run, assignment(note, plain(n, n + 1))) for n in (1, 3)]
        assert [values(one.result()) for one in given] == [[1, 2], [3, 4]]


# --- asked meanwhile --------------------------------------------------------------------------------------------------


def test_how_far_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    chunk = assignment(note, plain(1, 2, 3))
    seen: list[Progress] = []
    monkeypatch.setitem(globals(), "act", lambda _: seen.append(_far.look(chunk.engine, chunk.number, stop=False)))
    assert values(_far.run(chunk)) == [1, 2, 3]
    assert [one.begun for one in seen] == [1, 2, 3]


def test_nothing_more_begins_once_it_was_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    chunk = assignment(note, plain(1, 2, 3))
    seen: list[Progress] = []
    stop = when(2, lambda: seen.append(_far.look(chunk.engine, chunk.number, stop=True)))
    monkeypatch.setitem(globals(), "act", stop)
    assert values(_far.run(chunk)) == [1, 2]
    assert seen == [Progress(2, None)]


def test_one_that_is_stopped_before_it_arrives_never_begins() -> None:
    chunk = assignment(note, plain(1, 2))
    assert _far.look(chunk.engine, chunk.number, stop=True) == Progress(0, None)
    answer = _far.run(chunk)
    assert (answer.outcomes, calls, answer.refused) == ([], [], "")


def test_one_that_was_only_looked_for_begins() -> None:
    chunk = assignment(note, plain(1, 2))
    assert _far.look(chunk.engine, chunk.number, stop=False) == Progress(0, None)
    assert values(_far.run(chunk)) == [1, 2]


@pytest.mark.parametrize("stop", [False, True])
def test_of_one_that_is_over_all_may_have_begun(stop: bool) -> None:
    """Its answer is on its way: whoever asks just then must not give its items to others."""
    chunk = assignment(note, plain(1, 2, 3))
    _far.run(chunk)
    assert _far.look(chunk.engine, chunk.number, stop=stop) == Progress(3, None)
    listed = assignment(note, [1, 2])
    _far.run(listed)
    assert _far.look(listed.engine, listed.number, stop=stop) == Progress(2, None)


def test_a_chunk_has_a_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    stopped = threading.Event()
    stop = _far._Page.stop

    def tell(page: _far._Page) -> None:
        stop(page)
        stopped.set()

    monkeypatch.setattr(_far._Page, "stop", tell)
    monkeypatch.setitem(globals(), "act", when(2, lambda: stopped.wait(10)))
    assert values(_far.run(assignment(note, plain(1, 2, 3), seconds=1e-3))) in ([1, 2], [1])


@pytest.mark.parametrize("items", [(1,), (1, 2)])
def test_a_budget_is_of_no_use_to_an_only_item(items: tuple[int, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "act", lambda _: calls.extend(one.name for one in threading.enumerate()))
    assert values(_far.run(assignment(note, plain(*items), seconds=20))) == list(items)
    assert ("procorch-budget" in calls) == (len(items) > 1)


def test_the_budget_does_not_stop_what_has_not_begun() -> None:
    """Else a chunk might come back as it went, again and again."""

    class Page:
        looks = 0
        stopped = False

        def look(self) -> Progress:
            self.looks += 1
            return Progress(self.looks // 3, None)

        def stop(self) -> None:
            self.stopped = True

    page = Page()
    budget = _far._Budget(1e-9, page)  # type: ignore[arg-type]
    wait_until(lambda: page.stopped)
    budget.end()
    assert (page.looks, page.stopped) == (3, True)


# --- what is kept -----------------------------------------------------------------------------------------------------


def functions() -> list[int]:
    return list(_far._functions.get(engine_id(), {}))


def test_a_function_is_loaded_once() -> None:
    _far.run(assignment(note, plain(1)))
    lost = sent(note)._replace(payload=b"no pickle")
    assert values(_far.run(assignment(note, plain(2), function=lost))) == [2]


def test_functions_are_kept_within_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_far, "MOST_FUNCTIONS", 3)
    for key in (1, 2, 3, 1, 4):
        _far.run(assignment(note, plain(key), function=sent(note, key)))
    assert functions() == [3, 1, 4]  # the one used longest ago has gone


def test_of_those_by_value_one_is_kept() -> None:
    for key in (1, 2, 3):
        _far.run(assignment(by_value, plain(1), function=sent(by_value, key, by_reference=key == 1)))
    assert functions() == [3]


def test_engines_are_kept_within_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_far, "_MOST_ENGINES", 2)
    for engine in ("a", "b", "a", "c"):
        _far.run(assignment(note, plain(1), engine=engine))
    assert list(_far._functions) == ["a", "c"]
    for engine in ("a", "b", "c"):
        _far.forget(engine)


def test_what_is_remembered_of_chunks_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_far, "_MOST_KNOWN", 2)
    _far._begun.clear()
    _far._unwanted.clear()
    for _ in range(4):
        chunk = assignment(note, plain(1))
        _far.run(chunk)
        _far.look(engine_id(), chunk.number + 1000, stop=True)
    assert len(_far._begun) == len(_far._unwanted) == 2
    assert _far._under == {}


def test_an_engine_that_is_forgotten_leaves_nothing() -> None:
    _far.run(assignment(note, plain(1), shared=(given(7, [1]),)))
    _far.forget(engine_id())
    assert functions() == []
    assert not _share.has_received(7)
    assert _far.is_forgotten(engine_id())


def given(key: int, value: object) -> Given:
    return Given(key, "group", pack(pickled(value)))


def test_shared_objects_come_and_go() -> None:
    _far.run(assignment(note, plain(1), shared=(given(11, [1]), given(12, bytearray(1 << 20)))))
    assert _share.has_received(11)
    assert _share.has_received(12)
    _far.run(assignment(note, plain(1), closed=(11, 99)))
    assert not _share.has_received(11)
    assert _share.has_received(12)


def test_what_is_shared_is_opened_once() -> None:
    _far.run(assignment(note, plain(1), shared=(given(13, [1]),)))
    first = _share._received[13]
    _far.run(assignment(note, plain(1), shared=(given(13, [1]),)))
    assert _share._received[13] is first


def test_chunks_that_come_in_another_order_than_they_were_sent() -> None:
    """An older one brings back what a newer one has closed; the next closes it again."""
    older = assignment(note, plain(1), shared=(given(14, [1]),))
    newer = assignment(note, plain(2), closed=(14,))
    assert values(_far.run(newer)) == [2]
    assert values(_far.run(older)) == [1]
    _far.run(assignment(note, plain(3), closed=(14,)))
    assert not _share.has_received(14)


def test_another_engine_does_not_close_what_it_has_not_shared() -> None:
    _far.run(assignment(note, plain(1), shared=(given(15, [1]),)))
    _far.run(assignment(note, plain(1), engine="another", closed=(15,)))
    assert _share.has_received(15)
    _far.forget("another")
    assert _share.has_received(15)
