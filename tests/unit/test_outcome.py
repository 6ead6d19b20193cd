"""Unit: an exception taken apart in a worker (`_outcome`) and what the caller gets of it (`_revived`, `_verdict`)."""

from __future__ import annotations

import dataclasses
import pickle
import threading
import traceback
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Literal, NoReturn, TypeAlias

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from procorch import (
    GroupClosed,
    NotPicklable,
    ProcorchError,
    Task,
    TaskTimeout,
    WorkerCrashed,
    WorkerStartError,
    _values,
)
from procorch._events import Dropped, Lost, NotStarted, Outcome, Remains, TimedOut
from procorch._messages import Failure, Stage, Value
from procorch._notes import annotate
from procorch._outcome import capture, read_report
from procorch._revived import RemoteTraceback, rebuild_setup_error
from procorch._verdict import Ending, Place, judge, settle, shorten

TASK = Task("module.function", "7", 3)
PLACE = Place("etl-2", 4321)
ENDING = Ending("etl")


# --- exceptions with a will of their own ----------------------------------------------------------------------------


class MoreArgumentsError(Exception):
    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"{code}: {reason}")
        self.code = code


class ChangingTextError(Exception):
    def __init__(self, text: str) -> None:
        super().__init__(f"changed: {text}")


class KeywordOnlyError(Exception):
    def __init__(self, *, code: int) -> None:
        super().__init__(f"code {code}")
        self.code = code


class NoArgumentsError(Exception):
    def __init__(self, code: int) -> None:
        super().__init__()
        self.code = code

    def __str__(self) -> str:
        return f"code {self.code}"


class RefusingReduceError(Exception):
    def __reduce__(self) -> NoReturn:
        raise RuntimeError("no pickling here")


class RefusingStrError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text here")


class ForgetfulReduceError(Exception):
    """Drops its attributes, notes among them, when pickled."""

    def __reduce__(self) -> tuple[type[ForgetfulReduceError], tuple[Any, ...]]:
        return ForgetfulReduceError, self.args


class LoadsAsSomethingElseError(Exception):
    def __reduce__(self) -> tuple[type[str], tuple[str]]:
        return str, ("no exception at all",)


