"""Unit: the engine that any executor makes, over executors whose futures are resolved by hand, and over threads."""

from __future__ import annotations

import contextlib
import pickle
import queue
import threading
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import CancelledError, Executor, Future, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any

import pytest
import targets
from typing_extensions import override

from procorch import GroupClosed, NotSupported, ProcessGroup, WorkerCrashed, WorkerStartError
from procorch import _messages as m
from procorch._engine import Chunk, Function, Room
from procorch._events import ChunkEnded, Recorded, WorkerDied, WorkerReady
from procorch._lanes import Lane
from procorch._shares import Shares
from procorch.engines import ExecutorEngine, adapt

calls: list[int] = []


def note(number: int) -> int:
    calls.append(number)
    return number


def thread_name() -> str:
    return threading.current_thread().name


@pytest.fixture(autouse=True)
def _clean() -> None:
    calls.clear()


class Submitted(Future[Any]):
    """A call that an executor has got."""

    def __init__(self, call: Callable[[], Any]) -> None:
        super().__init__()
        self._call = call

    def run(self) -> None:
        """Do it, whatever it was told before, as executors do that cannot cancel."""
        result = self._call()
        if not self.done():
            self.set_result(result)


class ByHand(Executor):
    """Keeps what it is given."""

    future: type[Submitted] = Submitted

    def __init__(self) -> None:
        self.given: queue.SimpleQueue[Submitted] = queue.SimpleQueue()
        self.refuses: BaseException | None = None

    @override
    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Submitted:
        if self.refuses is not None:
            raise self.refuses
        future = self.future(lambda: fn(*args, **kwargs))
        self.given.put(future)
        return future

    def next(self) -> Submitted:
        return self.given.get(timeout=20)


class Untruthful(Submitted):
    """As those of ipyparallel: says that it is cancelled, and runs."""

    @override
    def cancel(self) -> bool:
        calls.append(-1)
        return True


class Unable(Submitted):
    """As those of parsl."""

    @override
    def cancel(self) -> bool:
        calls.append(-1)
        raise NotImplementedError


Truthful = type("Truthful", (ByHand,), {"__module__": "concurrent.futures.by_hand"})
"""One that the engine knows to keep its word."""


@pytest.fixture
def executor() -> ByHand:
    return ByHand()


@pytest.fixture
def group(executor: ByHand) -> Iterator[ProcessGroup]:
    with ProcessGroup(1, engine=ExecutorEngine(executor, isolate=False)) as made:
        yield made


def test_an_item(executor: ByHand, group: ProcessGroup) -> None:
    future = group.submit(note, 3)
    executor.next().run()
    assert future.result() == 3
    assert executor.given.empty()


@pytest.mark.parametrize(
    "error", [BrokenProcessPool("died"), ValueError("odd"), KeyboardInterrupt(), CancelledError(), MemoryError()]
)
def test_a_future_that_fails_may_have_run(executor: ByHand, group: ProcessGroup, error: BaseException) -> None:
    future = group.submit(note, 3)
    executor.next().set_exception(error)
    with pytest.raises(WorkerCrashed, match=f"the executor lost it: {type(error).__name__}") as caught:
        future.result()
    assert caught.value.attempts == 1
    assert executor.given.empty()
    again = group.options(retries=1).submit(note, 4)
    executor.next().set_exception(error)
    executor.next().run()
    assert again.result() == 4


def test_a_result_that_is_none_of_ours(executor: ByHand, group: ProcessGroup) -> None:
    future = group.submit(note, 3)
    executor.next().set_result(b"no pickle")
    with pytest.raises(WorkerCrashed, match="the executor lost it"):
        future.result()


def test_one_that_takes_no_more(executor: ByHand, group: ProcessGroup) -> None:
    executor.refuses = RuntimeError("cannot schedule new futures after shutdown")
    future = group.submit(note, 3)
    with pytest.raises(WorkerStartError, match="after shutdown"):
        future.result()
    with pytest.raises(GroupClosed, match="cannot start its workers"):
        group.submit(note, 4)
    assert calls == []


def test_one_that_takes_no_more_does_not_cost_what_it_has() -> None:
    executor = ByHand()
    with ProcessGroup(2, engine=ExecutorEngine(executor, isolate=False)) as group:
        first = group.submit(note, 1)
        has = executor.next()
        executor.refuses = RuntimeError("full")
        second = group.submit(note, 2)
        has.run()
        assert first.result() == 1
        with pytest.raises(WorkerStartError, match="full"):
            second.result()


