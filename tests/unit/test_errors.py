"""Unit: the errors of procorch, which must survive pickling and explain themselves."""

from __future__ import annotations

import copy
import pickle
import signal
from collections.abc import Callable

import pytest

import procorch
from procorch import (
    CheckpointError,
    CheckpointMismatch,
    GroupClosed,
    NotPicklable,
    NotRunning,
    NotSupported,
    ProcorchError,
    Task,
    TaskError,
    TaskInterrupted,
    TaskTimeout,
    TooManyRestarts,
    WorkerCrashed,
    WorkerStartError,
)
from procorch._errors import describe_exit

ITEM = Task("module.double", "7", 3)
CALL = Task("module.double", "7, b=8")

TEXTS: list[tuple[ProcorchError, str]] = [
    (GroupClosed("etl", "is closed"), "the group 'etl' is closed"),
    (
        NotSupported("options(timeout=)", "<DaskEngine of tcp://a:1>", "cannot stop an item that runs"),
        "options(timeout=) is not to be had on <DaskEngine of tcp://a:1>, which cannot stop an item that runs",
    ),
    (WorkerStartError("etl-1", 3), "worker 'etl-1' ended with exit code 3 before it was ready"),
    (
        WorkerStartError("etl-1", -signal.SIGKILL, "three times"),
        "worker 'etl-1' was killed by SIGKILL before it was ready: three times",
    ),
    (WorkerStartError("etl-1", None), "worker 'etl-1' ended in an unknown way before it was ready"),
    (
        WorkerCrashed(ITEM, 1, "etl-2", 4321, -signal.SIGSEGV),
        "item 3 (7) of module.double was lost: process 'etl-2' (pid 4321) was killed by SIGSEGV"
        " while running it (1 attempt)",
    ),
    (
        WorkerCrashed(CALL, 3, "etl-2", None, 0),
        "module.double(7, b=8) was lost: process 'etl-2' (pid None) ended with exit code 0"
        " while running it (3 attempts)",
    ),
    (
        WorkerCrashed(CALL, 0, "etl-2", 4321, -signal.SIGTERM),
        "module.double(7, b=8) was lost: process 'etl-2' (pid 4321) was killed by SIGTERM"
        " before it began, and there is no further try",
    ),
    (
        WorkerCrashed(ITEM, 2, "etl-2", 4321, -signal.SIGKILL, 'File "f.py", line 3', "the memory was full"),
        "item 3 (7) of module.double was lost: process 'etl-2' (pid 4321) was killed by SIGKILL"
        " while running it (2 attempts); likely cause: the memory was full",
    ),
    (
        TaskTimeout(CALL, 1, 0.25, "etl-2", 4321),
        "module.double(7, b=8) ran longer than its limit of 0.25 s in process 'etl-2' (pid 4321),"
        " which was stopped (1 attempt)",
    ),
    (
        TaskTimeout(ITEM, 3, 60.0, "etl-2", 4321, 'File "f.py", line 3'),
        "item 3 (7) of module.double ran longer than its limit of 60 s in process 'etl-2' (pid 4321),"
        " which was stopped (3 attempts)",
    ),
    (
        TooManyRestarts(CALL, 6, "web", 5, 60.0, "raised"),
        "service 'web' has failed for good after 5 restarts: module.double(7, b=8) raised",
    ),
    (
        TooManyRestarts(CALL, 2, "web", 1, 60.0, "timed out"),
        "service 'web' has failed for good after 1 restart: module.double(7, b=8) timed out",
    ),
    (NotRunning("web", -signal.SIGKILL), "the process 'web' was killed by SIGKILL"),
    (NotRunning("web", None), "the process 'web' ended in an unknown way"),
    (
        NotPicklable(CALL, 0, "argument", "dumps", "TypeError: cannot pickle a lock", "Pass plain data"),
        "the argument of module.double(7, b=8) cannot be pickled on its way to the worker:"
        " TypeError: cannot pickle a lock. Pass plain data",
    ),
    (
        NotPicklable(ITEM, 1, "result", "loads", "ValueError: no", "Return plain data"),
        "the result of item 3 (7) of module.double cannot be rebuilt from its pickle on its way back:"
        " ValueError: no. Return plain data",
    ),
    (
        TaskInterrupted(ITEM, 1, "run.db"),
        "item 3 (7) of module.double had begun (1 attempt) when an earlier run with the checkpoint 'run.db' ended, and"
        " no outcome of it is recorded: whether it took effect is not known. The next call tries it again",
    ),
    (
        TaskInterrupted(ITEM, 0, "run.db", False, (5, 9)),
        "item 3 (7) of module.double may have begun (what had is not known) when an earlier run with the checkpoint"
        " 'run.db' ended, and no outcome of it is recorded: whether it took effect is not known. The next call tries it"
        " again. The same is true of the items 5, 9",
    ),
    (
        CheckpointError("run.db", "cannot be opened: Permission denied"),
        "the checkpoint 'run.db' cannot be opened: Permission denied",
    ),
    (
        CheckpointMismatch("run.db", "was made with another version: 1 then, 2 now", "version", "1", "2"),
        "the checkpoint 'run.db' was made with another version: 1 then, 2 now",
    ),
]
BASES: list[ProcorchError] = [ProcorchError(), TaskError(ITEM, 2)]
ERRORS = [*BASES, *(error for error, _ in TEXTS)]

