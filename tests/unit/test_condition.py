"""A condition stays whole, whatever a signal interrupts."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from types import FrameType

import pytest
from helpers import wait_until

from procorch._condition import Condition


class _Interrupt(BaseException):
    pass


@pytest.fixture
def handled() -> Iterator[threading.Event]:
    """Let SIGUSR1 raise, and say when its handler was called."""
    called = threading.Event()

    def handle(signum: int, frame: FrameType | None) -> None:
        called.set()
        raise _Interrupt

    before = signal.signal(signal.SIGUSR1, handle)
    yield called
    signal.signal(signal.SIGUSR1, before)


def test_an_interrupt_when_it_is_to_be_taken_again(handled: threading.Event) -> None:
    condition = Condition()
    main = threading.main_thread().ident or 0
    early: list[bool] = []

    def wake_and_interrupt() -> None:
        with condition:  # the other waits in there
            condition.notify_all()
            wait_until(lambda: sys._current_frames()[main].f_code is Condition.wait.__code__)  # no longer to be woken
            signal.pthread_kill(main, signal.SIGUSR1)
            early.append(handled.wait(0.1))

    thread = threading.Thread(target=wake_and_interrupt)
    with pytest.raises(_Interrupt), condition:
        thread.start()
        condition.wait()
    thread.join()
    assert early == [False]
    assert not condition.is_mine()
    with condition:
        assert not condition.wait(0)


def test_an_interrupt_of_a_wait(handled: threading.Event) -> None:
    condition = Condition()

    def interrupt() -> None:
        with condition:
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)

    thread = threading.Thread(target=interrupt)
    with condition:
        thread.start()
        with pytest.raises(_Interrupt):
            condition.wait()
        assert condition.is_mine()
    thread.join()
    assert not condition.is_mine()
    assert "0 waiting" in repr(condition)