def test_a_group_that_is_ended_just_when_a_chunk_was_refused(executor: ByHand) -> None:
    engine = ExecutorEngine(executor, isolate=False)
    group = ProcessGroup(1, engine=engine)
    executor.refuses = RuntimeError("full")
    future = group.submit(note, 1)
    group.terminate()
    assert group.join(20)
    with pytest.raises((CancelledError, WorkerStartError)):
        future.result()


@contextlib.contextmanager
def lane_of(executor: ByHand) -> Generator[Lane]:
    """A lane of an engine that no group uses, with a chunk of three items."""
    engine = ExecutorEngine(executor, isolate=False)
    engine.open(Shares("group"))
    lane = engine.start(1, "Process-1")
    assert list(lane.read()) == [WorkerReady(1)]
    function = Function(1, pickle.dumps(note), "note")
    lane.send(Chunk(function, m.Style.ONE, False, m.Pack(3, pickle.dumps([1, 2, 3]))))
    yield lane
    engine.close()


def test_a_chunk_that_was_refused_is_withdrawn(executor: ByHand) -> None:
    executor.refuses = RuntimeError("full")
    with lane_of(executor) as lane:
        lane.withdraw()
        assert not lane.has_begun()
        lane.terminate()
        [died] = lane.read()
        assert isinstance(died, WorkerDied)
        assert died.begun == 0


@pytest.mark.parametrize("future", [Submitted, Untruthful, Unable])
def test_the_word_of_an_executor_that_may_not_keep_it_is_not_asked_for(
    executor: ByHand, future: type[Submitted]
) -> None:
    executor.future = future
    with lane_of(executor) as lane:
        lane.withdraw()
        assert list(lane.read()) == []
        executor.next().run()
        assert [type(event) for event in lane.read()] == [Recorded, ChunkEnded]
    assert calls == [1, 2, 3]  # once, and no cancel()
    assert executor.given.empty()


@pytest.mark.parametrize("future", [Submitted, Untruthful, Unable])
def test_a_map_that_is_left_with_a_chunk_there(executor: ByHand, future: type[Submitted]) -> None:
    executor.future = future
    with ProcessGroup(2, engine=ExecutorEngine(executor, isolate=False)) as group, ThreadPoolExecutor(1) as threads:
        mapping = threads.submit(group.map, targets.divide, [0, 1, 2, 3], chunksize=2)
        first, second = executor.next(), executor.next()
        first.run()
        second.run()
        assert type(mapping.exception(20)) is ZeroDivisionError
        assert group.join(20)
    assert executor.given.empty()


@pytest.mark.parametrize("future", [Submitted, Untruthful, Unable])
def test_ending_the_group_does_not_ask_for_it_either(executor: ByHand, future: type[Submitted]) -> None:
    executor.future = future
    group = ProcessGroup(1, engine=ExecutorEngine(executor, isolate=False))
    group.submit(note, 1)
    call = executor.next()
    group.terminate()
    assert group.join(20)
    call.run()
    assert calls == [1]


def test_one_that_keeps_its_word_gives_back_what_it_has_not_begun() -> None:
    executor = Truthful()
    with lane_of(executor) as lane:
        lane.withdraw()
        assert executor.next().cancelled()
        assert list(lane.read()) == [ChunkEnded(1, 0.0)]
        assert lane.number == 0


def test_one_that_keeps_its_word_and_has_begun() -> None:
    executor = Truthful()
    with lane_of(executor) as lane:
        call = executor.next()
        assert call.set_running_or_notify_cancel()
        lane.withdraw()
        assert not call.cancelled()
        call.run()
        assert [type(event) for event in lane.read()] == [Recorded, ChunkEnded]
    assert calls == [1, 2, 3]


def test_what_an_executor_cancels_by_itself_is_lost(executor: ByHand, group: ProcessGroup) -> None:
    """As ``shutdown(cancel_futures=True)`` does. Of this one nobody knows whether it runs what it has cancelled."""
    future = group.submit(note, 1)
    executor.next().cancel()
    with pytest.raises(WorkerCrashed, match="the executor cancelled it"):
        future.result()


def test_what_one_that_keeps_its_word_cancels_by_itself_was_not_begun() -> None:
    executor = Truthful()
    with ProcessGroup(1, engine=ExecutorEngine(executor, isolate=False)) as group:
        future = group.submit(note, 1)
        executor.next().cancel()
        executor.next().run()
        assert future.result() == 1
        future = group.submit(note, 2)
        executor.next().cancel()
        executor.refuses = RuntimeError("after shutdown")
        with pytest.raises(WorkerStartError, match="after shutdown"):
            future.result()
    assert calls == [1]


