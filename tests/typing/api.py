"""Typing: the public interface as users write it. Never run: mypy and pyright check it; each wrong line is an error.

The first ignore of a wrong line is mypy's, the second pyright's; each tool tells if one of its own is not needed.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine, Generator, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Literal, NoReturn, assert_type

from distributed import Client

from procorch import (
    AsyncResult,
    Checkpoint,
    CpuLimit,
    GroupClosed,
    GroupExecutor,
    GroupPool,
    GroupStats,
    GroupView,
    NotPicklable,
    NotSupported,
    ProcessGroup,
    ProcessHandle,
    ProcessInfo,
    ProcessStream,
    ProcorchError,
    Progress,
    Restart,
    Shared,
    SlotStats,
    Task,
    TaskError,
    UsableCpus,
    WorkerCrashed,
    WorkerStartError,
    current_process,
    events,
    usable_cpus,
)
from procorch.aio import AsyncGroupView, AsyncProcessGroup, AsyncProcessHandle, AsyncProcessStream
from procorch.engines import Capabilities, ExecutorEngine, Room
from procorch.engines.dask import DaskEngine
from procorch.testing import Clock, FakeEngine, crash
from procorch.trace import TraceFile, save_picture, save_svg, text


def doubler(number: int) -> int:
    return number * 2


def join(number: int, text: str) -> str:
    return text * number


def three(number: int, text: str, data: bytes) -> Path:
    return Path(text, str(data), str(number))


def four(number: int, text: str, data: bytes, ratio: float) -> set[str]:
    return {text, str(data), str(number), str(ratio)}


def five(number: int, text: str, data: bytes, ratio: float, other: int) -> None: ...


def with_keyword(number: int, /, a: float = 0.0, *, b: str) -> bytes:
    return bytes(number) + b.encode() + str(a).encode()


def nothing() -> None: ...


def lines(path: str) -> Generator[str, None, int]:
    yield path
    return 1


def pairs() -> Iterator[tuple[int, float]]:
    yield 1, 2.0


async def ticks(count: int) -> AsyncIterator[int]:
    yield count


group = ProcessGroup(4, name="etl", mp_context="spawn", initializer=doubler, initargs=(1,))
view = group.options(retries=1)
assert_type(view, GroupView)
numbers, texts, data, ratios = [1, 2], ("a", "b"), iter([b"c"]), {0.5}


# --- map --------------------------------------------------------------------------------------------------------------

assert_type(group.map(doubler, numbers), list[int])
assert_type(group.map(join, numbers, texts), list[str])
assert_type(group.map(three, numbers, texts, data), list[Path])
assert_type(group.map(four, numbers, texts, data, ratios), list[set[str]])
assert_type(group.map(five, numbers, texts, data, ratios, numbers), list[None])
assert_type(group.map(str, numbers), list[str])
assert_type(group.map(doubler, range(3), chunksize=2, buffersize=None, return_exceptions=False), list[int])

assert_type(group.map(doubler, numbers, return_exceptions=True), list[int | BaseException])
assert_type(group.map(doubler, numbers, return_exceptions=bool(numbers)), list[int | BaseException])
assert_type(group.map(join, numbers, texts, return_exceptions=True), list[str | BaseException])
assert_type(group.map(three, numbers, texts, data, return_exceptions=True), list[Path | BaseException])
assert_type(group.map(four, numbers, texts, data, ratios, return_exceptions=True), list[set[str] | BaseException])

assert_type(ProcessGroup.map(doubler, numbers), list[int])
assert_type(ProcessGroup.map(join, numbers, texts), list[str])
assert_type(ProcessGroup.map(three, numbers, texts, data), list[Path])
assert_type(ProcessGroup.map(four, numbers, texts, data, ratios), list[set[str]])
assert_type(ProcessGroup.map(doubler, numbers, return_exceptions=True), list[int | BaseException])

assert_type(view.map(doubler, numbers), list[int])

group.map(doubler, texts)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
group.map(doubler, numbers, texts)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
group.map(join, texts, numbers)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
group.map(join, numbers)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
group.map(doubler)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
group.map(doubler, 5)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
group.map(3, numbers)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
group.map(doubler, numbers, chunksize=1.5)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
group.map(doubler, numbers, ordered=False)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
group.map(doubler, numbers, timeout=3)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
ProcessGroup.map(doubler, texts)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]

# --- imap -------------------------------------------------------------------------------------------------------------

assert_type(group.imap(doubler, numbers), Generator[int, None, None])
assert_type(group.imap(join, numbers, texts, ordered=False), Generator[str, None, None])
assert_type(group.imap(three, numbers, texts, data, chunksize=3, buffersize=9), Generator[Path, None, None])
assert_type(group.imap(four, numbers, texts, data, ratios), Generator[set[str], None, None])
assert_type(group.imap(doubler, numbers, return_exceptions=True), Generator[int | BaseException, None, None])
assert_type(view.imap(doubler, numbers), Generator[int, None, None])

group.imap(doubler, texts)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
group.imap(doubler, numbers, ordered=None)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]


def show(progress: Progress) -> None:
    assert_type(progress.done, int)
    assert_type(progress.total, int | None)
    assert_type(progress.elapsed, float)
    assert_type(progress.last, bool)
    progress.done = 3  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]


def show_number(done: int) -> None: ...


assert_type(group.map(doubler, numbers, progress=True), list[int])
assert_type(group.map(doubler, numbers, checkpoint="run.db"), list[int])
assert_type(
    group.imap(join, numbers, texts, checkpoint=Checkpoint(Path("run.db"), version=2)), Generator[str, None, None]
)
assert_type(view.map(doubler, numbers, return_exceptions=True, checkpoint=None), list[int | BaseException])
group.map(doubler, numbers, checkpoint=3)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
assert_type(group.map(join, numbers, texts, progress=show), list[str])
assert_type(view.map(doubler, numbers, return_exceptions=True, progress=False), list[int | BaseException])
assert_type(ProcessGroup.map(doubler, numbers, progress=show), list[int])
assert_type(group.imap(doubler, numbers, progress=lambda progress: progress.done), Generator[int, None, None])
assert_type(group.imap(five, numbers, texts, data, ratios, numbers, progress=None), Generator[None, None, None])
group.map(doubler, numbers, progress=3)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
group.imap(doubler, numbers, progress=show_number)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
ProcessGroup.imap(doubler, numbers)  # type: ignore[arg-type, call-arg]  # pyright: ignore[reportCallIssue]

# --- as an executor, and as a pool ------------------------------------------------------------------------------------

executor = group.as_executor()
assert_type(executor, GroupExecutor)
assert_type(view.as_executor(), GroupExecutor)
any_executor: Executor = executor
assert_type(executor.submit(with_keyword, 1, b="x"), Future[bytes])
assert_type(executor.map(doubler, numbers, timeout=1.5, chunksize=2, buffersize=None), Iterator[int])
assert_type(executor.map(join, numbers, texts), Iterator[str])
with executor as same_executor:
    assert_type(same_executor, GroupExecutor)
executor.shutdown(wait=False, cancel_futures=True)

executor.submit(doubler, "1")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
executor.submit(fn=doubler)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
executor.map(doubler, 5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]

pool = view.as_pool()
assert_type(pool, GroupPool)
assert_type(pool.size, int)
assert_type(pool.map(doubler, numbers, 3), list[int])
assert_type(pool.map_async(doubler, numbers, callback=len), AsyncResult[list[int]])
assert_type(pool.starmap(join, [(1, "a")]), list[str])
assert_type(pool.starmap_async(join, [(1, "a")]).get(1.5), list[str])
assert_type(pool.imap(doubler, numbers), Generator[int, None, None])
assert_type(pool.imap_unordered(doubler, numbers, chunksize=2), Generator[int, None, None])
assert_type(pool.apply(join, (1, "a"), {}), str)
assert_type(pool.apply_async(join, (1,), {"text": "a"}, callback=str.upper).get(), str)

pool.map(doubler, texts)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]

# --- submit and start -------------------------------------------------------------------------------------------------

assert_type(group.submit(doubler, 1), Future[int])
assert_type(group.submit(doubler, number=1), Future[int])
assert_type(group.submit(nothing), Future[None])
assert_type(view.submit(with_keyword, 1, b="x"), Future[bytes])
assert_type(group.options(retries=1).submit(with_keyword, 1, 0.5, b="x").result(), bytes)

group.submit(doubler, "1")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
group.submit(doubler)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
group.submit(doubler, 1, retries=2)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
group.submit(with_keyword, 1, b=2)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
group.submit("doubler", 1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType, reportCallIssue]

assert_type(group.start(doubler, 1), ProcessHandle[int])
assert_type(group.start(join, 1, "x", name="joiner"), ProcessHandle[str])
assert_type(view.start(nothing).result(timeout=1.5), None)

service = group.start(doubler, 1, restart=Restart("always", max_restarts=None))
assert_type(service, ProcessHandle[int])
service.send(1, timeout=2)
assert_type(service.receive(int), int)
for word in service.messages(str):
    assert_type(word, str)
me = current_process()
assert_type(me.receive(bytes, timeout=1), bytes)
assert_type(me.stopping.wait(1), bool)
Restart(on="never")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


group.start(doubler, "1")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType, reportCallIssue]
group.start(doubler, 1, name=b"x")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
group.start(doubler, number=1)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]

# --- streams ----------------------------------------------------------------------------------------------------------

stream = group.start(lines, "path", buffersize=3)
assert_type(stream, ProcessStream[str, int])
assert_type(list(stream), list[str])
assert_type(stream.result(), int)
for pair in view.start(pairs, name="pairs"):
    assert_type(pair, tuple[int, float])
assert_type(list(group.start(ticks, 3)), list[int])
with group.start(lines, "path") as entered_stream:
    assert_type(next(iter(entered_stream)), str)
one_kind: ProcessStream[str] = group.start(lines, "path")
a_process: ProcessHandle[int] = stream

group.start(lines, 1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType, reportCallIssue]
group.start(lines, "p", buffersize="3")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]

# --- the rest of the group --------------------------------------------------------------------------------------------

with ProcessGroup(mp_context=get_context("fork")) as entered:
    assert_type(entered, ProcessGroup)
assert_type(group.join(), bool)
assert_type(group.join(timeout=0.5), bool)
assert_type(group.processes, tuple[ProcessInfo, ...])
assert_type(group.as_completed(), Iterator[ProcessHandle[Any]])

ProcessGroup("4")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
ProcessGroup(mp_context="vfork")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
ProcessGroup(4, "etl")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
group.options(retries=None)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
group.options(2)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
assert_type(group.share([1, 2]), Shared[list[int]])
assert_type(group.share({"a": 1}).value, dict[str, int])
with group.share("text") as shared:
    assert_type(shared, Shared[str])
group.share([1]).value = []  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]
group.join("soon")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def inspect(handle: ProcessHandle[int], info: ProcessInfo) -> None:
    assert_type(handle.name, str)
    assert_type(handle.pid, int | None)
    assert_type(handle.exitcode, int | None)
    assert_type(handle.is_alive(), bool)
    assert_type(handle.join(1), bool)
    assert_type(handle.result(), int)
    assert_type(info.state, Literal["starting", "idle", "busy", "ending"])
    assert_type(info.task, str | None)
    handle.name = "other"  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]
    info.slot = 3  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]


assert_type(usable_cpus(), UsableCpus)
assert_type(usable_cpus().candidates, tuple[CpuLimit, ...])
assert_type(usable_cpus().count, int)
ProcessGroup(usable_cpus().count, threads_per_worker=1)
ProcessGroup(threads_per_worker=1.5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
usable_cpus().count = 3  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]


# --- errors -----------------------------------------------------------------------------------------------------------


def explain(error: ProcorchError) -> object:
    match error:
        case WorkerCrashed():
            assert_type(error.exitcode, int | None)
            assert_type(error.task, Task)
            assert_type(error.attempts, int)
            return error.task.index
        case NotPicklable():
            assert_type(error.what, Literal["function", "argument", "result", "exception"])
            assert_type(error.step, Literal["dumps", "loads"])
            return error.remedy
        case GroupClosed():
            assert_type(error.group, str)
            return error.reason
        case WorkerStartError():
            return error.detail
        case TaskError():
            return error.task
        case _:
            return None


# --- insight ----------------------------------------------------------------------------------------------------------


def watch(event: events.Event) -> None:
    match event:
        case events.ItemRetried(reason=reason):
            assert_type(reason, events.Reason)
        case events.ChunkEnded(items=items, began=began):
            assert_type((items, began), tuple[int, float])
        case _:
            assert_type(event.at, float)


with ProcessGroup(on_event=watch) as watched:
    assert_type(watched.stats(), GroupStats)
    assert_type(watched.stats().p95, float | None)
    assert_type(watched.stats().slots, tuple[SlotStats, ...])

ProcessGroup(on_event=lambda: None)  # type: ignore[misc, arg-type]  # pyright: ignore[reportArgumentType]


# --- testing ----------------------------------------------------------------------------------------------------------

engine = FakeEngine(Clock(5.0))
engine.clock.advance(1)
assert_type(engine.clock(), float)
ProcessGroup(2, engine=engine)


def never(exitcode: int) -> NoReturn:
    crash(exitcode)


# --- engines ----------------------------------------------------------------------------------------------------------

threads = ThreadPoolExecutor(2)
ProcessGroup(engine=threads)
ProcessGroup(4, engine=ProcessPoolExecutor(2))
ProcessGroup(engine=ExecutorEngine(threads, max_workers=3, isolate=False))
AsyncProcessGroup(engine=threads)
ProcessGroup(engine=Client)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
ExecutorEngine(4)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]

kept = ExecutorEngine(threads).capabilities
assert_type(kept, Capabilities)
assert_type(kept.cancel, Literal["running", "waiting"])
assert_type(kept.crash_isolation, Literal["item", "chunk", "executor"])
assert_type(ExecutorEngine(threads).room, Room | None)


def on_a_cluster(client: Client) -> None:
    cluster = DaskEngine(client, workers=["tcp://10.0.0.2:40000"], resources={"GPU": 1}, priority=1, isolate=False)
    assert_type(ProcessGroup(engine=cluster), ProcessGroup)
    DaskEngine("tcp://10.0.0.1:8786")
    DaskEngine(3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


try:
    ProcessGroup(engine=threads).share([1])
except NotSupported as refused:
    assert_type((refused.option, refused.engine, refused.why), tuple[str, str, str])
    an_error: ProcorchError = refused
    a_type_error: TypeError = refused

for there in ProcessGroup(engine=threads).processes:
    assert_type(there.address, str | None)


# --- traces -----------------------------------------------------------------------------------------------------------

with TraceFile(Path("run.json")) as trace, ProcessGroup(on_event=trace) as traced:
    assert_type(trace, TraceFile)
    assert_type(traced, ProcessGroup)
assert_type(text("run.json", width=80), str)
save_svg("run.json", Path("run.svg"), width=100)
save_picture(Path("run.json"), "run.png")
TraceFile(3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
text("run.json", 80)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


# --- aio --------------------------------------------------------------------------------------------------------------


async def later(number: int) -> str:
    return str(number)


async def numbers_later() -> AsyncIterator[int]:
    yield 1


async def use() -> None:
    async with AsyncProcessGroup(4, name="etl", mp_context="spawn", initializer=doubler, initargs=(1,)) as agroup:
        assert_type(agroup, AsyncProcessGroup)
        assert_type(await agroup.run(doubler, 1), int)
        assert_type(await agroup.run(later, 1), str)
        assert_type(await agroup.run(with_keyword, 1, b="x"), bytes)
        assert_type(agroup.submit(doubler, 1), asyncio.Future[int])
        assert_type(agroup.submit(later, number=1), asyncio.Future[str])
        assert_type(agroup.options(timeout=1, retries=2), AsyncGroupView)
        mapping: Coroutine[Any, Any, list[int]] = agroup.map(doubler, numbers)
        assert_type(await mapping, list[int])
        assert_type(await agroup.map(doubler, numbers_later()), list[int])
        assert_type(await agroup.map(later, numbers), list[str])
        assert_type(await agroup.map(join, numbers_later(), texts), list[str])
        assert_type(await agroup.map(three, numbers, texts, data, chunksize=2), list[Path])
        assert_type(await agroup.map(later, numbers, return_exceptions=True), list[str | BaseException])
        assert_type(await agroup.options(retries=1).map(doubler, numbers), list[int])
        assert_type(agroup.imap(doubler, numbers, ordered=False), AsyncGenerator[int, None])
        assert_type(agroup.imap(later, numbers_later(), buffersize=3), AsyncGenerator[str, None])
        assert_type(agroup.imap(join, numbers, texts), AsyncGenerator[str, None])
        assert_type(agroup.imap(doubler, numbers, return_exceptions=True), AsyncGenerator[int | BaseException, None])
        ahandle = await agroup.start(join, 1, "a", name="Test")
        assert_type(ahandle, AsyncProcessHandle[str])
        assert_type(await ahandle, str)
        assert_type(await (await agroup.start(later, 1)), str)
        assert_type(group.start(later, 1), ProcessHandle[str])
        assert_type(ahandle.pid, int | None)
        astream = await agroup.start(lines, "path", buffersize=3)
        assert_type(astream, AsyncProcessStream[str, int])
        async with astream:
            assert_type([line async for line in astream], list[str])
        assert_type(await astream, int)
        async for tick in await agroup.start(ticks, 3):
            assert_type(tick, int)
        assert_type(await ahandle.join(1), bool)
        assert_type((await agroup.share([1])).value, list[int])
        assert_type(agroup.processes, tuple[ProcessInfo, ...])
        assert_type(agroup.stats(), GroupStats)

        await agroup.run(doubler, "a")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
        agroup.submit(doubler)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
        agroup.imap(doubler, texts)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType, reportCallIssue]
        agroup.imap(doubler, 5)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
        await agroup.map(doubler, numbers, ordered=False)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
    AsyncProcessGroup(nme="etl")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    AsyncProcessGroup("four")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
