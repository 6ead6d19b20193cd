"""Process: calls that keep what they have done in a file, and calls that go on from there."""

from __future__ import annotations

import asyncio
import pickle
import sqlite3
import subprocess
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from helpers import Method, executions, script, wait_until
from targets import doubler
from targets_resume import die_once, die_or_fail, fail_once, key_of, large, later, parts, square_logged, wait_for_gate

from procorch import (
    Checkpoint,
    CheckpointError,
    CheckpointMismatch,
    GroupClosed,
    NotPicklable,
    ProcessGroup,
    Progress,
    TaskInterrupted,
    WorkerCrashed,
)
from procorch._checkpoints.ledger import Ledger
from procorch._recorded_stream import RecordedStream
from procorch.aio import AsyncProcessGroup
from procorch.engines import ExecutorEngine
from procorch.testing import FakeEngine

LOCK = threading.Lock()
"""Cannot be pickled."""

SQUARES = [number * number for number in range(20)]


@pytest.fixture
def database(tmp_path: Path) -> Path:
    folder = tmp_path / "kept"
    folder.mkdir()
    return folder / "run.db"


@pytest.fixture
def group() -> Iterator[ProcessGroup]:
    with ProcessGroup(2) as group:
        yield group


def ask(database: Path, query: str) -> list[Any]:
    with sqlite3.connect(database) as connection:
        rows = connection.execute(query).fetchall()
    connection.close()
    return rows


def left_beside(database: Path) -> list[str]:
    return sorted(path.name for path in database.parent.iterdir())


Call = Callable[..., Any]

CALLS: dict[str, Callable[[ProcessGroup], Call]] = {
    "map": lambda group: group.map,
    "imap": lambda group: lambda *args, **kw: list(group.imap(*args, **kw)),
    "unordered": lambda group: lambda *args, **kw: sorted(group.imap(*args, ordered=False, **kw)),
    "view": lambda group: group.options(retries=1).map,
    "watched": lambda group: lambda *args, **kw: group.map(*args, progress=lambda progress: None, **kw),
    "chunks": lambda group: lambda *args, **kw: group.map(*args, chunksize=3, **kw),
    "generator": lambda group: lambda fn, log, numbers, **kw: group.map(fn, iter(log), iter(numbers), **kw),
    "class": lambda group: ProcessGroup.map,
}


@pytest.mark.parametrize("call", CALLS)
def test_what_is_done_is_skipped(group: ProcessGroup, database: Path, log: Path, call: str) -> None:
    run = CALLS[call](group)
    for count in (12, 12, 20, 5):  # the same, longer, shorter
        assert run(square_logged, [str(log)] * count, range(count), checkpoint=database) == SQUARES[:count]
        assert left_beside(database) == ["run.db"]
    assert executions(log) == dict.fromkeys(range(20), 1)
    assert ask(database, "SELECT state, attempts, count(*) FROM items GROUP BY 1, 2") == [("done", 1, 20)]


def test_every_start_method(method: Method, database: Path, log: Path) -> None:
    with ProcessGroup(2, mp_context=method) as group:
        for _ in range(2):
            assert group.map(square_logged, [str(log)] * 9, range(9), checkpoint=database) == SQUARES[:9]
    assert executions(log) == dict.fromkeys(range(9), 1)


def fake(stack: ExitStack) -> Any:
    return FakeEngine()


def threads(stack: ExitStack) -> Any:
    return ExecutorEngine(stack.enter_context(ThreadPoolExecutor(2)), isolate=True)


@pytest.mark.parametrize("engine", [fake, threads])
def test_engines(engine: Callable[[ExitStack], Any], database: Path, log: Path) -> None:
    with ExitStack() as stack:
        group = stack.enter_context(ProcessGroup(2, engine=engine(stack)))
        for _ in range(2):
            assert group.map(square_logged, [str(log)] * 9, range(9), checkpoint=database) == SQUARES[:9]
            assert list(group.imap(doubler, range(9), checkpoint=f"{database}2")) == [*range(0, 18, 2)]
    assert executions(log) == dict.fromkeys(range(9), 1)
    assert left_beside(database) == ["run.db", "run.db2"]