class FalsyError(Exception):
    """One of those that count what they hold, and whose own pickle cannot be opened."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code

    def __len__(self) -> int:
        return 0


class OddOSError(OSError):
    def __init__(self, path: str) -> None:
        super().__init__(2, "gone", path)


class OddUnicodeError(UnicodeDecodeError):
    def __init__(self, data: bytes) -> None:
        super().__init__("utf-8", data, 0, 1, "odd")


class OddGroup(ExceptionGroup[ValueError]):
    """As in the documentation of `ExceptionGroup`."""

    def __new__(cls, errors: list[ValueError], exit_code: int) -> OddGroup:
        self = super().__new__(OddGroup, f"exit code: {exit_code}", errors)
        self.exit_code = exit_code
        return self

    exit_code: int


@dataclasses.dataclass(frozen=True)
class FrozenError(Exception):
    code: int

    def __str__(self) -> str:
        return f"code {self.code}"


@attrs.frozen
class FrozenAttrsError(Exception):
    code: int
    reason: str = attrs.field(kw_only=True)


class StrangeText(str):
    __slots__ = ()

    def __reduce__(self) -> NoReturn:
        raise RuntimeError("no pickling here")


class StrangeTextError(Exception):
    def __str__(self) -> str:
        return StrangeText("strange")


class UnreadableError(Exception):
    """Nothing of it can be asked without an error."""

    @property
    def args(self) -> NoReturn:  # type: ignore[override]  # as unkind as a class can be
        raise RuntimeError("no args")

    def __getattribute__(self, name: str) -> NoReturn:
        raise RuntimeError(f"no {name}")


class NamelessMeta(type):
    @property
    def __module__(cls) -> str:  # type: ignore[override]  # that it is read-only does not matter here
        raise RuntimeError("no module")


class Explosive:
    """Can be pickled, and raises when it is opened."""

    def __reduce__(self) -> tuple[Callable[[str], object], tuple[str]]:
        return explode, ("opened",)


def explode(text: str) -> NoReturn:
    raise LookupError(text)


# --- helpers ----------------------------------------------------------------------------------------------------------


def caught(error: BaseException) -> BaseException:
    """Raise it, as a task would."""
    try:
        raise error
    except BaseException as raised:  # noqa: BLE001 - a test's own
        return raised


def verdict(outcome: Outcome, place: Place | None = PLACE, ending: Ending = ENDING) -> BaseException:
    """Judge an outcome that is an error."""
    value, error = judge(outcome, lambda: TASK, place, ending)
    assert error is not None, f"no error but {value!r}"
    return error


def crossed(error: BaseException, stage: Stage = "raised") -> BaseException:
    """Give what the caller gets for an exception in the worker."""
    return verdict(capture(caught(error), stage))


def remote_traceback(error: BaseException) -> str:
    assert isinstance(error.__cause__, RemoteTraceback)
    return str(error.__cause__)


# --- exceptions of the function's own ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "error",
    [
        ValueError("plain"),
        KeyError("key"),
        Exception(),
        StopIteration(5),
        SystemExit(3),
        KeyboardInterrupt(),
        GeneratorExit(),
        MoreArgumentsError(404, "not found"),
        ChangingTextError("text"),
        KeywordOnlyError(code=5),
        NoArgumentsError(5),
        RefusingReduceError("reduce"),
        ForgetfulReduceError("forgetful"),
        LoadsAsSomethingElseError("else"),
        FalsyError(5, "falsy"),
        FileNotFoundError(2, "gone", "/path"),
        OSError(13, "denied", "/one", None, "/two"),
        OddOSError("/path"),
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid"),
        OddUnicodeError(b"\xff"),
        ImportError("no module", name="module", path="/path"),
        SyntaxError("bad", ("file.py", 3, 5, "x = = 1")),
        FrozenError(5),
        pytest.param(FrozenError(code=5), id="FrozenError by keyword"),
        FrozenAttrsError(5, reason="frozen"),
        StrangeTextError("strange"),
        ExceptionGroup("several", [ValueError("one"), ExceptionGroup("inner", [KeyError("two")])]),
        BaseExceptionGroup("worse", [KeyboardInterrupt()]),
        OddGroup([ValueError("one")], 5),
        NotPicklable(TASK, 1, "result", "dumps", "detail", "remedy"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_exception_comes_as_itself_with_its_text_and_traceback(error: BaseException) -> None:
    got = crossed(error)
    assert type(got) is type(error)
    assert str(got) == str(error)
    assert got is not error
    assert {**got.__dict__} == {**error.__dict__}
    trace = remote_traceback(got)
    assert "in caught" in trace
    assert "raise error" in trace
    assert type(error).__qualname__ in trace


def test_what_a_built_in_class_keeps_beside_args_arrives() -> None:
    path = crossed(OddOSError("/path"))
    assert isinstance(path, OddOSError)
    assert (path.errno, path.strerror, path.filename) == (2, "gone", "/path")
    unicode = crossed(OddUnicodeError(b"\xff"))
    assert isinstance(unicode, OddUnicodeError)
    assert (unicode.object, unicode.reason) == (b"\xff", "odd")
    group = crossed(OddGroup([ValueError("one")], 5))
    assert isinstance(group, OddGroup)
    assert (group.exit_code, [str(error) for error in group.exceptions]) == (5, ["one"])
    module = crossed(ImportError("no module", name="module", path="/path"))
    assert isinstance(module, ImportError)
    assert (module.name, module.path) == ("module", "/path")


def test_odd_members_of_a_group_arrive() -> None:
    inner = ExceptionGroup("inner", [FrozenError(6), RefusingReduceError("reduce")])
    got = crossed(ExceptionGroup("outer", [MoreArgumentsError(404, "not found"), OddOSError("/path"), inner]))
    assert isinstance(got, ExceptionGroup)
    first, second, third = got.exceptions
    assert isinstance(first, MoreArgumentsError)
    assert (first.code, str(first)) == (404, "404: not found")
    assert isinstance(second, OddOSError)
    assert second.filename == "/path"
    assert isinstance(third, ExceptionGroup)
    assert [str(error) for error in third.exceptions] == ["code 6", "reduce"]


def test_an_exception_that_holds_itself_and_others_arrives() -> None:
    error = MoreArgumentsError(404, "not found")
    vars(error)["itself"] = error
    vars(error)["other"] = KeywordOnlyError(code=5)
    got = vars(crossed(error))
    assert type(got["itself"]) is MoreArgumentsError
    assert got["itself"].__dict__ is got
    assert got["other"].code == 5


@pytest.mark.parametrize(
    "error",
    [ValueError("noted"), MoreArgumentsError(404, "noted"), ForgetfulReduceError("noted"), KeywordOnlyError(code=5)],
    ids=lambda error: type(error).__name__,
)
def test_notes_are_kept(error: Exception) -> None:
    error.add_note("one")
    error.add_note("two")
    got = crossed(error)
    assert got.__notes__ == ["one", "two"]
    assert "two" in remote_traceback(got)


def test_the_causes_are_in_the_traceback() -> None:
    error = ValueError("effect")
    error.__cause__ = caught(KeyError("the cause"))
    error.__cause__.__context__ = caught(LookupError("what went before"))
    trace = remote_traceback(crossed(error))
    assert "the cause" in trace
    assert "what went before" in trace
    assert "direct cause" in trace


def test_the_traceback_is_printed_with_the_exception() -> None:
    printed = "".join(traceback.format_exception(crossed(ValueError("plain"))))
    assert '"""\nTraceback (most recent call last):' in printed
    assert "in caught" in printed
    assert printed.endswith("ValueError: plain\n")


