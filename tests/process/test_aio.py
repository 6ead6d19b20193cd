"""Process tests: calls from an event loop, how they are cancelled, and processes of their own."""

from __future__ import annotations

import asyncio
import functools
import os
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import targets as t
import targets_aio as ta
from helpers import Method, is_gone, pids_in
from loops import run, until

from procorch import GroupClosed, NotPicklable, TaskTimeout, WorkerCrashed
from procorch._aio.calls import Start
from procorch.aio import AsyncProcessGroup
from procorch.testing import crash


def begun(log: Path) -> list[str]:
    return [line.split()[0] for line in log.read_text().splitlines()]


async def works(group: AsyncProcessGroup) -> None:
    assert await group.run(t.doubler, 21) == 42


# --- run and submit ---------------------------------------------------------------------------------------------------


def test_run_gives_what_the_function_returned(method: Method) -> None:
    async def main() -> None:
        async with AsyncProcessGroup(2, mp_context=method) as group:
            assert await group.run(t.doubler, 5) == 10
            assert await group.run(t.keywords, fn=1, self=2, args=3) == {"fn": 1, "self": 2, "args": 3}
            assert await asyncio.gather(*(group.run(t.doubler, n) for n in range(50))) == [2 * n for n in range(50)]

    run(main())


def test_what_goes_wrong_is_raised() -> None:
    async def main() -> None:
        async with AsyncProcessGroup(1) as group:
            with pytest.raises(ZeroDivisionError):
                await group.run(t.divide, 0)
            with pytest.raises(WorkerCrashed):
                await group.run(crash, -signal.SIGKILL)
            with pytest.raises(NotPicklable):
                await group.run(t.doubler, t.Undumpable())
            with pytest.raises(NotPicklable):
                await group.run(t.make, "lock")
            with pytest.raises(TaskTimeout):
                await group.options(timeout=0.1).run(t.nap, 3600)
            with pytest.raises(SystemExit):
                await group.run(t.exit_with, 3)
            await works(group)

    run(main())


def test_errors_that_would_mean_something_else_in_a_loop_are_wrapped() -> None:
    async def main() -> None:
        async with AsyncProcessGroup(1) as group:
            for error in (StopIteration(1), StopAsyncIteration(), GeneratorExit(), asyncio.CancelledError()):
                with pytest.raises(RuntimeError, match=type(error).__name__) as caught:
                    await group.run(ta.raise_it, error)
                assert type(caught.value.__cause__) is type(error)
                with pytest.raises(RuntimeError):
                    await group.map(ta.raise_it, [error])

    run(main())


def test_submit_begins_without_being_awaited_and_in_order(tmp_path: Path) -> None:
    log = tmp_path / "log"

    async def main() -> None:
        async with AsyncProcessGroup(1) as group:
            for number in range(20):
                group.submit(t.append, str(log), str(number))

    run(main())
    assert log.read_text().split() == [str(number) for number in range(20)]


def test_coroutine_functions_run_in_the_worker() -> None:
    async def main() -> None:
        async with AsyncProcessGroup(1) as group:
            assert not await group.run(eval, "'asyncio' in __import__('sys').modules")
            assert await group.run(ta.double_later, 4) == 8
            assert await group.run(functools.partial(ta.add_later, 1, third=5), 2) == 8
            assert await group.run(ta.CalledLater(), 3) == -3
            assert await group.run(functools.partial(ta.CalledLater(), 3)) == -3
            assert await group.map(ta.double_later, range(5)) == [0, 2, 4, 6, 8]
            assert [r async for r in group.imap(ta.add_later, range(3), [5, 6, 7])] == [5, 7, 9]
            assert await (await group.start(ta.double_later, 2)) == 4
            with pytest.raises(ZeroDivisionError) as caught:
                await group.map(ta.fail_later, [1, 0])
            assert "item 1 (0)" in "".join(caught.value.__notes__)
            with pytest.raises(WorkerCrashed) as crashed:
                await group.options(timeout=5).run(crash_later)
            assert "crash_later" in str(crashed.value)

    run(main())


async def crash_later() -> None:
    crash()