def test_what_an_engine_gets_counts_as_begun(database: Path) -> None:
    noted: list[int] = []
    with pytest.MonkeyPatch.context() as patch, ProcessGroup(2, engine=FakeEngine()) as group:
        note = Ledger.note

        def listen(self: Ledger, positions: list[int]) -> None:
            noted.extend(positions)
            note(self, positions)

        patch.setattr(Ledger, "note", listen)
        stream = group.imap(doubler, [1, LOCK, 3, 4], checkpoint=database, return_exceptions=True, chunksize=2)
        assert [next(stream), type(next(stream)), next(stream)] == [2, NotPicklable, 6]
        assert noted[:2] == [0, 2], "positions, not numbers"
        assert list(stream) == [8]
        assert noted == [0, 2, 3]


def test_failures_are_tried_again(group: ProcessGroup, database: Path, tmp_path: Path) -> None:
    arguments = [str(tmp_path)] * 6, range(6)
    first = group.map(fail_once, *arguments, checkpoint=database, return_exceptions=True)
    assert [str(one) for one in first] == ["0", "no file 1", "4", "no file 3", "16", "no file 5"]
    assert ask(database, "SELECT key, error_type, error FROM items WHERE state = 'failed'") == [
        (number, "ValueError", f"no file {number}") for number in (1, 3, 5)
    ]
    (tmp_path / "3").touch()
    second = group.map(fail_once, *arguments, checkpoint=database, return_exceptions=True)
    assert [str(one) for one in second] == ["0", "no file 1", "4", "9", "16", "no file 5"]
    for number in (1, 5):
        (tmp_path / str(number)).touch()
    assert group.map(fail_once, *arguments, checkpoint=database) == SQUARES[:6]
    assert executions(tmp_path / "log") == {0: 1, 1: 3, 2: 1, 3: 2, 4: 1, 5: 3}


def test_crashes_are_tried_again(group: ProcessGroup, database: Path, tmp_path: Path) -> None:
    arguments = [str(tmp_path)] * 6, range(6)
    first = group.options(retries=1).map(die_once, *arguments, checkpoint=database, return_exceptions=True)
    assert isinstance(first[2], WorkerCrashed)
    ((state, attempts, kind, text),) = ask(
        database, "SELECT state, attempts, error_type, error FROM items WHERE key = 2"
    )
    assert (state, attempts, kind) == ("crashed", 2, "procorch.WorkerCrashed")
    assert "SIGKILL" in text
    (tmp_path / "2").touch()
    assert group.map(die_once, *arguments, checkpoint=database) == SQUARES[:6]


def test_what_runs_when_a_map_fails_is_recorded(database: Path, log: Path, gate: Path) -> None:
    arguments = [str(gate)] * 4, [str(log)] * 4, range(4)
    with ProcessGroup(2) as group:
        with pytest.raises(ValueError, match="the first"):
            group.map(wait_for_gate, *arguments, checkpoint=database, chunksize=1)
        assert set(executions(log)) == {0, 1}, "nothing more was begun"
        gate.touch()
        # Another call waits for what still runs.
        results = group.map(wait_for_gate, *arguments, checkpoint=database, chunksize=1, return_exceptions=True)
    assert results[1:] == SQUARES[1:4]
    assert executions(log)[1] == 1
    assert left_beside(database) == ["run.db"]


def test_leaving_the_block_waits_until_all_is_recorded(database: Path, log: Path, gate: Path) -> None:
    arguments = [str(gate)] * 4, [str(log)] * 4, range(4)
    with ProcessGroup(2) as group:
        with pytest.raises(ValueError, match="the first"):
            group.map(wait_for_gate, *arguments, checkpoint=database, chunksize=1)
        gate.touch()
    assert ask(database, "SELECT key, state FROM items ORDER BY key") == [(0, "failed"), (1, "done")]
    assert left_beside(database) == ["run.db"]


