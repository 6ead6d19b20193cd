"""Unit: a future whose outcome is brought by a caller's thread that is interrupted, without a process."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future
from functools import partial
from typing import NoReturn

import pytest

from procorch import ProcessGroup, Task
from procorch._future import FutureSink, TaskFuture
from procorch._messages import Plain
from procorch.testing import FakeEngine


def interrupted() -> NoReturn:
    raise KeyboardInterrupt


def test_an_interrupt_between_a_result_and_its_callbacks_loses_none(monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[Future[int]] = []
    with ProcessGroup(1, engine=FakeEngine()) as group:
        group.submit(abs, -1).result()
        supervisor = group._supervisor
        future = TaskFuture[int](supervisor)
        future.add_done_callback(called.append)
        sink = FutureSink(future, lambda: Task("abs", "-1"), supervisor.ending)
        deliver = partial(sink.deliver, [0], Plain([1]), None)
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(future, "_invoke_callbacks", interrupted)
            deliver()
        supervisor._interrupted(deque([deliver, deliver]))  # as by who delivers
    assert future.result(0) == 1
    assert called == [future]
