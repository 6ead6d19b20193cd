"""Process: large data in both directions, under kills, limits of time, and a shortage of descriptors."""

from __future__ import annotations

import contextlib
import gc
import os
import resource
import signal
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import targets
import targets_large
import targets_streams
from helpers import Method, executions, the_worker, wait_until

from procorch import GroupClosed, NotPicklable, ProcessGroup, TaskTimeout, WorkerCrashed, _buffers, _parcel
from procorch.testing import FakeEngine

LEAST = 1 << 12
SIZE = 1 << 17


@pytest.fixture(autouse=True)
def _low_threshold(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(_buffers, "LEAST", LEAST)
    yield
    gc.collect()


def a_group(workers: int = 1, method: Method | None = None) -> ProcessGroup:
    lower = targets_large.lower_threshold
    return ProcessGroup(workers, mp_context=method, initializer=lower, initargs=(LEAST,))


def test_both_ways(method: Method) -> None:
    np = pytest.importorskip("numpy")
    array = np.arange(10_000.0)
    with a_group(2, method) as group:
        arrived = group.submit(targets_large.give, {"a": [array, array], "b": b"x" * SIZE}).result()
        np.testing.assert_array_equal(arrived["a"][0], array)
        assert arrived["a"][0] is arrived["a"][1]
        assert arrived["a"][0].flags.writeable
        arrived["a"][0][:] = 0
        assert arrived["b"] == b"x" * SIZE
        assert array.sum() == np.arange(10_000.0).sum()
        mapped = group.map(targets_large.give, [array + number for number in range(50)])
        assert [one[0] for one in mapped] == list(range(50))
        assert group.start(targets_large.give, array).result().sum() == array.sum()


def test_pandas_and_arrow_both_ways() -> None:
    pandas = pytest.importorskip("pandas")
    arrow = pytest.importorskip("pyarrow")
    frame = pandas.DataFrame({"a": range(5000), "b": [0.5] * 5000})
    table = arrow.table({"a": range(5000)})
    with a_group() as group:
        first, second = group.map(targets_large.give, [frame, table])
        pandas.testing.assert_frame_equal(first, frame)
        first.loc[0, "b"] = 2.0
        assert second.equals(table)


def test_an_argument_is_sent_as_it_was_at_the_call(gate: Path, log: Path) -> None:
    data = bytearray([1]) * SIZE
    with a_group() as group:
        blocker = group.submit(targets.begin_and_wait, str(log), str(gate))
        future = group.submit(targets_large.fill_and_sum, data)
        data[:] = bytes(SIZE)
        gate.touch()
        assert future.result() == SIZE
        blocker.result()
        assert data == bytes(SIZE)


def memfds(pid: int | None) -> int:
    count = 0
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # it has been closed meanwhile
            count += "memfd" in str(descriptor.readlink())
    return count


def test_an_idle_process_gives_back_what_it_keeps_to_write_again() -> None:
    with a_group() as group:
        before = group.submit(targets_large.count_memfds).result()
        here = len(_parcel.held)
        worker = the_worker(group).pid
        for _ in range(20):
            assert len(group.submit(targets_large.give, bytes(SIZE)).result()) == SIZE
        assert len(_parcel.held) > here
        wait_until(lambda: memfds(worker) == before)
        wait_until(lambda: len(_parcel.held) == here)


@pytest.mark.parametrize("engine", [None, FakeEngine()], ids=["processes", "fake"])
def test_an_error_that_is_kept_keeps_no_files(engine: FakeEngine | None) -> None:
    large = bytes(SIZE)
    with ProcessGroup(1, engine=engine) as group:
        results = group.imap(targets_large.give_unless_none, [large, None, *[large] * 4], chunksize=4)
        assert next(results) == large
        wait_until(lambda: group.stats().done + group.stats().raised == 6)  # results that nobody will take
        with pytest.raises(ValueError, match="none") as raised:
            next(results)
        unfit: list[Any] = [b"", 3, *[large] * 4]
        inputs = group.imap(len, unfit, chunksize=4)
        assert next(inputs) == 0
        with pytest.raises(TypeError) as refused:
            next(inputs)
        locked: list[Any] = [b"", threading.Lock(), *[large] * 2]
        unpicklable = group.imap(targets_large.give, locked, chunksize=4)
        assert next(unpicklable) == b""
        with pytest.raises(NotPicklable) as unsent:
            next(unpicklable)
    assert not _parcel.held
    del raised, refused, unsent


def test_an_error_that_is_kept_keeps_no_inputs(log: Path, gate: Path) -> None:
    with a_group() as group:

        def inputs() -> Iterator[bytes | None]:
            yield None
            wait_until(lambda: group.stats().raised == 1)
            group.submit(targets.begin_and_wait, str(log), str(gate))
            wait_until(lambda: bool(log.read_text()))
            yield bytes(SIZE)  # handed over to nobody: the call has failed, and the worker is busy

        with pytest.raises(ValueError, match="none") as raised:
            group.map(targets_large.give_unless_none, inputs())
        gate.touch()
    assert not _parcel.held
    del raised


def test_the_fake_engine_takes_large_items(tmp_path: Path) -> None:
    with ProcessGroup(2, engine=FakeEngine()) as group:
        data = bytearray([3]) * SIZE
        assert group.map(targets_large.fill_and_sum, [data, data]) == [3 * SIZE] * 2
        assert data == bytearray([3]) * SIZE
        assert len(group.submit(targets_large.make_bytes, SIZE).result()) == SIZE


# --- kills ------------------------------------------------------------------------------------------------------------


def test_another_try_gets_the_argument_as_it_was(tmp_path: Path) -> None:
    with a_group() as group:
        future = group.options(retries=1).submit(targets_large.die_once, str(tmp_path / "mark"), bytearray([7]) * SIZE)
        assert future.result() == 7 * SIZE


def test_a_worker_killed_with_descriptors_on_their_way(method: Method) -> None:
    """It has not read its orders: another does them."""
    with a_group(1, method) as group:
        group.submit(targets.doubler, 1).result()
        pid = the_worker(group).pid or 0
        os.kill(pid, signal.SIGSTOP)
        future = group.submit(targets_large.fill_and_sum, bytearray([2]) * SIZE)
        os.kill(pid, signal.SIGKILL)
        assert future.result() == 2 * SIZE


def test_a_limit_on_time_ends_an_item_with_large_data(log: Path, gate: Path) -> None:
    with a_group() as group:
        with pytest.raises(TaskTimeout):
            group.options(timeout=0.2).submit(targets.begin_and_wait, str(log), str(gate), bytes(SIZE)).result()
        assert group.submit(targets_large.fill_and_sum, bytearray(SIZE)).result() == 0


@pytest.mark.limit(90)
def test_at_most_once_while_workers_are_killed(log: Path) -> None:
    count = 600
    before = len(_parcel.held)
    with a_group(2) as group:
        done = threading.Event()
        killer = threading.Thread(target=kill_until, args=(group, done, log))
        killer.start()
        try:
            items = (bytearray([number % 251]) * SIZE for number in range(count))
            fill = partial(targets_large.fill_logged, str(log))
            results = list(group.imap(fill, range(count), items, return_exceptions=True))
        finally:
            done.set()
            killer.join()
    lost = 0
    for number, result in enumerate(results):
        if isinstance(result, WorkerCrashed):
            lost += 1
        else:
            assert result == bytearray([255 - number % 251]) * SIZE
    assert lost < count // 2
    assert set(executions(log).values()) == {1}
    del results, result
    gc.collect()
    assert len(_parcel.held) == before


def kill_until(group: ProcessGroup, done: threading.Event, log: Path) -> None:
    """Kill a worker each time some more items have run."""
    seen = 0
    while not done.wait(0.005):
        now = len(log.read_text().splitlines())
        if now < seen + 20:
            continue
        seen = now
        for info in group.processes[:1]:
            if info.pid is not None and info.state == "busy":
                with contextlib.suppress(ProcessLookupError):
                    os.kill(info.pid, signal.SIGKILL)


# --- descriptors ------------------------------------------------------------------------------------------------------


@pytest.fixture
def few_descriptors() -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.usefixtures("few_descriptors")
def test_thousands_of_results_live_with_few_descriptors() -> None:
    np = pytest.importorskip("numpy")
    with a_group(2) as group:
        arrays = group.map(np.full, [1000] * 3000, range(3000))
        assert [int(array[0]) for array in arrays] == list(range(3000))
        assert all(array.flags.writeable for array in arrays)
        futures = [group.submit(np.sum, array) for array in arrays]
        assert [int(future.result()) for future in futures] == [1000 * number for number in range(3000)]


@pytest.mark.usefixtures("few_descriptors")
def test_thousands_of_results_wait_with_few_descriptors(log: Path, gate: Path) -> None:
    """The first holds all others back, so that none is opened before they are all there."""
    with a_group(2) as group:
        first = group.submit(targets.begin_and_wait, str(log), str(gate))
        futures = [group.submit(targets_large.make_filled, SIZE, number % 200) for number in range(1000)]
        gate.touch()
        assert [future.result()[5] for future in futures] == [number % 200 for number in range(1000)]
        first.result()
        stream = group.imap(targets_large.make_filled, [SIZE] * 1000, range(200), buffersize=200)
        assert [one[5] for one in stream] == list(range(200))


def test_a_worker_without_a_free_descriptor_loses_that_item_only() -> None:
    with a_group() as group:
        assert group.submit(targets_large.take_descriptors_and_go_on, 1).result() == 1
        pid = the_worker(group).pid
        with pytest.raises(NotPicklable, match="too many open files") as caught:
            group.submit(targets_large.fill_and_sum, bytearray(SIZE)).result()
        assert (caught.value.what, caught.value.step) == ("argument", "loads")
        # Its results go in band.
        assert len(group.submit(targets_large.make_bytes, 3 << 20).result()) == 3 << 20
        assert group.submit(targets_large.give_descriptors_back, 2).result() == 2
        assert group.submit(targets_large.fill_and_sum, bytearray(SIZE)).result() == 0
        assert the_worker(group).pid == pid


def test_a_group_that_is_ended_leaves_nothing(log: Path, gate: Path) -> None:
    with a_group(2) as group:
        for _ in range(2):
            group.submit(targets.begin_and_wait, str(log), str(gate), bytes(SIZE))
        futures = [group.submit(targets_large.give, bytes(SIZE)) for _ in range(50)]
        wait_until(lambda: len(log.read_text().splitlines()) == 2)
        group.terminate()
    assert all(future.cancelled() for future in futures)


class EndsGroup:
    """Ends a group while it is pickled as an argument, as another thread may at that moment."""

    def __init__(self, group: ProcessGroup) -> None:
        self.group = group

    def __reduce__(self) -> tuple[type[int], tuple[()]]:
        self.group.terminate()
        assert self.group.join(20)
        return int, ()


def test_a_refused_call_leaves_nothing() -> None:
    group = a_group()
    group.submit(targets_large.give, b"").result()
    with pytest.raises(GroupClosed):
        group.submit(targets_large.give, [EndsGroup(group), bytes(SIZE)])
    assert not _parcel.all_held()


@pytest.mark.parametrize("function", [targets.doubler, targets_streams.count_to])
def test_a_refused_start_leaves_nothing(function: Any) -> None:
    group = a_group()
    group.submit(targets_large.give, b"").result()
    gc.collect()
    gc.disable()
    try:
        with pytest.raises(GroupClosed):
            group.start(function, [EndsGroup(group), bytes(SIZE)])
        assert not _parcel.all_held()
    finally:
        gc.enable()


def test_results_that_nobody_takes_are_let_go() -> None:
    """At once, not when the interpreter looks for garbage: they hold descriptors."""
    gc.collect()
    gc.disable()
    try:
        with a_group(2) as group:
            stream: Any = group.imap(targets_large.make_bytes, [SIZE] * 100, buffersize=20)
            assert len(next(stream)) == SIZE
            wait_until(lambda: len(_parcel.all_held()) > 10)
            stream.close()
        assert not _parcel.all_held()
    finally:
        gc.enable()


@pytest.mark.limit(60)
def test_a_worker_without_memory_loses_that_item_only() -> None:
    with ProcessGroup(1, memory_limit=200 << 20) as group:
        with pytest.raises(NotPicklable, match="no room for") as caught:
            group.submit(len, bytearray(250 << 20)).result()
        assert "memory_limit" in caught.value.remedy
        assert group.submit(len, bytearray(1 << 20)).result() == 1 << 20
        assert group.processes[0].restarts == 0
