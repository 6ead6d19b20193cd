"""Unit: what an executor and its maps leave undone where a Ctrl-C comes in between, without a process."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from functools import partialmethod
from typing import Any

import pytest

from procorch import ProcessGroup
from procorch._executors.async_result import settle
from procorch._executors.maps import ExecutorStream
from procorch._executors.pending import Entry, Pending
from procorch.testing import FakeEngine


class Interruption:
    """Does something, and raises as a Ctrl-C would, at the first call."""

    def __init__(self, do: Callable[..., object], *, after: bool) -> None:
        self._do = do
        self._after = after
        self.calls = 0

    def __call__(self, *args: object) -> None:
        self.calls += 1
        if self.calls > 1 or self._after:
            self._do(*args)
        if self.calls == 1:
            raise KeyboardInterrupt


class Interrupted(Pending):
    """Raises once something has entered."""

    def enter(self, entry: Entry) -> None:
        super().enter(entry)
        raise KeyboardInterrupt


def test_who_is_interrupted_when_it_has_entered_leaves() -> None:
    with ProcessGroup(1, engine=FakeEngine()) as group:
        executor = group.as_executor()
        executor._pending = Interrupted()
        with pytest.raises(KeyboardInterrupt):
            executor.submit(abs, -1)
        with pytest.raises(KeyboardInterrupt):
            executor.map(abs, [-1])
        assert executor._pending._left() == []
        executor.shutdown()


@pytest.fixture(params=[False, True], ids=["before", "after"])
def after(request: pytest.FixtureRequest) -> bool:
    """Whether the interrupt comes when it is done, or when nothing of it is."""
    return bool(request.param)


def test_a_map_that_is_interrupted_when_it_is_about_to_leave_does(after: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    with ProcessGroup(1, engine=FakeEngine()) as group:
        executor = group.as_executor()
        interrupt_leaving(monkeypatch, after=after)
        with pytest.raises(KeyboardInterrupt):
            executor.map(abs, [])
        assert executor._pending._left() == []
        results = executor.map(abs, [-1, -2], buffersize=1)
        assert next(results) == 1
        interrupt_leaving(monkeypatch, after=after)
        with pytest.raises(KeyboardInterrupt):
            next(results)
        assert executor._pending._left() == []


def interrupt_leaving(monkeypatch: pytest.MonkeyPatch, *, after: bool) -> None:
    """Interrupt the next map that has taken what it can."""
    monkeypatch.undo()
    interruption = Interruption(ExecutorStream._filled, after=after)
    monkeypatch.setattr(ExecutorStream, "_filled", partialmethod(interruption))


def test_an_interrupt_of_who_tells_of_a_maps_end_leaves_nobody_waiting(
    after: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    future: Future[list[Any]] = Future()
    interruption = Interruption(lambda: settle(future, [1, 2]), after=after)
    streams: list[ExecutorStream] = []
    with ProcessGroup(1, engine=FakeEngine()) as group, monkeypatch.context() as patch:
        patch.setattr(ExecutorStream, "begin", lambda stream, *_: streams.append(stream))
        group.as_pool().map_async(abs, [])
    stream = streams[0]
    stream._executor, stream._done, stream._filling, stream._resolved = Pending(), interruption, False, 0
    with pytest.raises(KeyboardInterrupt):
        stream._leave_if_idle()
    stream._leave_if_idle()
    stream._leave_if_idle()
    assert interruption.calls == 2
    assert future.result(0) == [1, 2]