def test_leaving_the_loop_early_and_going_on(group: ProcessGroup, database: Path, log: Path) -> None:
    seen: list[int] = []
    while len(seen) < 20:
        stream = group.imap(square_logged, [str(log)] * 20, range(20), checkpoint=database)
        done = len(seen)
        seen = []
        for result in stream:
            seen.append(result)
            if len(seen) == done + 4:
                break
        stream.close()
    assert seen == SQUARES
    assert executions(log) == dict.fromkeys(range(20), 1)


def test_a_stream_that_nobody_asked_for_opens_nothing(group: ProcessGroup, database: Path) -> None:
    stream = group.imap(doubler, range(3), checkpoint=database)
    assert left_beside(database) == []
    stream.close()
    assert left_beside(database) == []


def test_an_open_stream_keeps_others_out(group: ProcessGroup, database: Path) -> None:
    stream = group.imap(doubler, range(300), checkpoint=database)
    assert next(stream) == 0
    with pytest.raises(CheckpointError, match="in use by another call of this process"):
        group.map(doubler, range(3), checkpoint=database)
    stream.close()
    assert group.map(doubler, range(3), checkpoint=database) == [0, 2, 4]


def test_calls_with_files_of_their_own_run_at_once(group: ProcessGroup, database: Path) -> None:
    streams = [group.imap(doubler, range(50), checkpoint=f"{database}{number}") for number in range(3)]
    assert list(zip(*streams, strict=True)) == [(number, number, number) for number in range(0, 100, 2)]


# --- what differs -----------------------------------------------------------------------------------------------------


def test_another_function_is_refused(group: ProcessGroup, database: Path) -> None:
    group.map(doubler, range(3), checkpoint=database)
    with pytest.raises(CheckpointMismatch, match=r"another function: targets\.doubler then, targets_resume\.parts now"):
        group.map(parts, range(3), checkpoint=database)
    assert left_beside(database) == ["run.db"]
    assert group.map(doubler, range(4), checkpoint=database) == [0, 2, 4, 6], "it is as it was"


@pytest.mark.parametrize("collect", [False, True])
def test_another_item_is_refused_in_its_turn(group: ProcessGroup, database: Path, collect: bool) -> None:
    group.map(doubler, [1, 2, 3], checkpoint=database)
    text = r"another item 1: 2 then, 7 now; take another file for another input, or key="
    with pytest.raises(CheckpointMismatch, match=text) as caught:
        group.map(doubler, [1, 7, 3], checkpoint=database, return_exceptions=collect)
    assert (caught.value.what, caught.value.recorded, caught.value.now) == ("item", "2", "7")
    stream = group.imap(doubler, [1, 7, 3], checkpoint=database, return_exceptions=collect)
    assert next(stream) == 2
    with pytest.raises(CheckpointMismatch):
        next(stream)


def test_a_version_stands_in_the_place_of_the_code(group: ProcessGroup, database: Path) -> None:
    group.map(doubler, range(3), checkpoint=Checkpoint(database, version=3))
    assert group.map(doubler, range(3), checkpoint=Checkpoint(database, version="3")) == [0, 2, 4]
    with pytest.raises(CheckpointMismatch, match="another version: 3 then, 4 now"):
        group.map(doubler, range(3), checkpoint=Checkpoint(database, version=4))
    with pytest.raises(CheckpointMismatch, match="another version: 3 then, code:"):
        group.map(doubler, range(3), checkpoint=database)


def test_the_error_says_how_to_go_on_with_changed_code(group: ProcessGroup, database: Path) -> None:
    group.map(doubler, range(3), checkpoint=database)
    ((code,),) = ask(database, "SELECT value FROM meta WHERE name = 'version'")
    assert group.map(doubler, range(4), checkpoint=Checkpoint(database, version=code)) == [0, 2, 4, 6]


# --- keys -------------------------------------------------------------------------------------------------------------


