"""Process: what workers log arrives: in order, once, with its origin, and whatever becomes of the worker."""

from __future__ import annotations

import contextlib
import io
import logging
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from collections import defaultdict
from collections.abc import Iterator
from functools import partial
from itertools import count, islice
from pathlib import Path
from typing import Any

import attrs
import pytest
import targets_logs as targets
from helpers import Method, the_worker
from targets import wait_for

import procorch
from procorch import ProcessGroup, WorkerCrashed


class Collector(logging.Handler):
    """Keeps the records that reach the parent's root."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    @property
    def texts(self) -> list[str]:
        return [record.getMessage() for record in self.records]

    @property
    def tasks(self) -> list[Any]:
        return [vars(record)["task"] for record in self.records]


@pytest.fixture
def heard() -> Iterator[Collector]:
    root, mine = logging.getLogger(), logging.getLogger("tests.logs")
    collector, level = Collector(), root.level
    root.addHandler(collector)
    yield collector
    root.removeHandler(collector)
    root.setLevel(level)
    mine.setLevel(logging.NOTSET)
    mine.handlers.clear()
    mine.propagate = True
    logging.disable(logging.NOTSET)


def make_group(method: Method, workers: int = 1, **options: Any) -> ProcessGroup:
    return ProcessGroup(workers, mp_context=method, **options)


# --- order, once, origin ----------------------------------------------------------------------------------------------


def test_records_of_a_result_have_been_handled_when_it_is_there(method: Method, heard: Collector) -> None:
    with make_group(method, name="etl") as group:
        for turn in range(20):
            group.submit(targets.say, f"turn {turn}").result()
            assert heard.texts == [f"turn {number}" for number in range(turn + 1)]
        (record,) = {(one.processName, one.process, one.name, one.levelname, one.funcName) for one in heard.records}
        assert record == ("etl-1", the_worker(group).pid, "tests.logs", "WARNING", "say")
        assert set(heard.tasks) == {"targets_logs.say"}


def test_records_of_streamed_results_have_been_handled_when_they_are_there(method: Method, heard: Collector) -> None:
    with make_group(method, 2) as group:
        stream = group.imap(partial(targets.count_up, lines=1), count(), chunksize=50)
        for item in islice(stream, 3000):
            assert f"{item} 0" in heard.texts[max(0, item - 200) :]
        stream.close()


def test_thousands_of_records_from_several_workers(method: Method, heard: Collector) -> None:
    with make_group(method, 3) as group:
        group.map(partial(targets.count_up, lines=500), range(12))
    by_process: dict[int | None, list[tuple[str, str]]] = defaultdict(list)
    by_item: dict[str, list[str]] = defaultdict(list)
    for record, task in zip(heard.records, heard.tasks, strict=True):
        item, line = record.getMessage().split()
        by_process[record.process].append((item, line))
        by_item[item].append(line)
        assert task == f"item {item} of functools.partial"
    assert by_item == {str(item): [str(line) for line in range(500)] for item in range(12)}
    for lines in by_process.values():
        # One item after the other, as they ran, each from its first line to its last.
        assert [line for _, line in lines] == [str(line) for line in range(500)] * (len(lines) // 500)


def test_indexes_are_those_of_the_input(method: Method, heard: Collector) -> None:
    """Also where an item before could not be pickled, so that it never got a number."""
    with make_group(method) as group:
        texts: list[Any] = ["a", threading.Lock(), "b", "c"]
        group.map(targets.say, texts, return_exceptions=True)
    assert dict(zip(heard.texts, heard.tasks, strict=True)) == {
        "a": "item 0 of targets_logs.say",
        "b": "item 2 of targets_logs.say",
        "c": "item 3 of targets_logs.say",
    }


@pytest.mark.limit(60)
def test_very_many_from_one_item(method: Method, heard: Collector) -> None:
    with make_group(method) as group:
        group.submit(targets.count_to, 10_000).result()
    assert heard.texts == [f"0 {line}" for line in range(10_000)]


def test_large_records(method: Method, heard: Collector) -> None:
    with make_group(method) as group:
        group.map(targets.say_large, [3 << 20, 1, 1 << 15])
    assert [len(text) for text in heard.texts] == [3 << 20, 1, 1 << 15]


def test_processes_of_their_own(method: Method, heard: Collector) -> None:
    with make_group(method) as group:
        assert group.start(targets.say, "hello", name="mine").result() == "hello"
    assert [(one.getMessage(), one.processName) for one in heard.records] == [("hello", "mine")]
    assert heard.tasks == ["targets_logs.say"]


# --- crashes and other ends -------------------------------------------------------------------------------------------


def test_just_before_os_exit(method: Method, heard: Collector) -> None:
    with make_group(method) as group:
        for _ in range(3):
            with pytest.raises(WorkerCrashed) as caught:
                group.submit(targets.say_and_exit, 3).result()
            assert caught.value.exitcode == 3
    assert heard.texts == ["the last words"] * 3
    assert heard.tasks == ["targets_logs.say_and_exit"] * 3


def test_just_before_being_killed(method: Method, heard: Collector) -> None:
    with make_group(method) as group, pytest.raises(WorkerCrashed) as caught:
        group.submit(targets.say_and_die).result()
    assert caught.value.exitcode == -signal.SIGKILL
    assert heard.texts == ["the last words"]


def test_initializer(method: Method, heard: Collector) -> None:
    with make_group(method, initializer=targets.say, initargs=("ready",)) as group:
        group.submit(targets.say, "work").result()
    assert heard.texts == ["ready", "work"]
    assert heard.tasks == [None, "targets_logs.say"]


def test_at_exit_and_in_threads_that_were_left(method: Method, heard: Collector) -> None:
    with make_group(method) as group:
        group.submit(targets.say_at_exit, "bye").result()
        group.submit(targets.leave_thread_that_says, "late").result()
        assert heard.texts == []
    assert sorted(heard.texts) == ["bye", "late"]  # which is first depends on the version of Python
    assert heard.tasks == [None, None]


# --- what a record carries --------------------------------------------------------------------------------------------


def test_exceptions_and_extras(method: Method, heard: Collector) -> None:
    with make_group(method) as group:
        group.submit(targets.fail_and_say).result()
    (record,) = heard.records
    assert record.exc_info is None
    assert 'raise KeyError("lost")' in str(record.exc_text)
    assert "KeyError: 'lost'" in logging.Formatter("%(message)s").format(record)
    assert vars(record)["shelf"] == [1, 2]


def test_odd_records_break_nothing(method: Method, heard: Collector) -> None:
    with make_group(method) as group:
        assert group.submit(targets.say_odd_things).result() == 7
    extras, misfit, stubborn, also = heard.records
    found = {name: vars(extras)[name] for name in ("speaking", "stubborn", "late", "whole")}
    assert found == {
        "speaking": "<speaking>",
        "stubborn": "<Stubborn: its __repr__ failed>",
        "late": "<not loaded: RuntimeError>",
        "whole": {"a": 1},
    }
    assert "'two %s %s' with arguments ('one',)" in misfit.getMessage()
    assert "RuntimeError('no str')" in stubborn.getMessage()
    assert "RuntimeError('no str')" in also.getMessage()


def test_warnings(method: Method, heard: Collector) -> None:
    with make_group(method) as group:
        group.map(targets.warn, ["mind the step"])
    (record,) = heard.records
    assert (record.name, record.levelname) == ("py.warnings", "WARNING")
    assert "UserWarning: mind the step" in record.getMessage()
    assert heard.tasks == ["item 0 of targets_logs.warn"]


def test_the_logger_of_multiprocessing_stays_where_it_is(method: Method, heard: Collector) -> None:
    with make_group(method) as group:
        group.submit(targets.say_as_multiprocessing).result()
    assert heard.texts == ["of mine"]


# --- levels -----------------------------------------------------------------------------------------------------------


def test_levels_follow_those_of_the_parent(method: Method, heard: Collector) -> None:
    mine = logging.getLogger("tests.logs")

    def said() -> list[str]:
        heard.records.clear()
        group.submit(targets.say_twice, "word").result()
        return heard.texts

    logging.getLogger().setLevel(logging.WARNING)
    mine.setLevel(logging.DEBUG)
    with make_group(method) as group:
        assert said() == ["quiet word", "loud word"]
        assert group.submit(targets.level_of, "tests.logs").result() == (logging.DEBUG, 0)
        mine.setLevel(logging.ERROR)
        assert said() == []
        mine.setLevel(logging.NOTSET)
        assert said() == ["loud word"]
        assert group.submit(targets.level_of, "tests.logs").result() == (logging.NOTSET, 0)
        logging.getLogger().setLevel(logging.DEBUG)
        assert said() == ["quiet word", "loud word"]
        logging.disable(logging.INFO)
        assert said() == ["loud word"]
        assert group.submit(targets.level_of, "tests.logs").result() == (0, logging.INFO)
        logging.disable(logging.NOTSET)
        assert said() == ["quiet word", "loud word"]


def test_a_level_set_in_the_parent_holds_over_that_of_a_module_loaded_later(method: Method, heard: Collector) -> None:
    logging.getLogger("tests.logs").setLevel(logging.DEBUG)
    with make_group(method) as group:
        group.map(targets.LoadsWithLevel(), ["word"])
    assert heard.texts == ["quiet word", "loud word"]


def test_what_the_parent_does_not_want_is_dropped_there(method: Method, heard: Collector) -> None:
    with make_group(method) as group:
        group.submit(targets.set_level, "tests.logs", logging.DEBUG).result()
        group.submit(targets.say_twice, "word").result()
    assert heard.texts == ["loud word"]


def test_a_name_for_a_level_that_only_the_parent_has(method: Method, heard: Collector) -> None:
    level = {"forkserver": 37, "spawn": 38, "fork": 39}[method]
    with make_group(method) as group:
        group.submit(targets.say, "first", level).result()
        logging.addLevelName(level, "NOTABLE")
        group.submit(targets.say, "then", level).result()
    assert [record.levelname for record in heard.records] == [f"Level {level}", "NOTABLE"]


# --- several who send -------------------------------------------------------------------------------------------------


def test_threads_log_while_large_results_are_sent(method: Method, heard: Collector) -> None:
    size, lines = 5 << 20, 300
    with make_group(method) as group:
        assert [len(data) for data in group.map(targets.say_in_threads, [size] * 3, [lines] * 3)] == [size] * 3
    by_thread: dict[tuple[int | None, str], list[str]] = defaultdict(list)
    for record in heard.records:
        number, line = record.getMessage().split()
        by_thread[record.thread, number].append(line)
    # A thread's ident may be given again to one of a later item.
    said = sorted((number, line) for (_, number), all_of in by_thread.items() for line in all_of)
    assert said == sorted((str(number), str(line)) for number in range(4) for line in range(lines) for _ in range(3))
    for all_of in by_thread.values():
        assert all_of == [str(line) for line in range(lines)] * (len(all_of) // lines)


@pytest.fixture
def method_with_signals(method: Method) -> Method:
    """A start method in whose workers signal handlers run at once."""
    if method == "fork" and sys.version_info >= (3, 13):
        pytest.skip("a process forked by a thread runs no Python signal handler here, but in interrupted system calls")
    return method


def test_a_signal_handler_logs_while_its_thread_sends(method_with_signals: Method, heard: Collector) -> None:
    size, times = 5 << 20, 200
    with make_group(method_with_signals) as group:
        assert len(group.submit(targets.say_in_handler, size, times).result()) == size
        assert group.submit(targets.say, "alive").result() == "alive"
    for kind in ("signal", "line"):
        numbers = [int(text.split()[1]) for text in heard.texts if text.startswith(kind)]
        assert numbers == list(range(len(numbers)))
        assert len(numbers) == times or kind == "line"


class Waiting(Collector):
    """Handles nothing before a file is there, so that the sender is stuck in the middle of a record."""

    def __init__(self, gate: Path) -> None:
        super().__init__()
        self._gate = gate

    def emit(self, record: logging.LogRecord) -> None:
        wait_for(str(self._gate))
        super().emit(record)


def test_a_signal_handler_raises_in_the_middle_of_a_record(
    method_with_signals: Method, heard: Collector, gate: Path
) -> None:
    """The item is interrupted at once, and no half record is left in the way of what follows."""
    mine = logging.getLogger("tests.logs")
    with make_group(method_with_signals) as group:
        group.submit(targets.say, "ready").result()
        waiting = Waiting(gate)
        mine.addHandler(waiting)
        lines = group.submit(targets.time_out_while_saying, str(gate), 0.3).result()
        group.submit(targets.say, f"{lines + 1} after").result()
    numbers = [int(text.split()[0]) for text in waiting.texts]
    # The interrupted one is out, if it had begun to be sent.
    assert numbers in ([*range(lines), lines + 1], [*range(lines + 2)])


# --- forks ------------------------------------------------------------------------------------------------------------


def test_a_process_that_an_item_forked_does_not_send(method: Method, heard: Collector) -> None:
    with make_group(method) as group:
        for _ in range(10):
            child = group.submit(targets.fork_and_say).result()
            assert child != the_worker(group).pid
    assert heard.texts == ["before", "after"] * 10


def test_handlers_of_the_parent_are_not_inherited(method: Method, heard: Collector, tmp_path: Path) -> None:
    """Each line comes once, also where the logger keeps its records for itself."""
    path = tmp_path / "parent.log"
    handler = logging.FileHandler(path)
    mine = logging.getLogger("tests.logs")
    mine.addHandler(handler)
    mine.propagate = False
    try:
        with make_group(method, 2) as group:
            group.map(targets.say, [str(number) for number in range(200)])
            _, handlers, _, captured = group.submit(targets.describe_logging).result()
            assert (handlers, captured) == ([], True)
    finally:
        handler.close()
    assert sorted(path.read_text().split(), key=int) == [str(number) for number in range(200)]
    assert heard.texts == []


SCRIPT = """
import logging, sys
from procorch import ProcessGroup

