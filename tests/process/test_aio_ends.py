"""Process tests: how a group of an event loop ends, in which loops it works, and Ctrl-C."""

from __future__ import annotations

import asyncio
import gc
import itertools
import os
import signal
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import targets as t
import targets_aio as ta
from helpers import Method, is_gone, pids_in, script, wait_until
from loops import run, until

from procorch import GroupClosed
from procorch.aio import AsyncProcessGroup

# --- leaving the block ------------------------------------------------------------------------------------------------


def test_leaving_waits_for_all(log: Path) -> None:
    async def main() -> list[Any]:
        async with AsyncProcessGroup(2) as group:
            await group.start(t.double_logged, str(log), 50, 0)
            futures: list[Any] = [group.submit(t.double_logged, str(log), number, number) for number in range(50)]
        assert all(future.done() for future in futures) or await asyncio.gather(*futures)
        assert group.processes == ()
        return futures

    assert [future.result() for future in run(main())] == [2 * number for number in range(50)]
    assert len(pids_in(log)) == 51


def test_leaving_waits_for_what_is_still_to_be_pickled() -> None:
    ta.signals = ta.Signals()

    async def let_go_on() -> None:
        for _ in range(50):
            await asyncio.sleep(0.001)
        ta.signals.go_on.set()

    async def main() -> None:
        async with AsyncProcessGroup(1) as group:
            futures = [group.submit(t.identity, ta.Blocks()), group.submit(t.identity, 8)]
            letting = asyncio.create_task(let_go_on())
        assert await asyncio.gather(*futures) == [7, 8]
        await letting

    run(main())


@pytest.mark.usefixtures("soon_killed")
@pytest.mark.parametrize("target", [ta.log_and_wait, ta.log_and_wait_stubbornly])
def test_leaving_by_an_exception_terminates(target: Any, log: Path, tmp_path: Path) -> None:
    async def main() -> None:
        with pytest.raises(LookupError):
            async with AsyncProcessGroup(2) as group:
                forgotten = group.submit(target, str(log), str(tmp_path / "gate"))
                waiting = asyncio.create_task(group.run(target, str(log), str(tmp_path / "gate")))
                mapping = asyncio.create_task(group.map(t.identity, itertools.count()))
                await group.start(target, str(log), str(tmp_path / "gate"))
                await until(lambda: len(pids_in(log)) == 3)
                raise LookupError
        assert all(map(is_gone, pids_in(log)))
        for one in (forgotten, waiting, mapping):
            with pytest.raises(GroupClosed, match="was terminated"):
                await one

    run(main())


def test_who_forgets_what_a_terminated_group_did_hears_nothing_of_it(log: Path, tmp_path: Path) -> None:
    async def main() -> None:
        async with AsyncProcessGroup(1) as group:
            group.submit(ta.log_and_wait, str(log), str(tmp_path / "gate"))
            group.submit(ta.log_and_wait, str(log), str(tmp_path / "gate"))
            await until(log.read_text)
            group.terminate()

    run(main())
    gc.collect()


def test_who_forgets_what_a_terminated_group_never_got_hears_nothing_of_it() -> None:
    ta.signals = ta.Signals()

    async def main() -> None:
        async with AsyncProcessGroup(1) as group:
            for item in (ta.Blocks(), 1, 2):
                group.submit(t.identity, item)
            await until(ta.signals.begun.is_set)
            group.terminate()
            ta.signals.go_on.set()
        gc.collect()

    run(main())


