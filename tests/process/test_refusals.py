"""Process: the system refuses what a group needs, once or for good. An error says so, and nothing is left behind."""

from __future__ import annotations

import asyncio
import errno
import itertools
import os
import selectors
import socket
import threading
from collections.abc import Callable
from concurrent.futures import wait
from functools import partial
from pathlib import Path
from typing import NoReturn

import pytest
import targets
from helpers import Method, executions, the_worker

from procorch import GroupClosed, ProcessGroup, WorkerStartError, _popen
from procorch._channel import Channel
from procorch._daemon import Daemon
from procorch._local import LocalEngine, LocalWorker
from procorch._messages import NO_SETUP
from procorch.aio import AsyncProcessGroup
from procorch.events import Event, GroupBegan, GroupEnded


def refusing(error: BaseException) -> Callable[..., NoReturn]:
    """Make a function that raises."""

    def refuse(*_: object, **__: object) -> NoReturn:
        raise error

    return refuse


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[type[BaseException]]:
    """What threads have ended with."""
    types: list[type[BaseException]] = []
    monkeypatch.setattr(threading, "excepthook", lambda told: types.append(told.exc_type))
    return types


def test_an_engine_that_cannot_wait_for_anything_leaves_nothing_open(
    method: Method, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    with ProcessGroup(1, mp_context=method) as group:
        with monkeypatch.context() as refused, pytest.raises(OSError, match="No space left"):
            refused.setattr(selectors.DefaultSelector, "register", refusing(full))
            group.submit(targets.doubler, 1)
        assert group.submit(targets.doubler, 1).result() == 2


def test_a_process_that_cannot_be_told_how_to_begin_does_not_live_on(
    method: Method, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LocalWorker, "set_up", refusing(MemoryError()))
    with ProcessGroup(1, mp_context=method) as group, pytest.raises(WorkerStartError, match="MemoryError"):
        group.submit(targets.doubler, 1).result()


def test_a_new_interpreter_that_cannot_be_told_what_it_is_does_not_live_on(monkeypatch: pytest.MonkeyPatch) -> None:
    full = OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))
    monkeypatch.setattr(_popen, "_write", refusing(full))
    with ProcessGroup(1, mp_context="spawn") as group, pytest.raises(WorkerStartError, match="Cannot allocate memory"):
        group.submit(targets.doubler, 1).result()


@pytest.mark.parametrize(("owner", "name"), [(selectors.DefaultSelector, "select"), (Channel, "receive")])
def test_a_group_that_hears_no_more_of_its_workers_ends_them(
    owner: type,
    name: str,
    method: Method,
    gate: Path,
    told: list[type[BaseException]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with ProcessGroup(1, mp_context=method) as group:
        group.submit(targets.doubler, 1).result()
        the_worker(group)
        with monkeypatch.context() as refused:
            refused.setattr(owner, name, refusing(MemoryError("no room")))
            future = group.submit(targets.wait_for, str(gate))
            if name == "receive":
                gate.touch()  # or there is nothing to hear
            group.close()  # wakes the group's thread, which waits since before
            wait([future])  # not by its result: that thread is to hear of it, and not this one in its place
            with pytest.raises(GroupClosed, match=r"cannot go on, as the system refused .*: MemoryError: no room"):
                future.result()
            assert group.join() is True
    assert told == [MemoryError]


def test_nobody_waits_for_a_group_whose_engine_fails_at_its_end(
    told: list[type[BaseException]], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = LocalEngine.close

    def close(engine: LocalEngine) -> None:
        real(engine)
        raise ConnectionError

    monkeypatch.setattr(LocalEngine, "close", close)
    with ProcessGroup(1, mp_context="fork") as group:
        assert group.map(targets.doubler, range(3)) == [0, 2, 4]
    assert told == [ConnectionError]


def test_a_wake_up_call_that_the_system_has_no_room_for_is_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = LocalEngine("fork", NO_SETUP, forward_logs=False)
    full = OSError(errno.ENOBUFS, os.strerror(errno.ENOBUFS))
    try:
        with monkeypatch.context() as refused:
            real, refusals = socket.socket.send, iter([full])

            def send(own: socket.socket, data: bytes) -> int:
                for refusal in refusals:
                    raise refusal
                return real(own, data)

            refused.setattr(socket.socket, "send", send)
            engine.wake()
        assert engine._selector.select(0)
    finally:
        engine.close()


# --- threads ----------------------------------------------------------------------------------------------------------


def no_threads(name: str, times: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the system have no room for threads of this name, so many times; None: ever."""
    real, left = Daemon.start, itertools.islice(itertools.repeat(None), times)

    def start(thread: Daemon) -> None:
        if name in thread.name and next(left, True) is None:
            raise RuntimeError("can't start new thread")
        real(thread)

    monkeypatch.setattr(Daemon, "start", start)


@pytest.mark.parametrize("times", [1, None])
def test_events_for_which_there_was_no_thread_are_told_later(
    times: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    no_threads("-callbacks", times, monkeypatch)
    told: list[type[Event]] = []
    with ProcessGroup(1, mp_context="fork", on_event=lambda event: told.append(type(event))) as group:
        assert group.map(targets.doubler, range(3)) == [0, 2, 4]
    assert told[0] is GroupBegan
    assert told[-1] is GroupEnded


def test_what_was_refused_in_a_loop_is_not_done_later(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with AsyncProcessGroup(1, mp_context="fork") as group:
            with pytest.raises(RuntimeError, match="can't start new thread"):
                await group.map(partial(targets.double_logged, str(log)), range(3), range(3))
            assert await group.map(targets.doubler, range(3)) == [0, 2, 4]

    no_threads("-aio", 1, monkeypatch)
    asyncio.run(main())
    assert not executions(log)