def test_whether_it_runs(executor: ByHand, group: ProcessGroup) -> None:
    future = group.submit(note, 1)
    call = executor.next()
    assert not future.running()
    call.set_running_or_notify_cancel()
    assert future.running()
    call.run()
    assert future.result() == 1


# --- its size ---------------------------------------------------------------------------------------------------------


def test_it_is_asked_how_many_workers_it_has(executor: ByHand) -> None:
    assert ExecutorEngine(executor).room is None
    with ThreadPoolExecutor(3) as threads:
        assert ExecutorEngine(threads).room == Room(3, 6)
    executor.num_workers = 5  # type: ignore[attr-defined]
    assert ExecutorEngine(executor).room == Room(5, 10)
    assert ExecutorEngine(executor, max_workers=2).room == Room(2, 4)


@pytest.mark.parametrize("odd", [0, -1, None, "4", lambda: 4])
def test_an_odd_size_is_none(executor: ByHand, odd: object) -> None:
    executor.max_workers = odd  # type: ignore[attr-defined]
    assert ExecutorEngine(executor).room is None


def test_of_one_that_does_not_tell_the_group_decides(executor: ByHand) -> None:
    with ProcessGroup(3, engine=ExecutorEngine(executor, isolate=False)) as group:
        futures = [group.submit(note, number) for number in range(5)]
        first = [executor.next() for _ in range(3)]
        assert executor.given.empty()
        for call in first:
            call.run()
        for _ in range(2):
            executor.next().run()
        assert [future.result() for future in futures] == [0, 1, 2, 3, 4]


# --- what it is made with ---------------------------------------------------------------------------------------------


def test_arguments_are_checked(executor: ByHand) -> None:
    with pytest.raises(TypeError, match="must be a concurrent"):
        ExecutorEngine(4)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="max_workers"):
        ExecutorEngine(executor, max_workers=0)
    with pytest.raises(TypeError, match="isolate"):
        ExecutorEngine(executor, isolate=1)  # type: ignore[arg-type]


def test_what_it_keeps(executor: ByHand) -> None:
    isolated, bare = ExecutorEngine(executor), ExecutorEngine(executor, isolate=False)
    assert isolated.capabilities.limit
    assert isolated.capabilities.crash_isolation == "item"
    assert not bare.capabilities.limit
    with pytest.raises(NotSupported, match="<ExecutorEngine of ByHand>"):
        ProcessGroup(2, engine=bare).options(timeout=1)
    ProcessGroup(2, engine=isolated).options(timeout=1)
    assert isinstance(adapt(executor), ExecutorEngine)


# --- threads of this process ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("isolate", [None, False])
def test_threads(isolate: bool | None) -> None:
    with ThreadPoolExecutor(2) as threads:
        engine = ExecutorEngine(threads, isolate=isolate)
        for _ in range(2):
            with ProcessGroup(engine=engine) as group:
                assert group.map(note, range(50)) == list(range(50))
                assert group.submit(thread_name).result().startswith("ThreadPool")
        assert threads.submit(len, "abc").result() == 3  # it is not shut down
    assert sorted(calls) == sorted([*range(50), *range(50)])


def test_threads_that_are_busy_with_something_else() -> None:
    gate = threading.Event()
    with ThreadPoolExecutor(1) as threads:
        threads.submit(gate.wait, 20)
        with ProcessGroup(engine=threads) as group:
            futures = [group.submit(note, number) for number in range(5)]
            assert not any(future.running() for future in futures)
            gate.set()
            assert [future.result() for future in futures] == [0, 1, 2, 3, 4]


def test_threads_that_are_shut_down_meanwhile() -> None:
    threads = ThreadPoolExecutor(1)
    gate, entered = threading.Event(), threading.Event()

    def wait() -> None:
        entered.set()
        gate.wait(20)

    threads.submit(wait)
    entered.wait(20)
    with ProcessGroup(engine=threads) as group:
        futures = [group.submit(note, number) for number in range(5)]
        threads.shutdown(wait=False, cancel_futures=True)
        gate.set()
        for future in futures:
            with pytest.raises(WorkerStartError, match="shutdown"):
                future.result()
    assert calls == []
    threads.shutdown()