def test_a_text_that_fails_costs_only_the_text() -> None:
    got = crossed(RefusingStrError("hidden"))
    assert type(got) is RefusingStrError
    assert got.args == ("hidden",)
    assert "in caught" in remote_traceback(got)


def test_an_exception_with_an_unpicklable_attribute_is_described() -> None:
    error = ValueError("has a lock")
    vars(error)["lock"] = threading.Lock()
    got = crossed(error)
    assert isinstance(got, NotPicklable)
    assert (got.what, got.step, got.task, got.attempts) == ("exception", "dumps", TASK, 1)
    assert got.detail == "ValueError: has a lock"
    assert got.remedy
    assert "in caught" in remote_traceback(got)


def test_an_exception_of_a_local_class_comes_as_itself() -> None:
    class LocalError(MoreArgumentsError):
        pass

    got = crossed(LocalError(5, "local"))
    assert type(got) is LocalError
    assert (got.code, str(got)) == (5, "5: local")
    assert "in caught" in remote_traceback(got)


def test_an_exception_of_a_local_class_is_described_without_cloudpickle(monkeypatch: pytest.MonkeyPatch) -> None:
    class LocalError(Exception):
        pass

    monkeypatch.setattr(_values, "cloudpickle", lambda: None)
    got = crossed(LocalError("local"))
    assert isinstance(got, NotPicklable)
    assert (got.what, got.step) == ("exception", "dumps")
    assert got.detail.endswith("<locals>.LocalError: local")
    assert "top level" in got.remedy


def test_an_exception_that_cannot_be_opened_is_described() -> None:
    got = crossed(ValueError(Explosive()))
    assert isinstance(got, NotPicklable)
    assert (got.what, got.step) == ("exception", "loads")
    assert got.detail.startswith("ValueError: ")


def test_an_exception_that_hides_everything_still_comes() -> None:
    got = crossed(UnreadableError())
    assert type(got) is UnreadableError
    cause = object.__getattribute__(got, "__cause__")
    assert isinstance(cause, RemoteTraceback)
    assert cause.args[0]


def test_capture_survives_a_class_without_a_name() -> None:
    nameless = NamelessMeta("Nameless", (Exception,), {})
    report = read_report(capture(caught(nameless("text")), "raised"))
    assert "no name" in report.name
    assert report.text == "text"


@settings(max_examples=30)
@given(st.text(), st.lists(st.text(), max_size=2))
def test_any_text_crosses(text: str, notes: list[str]) -> None:
    error = MoreArgumentsError(1, text)
    for note in notes:
        error.add_note(note)
    got = crossed(error)
    assert str(got) == f"1: {text}"
    assert getattr(got, "__notes__", []) == notes


def test_a_report_is_of_plain_types() -> None:
    failure = capture(caught(StrangeTextError("strange")), "raised")
    report = read_report(failure)
    assert type(report.text) is str
    assert all(type(field) in {str, bytes, list} for field in report)


def test_an_uncaught_recursion_crosses() -> None:
    def forever() -> None:
        forever()

    with pytest.raises(RecursionError) as raised:
        forever()
    got = verdict(capture(raised.value, "raised"))
    assert isinstance(got, RecursionError)
    assert len(remote_traceback(got)) < 10_000