logging.basicConfig(format="%(processName)s %(message)s", stream=sys.stdout)

def say(text):
    logging.warning(text)

if __name__ == "__main__":
    with ProcessGroup(1, mp_context=sys.argv[1]) as group:
        group.map(say, ["a", "b"])
"""


def test_a_main_script_that_configures_logging_wherever_it_is_loaded(method: Method, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    environment = {**os.environ, "PYTHONPATH": str(Path(procorch.__file__).parents[1])}
    command = [sys.executable, str(script), method]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True, timeout=25)
    assert (done.stdout, done.stderr) == ("Process-1 a\nProcess-1 b\n", "")


def test_filters_of_the_parent_are_asked_in_the_parent(method: Method, heard: Collector) -> None:
    asked: list[int] = []

    def keep(record: logging.LogRecord) -> bool:
        asked.append(os.getpid())
        return "secret" not in record.getMessage()

    mine = logging.getLogger("tests.logs")
    mine.addFilter(keep)
    try:
        with make_group(method) as group:
            group.map(targets.say, ["open", "secret"])
    finally:
        mine.removeFilter(keep)
    assert heard.texts == ["open"]
    assert asked == [os.getpid()] * 2


# --- settings and accidents -------------------------------------------------------------------------------------------


def test_logging_is_left_alone_if_it_is_not_to_be_forwarded(method: Method, heard: Collector) -> None:
    with make_group(method, forward_logs=False) as group:
        roots, _, _, captured = group.submit(targets.describe_logging).result()
        group.submit(targets.say, "word", logging.INFO).result()
    assert captured is False
    assert "_Forwarder" not in roots
    assert ("Collector" in roots) == (method == "fork")
    assert heard.texts == []


def test_a_handler_that_raises_costs_nothing_else(
    method: Method, heard: Collector, capsys: pytest.CaptureFixture[str]
) -> None:
    class Raising(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.getMessage() == "bad":
                raise SystemExit("no good")

    mine = logging.getLogger("tests.logs")
    mine.addHandler(Raising())
    with make_group(method) as group:
        assert group.map(targets.say, ["a", "bad", "b"]) == ["a", "bad", "b"]
    assert heard.texts == ["a", "b"]
    assert "SystemExit: no good" in capsys.readouterr().err


@attrs.define
class Nested:
    method: Method

    def run(self) -> None:
        with make_group(self.method, name="outer") as group:
            group.map(partial(targets.say_in_nested, method=self.method), ["word"])


def test_a_group_inside_a_worker(method: Method, heard: Collector) -> None:
    Nested(method).run()
    assert [(one.getMessage(), one.processName) for one in heard.records] == [("word", "inner-1"), ("bye", "inner-1")]
    # What the inner group knows is kept; where it knows nothing, the outer one does.
    assert heard.tasks == ["item 0 of targets_logs.say", "item 0 of functools.partial"]


def test_a_formatter_that_shows_the_task(method: Method, heard: Collector) -> None:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    form = "%(processName)s %(levelname)s [%(task)s] %(message)s"
    handler.setFormatter(logging.Formatter(form, defaults={"task": "-"}))
    mine = logging.getLogger("tests.logs")
    mine.addHandler(handler)
    with make_group(method, name="etl") as group:
        group.map(targets.say, ["a"])
    mine.warning("b")
    here = multiprocessing.current_process().name
    assert stream.getvalue() == f"etl-1 WARNING [item 0 of targets_logs.say] a\n{here} WARNING [-] b\n"


def test_times_are_those_of_this_process(method: Method, heard: Collector) -> None:
    with make_group(method) as group:
        before = logging.makeLogRecord({})
        group.submit(targets.say, "now").result()
        after = logging.makeLogRecord({})
    (record,) = heard.records
    assert before.created <= record.created <= after.created
    assert before.relativeCreated - 1 <= record.relativeCreated <= after.relativeCreated + 1


def test_terminated_groups_hand_out_what_was_logged(method: Method, heard: Collector, gate: Path) -> None:
    class Opening(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            gate.touch()

    logging.getLogger("tests.logs").addHandler(Opening())
    with contextlib.suppress(KeyError), make_group(method) as group:
        group.submit(targets.say_and_wait)
        wait_for(str(gate))
        raise KeyError
    assert heard.texts == ["waiting"]


class Slow(logging.Handler):
    """One that takes until it is let."""

    def __init__(self) -> None:
        super().__init__()
        self.entered = threading.Event()
        self.gate = threading.Event()
        self.handled = 0

    def emit(self, record: logging.LogRecord) -> None:
        self.entered.set()
        assert self.gate.wait(20)
        self.handled += 1


def test_a_caller_who_waits_for_a_worker_does_not_overtake_its_records(method: Method, gate: Path) -> None:
    slow = Slow()
    logger = logging.getLogger("tests.slow")
    logger.addHandler(slow)
    try:
        with ProcessGroup(1, mp_context=method) as group:
            future = group.submit(targets.log_and_wait, logger.name, str(gate))
            assert slow.entered.wait(20)  # in the group's thread
            gate.touch()
            # The worker has its result soon, and this thread looks for it.
            with pytest.raises(TimeoutError):
                future.result(0.3)
            slow.gate.set()
            assert future.result() == 1
            assert slow.handled == 1
    finally:
        logger.removeHandler(slow)