def test_keys_know_items_wherever_they_stand(group: ProcessGroup, database: Path, log: Path) -> None:
    def key(log: str, number: int) -> int:
        return number

    kept = Checkpoint(database, key=key)
    for numbers in ([3, 1, 2], [5, 2, 3, 4], [4, 1]):
        results = group.map(square_logged, [str(log)] * len(numbers), numbers, checkpoint=kept)
        assert results == [number * number for number in numbers]
    assert executions(log) == dict.fromkeys(range(1, 6), 1)
    assert ask(database, "SELECT key FROM items ORDER BY key") == [(number,) for number in range(1, 6)]


def test_two_items_with_one_key_are_refused(group: ProcessGroup, database: Path) -> None:
    kept = Checkpoint(database, key=key_of)
    stream = group.imap(doubler, ["a", "b", "a", "c"], checkpoint=kept)
    assert [next(stream), next(stream)] == ["aa", "bb"]
    with pytest.raises(CheckpointError, match="has one key for two items, 0 and 2: 'key a'"):
        next(stream)


@pytest.mark.parametrize(
    ("key", "error", "text"),
    [
        (lambda item: 1.5, TypeError, r"key must give a str, an int or bytes, not 1\.5"),
        (lambda item: item > 1, TypeError, "not False"),
        (lambda item: 1 << 63, ValueError, "an int of 64 bits"),
        (lambda item: 1 // item, ZeroDivisionError, "by zero"),
    ],
    ids=["float", "bool", "large", "raises"],
)
def test_what_is_wrong_with_a_key_is_raised(
    group: ProcessGroup, database: Path, key: Any, error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text):
        group.map(doubler, [0, 1], checkpoint=Checkpoint(database, key=key), return_exceptions=True)


# --- results ----------------------------------------------------------------------------------------------------------


def test_large_results(group: ProcessGroup, database: Path) -> None:
    first = group.map(large, range(4), checkpoint=database)
    assert first == group.map(large, range(4), checkpoint=database)
    results = [pickle.loads(result) for (result,) in ask(database, "SELECT result FROM items ORDER BY key")]
    assert results == first


OF_MAIN = """
import dataclasses, sys
from procorch import ProcessGroup

@dataclasses.dataclass
class Point:
    x: int
    more: object = None

def work(number):
    return [Point(number), Point(number, lambda: number), bytearray(1_000_000)][:number + 1]

with ProcessGroup(1, mp_context=sys.argv[2]) as group:
    results = group.map(work, range(3), checkpoint=sys.argv[1])
print([[getattr(one, "x", None) for one in result] for result in results], type(results[0][0]) is Point)
"""


def test_results_of_classes_of_the_main_module(method: Method, database: Path, tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(OF_MAIN)
    for _ in range(2):  # the second time from what is recorded, in another process
        with script(str(program), str(database), method, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            assert process.stdout.read() == "[[0], [1, 1], [2, 2, None]] True\n"
    assert ask(database, "SELECT state, attempts, count(*) FROM items GROUP BY 1") == [("done", 1, 3)]


def test_results_may_be_left_out(group: ProcessGroup, database: Path, log: Path) -> None:
    kept = Checkpoint(database, results=False)
    assert group.map(square_logged, [str(log)] * 3, range(3), checkpoint=kept) == SQUARES[:3]
    assert group.map(square_logged, [str(log)] * 5, range(5), checkpoint=kept) == [None, None, None, 9, 16]
    assert ask(database, "SELECT count(result) FROM items") == [(0,)]
    with pytest.raises(CheckpointMismatch, match="another results: False then, True now"):
        group.map(square_logged, [str(log)] * 3, range(3), checkpoint=database)


def test_items_that_cannot_be_pickled(group: ProcessGroup, database: Path) -> None:
    items = [1, LOCK, 2, LOCK, 3]
    for _ in range(2):
        results = group.map(doubler, items, checkpoint=database, return_exceptions=True, chunksize=2)
        assert [type(one) for one in results] == [int, NotPicklable, int, NotPicklable, int]
        assert [results[0], results[2], results[4]] == [2, 4, 6]


def test_an_input_that_raises(group: ProcessGroup, database: Path) -> None:
    def numbers() -> Iterator[int]:
        yield from range(3)
        raise OSError("no more")

    for _ in range(2):
        stream = group.imap(doubler, numbers(), checkpoint=database)
        assert [next(stream) for _ in range(3)] == [0, 2, 4]
        with pytest.raises(OSError, match="no more"):
            next(stream)
    assert left_beside(database) == ["run.db"]


def test_no_items_at_all(group: ProcessGroup, database: Path) -> None:
    assert group.map(doubler, [], checkpoint=database) == []
    assert left_beside(database) == ["run.db"]


def test_a_pickle_that_cannot_be_read_any_more_costs_its_item(group: ProcessGroup, database: Path) -> None:
    group.map(doubler, range(3), checkpoint=database)
    with sqlite3.connect(database) as connection:
        connection.execute("UPDATE items SET result = x'00' WHERE key = 1")
    connection.close()
    results = group.map(doubler, range(3), checkpoint=database, return_exceptions=True)
    assert [results[0], type(results[1]), results[2]] == [0, NotPicklable, 4]


def test_progress_counts_what_was_skipped(group: ProcessGroup, database: Path) -> None:
    heard: list[Progress] = []
    group.map(doubler, range(30), checkpoint=database)
    assert len(group.map(doubler, range(40), checkpoint=database, progress=heard.append)) == 40
    assert (heard[-1].done, heard[-1].total, heard[-1].last) == (40, 40, True)


def test_the_database_may_be_read_meanwhile(group: ProcessGroup, database: Path) -> None:
    stream = group.imap(doubler, iter(range(1000)), checkpoint=database)
    for _ in range(10):
        next(stream)
    wait_until(lambda: ask(database, "SELECT count(*) FROM items WHERE state = 'done'")[0][0] >= 10)
    assert ask(database, "SELECT ended FROM runs") == [(None,)]
    stream.close()


# --- asyncio ----------------------------------------------------------------------------------------------------------


def test_async_calls(database: Path, log: Path) -> None:
    async def main() -> None:
        async with AsyncProcessGroup(2) as group:
            for count in (8, 12):
                results = await group.map(square_logged, [str(log)] * count, range(count), checkpoint=database)
                assert results == SQUARES[:count]
                assert await group.map(later, range(count), checkpoint=f"{database}2") == SQUARES[:count]

            async def numbers() -> Any:
                for number in range(15):
                    yield number

            stream = group.imap(square_logged, [str(log)] * 15, numbers(), checkpoint=database)
            assert [result async for result in stream] == SQUARES[:15]

    asyncio.run(main())
    assert executions(log) == dict.fromkeys(range(15), 1)


def test_a_cancelled_call_is_gone_on_with(database: Path, log: Path, gate: Path) -> None:
    arguments = [str(gate)] * 3, [str(log)] * 3, range(1, 4)

    async def main() -> None:
        async with AsyncProcessGroup(2) as group:
            task = asyncio.ensure_future(group.map(wait_for_gate, *arguments, checkpoint=database, chunksize=1))
            while len(executions(log)) < 2:
                await asyncio.sleep(0.002)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            gate.touch()
            results = await group.map(wait_for_gate, *arguments, checkpoint=database, return_exceptions=True)
            assert [type(one) for one in results] == [TaskInterrupted, TaskInterrupted, int]
            assert await group.map(wait_for_gate, *arguments, checkpoint=database) == [1, 4, 9]

    asyncio.run(main())
    assert executions(log) == {1: 2, 2: 2, 3: 1}


def test_a_terminated_group_leaves_items_in_doubt(database: Path, log: Path, gate: Path) -> None:
    arguments = [str(gate)] * 3, [str(log)] * 3, range(1, 4)
    with ProcessGroup(2) as group:
        stream = group.imap(wait_for_gate, *arguments, checkpoint=database, chunksize=1)
        errors: list[str] = []

        def consume() -> None:
            try:
                next(stream)
            except GroupClosed as error:
                errors.append(error.reason)

        consumer = threading.Thread(target=consume)
        consumer.start()
        wait_until(lambda: len(executions(log)) == 2)
        group.terminate()
        consumer.join()
        assert errors == ["was terminated"]
        group.join()
    assert left_beside(database)[:2] == ["run.db", "run.db-begun"]
    gate.touch()

    def refused() -> Iterator[int]:
        yield from arguments[2]
        raise OSError("no more")

    with ProcessGroup(2) as group:
        with pytest.raises(OSError, match="no more"):
            # Who gets no list has been told nothing.
            group.map(
                wait_for_gate, [str(gate)] * 4, [str(log)] * 4, refused(), checkpoint=database, return_exceptions=True
            )
        with pytest.raises(TaskInterrupted, match=r"item 0 .* had begun .*The same is true of the item 1\b"):
            group.map(wait_for_gate, *arguments, checkpoint=database)
        assert group.map(wait_for_gate, *arguments, checkpoint=database) == [1, 4, 9]
    assert executions(log) == {1: 2, 2: 2, 3: 1}


def test_a_try_in_vain_counts_though_the_item_was_dropped_before_the_next(database: Path, tmp_path: Path) -> None:
    arguments = [str(tmp_path)] * 2, range(2)
    with ProcessGroup(2) as group, ThreadPoolExecutor(1) as thread:

        def open_gate() -> None:
            wait_until(lambda: group.stats().retried == 1)
            (tmp_path / "gate").touch()

        opened = thread.submit(open_gate)
        with pytest.raises(ValueError, match="the other"):
            group.options(retries=1, backoff=60).map(die_or_fail, *arguments, checkpoint=database, chunksize=1)
        opened.result()
    with ProcessGroup(2) as group:
        first, _ = group.map(die_or_fail, *arguments, checkpoint=database, return_exceptions=True)
    assert isinstance(first, TaskInterrupted)
    assert first.attempts == 1
    assert executions(tmp_path / "log") == {0: 1, 1: 2}


@pytest.mark.parametrize("place", [0, 2])
def test_tries_of_earlier_runs_count(group: ProcessGroup, database: Path, tmp_path: Path, place: int) -> None:
    group.map(die_once, [], [], checkpoint=database)
    with sqlite3.connect(database) as connection:
        connection.execute("INSERT INTO doubts VALUES (?, 1)", [place])  # as a killed run leaves it
    connection.close()
    numbers = [0, 1, 3]
    numbers[place] = 2
    results = group.options(retries=2).map(
        die_once, [str(tmp_path)] * 3, numbers, checkpoint=database, return_exceptions=True, buffersize=1
    )
    error = results[place]
    assert isinstance(error, WorkerCrashed)
    assert error.attempts == 3
    assert executions(tmp_path / "log")[2] == 2
    assert ask(database, f"SELECT state, attempts FROM items WHERE key = {place}") == [("crashed", 3)]
    assert ask(database, "SELECT * FROM doubts") == []


def test_a_stream_that_is_left_open_is_recorded_when_the_block_ends(database: Path, log: Path) -> None:
    with ProcessGroup(2) as group:
        stream = group.imap(square_logged, [str(log)] * 100, range(100), checkpoint=database)
        assert next(stream) == 0
    begun = executions(log)
    assert dict(ask(database, "SELECT key, attempts FROM items")) == begun
    assert left_beside(database) == ["run.db"]
    with pytest.raises(GroupClosed):
        list(stream)


def test_an_end_may_overtake_outcomes(
    group: ProcessGroup, database: Path, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Other threads deliver them: here, only once the end has been told.
    deliver = RecordedStream.deliver
    threads: list[threading.Thread] = []

    def late(self: RecordedStream, *arguments: Any) -> None:
        def do() -> None:
            wait_until(lambda: self._is_over)
            deliver(self, *arguments)

        threads.append(threading.Thread(target=do))
        threads[-1].start()

    monkeypatch.setattr(RecordedStream, "deliver", late)
    assert group.map(square_logged, [str(log)] * 9, range(9), checkpoint=database) == SQUARES[:9]
    assert ask(database, "SELECT state, count(*) FROM items GROUP BY 1") == [("done", 9)]
    assert left_beside(database) == ["run.db"]
    for thread in threads:
        thread.join()