# --- cancelling -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("way", "target"),
    [
        ("cancel", ta.log_and_wait),
        ("cancel", ta.log_and_wait_stubbornly),
        ("timeout", ta.log_and_wait),
        ("wait_for", ta.log_and_wait_stubbornly),
        ("future", ta.log_and_wait),
    ],
)
@pytest.mark.usefixtures("soon_killed")
def test_cancelling_stops_the_process(way: str, target: Any, log: Path, tmp_path: Path) -> None:
    gate = str(tmp_path / "gate")

    async def main() -> None:
        async with AsyncProcessGroup(1) as group:
            await works(group)
            call = group.run(target, str(log), gate)
            if way == "timeout":
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(1):
                        await call
            elif way == "wait_for":
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(call, 1)
            else:
                task = group.submit(target, str(log), gate) if way == "future" else asyncio.create_task(call)
                if way == "future":
                    call.close()
                await until(log.read_text)
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
            await until(lambda: all(map(is_gone, pids_in(log))))
            await works(group)
        assert len(pids_in(log)) == 1

    run(main())


def test_what_was_queued_and_not_begun_never_begins(log: Path, tmp_path: Path) -> None:
    gate = tmp_path / "gate"

    async def main() -> None:
        async with AsyncProcessGroup(1) as group:
            first = group.submit(ta.log_and_wait, str(log), str(gate), "first")
            await until(log.read_text)
            second = asyncio.create_task(group.run(ta.log_and_wait, str(log), str(gate), "second"))
            third = asyncio.create_task(group.run(ta.log_and_wait, str(log), str(gate), "third"))
            await asyncio.sleep(0)
            second.cancel()
            with pytest.raises(asyncio.CancelledError):
                await second
            gate.touch()
            assert (await first, await third) == ("first", "third")

    run(main())
    assert begun(log) == ["first", "third"]


def test_what_waits_behind_a_slow_pickle_is_cancelled_at_once() -> None:
    ta.signals = ta.Signals()

    async def main() -> None:
        async with AsyncProcessGroup(1) as group:
            slow = group.submit(t.identity, ta.Blocks())
            behind = group.submit(t.identity, ta.Blocks())
            await until(ta.signals.begun.is_set)
            behind.cancel()
            slow.cancel()
            with pytest.raises(asyncio.CancelledError):
                await slow
            ta.signals.go_on.set()
            await works(group)

    run(main())


def test_the_first_failure_in_a_task_group_stops_the_processes_of_the_rest(log: Path, tmp_path: Path) -> None:
    gate = str(tmp_path / "gate")

    async def main() -> None:
        async with AsyncProcessGroup(3) as group:
            with pytest.RaisesGroup(ZeroDivisionError):
                async with asyncio.TaskGroup() as tasks:
                    for number in (1, 2, 0, 3):
                        tasks.create_task(group.run(ta.wait_or_fail, str(log), gate, number))
            waiting = [pid for pid, number in zip(pids_in(log), begun(log), strict=True) if number != "0"]
            assert len(waiting) >= 2
            await until(lambda: all(map(is_gone, waiting)))
            await works(group)

    run(main())


def test_shield_protects(log: Path, tmp_path: Path) -> None:
    gate = tmp_path / "gate"

    async def main() -> None:
        async with AsyncProcessGroup(1) as group:
            future = group.submit(ta.log_and_wait, str(log), str(gate), 5)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await asyncio.shield(future)
            gate.touch()
            assert await future == 5

    run(main())


# --- processes of their own -------------------------------------------------------------------------------------------


def test_start() -> None:
    async def main() -> None:
        async with AsyncProcessGroup(name="etl") as group:
            handle = await group.start(t.whoami)
            assert await handle == ("etl-1", handle.pid)
            assert await handle == ("etl-1", handle.pid)
            assert await handle.join()
            assert (handle.name, handle.exitcode, handle.is_alive()) == ("etl-1", 0, False)
            assert repr(handle) == f"<AsyncProcessHandle 'etl-1' pid={handle.pid} ended, exit code 0>"
            own = await group.start(t.whoami, name="Test")
            assert (await own)[0] == "Test"
            failing = await group.start(t.divide, 0)
            with pytest.raises(ZeroDivisionError):
                await failing

    run(main())