@pytest.mark.usefixtures("soon_killed")
@pytest.mark.parametrize(("when", "cancels"), [("inside", 5), ("leaving", 1), ("leaving", 5)])
def test_cancelled_again_and_again_it_still_ends_everything(cancels: int, when: str, log: Path, tmp_path: Path) -> None:
    async def use() -> None:
        async with AsyncProcessGroup(2) as group:
            for _ in range(2):
                group.submit(ta.log_and_wait_deafly, str(log), str(tmp_path / "gate"))
            if when == "inside":
                await asyncio.get_running_loop().create_future()

    async def main() -> None:
        task = asyncio.create_task(use())
        await until(lambda: len(pids_in(log)) == 2)
        for _ in range(cancels):
            task.cancel()
            for _ in range(5):
                await asyncio.sleep(0)  # it is to be in the middle of it; SIGKILL comes 0.2 s after the first
        with pytest.raises(asyncio.CancelledError):
            await task
        assert all(map(is_gone, pids_in(log)))

    run(main())


@pytest.mark.parametrize("what", ["input", "item", "call"])
def test_what_blocks_for_ever_does_not_keep_a_group(what: str) -> None:
    ta.signals = ta.Signals()

    async def main() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2), AsyncProcessGroup(1) as group:
                if what == "input":
                    await group.map(t.identity, ta.blocking_items(3))
                elif what == "item":
                    await group.map(t.identity, [ta.Blocks()])
                else:
                    await group.run(t.identity, ta.Blocks())
        assert ta.signals.blocking
        ta.signals.go_on.set()
        await until(lambda: not any(map(is_of_a_group, threading.enumerate())))

    run(main())


def test_closing_again() -> None:
    async def main() -> None:
        group = AsyncProcessGroup(1)
        assert await group.run(t.doubler, 1) == 2
        await asyncio.gather(group.aclose(), group.aclose(), group.aclose())
        await group.aclose()
        async with group:
            with pytest.raises(GroupClosed):
                group.submit(t.doubler, 1)
            with pytest.raises(GroupClosed):
                await group.start(t.doubler, 1)
            with pytest.raises(GroupClosed):
                await group.share(1)
        assert repr(group) == "<AsyncProcessGroup 'Process': 0 processes, is closed>"

    run(main())


def test_a_group_without_work() -> None:
    async def main() -> None:
        async with AsyncProcessGroup():
            pass
        await AsyncProcessGroup().aclose()

    run(main())


def test_a_failed_finalizer_is_raised_on_leaving() -> None:
    async def main() -> None:
        with pytest.RaisesGroup(ZeroDivisionError):
            async with AsyncProcessGroup(1, finalizer=t.divide, finalargs=(0,)) as group:
                await group.run(t.doubler, 1)

    run(main())


def test_a_group_that_was_never_closed_says_so() -> None:
    async def main() -> None:
        group = AsyncProcessGroup(1)
        assert await group.run(t.doubler, 1) == 2
        with pytest.warns(ResourceWarning, match="was never closed") as warned:
            del group
            # The thread that has given the call to the group lets go of it when it has its turn.
            await until(lambda: gc.collect() >= 0 and warned.list)
        ours = {"procorch-Process", "procorch-Process-aio-callbacks"}
        await until(lambda: not any(one.name in ours for one in threading.enumerate()))

    run(main())


# --- loops ------------------------------------------------------------------------------------------------------------