# --- what cannot cross ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stage", "step", "way"),
    [
        ("function", "loads", "be rebuilt from its pickle on its way to the worker"),
        ("argument", "loads", "be rebuilt from its pickle on its way to the worker"),
        ("result", "dumps", "be pickled on its way back"),
    ],
)
def test_what_could_not_cross_in_the_worker_is_named(stage: Stage, step: str, way: str) -> None:
    got = crossed(LookupError("inside"), stage)
    assert isinstance(got, NotPicklable)
    assert (got.what, got.step, got.task) == (stage, step, TASK)
    assert got.detail == "LookupError: inside"
    assert f"the {stage} of item 3 (7) of module.function cannot {way}: LookupError: inside. " in str(got)
    assert got.remedy in str(got)
    assert "in caught" in remote_traceback(got)


def test_a_result_that_cannot_be_opened_is_named() -> None:
    got = verdict(Value(pickle.dumps(Explosive())))
    assert isinstance(got, NotPicklable)
    assert (got.what, got.step, got.detail) == ("result", "loads", "LookupError: opened")
    assert isinstance(got.__cause__, LookupError)


# --- the other outcomes -----------------------------------------------------------------------------------------------


def test_a_value_is_opened_anew_each_time() -> None:
    outcome = Value(pickle.dumps([1]))
    first, second = (judge(outcome, lambda: TASK, PLACE, ENDING) for _ in range(2))
    assert first == second == ([1], None)
    assert first[0] is not second[0]


def test_an_interrupt_of_who_brings_an_outcome_is_none() -> None:
    future: Future[object] = Future()

    def bring(task: Callable[[], Task]) -> None:
        settle(future, Lost(2, -11, 1), task, PLACE, ENDING)

    def interrupted() -> Task:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        bring(interrupted)
    assert not future.done()
    bring(lambda: TASK)
    assert isinstance(future.exception(0), WorkerCrashed)


def test_a_lost_item_names_its_process() -> None:
    got = verdict(Lost(2, -11, 1))
    assert isinstance(got, WorkerCrashed)
    assert (got.task, got.attempts, got.worker, got.pid, got.exitcode) == (TASK, 1, "etl-2", 4321, -11)


def test_a_lost_item_shows_what_its_process_left() -> None:
    got = verdict(Lost(2, -11, 1, Remains("Thread 1:\n  File f\n", "the memory was full")))
    assert isinstance(got, WorkerCrashed)
    assert (got.stack, got.cause) == ("Thread 1:\n  File f\n", "the memory was full")
    assert got.__notes__ == ["procorch: the process was at\nThread 1:\n  File f"]


def test_what_is_not_known_of_a_lost_item_is_none() -> None:
    got = verdict(Lost(2, -11, 1))
    assert isinstance(got, WorkerCrashed)
    assert (got.stack, got.cause) == (None, None)
    assert not hasattr(got, "__notes__")


def test_an_item_that_took_too_long_names_limit_tries_and_process() -> None:
    got = verdict(TimedOut(2, 0.5, 3, Remains("a stack")))
    assert isinstance(got, TaskTimeout)
    assert got.args == (TASK, 3, 0.5, "etl-2", 4321, "a stack")


def test_an_item_that_made_an_exception_of_its_end_shows_where() -> None:
    got = verdict(TimedOut(2, 0.5, 1, Remains(failure=capture(caught(SystemExit(3)), "raised"))))
    assert isinstance(got, TaskTimeout)
    assert got.stack is not None
    assert "in caught" in got.stack


def test_a_stack_is_shown_without_our_own_frames() -> None:
    ours = '  File "/lib/procorch/_child.py", line 7 in _outcome\n  File "/lib/procorch/_child.py", line 8 in run\n'
    got = verdict(TimedOut(2, 0.5, 1, Remains(f'Thread 1:\n  File "user.py", line 3 in work\n{ours}Thread 2:\n')))
    assert isinstance(got, TaskTimeout)
    expected = 'Thread 1:\n  File "user.py", line 3 in work\n  <the call of the item\'s function>\nThread 2:\n'
    assert got.stack == expected


def test_a_refused_process_is_named() -> None:
    got = verdict(NotStarted(2, "OSError: too many processes"))
    assert isinstance(got, WorkerStartError)
    assert "etl-2" in str(got)
    assert "too many processes" in str(got)