def test_a_failure_of_start_that_nobody_asked_for_is_raised_on_leaving() -> None:
    async def main() -> None:
        with pytest.RaisesGroup(ZeroDivisionError):
            async with AsyncProcessGroup() as group:
                await group.start(t.divide, 0)
        await group.aclose()  # it is told once

    run(main())


@pytest.mark.parametrize("end", ["terminate", "kill", "cancel"])
def test_the_end_of_a_started_process(end: str, log: Path, tmp_path: Path) -> None:
    async def main() -> None:
        async with AsyncProcessGroup() as group:
            handle = await group.start(ta.log_and_wait, str(log), str(tmp_path / "gate"))
            await until(log.read_text)
            assert not await handle.join(0.01)
            if end == "cancel":
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(handle, 0.01)
            else:
                getattr(handle, end)()
                with pytest.raises(WorkerCrashed):
                    await handle
            assert await handle.join()
            assert handle.exitcode == (-signal.SIGKILL if end == "kill" else -signal.SIGTERM)

    run(main())


def test_cancelling_start_ends_the_process(log: Path, tmp_path: Path) -> None:
    ta.signals = ta.Signals()

    async def main() -> None:
        async with AsyncProcessGroup() as group:
            starting = asyncio.create_task(group.start(ta.log_and_wait, str(log), str(tmp_path / "gate"), ta.Blocks()))
            await until(ta.signals.begun.is_set)
            starting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await starting
            ta.signals.go_on.set()
            await until(lambda: not group.processes)

    run(main())


def test_cancelling_who_awaits_what_no_engine_can_end_only_stops_waiting(log: Path, tmp_path: Path) -> None:
    gate = tmp_path / "gate"

    async def main() -> None:
        with ThreadPoolExecutor(1) as executor:
            async with AsyncProcessGroup(1, engine=executor) as group:
                handle = await group.start(ta.log_and_wait, str(log), str(gate))
                await until(lambda: begun(log))
                try:
                    with pytest.raises(TimeoutError):
                        await asyncio.wait_for(handle, 0.01)
                finally:
                    gate.touch()
                await handle

    run(main())


# --- the rest ---------------------------------------------------------------------------------------------------------


def test_cancelling_start_when_the_process_is_just_there_ends_it(
    monkeypatch: pytest.MonkeyPatch, log: Path, tmp_path: Path
) -> None:
    finish = Start._finish

    async def main() -> None:
        def finish_and_cancel(self: Start[Any]) -> None:
            finish(self)
            starting.cancel()

        monkeypatch.setattr(Start, "_finish", finish_and_cancel)
        async with AsyncProcessGroup() as group:
            starting = asyncio.create_task(group.start(ta.log_and_wait, str(log), str(tmp_path / "gate")))
            with pytest.raises(asyncio.CancelledError):
                await starting
            await until(lambda: not group.processes)

    run(main())


def test_share() -> None:
    async def main() -> None:
        async with AsyncProcessGroup(2) as group:
            shared = await group.share(list(range(1000)))
            assert await group.map(shared_length, [shared] * 3) == [1000] * 3
            with pytest.raises(NotPicklable):
                await group.share(t.Undumpable())

    run(main())


def shared_length(shared: Any) -> int:
    return len(shared.value)


def test_retries_and_processes() -> None:
    async def main() -> None:
        async with AsyncProcessGroup(1, name="etl") as group:
            view = group.options(retries=1)
            with pytest.raises(WorkerCrashed) as caught:
                await view.run(crash)
            assert caught.value.attempts == 2
            await works(group)
            assert [(info.name, info.pid != os.getpid()) for info in group.processes] == [("etl-1", True)]
            assert repr(group) == "<AsyncProcessGroup 'etl': 1 processes, open>"
        stats = group.stats()
        assert (stats.crashed, stats.retried, stats.done, stats.running) == (1, 1, 1, 0)

    run(main())


def test_a_broken_initializer_is_what_everybody_gets() -> None:
    async def main() -> None:
        async with AsyncProcessGroup(1, initializer=t.broken_initializer) as group:
            with pytest.raises(ZeroDivisionError):
                await group.run(t.doubler, 1)
            with pytest.raises(GroupClosed):
                await group.run(t.doubler, 1)
            with pytest.raises(GroupClosed):
                await group.map(t.doubler, [1])

    run(main())
