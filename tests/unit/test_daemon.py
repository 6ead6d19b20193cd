"""The start of a thread that finds no memory is an error, where the interpreter's own would wait for ever."""

from __future__ import annotations

import sys
import threading

import pytest
from helpers import wait_until

from procorch import _daemon
from procorch._daemon import Daemon


def test_it_runs_what_it_is_given_with_its_arguments_and_name() -> None:
    got: list[object] = []
    thread = Daemon(lambda *args: got.extend((threading.current_thread().name, *args)), "one", (1, 2))
    assert thread.daemon
    thread.start()
    thread.join()
    assert got == ["one", 1, 2]
    assert not thread.is_alive()


def test_it_starts_once() -> None:
    thread = Daemon(int, "one")
    thread.start()
    with pytest.raises(RuntimeError, match="once"):
        thread.start()
    thread.join()


class _NoMemory(Daemon):
    """Finds none before it can say that it has begun."""

    def _bootstrap(self) -> None:
        raise MemoryError


class _NoMemoryLater(Daemon):
    """Finds none between that and its run."""

    def _bootstrap(self) -> None:
        self._started.set()
        raise MemoryError


@pytest.mark.parametrize("kind", [_NoMemory, _NoMemoryLater])
def test_one_that_ends_before_it_has_begun_is_an_error(kind: type[Daemon], monkeypatch: pytest.MonkeyPatch) -> None:
    failed: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda failure: failed.append(failure.exc_type))
    monkeypatch.setattr(_daemon, "MOST_LOOKS", 2)
    thread = kind(int, "one")
    with pytest.raises(RuntimeError, match="can't start new thread: it did not begin"):
        thread.start()
    assert failed == [MemoryError]
    vars(threading)["_limbo"].pop(thread)  # where the interpreter keeps it


def test_one_that_the_system_has_no_memory_for_is_the_same_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise MemoryError

    names = {"_start_new_thread", "_start_joinable_thread"} & vars(threading).keys()  # the second from 3.13 on
    monkeypatch.setattr(threading, names.pop(), refuse)
    with pytest.raises(RuntimeError, match="can't start new thread"):
        Daemon(int, "one").start()


class _Late(Daemon):
    """Begins when it is let."""

    go = threading.Event()

    def _bootstrap(self) -> None:
        self.go.wait()
        super()._bootstrap()  # type: ignore[misc]  # of the interpreter


def test_one_that_begins_too_late_does_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_daemon, "MOST_LOOKS", 2)
    got: list[int] = []
    thread = _Late(got.append, "one", (1,))
    with pytest.raises(RuntimeError, match="did not begin"):
        thread.start()
    _Late.go.set()
    wait_until(lambda: thread not in threading.enumerate())
    assert got == []
