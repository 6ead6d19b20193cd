"""Unit: what is said between the parent and a process, and how far it is known to have come."""

from __future__ import annotations

import threading
from collections import deque
from typing import Any, cast

import pytest
from typing_extensions import override

from procorch import _messages as m
from procorch._engine import Worker
from procorch._talk import MOST, Over, Talk


class Listener:
    """A worker that keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[m.ToWorker] = []
        self.has_taken = 0
        self.wanted = False

    def say(self, message: m.ToWorker) -> None:
        self.told.append(message)

    def taken(self) -> int:
        return self.has_taken

    def want_receipts(self, wanted: bool) -> None:
        self.wanted = wanted

    @property
    def posts(self) -> list[bytes]:
        return [bytes(cast("Any", one.payload)) for one in self.told if isinstance(one, m.Post)]


class Interrupted(deque[Any]):
    """Gives what is asked for to nobody, as when a Ctrl-C comes right then."""

    @override
    def popleft(self) -> Any:
        super().popleft()
        raise KeyboardInterrupt


def talk_of(*payloads: bytes) -> tuple[Talk, Listener]:
    talk, worker = Talk(), Listener()
    for payload in payloads:
        assert talk.put(payload, 0)
    talk.begin(cast("Worker", worker))
    return talk, worker


def followed(talk: Talk) -> list[bytes]:
    """Let another worker take the place, and give what it is told."""
    talk.lost()
    after = Listener()
    talk.begin(cast("Worker", after))
    return after.posts


def test_what_was_taken_goes_to_no_other() -> None:
    talk, worker = talk_of(b"a", b"b", b"c")
    assert worker.posts == [b"a", b"b", b"c"]
    talk.hear([m.Taken(1)])
    worker.has_taken = 2
    assert followed(talk) == [b"c"]


def test_threads_of_a_process_may_tell_in_another_order_how_far_it_is() -> None:
    talk, worker = talk_of(b"a", b"b", b"c", b"d", b"e")
    talk.hear([m.Post(b"x", 3), m.Post(b"y", 1), m.Taken(4)])
    assert talk.untaken == 1
    worker.has_taken = 4
    assert followed(talk) == [b"e"]


def test_no_more_was_taken_than_was_sent_whatever_a_process_tells() -> None:
    talk, _ = talk_of(b"a")
    talk.hear([m.Taken(1000)])
    assert talk.untaken == 0
    assert talk.put(b"b", 0)
    talk.hear([m.Taken(1001)])
    assert talk.untaken == 1


def test_what_nobody_will_take_is_not_kept_but_counted() -> None:
    talk, _ = talk_of(*[b"a"] * MOST)
    talk.lost()
    talk.over()
    assert not talk._posts
    assert talk.untaken == MOST
    with pytest.raises(Over):
        talk.put(b"b", None)


def test_who_waits_for_messages_to_be_taken_is_told_what_is_known_and_what_comes() -> None:
    talk, worker = talk_of(b"a", b"b")
    assert not worker.wanted
    worker.has_taken = 1
    talk.watch(1)
    talk.go_on()
    assert worker.wanted
    assert talk.untaken == 1
    talk.lost()
    after = Listener()
    talk.begin(cast("Worker", after))
    assert after.wanted
    talk.watch(-1)
    talk.go_on()
    assert not after.wanted


def test_what_becomes_known_wakes_who_waits_for_room() -> None:
    talk, worker = talk_of(*[b"a"] * MOST)
    room: list[bool] = []
    thread = threading.Thread(target=lambda: room.append(talk.put(b"b", 20.0)))
    thread.start()
    worker.has_taken = 1
    talk.watch(1)
    talk.go_on()
    thread.join()
    assert room == [True]


def test_an_interrupt_while_it_is_noted_what_was_taken_keeps_nobody_from_ending_it() -> None:
    talk, worker = talk_of(b"a")
    talk._posts = Interrupted(talk._posts)
    worker.has_taken = 1
    with pytest.raises(KeyboardInterrupt):
        talk.hear([m.Taken(1)])
    talk.lost()
    talk.over()
    assert talk.untaken == 0


def test_an_interrupt_of_who_takes_a_message_takes_no_leave_from_who_sends() -> None:
    talk, worker = talk_of()
    talk.hear([m.Post(b"x", 0)] * MOST)
    talk._heard = Interrupted(talk._heard)
    for _ in range(MOST):
        with pytest.raises(KeyboardInterrupt):
            talk.take(0)
    talk.go_on()
    assert worker.told == [m.Allow(MOST), m.Allow(2 * MOST)]


def test_what_nobody_took_is_counted_also_if_the_end_is_told_twice() -> None:
    talk, _ = talk_of(b"a", b"b")
    talk.over()
    talk.over()
    assert talk.untaken == 2
