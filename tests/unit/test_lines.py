"""Unit: what the command line reads, and what is made of a line; no process."""

from __future__ import annotations

import argparse
import os
import pickle
import select
from collections.abc import Iterator

import pytest
from typing_extensions import override

from procorch._commands.halting import Halt, read_halt
from procorch._commands.lines import Call, CallFailed, LineError, Mode, describe, to_json
from procorch._commands.reader import Reader, text_of_line
from procorch._commands.references import UnknownFunction, find


@pytest.mark.parametrize(
    ("text", "halt"),
    [("never", Halt()), ("soon,fail=1", Halt("soon", 1)), ("now,fail=20", Halt("now", 20))],
)
def test_halt(text: str, halt: Halt) -> None:
    assert read_halt(text) == halt


@pytest.mark.parametrize("text", ["", "soon", "now,fail", "now,fail=0", "now,fail=-1", "now,fail=5%", "later,fail=1"])
def test_what_halt_is_not(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="neither never nor"):
        read_halt(text)


def test_when_it_is_due() -> None:
    assert [Halt("soon", 2).is_due(failed) for failed in range(4)] == [False, False, True, True]
    assert not Halt().is_due(1000)


@pytest.mark.parametrize(
    ("line", "text"),
    [(b"", ""), (b"\n", ""), (b"a\r\n", "a"), (b"a\n\r", "a\n"), (b"a\r\r\n", "a\r"), (b"\xff", "\udcff")],
)
def test_the_end_of_a_line(line: bytes, text: str) -> None:
    assert text_of_line(line) == text


@pytest.mark.parametrize(
    ("function", "mode", "text", "result"),
    [
        ("builtins:len", "text", "[1]", "3"),
        ("builtins:len", "json", "[1]", "1"),
        ("builtins:pow", "star", "[2, 3]", "8"),
        ("builtins:dict", "kwargs", '{"b": 1, "a": [true, null]}', '{"b": 1, "a": [true, null]}'),
        ("os.path:basename", "text", "a/ü", '"ü"'),
        ("builtins:str.upper", "text", "a\ud800", '"A\\ud800"'),
    ],
)
def test_a_line_is_called(function: str, mode: Mode, text: str, result: str) -> None:
    call = Call(function, mode)
    assert call((7, text)) == (7, result)
    assert pickle.loads(pickle.dumps(call))((7, text)) == (7, result)


def test_only_what_the_function_raises_is_worth_another_try() -> None:
    with pytest.raises(CallFailed) as failed:
        Call("builtins:int")((3, "x"))
    assert failed.value.number == 3
    assert failed.value.reason.startswith("ValueError: invalid literal")
    assert failed.value.trace == ""
    for function, mode, text in (("builtins:int", "json", "["), ("builtins:set", "text", "a")):
        with pytest.raises(LineError) as refused:
            Call(function, mode)((3, text))  # type: ignore[arg-type]  # a str in a tuple
        assert type(refused.value) is LineError
    copy = pickle.loads(pickle.dumps(failed.value))
    assert (type(copy), copy.number, copy.reason) == (CallFailed, 3, failed.value.reason)


def test_a_trace_begins_in_the_function() -> None:
    with pytest.raises(CallFailed) as failed:
        Call("posixpath:basename", "json", verbose=True)((1, "5"))
    assert "in basename" in failed.value.trace
    assert "_lines.py" not in failed.value.trace


def test_a_call_is_shown_as_in_python() -> None:
    assert Call("os.path:join", "star").show((1, '["a", 2]')) == "os.path.join('a', 2)"


def test_the_name_of_a_call_is_that_of_its_function() -> None:
    call = Call("os.path:basename")
    assert (call.__module__, call.__qualname__) == ("os.path", "basename")


@pytest.mark.parametrize("value", [{1}, float("nan"), float("inf"), b"", object(), {(1, 2): 3}])
def test_what_json_cannot_say(value: object) -> None:
    with pytest.raises((TypeError, ValueError)):
        to_json(value)


def test_an_exception_in_one_line() -> None:
    assert describe(ValueError("a\nb\r\nc")) == "ValueError: a b c"
    assert describe(KeyError()) == "KeyError"


@pytest.mark.parametrize(
    "name", ["", "a", "a:", ":a", "os.path", "os.path:", "os.path:nothing", "os:name", "no.such:f"]
)
def test_names_that_lead_nowhere(name: str) -> None:
    with pytest.raises(UnknownFunction):
        find(name)


# --- the reader -------------------------------------------------------------------------------------------------------


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    yield ends
    for end in ends:
        os.close(end)


class Slower(Reader):
    """One that another reader of the same pipe forestalls each time, and which waits for what the other has taken."""

    @override
    def _read(self) -> None:
        os.read(self._source, 100)
        super()._read()


def test_leaving_does_not_wait_for_what_another_has_read(pipe: tuple[int, int]) -> None:
    source, given = pipe
    unwatched = os.open(os.devnull, os.O_WRONLY)
    reader = Slower(source, unwatched, lambda: None)
    with reader:
        os.write(given, b"1\n")
        while select.select([source], [], [], 0)[0]:
            pass
    # Only for the sake of the next test:
    os.write(given, b"2\n")
    reader._thread.join()
    for fd in (reader._news, reader._wake, unwatched):
        os.close(fd)


class Poor(Reader):
    """One that has no memory for its next line."""

    @override
    def _read(self) -> None:
        raise MemoryError


def test_what_the_reader_cannot_do_ends_the_lines(pipe: tuple[int, int]) -> None:
    source, given = pipe
    unwatched = os.open(os.devnull, os.O_WRONLY)
    with Poor(source, unwatched, lambda: None) as reader:
        os.write(given, b"1\n")
        reader._thread.join()
    os.close(unwatched)
    assert reader.ended
    assert isinstance(reader.error, MemoryError)