each_error = pytest.mark.parametrize(
    "error", ERRORS, ids=[f"{type(error).__name__}-{number}" for number, error in enumerate(ERRORS)]
)


def fields(error: BaseException) -> dict[str, object]:
    return {name: value for name, value in vars(error).items() if not name.startswith("__")}


@pytest.mark.parametrize(("error", "text"), TEXTS, ids=range(len(TEXTS)))
def test_texts_name_the_thing_and_the_way_out(error: ProcorchError, text: str) -> None:
    assert str(error) == text


@each_error
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_errors_survive_pickling(error: ProcorchError, protocol: int) -> None:
    again = pickle.loads(pickle.dumps(error, protocol))
    assert type(again) is type(error)
    assert fields(again) == fields(error)
    assert again.args == error.args
    assert str(again) == str(error)


@each_error
@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy])
def test_errors_survive_copying(error: ProcorchError, duplicate: Callable[[ProcorchError], ProcorchError]) -> None:
    again = duplicate(error)
    assert again is not error
    assert type(again) is type(error)
    assert fields(again) == fields(error)
    assert str(again) == str(error)


def test_notes_survive_pickling() -> None:
    error = GroupClosed("etl", "is closed")
    error.add_note("a note")
    assert pickle.loads(pickle.dumps(error)).__notes__ == ["a note"]


def test_every_error_is_tested_here() -> None:
    public = (getattr(procorch, name) for name in procorch.__all__)
    errors = {kind for kind in public if isinstance(kind, type) and issubclass(kind, BaseException)}
    assert errors == {type(error) for error in ERRORS}


@each_error
def test_errors_are_told_apart_by_identity_and_can_be_kept_in_sets(error: ProcorchError) -> None:
    again = copy.copy(error)
    assert again != error
    assert len({again, error}) == 2


@each_error
def test_errors_can_be_raised_with_cause_and_traceback(error: ProcorchError) -> None:
    cause = ValueError("cause")
    with pytest.raises(type(error)) as caught:
        raise copy.copy(error) from cause
    assert caught.value.__cause__ is cause
    assert caught.value.__traceback__ is not None


def test_the_tree() -> None:
    assert issubclass(ProcorchError, Exception)
    assert {kind.__bases__ for kind in (GroupClosed, WorkerStartError, NotRunning, TaskError)} == {(ProcorchError,)}
    assert {kind.__bases__ for kind in (WorkerCrashed, NotPicklable, TooManyRestarts)} == {(TaskError,)}
    assert TaskTimeout.__bases__ == (TaskError, TimeoutError)


def test_a_timeout_is_caught_as_either_of_its_kinds() -> None:
    for kind in (TaskError, TimeoutError, OSError):
        with pytest.raises(kind, match=r"limit of 5 s"):
            raise TaskTimeout(ITEM, 1, 5.0, "etl-1", 7, "stack")


def test_what_a_timeout_carries_is_not_taken_for_an_error_number() -> None:
    # A TimeoutError is an OSError, which makes an errno and a strerror of two arguments, and a subclass of them.
    error = TaskTimeout(ITEM, 1, 5.0, "etl-1", 7)
    assert (error.errno, error.strerror, error.filename) == (None, None, None)
    assert (error.task, error.attempts, error.limit, error.worker, error.pid, error.stack) == error.args


def test_tasks_are_values() -> None:
    assert Task("module.double", "7", 3) == ITEM
    assert pickle.loads(pickle.dumps(ITEM)) == ITEM
    assert str(ITEM) == "item 3 (7) of module.double"
    assert str(CALL) == "module.double(7, b=8)"
    assert str(Task("module.double", "7", 0)) == "item 0 (7) of module.double"


@pytest.mark.parametrize("number", list(signal.Signals))
def test_signals_are_named(number: signal.Signals) -> None:
    assert describe_exit(-number) == f"was killed by {number.name}"


@pytest.mark.parametrize(
    ("exitcode", "words"),
    [
        (None, "ended in an unknown way"),
        (0, "ended with exit code 0"),
        (3, "ended with exit code 3"),
        (-40, "was killed by signal 40"),
        (-1000, "was killed by signal 1000"),
    ],
)
def test_other_ends_are_described(exitcode: int | None, words: str) -> None:
    assert describe_exit(exitcode) == words
