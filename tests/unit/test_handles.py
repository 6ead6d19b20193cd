"""Unit: the handles of a group, and who waits for their processes, without a process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from procorch._handle import ProcessHandle
from procorch._handles import Handles


class Ended:
    """A handle whose process has ended, and whose result somebody takes when it has been asked for that once."""

    def __init__(self) -> None:
        self.asked = 0

    @property
    def _is_settled(self) -> bool:
        self.asked += 1
        return self.asked > 1

    def _call_when_over(self, call: Callable[[Any], object]) -> None:
        call(self)

    def _forget_call(self, call: object) -> None:
        pass


def test_a_result_that_is_taken_while_another_process_starts_hides_no_handle() -> None:
    handles = Handles()
    first, second = (cast("ProcessHandle[Any]", Ended()) for _ in range(2))
    handles.add(first)
    handles.add(second)
    assert set(handles.as_completed()) == {first, second}
