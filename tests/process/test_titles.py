"""Process: the names by which workers are seen from outside, in `ps` and `top`."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from helpers import Method, is_gone, the_worker, wait_until
from targets import doubler, wait_for
from targets_machine import shown, shown_of_a_program

from procorch import ProcessGroup, _extras
from procorch._titles import shortened

with_titles = pytest.mark.skipif(not _extras.title_library(), reason="setproctitle is not installed")


def comm(pid: int) -> str:
    return Path(f"/proc/{pid}/comm").read_text().removesuffix("\n")


def command_line(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_text().rstrip("\0")


def test_workers_show_their_names(method: Method, gate: Path) -> None:
    with ProcessGroup(2, name="etl", mp_context=method) as group:
        futures = [group.submit(wait_for, str(gate)) for _ in range(2)]
        wait_until(lambda: [info.state for info in group.processes] == ["busy", "busy"])
        wait_until(lambda: [comm(info.pid) for info in group.processes if info.pid] == ["etl-1", "etl-2"])
        gate.touch()
        assert [future.result() for future in futures]
        assert comm(os.getpid()) not in {"etl-1", "etl-2"}


def test_a_long_name_is_cut_before_its_number(method: Method) -> None:
    with ProcessGroup(1, name="preprocessing-of-images", mp_context=method) as group:
        assert group.submit(shown).result()[0] == "preprocessing-1\n"


@with_titles
def test_with_the_extra_the_command_line_shows_it_too(method: Method) -> None:
    with ProcessGroup(1, name="etl", mp_context=method) as group:
        assert group.submit(doubler, 1).result() == 2
        assert command_line(the_worker(group).pid or 0) == "etl-1"


def test_without_the_extra_the_command_line_is_as_ever(method: Method, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_extras, "title_library", lambda: "")
    with ProcessGroup(1, name="etl", mp_context=method) as group:
        name, line = group.submit(shown).result()
    assert name == "etl-1\n"
    assert "python" in line


def test_a_library_that_does_not_load_costs_the_title_only(method: Method, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_extras, "title_library", lambda: "/no/such/library.so")
    with ProcessGroup(1, name="etl", mp_context=method) as group:
        name, line = group.submit(shown).result()
    assert name == "etl-1\n"
    assert "python" in line


def test_a_started_process_shows_its_name(method: Method) -> None:
    with ProcessGroup(1, mp_context=method) as group:
        assert group.start(shown, name="Test").result()[0] == "Test\n"
        assert group.start(shown).result()[0] == "Process-1\n"


def test_a_replacement_has_the_same_name(method: Method) -> None:
    with ProcessGroup(1, name="etl", mp_context=method) as group:
        assert group.submit(shown).result()[0] == "etl-1\n"
        killed = the_worker(group).pid or 0
        os.kill(killed, signal.SIGKILL)
        wait_until(lambda: is_gone(killed))
        assert group.submit(shown).result()[0] == "etl-1\n"


def test_programs_that_an_item_starts_have_their_own_names(method: Method) -> None:
    with ProcessGroup(1, name="etl", mp_context=method) as group:
        seen = group.submit(shown_of_a_program).result()
    assert seen.startswith("cat\ncat\0")
    assert "etl" not in seen


@pytest.mark.parametrize("name", ["größer als erlaubt ist", "a\0b", "two\nlines", "\udc80", "%s%n", " ", "x" * 5000])
def test_odd_names(method: Method, name: str) -> None:
    with ProcessGroup(1, name=name, mp_context=method) as group:
        assert group.submit(doubler, 1).result() == 2


@pytest.mark.parametrize(
    ("name", "cut"),
    [
        ("etl-2", b"etl-2"),
        ("Test", b"Test"),
        ("fifteen-bytes-x", b"fifteen-bytes-x"),
        ("preprocessing-of-images-12", b"preprocessin-12"),
        ("a very long name without", b"a very long nam"),
        ("with-a-dash-but-no-number", b"with-a-dash-but"),
        ("ü" * 10 + "-7", "üüüüüü-7".encode()),
        ("-12345678901234567890", b"-12345678901234"),
        ("\udc80-1", b"?-1"),
    ],
)
def test_long_names_keep_their_number(name: str, cut: bytes) -> None:
    assert shortened(name) == cut
