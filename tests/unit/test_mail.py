"""Unit: what a worker reads while its item runs, whoever reads it, and whatever interrupts that."""

from __future__ import annotations

import math
import socket
import threading
from collections.abc import Callable, Generator, Iterator
from typing import Any, cast

import pytest

from procorch import _messages as m
from procorch._mail import Mail
from procorch._wire import encode

BROKEN = r"^the handler of a signal has raised in the middle of reading a message$"


class Interrupted(Exception):
    """What a signal's handler raises."""


class Side:
    """A worker whose item listens, and its parent's end."""

    def __init__(self) -> None:
        self.parent, self.own = socket.socketpair()
        self.heard: list[m.ToWorker] = []
        self.mail = Mail(self.own)
        self.messages = cast("Generator[m.ToWorker]", iter(self.mail))
        self.fails = False

    def say(self, *messages: m.ToWorker) -> None:
        for message in messages:
            self.parent.sendall(b"".join(bytes(piece) for piece in encode(message)))  # type: ignore[arg-type]

    def hear(self, message: m.ToWorker) -> bool:
        if self.fails:
            raise Interrupted
        self.heard.append(message)
        return not isinstance(message, m.Stop)

    def has(self, count: int) -> Callable[[], bool]:
        return lambda: len(self.heard) >= count


@pytest.fixture
def side() -> Iterator[Side]:
    side = Side()
    side.say(m.Run(1, 1, m.Style.ONE, False, [b""]), m.Cease())
    assert isinstance(next(side.messages), m.Run)
    assert side.mail.listen(side.hear)
    yield side
    side.messages.close()  # or what is kept to be written again would be kept for it
    side.parent.close()
    side.own.close()


def test_what_came_together_with_the_item_is_heard(side: Side) -> None:
    assert side.heard == [m.Cease()]


def test_who_looks_does_not_wait(side: Side) -> None:
    assert not side.mail.wait_for(side.has(2), 0)
    side.say(m.Allow(1))
    assert side.mail.wait_for(side.has(2), 0)


@pytest.mark.parametrize("timeout", [None, 1e6, 1e18, math.inf])
def test_any_time_is_long_enough(side: Side, timeout: float | None) -> None:
    timer = threading.Timer(0.01, side.say, [m.Allow(1)])
    timer.start()
    assert side.mail.wait_for(side.has(2), timeout)
    timer.join()


def test_several_threads_wait_and_each_hears_of_its_own(side: Side) -> None:
    done: list[bool] = []
    threads = [
        threading.Thread(target=lambda count=count: done.append(side.mail.wait_for(side.has(count), 20.0)))
        for count in range(2, 6)
    ]
    for thread in threads:
        thread.start()
    for number in range(4):
        side.say(m.Allow(number))
    for thread in threads:
        thread.join()
    assert done == [True] * 4


def test_what_is_for_the_main_thread_waits_for_it(side: Side) -> None:
    side.say(m.Stop(), m.Allow(1))
    assert side.mail.wait_for(side.has(3), None)
    assert next(side.messages) == m.Stop()


def test_an_interrupt_in_the_middle_of_reading_is_the_end_of_all_reading(side: Side) -> None:
    side.say(m.Allow(1), m.Allow(2), m.Stop())
    side.fails = True
    with pytest.raises(Interrupted):
        side.mail.wait_for(side.has(2), None)
    side.fails = False
    for timeout in (None, 0):
        with pytest.raises(RuntimeError, match=BROKEN):
            side.mail.wait_for(side.has(2), timeout)
    assert list(side.messages) == []  # the process ends


def test_an_interrupt_while_nothing_has_come_does_no_harm(side: Side, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: Any) -> None:
        raise Interrupted

    with monkeypatch.context() as patch:
        patch.setattr(side.mail, "_may_read", interrupted)
        with pytest.raises(Interrupted):
            side.mail.wait_for(side.has(2), None)
    side.say(m.Allow(1))
    assert side.mail.wait_for(side.has(2), None)


def test_a_handler_may_look_but_not_wait_in_the_middle_of_a_wait(side: Side) -> None:
    def handler() -> bool:
        assert not side.mail.wait_for(side.has(9), 0)
        with pytest.raises(RuntimeError, match="cannot wait for messages in the middle of such a wait"):
            side.mail.wait_for(side.has(9), None)
        return True

    assert side.mail.wait_for(handler, None)


def test_when_the_parent_is_gone_nobody_waits(side: Side) -> None:
    side.parent.close()
    assert not side.mail.wait_for(side.has(2), None)
    assert side.mail.is_over
    assert list(side.messages) == []
