"""Unit: forwarded logging without a process: records taken apart, levels, sending, and what waits for what."""

from __future__ import annotations

import itertools
import logging
import mmap
import os
import pickle
import signal
import socket
import threading
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import attrs
import pytest

from procorch import _messages as m
from procorch import _records
from procorch._engine import Function
from procorch._events import NO_REMAINS, ChunkEnded, JobSpec, Recorded, WorkerDied
from procorch._inbox import Inbox
from procorch._job import Job, Sink
from procorch._logs import Logs, pack
from procorch._messages import LevelTable, Value
from procorch._queue import PAGE_BYTES, Reader
from procorch._records import levels, replay
from procorch._sender import Sender
from procorch._wire import FrameReader
from procorch._writer import Writer

# --- records ----------------------------------------------------------------------------------------------------------


class Collector(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


@pytest.fixture
def heard() -> Iterator[Collector]:
    collector = Collector()
    logging.getLogger("unit").addHandler(collector)
    yield collector
    logging.getLogger("unit").removeHandler(collector)
    logging.getLogger("unit").setLevel(logging.NOTSET)
    logging.disable(logging.NOTSET)


def make_record(message: object, *args: object, level: int = logging.WARNING, **extras: object) -> logging.LogRecord:
    record = logging.LogRecord("unit.logs", level, __file__, 7, message, args, None)
    vars(record).update(extras)
    return record


def send(*records: logging.LogRecord, begun: int = 0, job: Job | None = None) -> None:
    replay([m.Logged(1, begun, pack(record)) for record in records], job, range(10, 20))


def test_a_record_arrives_with_all_that_it_has(heard: Collector) -> None:
    record = make_record("%d of %s", 3, "them", shelf={"a": [1]}, processName="p-1", process=77, thread=5)
    before = vars(record).copy()
    send(record)
    assert vars(record) == before, "the record itself is for other handlers, too"
    (arrived,) = heard.records
    expected = {**before, "msg": "3 of them", "args": None, "task": None, "relativeCreated": arrived.relativeCreated}
    assert {name: vars(arrived)[name] for name in expected} == expected


def test_a_trace_made_by_another_handler_is_used(heard: Collector) -> None:
    error = KeyError("x")
    send(make_record("m", exc_info=(KeyError, error, None), exc_text="made before"))
    assert heard.records[0].exc_text == "made before"
    assert heard.records[0].exc_info is None


def test_a_trace_that_cannot_be_made_is_replaced(heard: Collector) -> None:
    send(make_record("m", exc_info=17))
    assert "no traceback" in str(heard.records[0].exc_text)


def test_no_exception_is_none(heard: Collector) -> None:
    send(make_record("m", exc_info=(None, None, None)))
    assert heard.records[0].exc_text == "NoneType: None"


def test_texts_are_plain(heard: Collector) -> None:
    class Text(str):
        __slots__ = ()

        def __str__(self) -> str:
            return self

    send(make_record(Text("odd")))
    assert type(heard.records[0].msg) is str


def test_a_message_that_cannot_be_formatted_arrives_with_what_it_is_made_of(heard: Collector) -> None:
    send(make_record("%d items", "many"))
    said = heard.records[0].getMessage()
    assert said.startswith("'%d items' with arguments ('many',) cannot be formatted: TypeError(")


def test_what_has_no_repr_costs_nothing_else_of_its_record(heard: Collector) -> None:
    class Odd:
        def __repr__(self) -> str:
            raise RuntimeError

        def __reduce__(self) -> str:
            raise RuntimeError

    send(make_record("%s", Odd(), shelf=Odd(), count=3))
    record = heard.records[0]
    assert "cannot be formatted: RuntimeError()" in record.getMessage()
    assert (vars(record)["shelf"], vars(record)["count"]) == ("<Odd: its __repr__ failed>", 3)


def test_a_level_has_the_name_that_the_parent_gives_it(heard: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    record = make_record("m", level=33)
    assert record.levelname == "Level 33"
    monkeypatch.setitem(logging._levelToName, 33, "NOTABLE")  # as logging.addLevelName does
    send(record)
    assert heard.records[0].levelname == "NOTABLE"


def test_what_the_user_calls_task_is_kept(heard: Collector) -> None:
    send(make_record("m", task="mine"), make_record("m", task=None), begun=1, job=make_job(Sink()))
    assert [vars(record)["task"] for record in heard.records] == ["mine", "module.function"]


class Indexed(Sink):
    def index_of(self, item: int) -> int:
        return item * 100


def make_job(sink: Sink) -> Job:
    return Job(Function(1, b"", "module.function"), m.Style.ONE, JobSpec(), sink)


@pytest.mark.parametrize(
    ("begun", "job", "task"),
    [
        (0, None, None),
        (3, None, None),
        (0, make_job(Indexed()), None),
        (1, make_job(Sink()), "module.function"),
        (3, make_job(Indexed()), "item 1200 of module.function"),
    ],
)
def test_tasks(heard: Collector, begun: int, job: Job | None, task: str | None) -> None:
    send(make_record("m"), begun=begun, job=job)
    assert vars(heard.records[0])["task"] == task


def test_what_is_not_enabled_is_not_handled(heard: Collector) -> None:
    logging.getLogger("unit").setLevel(logging.ERROR)
    send(make_record("m"), make_record("m", level=logging.ERROR))
    assert [record.levelno for record in heard.records] == [logging.ERROR]


def test_a_record_that_cannot_be_read_costs_only_itself(
    heard: Collector, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    replay([m.Logged(1, 0, b"no pickle"), m.Logged(1, 0, pack(make_record("next")))], None, ())
    assert [record.msg for record in heard.records] == ["next"]
    assert "cannot be read" in capsys.readouterr().err
    monkeypatch.setattr(logging, "raiseExceptions", False)
    replay([m.Logged(1, 0, b"no pickle")], None, ())
    assert capsys.readouterr().err == ""


# --- levels -----------------------------------------------------------------------------------------------------------


def table() -> LevelTable:
    return LevelTable(*pickle.loads(levels()))


@pytest.mark.usefixtures("heard")
def test_levels_are_told_anew_only_if_one_has_changed() -> None:
    first = levels()
    assert levels() is first
    logging.getLogger("unit.new").warning("looks for its level")
    assert levels() is first
    logging.getLogger("unit").setLevel(17)
    second = levels()
    assert second != first
    assert levels() is second
    assert table().loggers["unit"] == 17
    logging.getLogger("unit").setLevel(logging.NOTSET)
    assert levels() == first
    logging.disable(13)
    assert table().disable == 13


@pytest.mark.usefixtures("heard")
def test_a_change_while_levels_are_read_is_not_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    look = _records._look

    def look_and_change() -> LevelTable:
        found = look()
        monkeypatch.setattr(_records, "_look", look)
        logging.getLogger("unit").setLevel(17)
        return found

    logging.getLogger("unit").setLevel(3)
    monkeypatch.setattr(_records, "_look", look_and_change)
    assert table().loggers["unit"] == 3
    assert table().loggers["unit"] == 17


@pytest.mark.usefixtures("heard")
def test_a_look_that_goes_on_in_another_thread_counts_for_nobody_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    look, inside = _records._look, []

    def look_twice() -> LevelTable:
        monkeypatch.setattr(_records, "_look", look)
        inside.append(table())
        return look()

    logging.getLogger("unit").setLevel(3)
    monkeypatch.setattr(_records, "_look", look_twice)
    assert table().loggers["unit"] == 3
    assert inside[0].loggers["unit"] == 3


@pytest.mark.usefixtures("heard")
def test_levels_of_multiprocessing_are_left_out() -> None:
    logger = logging.getLogger("multiprocessing")
    before = logger.level
    logger.setLevel(5)
    assert "multiprocessing" not in table().loggers
    logger.setLevel(before)


# --- the worker's side ------------------------------------------------------------------------------------------------


@attrs.define
class Bench:
    """This process as a worker, as far as logging goes."""

    sent: list[m.FromWorker]
    writer: Writer
    reader: Reader
    logs: Logs

    @property
    def texts(self) -> list[str]:
        return [pickle.loads(one.payload)[0]["msg"] for one in self.sent if isinstance(one, m.Logged)]

    def follow(self, root: int, disable: int, **loggers: int) -> None:
        self.logs.follow(pickle.dumps((root, disable, loggers)))


@pytest.fixture
def bench() -> Iterator[Bench]:
    """Put everything back afterwards: `Logs` is made for a process of its own."""
    root = logging.getLogger()
    loggers = [one for one in root.manager.loggerDict.values() if isinstance(one, logging.Logger)]
    kept = [(one, one.handlers[:], one.filters[:], one.propagate, one.disabled, one.level) for one in [root, *loggers]]
    show = warnings.showwarning
    memory = mmap.mmap(-1, PAGE_BYTES)
    sent: list[m.FromWorker] = []
    writer, reader = Writer(memory), Reader(memory)
    yield Bench(sent, writer, reader, Logs(sent.append, writer))
    logging.captureWarnings(False)
    warnings.showwarning = show
    for one, handlers, filters, propagate, disabled, level in kept:
        one.handlers[:], one.filters[:], one.propagate, one.disabled = handlers, filters, propagate, disabled
        one.setLevel(level)
    logging.disable(logging.NOTSET)


def test_records_tell_what_runs(bench: Bench) -> None:
    bench.follow(logging.WARNING, 0)
    log = logging.getLogger("unit.bench")
    log.warning("idle")
    bench.writer.open(4, 0)
    bench.writer.begin(2)
    log.warning("busy")
    bench.writer.close()
    log.warning("over")
    places = [(one.seq, one.begun) for one in bench.sent if isinstance(one, m.Logged)]
    assert places == [(0, 0), (4, 2), (0, 0)]
    assert bench.texts == ["idle", "busy", "over"]
    assert bench.reader.logged() == 2


def test_levels_are_followed_and_given_up(bench: Bench) -> None:
    bench.follow(logging.ERROR, 0, **{"unit.a": 10, "unit.b": 20})
    logging.getLogger("unit.c").setLevel(30)  # the worker's own
    bench.follow(logging.ERROR, 5, **{"unit.b": 25})
    assert [logging.getLogger(f"unit.{name}").level for name in "abc"] == [0, 25, 30]
    assert (logging.getLogger().level, logging.root.manager.disable) == (logging.ERROR, 5)
    logging.getLogger("unit.b").setLevel(1)
    bench.logs.repeat()
    assert logging.getLogger("unit.b").level == 25
    logging.getLogger("unit.c").setLevel(logging.NOTSET)


def test_only_the_logger_of_multiprocessing_is_left_out(bench: Bench) -> None:
    bench.follow(logging.WARNING, 0)
    for name in ("multiprocessing.pool", "multiprocessing_of_mine", "multi"):
        logging.getLogger(name).warning(name)
    assert bench.texts == ["multiprocessing_of_mine", "multi"]


def test_a_parent_that_is_gone_breaks_nothing(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.follow(logging.WARNING, 0)

    def fail(_: object) -> None:
        raise BrokenPipeError

    monkeypatch.setattr(logging.getLogger().handlers[0], "_send", fail)
    logging.getLogger("unit").warning("nobody hears this")
    assert bench.reader.logged() == 0


def test_a_forked_process_uses_the_last_resort(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bench.follow(logging.INFO, 0)
    monkeypatch.setattr(logging.getLogger().handlers[0], "_pid", -1)
    logging.getLogger("unit").info("quiet")
    logging.getLogger("unit").warning("loud")
    assert bench.sent == []
    assert capsys.readouterr().err == "loud\n"


# --- sending ----------------------------------------------------------------------------------------------------------


@attrs.define
class Line:
    """A sender, and the other end of its socket with a reader that begins when it is told to."""

    sender: Sender
    near: socket.socket
    far: socket.socket

    def receive_until(self, last: m.FromWorker) -> list[Any]:
        reader, seen = FrameReader(), list[Any]()
        while last not in seen:
            count = self.far.recv_into(reader.space())
            assert count
            seen += reader.filled(count)
        return seen


@pytest.fixture
def line() -> Iterator[Line]:
    near, far = socket.socketpair()
    near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    with near, far:
        yield Line(Sender(near), near, far)


class InThread:
    """Calls something in a thread, and hands on what it gives."""

    def __init__(self, call: Callable[[], object]) -> None:
        self.result: Any = None
        self._thread = threading.Thread(target=self._run, args=(call,))
        self._thread.start()

    def _run(self, call: Callable[[], object]) -> None:
        self.result = call()

    def join(self) -> Any:
        self._thread.join()
        return self.result


def large(number: int, size: int = 100_000) -> m.Large:
    return m.Large(number, 0, m.Kind.VALUE, bytes([number]) * size)


def test_messages_of_several_threads_do_not_mix(line: Line) -> None:
    def send_many(number: int) -> None:
        for turn in range(50):
            line.sender.send(large(number, 1000 * turn))
            line.sender.send(m.Ended(number))

    reading = InThread(lambda: line.receive_until(m.Ended(9)))
    threads = [InThread(partial(send_many, number)) for number in range(4)]
    for thread in threads:
        thread.join()
    line.sender.send(m.Ended(9))
    seen = reading.join()
    for number in range(4):
        mine = [one for one in seen if one.seq == number]
        assert mine == [one for turn in range(50) for one in (large(number, 1000 * turn), m.Ended(number))]


@pytest.fixture
def interrupt(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], None]], None]:
    """Let a signal handler run once, inside the next system call that writes: it has written a part by then."""
    write = os.write

    def arrange(handler: Callable[[], None]) -> None:
        def write_some(fd: int, data: memoryview) -> int:
            monkeypatch.setattr(os, "write", write)
            count = write(fd, data[:10])
            handler()
            return count

        monkeypatch.setattr(os, "write", write_some)

    return arrange


def test_a_signal_handler_sends_in_the_middle_of_a_message(
    line: Line, interrupt: Callable[[Callable[[], None]], None]
) -> None:
    """It waits for nobody, and its message follows the one that it interrupted."""
    reading = InThread(lambda: line.receive_until(m.Ended(9)))
    interrupt(lambda: line.sender.send(m.Ended(1)))
    line.sender.send(large(7))
    line.sender.send(m.Ended(9))
    assert reading.join() == [large(7), m.Ended(1), m.Ended(9)]


def test_a_signal_handler_sends_as_the_last_byte_is_out(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    """The thread still holds the lock, and looks once more after it has let go."""
    sender = line.sender

    class Lock:
        """A handler comes just before its release."""

        def __init__(self) -> None:
            self._lock, self.late = threading.RLock(), True

        def __enter__(self) -> None:
            self._lock.acquire()

        def __exit__(self, *_: object) -> None:
            if self.late:
                self.late = False
                sender.send(m.Ended(1))
            self._lock.release()

        def _is_owned(self) -> bool:
            return self._lock._is_owned()  # type: ignore[attr-defined, no-any-return]

    monkeypatch.setattr(sender, "_lock", Lock())
    sender.send(m.Ended(0))
    assert line.receive_until(m.Ended(1)) == [m.Ended(0), m.Ended(1)]


class Interrupted(Exception):
    pass


def test_a_signal_handler_raises_in_the_middle_of_a_message(
    line: Line, interrupt: Callable[[Callable[[], None]], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is left of the message goes out before the next."""
    write = os.write

    def fail(fd: int, data: memoryview) -> int:
        monkeypatch.setattr(os, "write", write)
        raise Interrupted

    reading = InThread(lambda: line.receive_until(m.Ended(9)))
    interrupt(lambda: monkeypatch.setattr(os, "write", fail))
    with pytest.raises(Interrupted):
        line.sender.send(large(7))
    line.sender.send(m.Ended(9))
    assert reading.join() == [large(7), m.Ended(9)]


def test_signal_handlers_that_raise_anywhere_tear_nothing(line: Line) -> None:
    """By a timer, so at thousands of places between two instructions."""
    armed: list[bool] = []

    def handler(signum: int, frame: object) -> None:
        if armed:
            armed.clear()
            raise Interrupted

    reading = InThread(lambda: line.receive_until(m.Ended(1 << 40)))
    previous = signal.signal(signal.SIGVTALRM, handler)
    signal.setitimer(signal.ITIMER_VIRTUAL, 0.0002, 0.0002)
    sent: list[int] = []
    raised = 0
    for number in itertools.count(1):
        try:
            armed.append(True)
            line.sender.send(m.Large(number, 0, m.Kind.VALUE, b"%9d" % number * (number % 7 * 100)))
            armed.clear()
            sent.append(number)
        except Interrupted:
            raised += 1
        if raised == 200:
            break
    signal.setitimer(signal.ITIMER_VIRTUAL, 0)
    signal.signal(signal.SIGVTALRM, previous)
    line.sender.send(m.Ended(1 << 40))
    *seen, _ = reading.join()
    numbers = [one.seq for one in seen]
    assert all(one.payload == b"%9d" % one.seq * (one.seq % 7 * 100) for one in seen)
    assert numbers == sorted(set(numbers)), "twice, or out of order"
    assert set(sent) <= set(numbers)


def test_nothing_is_kept_for_a_parent_that_is_gone(line: Line) -> None:
    line.far.close()
    for _ in range(3):
        with pytest.raises(BrokenPipeError):
            line.sender.send(m.Noted())
    assert not line.sender._unsent


# --- outcomes wait for what was logged before -------------------------------------------------------------------------


@attrs.define
class Side:
    """An inbox, and a worker's end of its page that is moved by hand."""

    inbox: Inbox
    writer: Writer
    seq: int = 0

    @classmethod
    def new(cls) -> Side:
        memory = mmap.mmap(-1, PAGE_BYTES)
        made = cls(Inbox(3, Reader(memory)), Writer(memory))
        made.seq = made.inbox.expect()
        made.writer.open(made.seq, 0)
        return made

    def finish(self, position: int, logs: int = 0) -> None:
        """Do an item that logs so often."""
        self.writer.begin(position + 1)
        for _ in range(logs):
            self.writer.count_logged()
        assert self.writer.put(m.Kind.VALUE, b"%d" % position, 0)

    def logged(self, begun: int) -> m.Logged:
        return m.Logged(self.seq, begun, b"")


def recorded(*positions: int) -> Recorded:
    return Recorded(3, [Value(b"%d" % position) for position in positions])


def test_an_outcome_waits_for_what_was_logged_before() -> None:
    side = Side.new()
    side.finish(0, logs=2)
    assert side.inbox.look() == []
    assert side.inbox.hear(side.logged(1)) == []
    assert side.inbox.hear(m.Noted()) == []
    assert side.inbox.hear(side.logged(1)) == [recorded(0)]
    assert side.inbox.look() == []


def test_what_finished_meanwhile_is_not_forgotten() -> None:
    side = Side.new()
    side.finish(0, logs=1)
    assert side.inbox.look() == []
    side.finish(1)
    assert side.inbox.hear(m.Noted()) == []
    assert side.inbox.hear(side.logged(1)) == [recorded(0), recorded(1)]


def test_one_that_logs_without_end_holds_nobody_back_for_ever() -> None:
    side = Side.new()
    side.finish(0, logs=1)
    assert side.inbox.look() == []
    side.finish(1, logs=5)
    assert side.inbox.hear(side.logged(1)) == [recorded(0)]
    assert side.inbox.look() == []


def test_all_is_out_when_the_chunk_or_the_worker_has_ended() -> None:
    side = Side.new()
    side.finish(0, logs=1)
    side.writer.count_logged()  # by a thread that the item left, behind the end of the chunk
    assert side.inbox.look() == []
    assert side.inbox.hear(side.logged(1)) == []
    assert side.inbox.hear(m.Ended(side.seq)) == [recorded(0), ChunkEnded(3, 0.0)]
    side.seq = side.inbox.expect()
    side.writer.open(side.seq, 0)
    side.finish(0, logs=5)
    assert side.inbox.look() == []
    assert side.inbox.died(-9, NO_REMAINS) == [recorded(0), WorkerDied(3, -9, 1)]


def test_of_an_older_chunk_the_items_are_not_known() -> None:
    side = Side.new()
    late = side.logged(2)
    side.inbox.hear(late)
    side.inbox.expect()
    side.inbox.hear(late)
    assert side.inbox.logged == [late, late._replace(begun=0)]