def test_dropped_work_says_why_the_group_ended() -> None:
    got = verdict(Dropped(), None, Ending("etl", "was terminated"))
    assert isinstance(got, GroupClosed)
    assert str(got) == "the group 'etl' was terminated"
    broken = Ending("etl", "cannot start its workers", lambda: ValueError("from the initializer"))
    assert str(verdict(Dropped(), None, broken)) == "from the initializer"
    refused = broken.closed()
    assert str(refused.__cause__) == "from the initializer"


@pytest.mark.parametrize(
    "outcome",
    [
        capture(ValueError("raised"), "raised"),
        capture(MoreArgumentsError(1, "odd"), "raised"),
        capture(ValueError("result"), "result"),
        Value(pickle.dumps(Explosive())),
        Lost(1, 1, 1),
        Lost(1, 1, 1, Remains("a stack", "a cause")),
        TimedOut(1, 2.0, 1),
        NotStarted(1, "no"),
        Dropped(),
    ],
    ids=["raised", "odd", "result", "unreadable", "lost", "lost with a stack", "timed out", "not started", "dropped"],
)
@pytest.mark.parametrize("ending", [Ending("etl"), Ending("etl", "broke", lambda: ValueError("cause"))])
def test_each_judgement_makes_an_exception_of_its_own(outcome: Outcome, ending: Ending) -> None:
    first, second = verdict(outcome, ending=ending), verdict(outcome, ending=ending)
    assert first is not second
    annotate(first, "only here")
    assert "only here" not in getattr(second, "__notes__", ())


def test_errors_without_a_place_can_be_told() -> None:
    assert "'?'" in str(verdict(Lost(1, None, 2), None))
    assert "'?'" in str(verdict(NotStarted(1, "no"), None))
    assert "'?'" in str(verdict(TimedOut(1, 2.0, 2), None))


# --- initializer and finalizer ----------------------------------------------------------------------------------------

SetupCall: TypeAlias = Literal["initializer", "finalizer"]

each_setup = pytest.mark.parametrize("what", ["initializer", "finalizer"])


@pytest.mark.parametrize(
    "error", [ValueError("plain"), MoreArgumentsError(1, "odd"), FrozenError(5)], ids=lambda error: type(error).__name__
)
@each_setup
def test_an_initializer_s_error_comes_as_itself(error: Exception, what: SetupCall) -> None:
    got = rebuild_setup_error(read_report(capture(caught(error), "raised")), "etl-1", what)
    assert type(got) is type(error)
    assert got.__notes__ == [f"procorch: raised by the {what} in worker 'etl-1'"]
    assert "in caught" in remote_traceback(got)


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt("stop"), ValueError(Explosive())])
@each_setup
def test_an_initializer_s_error_that_would_end_the_caller_or_is_lost_is_told(
    error: BaseException, what: SetupCall
) -> None:
    got = rebuild_setup_error(read_report(capture(caught(error), "raised")), "etl-1", what)
    assert isinstance(got, WorkerStartError)
    assert got.worker == "etl-1"
    assert got.detail.startswith(f"its {what} raised {type(error).__name__}: ")


# --- small things -----------------------------------------------------------------------------------------------------


def test_a_note_goes_to_any_exception() -> None:
    for error in (ValueError(), FrozenError(5), FrozenAttrsError(5, reason="x")):
        annotate(error, "one")
        annotate(error, "two")
        assert error.__notes__ == ["one", "two"]


def test_long_arguments_are_shortened_and_bad_ones_survived() -> None:
    class Bad:
        def __repr__(self) -> str:
            raise RuntimeError

    assert len(shorten("x" * 1000)) < 80
    assert len(shorten([list(range(100))] * 100)) < 200
    assert "Bad" in shorten(Bad())
    assert shorten(7) == "7"
    many_digits = shorten(10**5000)  # more than the interpreter puts into a text
    assert many_digits.startswith("<int ")
    assert len(many_digits) < 200


def test_an_error_of_ours_keeps_its_fields_across_two_levels() -> None:
    got = crossed(crossed(ProcorchError()))
    assert type(got) is ProcorchError


def test_failures_are_small_tuples() -> None:
    assert capture(ValueError(), "raised")._fields == Failure._fields
