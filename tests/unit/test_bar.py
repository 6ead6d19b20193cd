"""Unit: the bar of ``progress=True``: what is drawn on what, and which of tqdm's habits it leaves out; no process."""

from __future__ import annotations

import io
import os
import sys
import threading
from collections.abc import Iterator
from types import SimpleNamespace

import pytest
import tqdm
import tqdm.auto
from targets import divide, doubler

from procorch import ProcessGroup, Progress, _bar
from procorch._bar import Bar, teller
from procorch.testing import FakeEngine


class Terminal(io.StringIO):
    """Takes what is drawn."""

    def isatty(self) -> bool:
        return True


class Gone(Terminal):
    """A terminal that was closed."""

    def write(self, _: str) -> int:
        raise OSError(5, "Input/output error")


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    terminal = Terminal()
    show_on(terminal, monkeypatch)
    return terminal


def show_on(stream: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give the bar another standard error. The real one is pytest's, which puts it back before each test."""
    monkeypatch.setattr(_bar, "sys", SimpleNamespace(stderr=stream))


@pytest.fixture
def group() -> Iterator[ProcessGroup]:
    with ProcessGroup(1, engine=FakeEngine()) as group:
        yield group


def bar() -> Bar:
    made = teller(True, "package.module.function")
    assert isinstance(made, Bar)
    return made


def progress(done: int, *, total: int | None = 10, failed: int = 0, retried: int = 0, last: bool = False) -> Progress:
    return Progress(done, total, failed, retried, 1, 0.5, last)


def drawn(terminal: Terminal) -> list[str]:
    return terminal.getvalue().split("\r")


def test_a_bar_counts_items(terminal: Terminal) -> None:
    draw = bar()
    for done in (0, 4, 4, 10):
        draw(progress(done, last=done == 10))
    first, *_, last = [line for line in drawn(terminal) if line]
    assert first.startswith("function:   0%|")
    assert "| 0/10 [" in first
    assert sum("| 4/10 [" in line for line in drawn(terminal)) == 2, "it goes on while nothing comes"
    assert last.startswith("function: 100%|")
    assert "| 10/10 [" in last
    assert last.endswith("\n"), "what comes next would be written behind it"
    assert terminal.getvalue().count("\n") == 1


def test_without_a_total(terminal: Terminal) -> None:
    draw = bar()
    draw(progress(0, total=None))
    draw(progress(7, total=None, last=True))
    assert "function: 7it [" in terminal.getvalue()


def test_failures_and_tries_are_told_when_there_are_any(terminal: Terminal) -> None:
    draw = bar()
    draw(progress(0))
    draw(progress(1))
    assert "failed" not in terminal.getvalue()
    draw(progress(2, failed=1))
    assert ", failed=1]" in terminal.getvalue()
    draw(progress(3, failed=2, retried=3, last=True))
    assert ", failed=2, retried=3]" in terminal.getvalue()


def test_one_that_ends_half_way_stays_as_it_is(terminal: Terminal) -> None:
    draw = bar()
    draw(progress(0))
    draw(progress(4, last=True))
    assert "| 4/10 [" in drawn(terminal)[-1]
    assert terminal.getvalue().endswith("\n")


@pytest.mark.parametrize("kind", ["file", "closed", "none", "gone"])
def test_where_there_is_no_terminal_nothing_is_drawn(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    file = io.StringIO()
    if kind == "closed":
        file.close()
    show_on({"file": file, "closed": file, "none": None, "gone": Gone()}[kind], monkeypatch)
    draw = bar()
    for done in (0, 4, 10):
        draw(progress(done, failed=1, last=done == 10))
    assert file.closed or file.getvalue() == ""


def test_it_stands_below_a_bar_of_the_callers(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tqdm.tqdm, "monitor_interval", 0)
    with tqdm.tqdm(total=2, desc="outer", file=terminal) as outer:
        draw = bar()
        draw(progress(0))
        assert terminal.getvalue().count("\n") == 1, "it is on the line below"
        draw(progress(10, last=True))
        outer.update(2)
    assert not list(draw._class._instances)


def test_no_thread_looks_after_it(terminal: Terminal) -> None:
    before = threading.enumerate()
    draw = bar()
    draw(progress(0))
    assert threading.enumerate() == before
    draw(progress(1, last=True))


def test_an_interrupt_while_it_is_drawn_keeps_no_lock(monkeypatch: pytest.MonkeyPatch) -> None:
    class Interrupted(Terminal):
        armed = False

        def write(self, text: str) -> int:
            if self.armed:
                self.armed = False
                raise KeyboardInterrupt
            return super().write(text)

    terminal = Interrupted()
    show_on(terminal, monkeypatch)
    draw = bar()
    draw(progress(0))
    terminal.armed = True
    with pytest.raises(KeyboardInterrupt):
        draw(progress(1))
    other = threading.Thread(target=lambda: draw(progress(2, last=True)), daemon=True)
    other.start()
    other.join(5)
    assert not other.is_alive(), "it waits for a lock that nobody will release"
    assert "| 2/10 [" in terminal.getvalue()


def test_a_forked_copy_finds_the_lock_free_and_draws_nothing(terminal: Terminal) -> None:
    draw = bar()
    draw(progress(0))
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with draw._lock:
            held.set()
            done.wait(20)

    thread = threading.Thread(target=hold)
    thread.start()
    assert held.wait(20)
    before = terminal.getvalue()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            if draw._lock.acquire(timeout=5):
                draw._bar.close()  # as when its last reference goes
                code = 0 if terminal.getvalue() == before else 2
        finally:
            os._exit(code)
    done.set()
    thread.join()
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    draw(progress(5, last=True))
    assert "| 5/10 [" in terminal.getvalue()


def test_a_whole_call(group: ProcessGroup, terminal: Terminal) -> None:
    group.map(divide, [1, 0, 2], return_exceptions=True, progress=True)
    assert "divide: 100%|" in drawn(terminal)[-1]
    assert "| 3/3 [" in drawn(terminal)[-1]
    assert ", failed=1]" in drawn(terminal)[-1]
    assert list(group.imap(doubler, iter([1, 2]), progress=True)) == [2, 4]
    assert "doubler: 2it [" in drawn(terminal)[-1]
    assert terminal.getvalue().count("\n") == 2


def test_a_name_is_the_functions_own(group: ProcessGroup, terminal: Terminal) -> None:
    group.map("{}".format, [1], progress=True)
    assert "format: 100%" in terminal.getvalue()


@pytest.mark.parametrize("call", ["map", "imap"])
def test_without_tqdm_one_hears_how_to_get_it(group: ProcessGroup, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    monkeypatch.setitem(sys.modules, "tqdm.auto", None)
    taken: list[int] = []
    with pytest.raises(ImportError, match=r"^progress=True needs tqdm: pip install 'procorch\[progress\]'$"):
        getattr(group, call)(doubler, map(taken.append, range(3)), progress=True)
    assert taken == []
    assert group.processes == ()