def test_loops_one_after_another_and_in_several_threads() -> None:
    async def main(group: AsyncProcessGroup) -> list[int]:
        async with group:
            return [result async for result in group.imap(t.doubler, range(10))]

    for _ in range(3):
        assert run(main(AsyncProcessGroup(1))) == [2 * number for number in range(10)]
    results: list[list[int]] = []
    threads = [threading.Thread(target=lambda: results.append(asyncio.run(main(AsyncProcessGroup(1))))) for _ in "abc"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [[2 * number for number in range(10)]] * 3


def test_another_loop_is_refused() -> None:
    group = AsyncProcessGroup(1, name="etl")
    with pytest.raises(RuntimeError, match="no running event loop"):
        group.submit(t.doubler, 1)

    async def other() -> None:
        for use in (group.run(t.doubler, 1), group.map(t.doubler, [1]), group.start(t.doubler, 1), group.aclose()):
            with pytest.raises(RuntimeError, match="'etl' is used in another event loop already"):
                await use
        with pytest.raises(RuntimeError, match="another event loop"):
            await anext(group.imap(t.doubler, [1]))
        with pytest.raises(RuntimeError, match="another event loop"):
            await group.share(1)
        with pytest.raises(RuntimeError, match="another event loop"):
            async with group:
                raise AssertionError

    with asyncio.Runner() as runner:
        assert runner.run(group.run(t.doubler, 1)) == 2
        run(in_thread(other))
        assert runner.run(group.run(t.doubler, 2)) == 4
        runner.run(group.aclose())


async def in_thread(main: Any) -> None:
    await asyncio.to_thread(run, main())


# --- Ctrl-C -----------------------------------------------------------------------------------------------------------

_PROGRAM = """
import asyncio, itertools, sys
import targets_limits as tl
from procorch.aio import AsyncProcessGroup

async def numbers():
    for number in itertools.count():
        yield number

async def main():
    method, log, call, way = sys.argv[1:]
    async with AsyncProcessGroup(2, mp_context=method) as group:
        logs, ways = itertools.repeat(log), itertools.repeat(way)
        if call == "imap":
            async for _ in group.imap(tl.log_number_and_be_busy, logs, ways, numbers()):
                pass
        elif call == "map":
            await group.map(tl.log_number_and_be_busy, logs, ways, range(10000))
        elif call == "start":
            await (await group.start(tl.log_number_and_be_busy, log, way, 1))
        elif call == "run":
            await asyncio.gather(*(group.run(tl.log_number_and_be_busy, log, way, number) for number in range(100)))
        else:
            for number in range(100):
                group.submit(tl.log_number_and_be_busy, log, way, number)

if __name__ == "__main__":
    asyncio.run(main())
"""


def interrupted(tmp_path: Path, log: Path, *arguments: str) -> str:
    """Run the program, send Ctrl-C when it has logged something, see that it ends in time; give its last words."""
    path = tmp_path / "program.py"
    path.write_text(_PROGRAM)
    method, *others = arguments
    with script(str(path), method, str(log), *others, stderr=subprocess.PIPE) as process:
        wait_until(log.read_text)
        os.killpg(process.pid, signal.SIGINT)
        sent = time.monotonic()
        _, err = process.communicate(timeout=20)
        assert time.monotonic() - sent < 2
        assert process.returncode in {-signal.SIGINT, 130}
        assert all(map(is_gone, pids_in(log)))
    return err


@pytest.mark.limit(60)
@pytest.mark.parametrize("way", ["sleep", "gil"])
@pytest.mark.parametrize("call", ["imap", "map", "start", "run", "leave"])
def test_ctrl_c_ends_everything(call: str, way: str, log: Path, tmp_path: Path) -> None:
    err = interrupted(tmp_path, log, "forkserver", call, way)
    assert err.count("\nKeyboardInterrupt") == 1, err
    assert err.rstrip().endswith("KeyboardInterrupt")
    assert "never retrieved" not in err


def test_ctrl_c_on_every_start_method(method: Method, log: Path, tmp_path: Path) -> None:
    assert interrupted(tmp_path, log, method, "map", "sleep").count("\nKeyboardInterrupt") == 1


def is_of_a_group(thread: threading.Thread) -> bool:
    return thread.name.startswith("procorch")


def test_a_loop_that_is_closed_in_the_middle_of_it_leaves_nothing(log: Path, tmp_path: Path) -> None:
    """As Ctrl-C twice: nobody waits any more, and the group ends all the same."""

    async def main() -> None:
        group = AsyncProcessGroup(1)
        group.submit(ta.log_and_wait, str(log), str(tmp_path / "gate"))
        await until(log.read_text)
        group.terminate()

    asyncio.run(main())
    wait_until(lambda: gc.collect() >= 0 and not any(map(is_of_a_group, threading.enumerate())))
    assert all(map(is_gone, pids_in(log)))
