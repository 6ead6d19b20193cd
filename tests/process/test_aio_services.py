"""Process: services and messages, seen from an event loop."""

from __future__ import annotations

import asyncio
import gc
import logging
from pathlib import Path

import pytest
import targets_service as targets
from loops import run

from procorch import NotRunning, Restart, TooManyRestarts
from procorch.aio import AsyncProcessGroup


def test_messages_go_both_ways() -> None:
    async def main() -> None:
        async with AsyncProcessGroup() as group:
            handle = await group.start(targets.echo)
            for number in range(50):
                await handle.send(number)
                assert await handle.receive(int) == 2 * number
            assert await handle.flush()
            handle.stop()
            assert [message async for message in handle] == []
            assert await handle == "stopped"
            with pytest.raises(NotRunning):
                await handle.send(1)

    run(main())


def test_to_give_up_waiting_loses_no_message(gate: Path) -> None:
    async def main() -> None:
        async with AsyncProcessGroup() as group:
            handle = await group.start(targets.echo)
            for number in range(20):
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(0.001):
                        await handle.receive()
                await handle.send(number)
                waiting = asyncio.ensure_future(handle.receive())
                await asyncio.sleep(0)
                waiting.cancel()
                assert await handle.receive() == 2 * number
            with pytest.raises(TypeError, match="is no str"):
                await asyncio.gather(handle.send(1), handle.receive(str))
            waiting = asyncio.ensure_future(handle.receive())
            await asyncio.sleep(0)
            waiting.cancel()
            handle.stop()

    run(main())


def test_nobody_is_told_of_what_nobody_waits_for(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with AsyncProcessGroup() as group:
            handle = await group.start(targets.serve)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.001):
                    await handle.receive()
            handle.stop()
        del handle
        gc.collect()
        await asyncio.sleep(0)

    with caplog.at_level(logging.ERROR):
        run(main())
    assert caplog.records == []


def test_services_are_kept_up_and_stopped(tmp_path: Path) -> None:
    async def main() -> None:
        async with AsyncProcessGroup() as group:
            server = await group.start(targets.serve_in_a_loop, restart=Restart("always"))
            assert await server.wait_ready()
            log = str(tmp_path / "log")
            flaky = await group.start(targets.come_to_an_end, log, ["raise", "serve"], restart=Restart(backoff=0.01))
            assert await flaky.wait_ready()
            assert flaky.restarts == 1
        assert await server == "stopped"
        assert await flaky == "stopped"
        assert group.stats().restarted == 1

    run(main())


def test_one_that_has_failed_for_good_is_loud(tmp_path: Path) -> None:
    async def main() -> None:
        async with AsyncProcessGroup() as group:
            limited = Restart(max_restarts=0)
            await (await group.start(targets.come_to_an_end, str(tmp_path / "log"), ["raise"], restart=limited)).join()

    with pytest.raises(ExceptionGroup) as caught:
        run(main())
    assert [type(error) for error in caught.value.exceptions] == [TooManyRestarts]
