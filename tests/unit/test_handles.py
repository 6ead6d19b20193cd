"""Unit: the handles of a group, and who waits for their processes, without a process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import pytest

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


def test_a_handle_that_is_told_twice_is_given_once() -> None:
    class Twice(Ended):
        def _call_when_over(self, call: Callable[[Any], object]) -> None:
            call(self)
            call(self)

    handles = Handles()
    both = [cast("ProcessHandle[Any]", Twice()) for _ in range(2)]
    for handle in both:
        handles.add(handle)
    assert list(handles.as_completed()) == both


def test_an_interrupt_of_who_tells_of_the_end_leaves_nobody_waiting() -> None:
    handle: ProcessHandle[Any] = ProcessHandle(cast("Any", None), "one", cast("Any", None), cast("Any", None))
    interrupts, told = [KeyboardInterrupt(), KeyboardInterrupt()], list[str]()

    def tell(what: str) -> None:
        if interrupts:
            raise interrupts.pop()
        told.append(what)

    handle._call_when_launched(lambda: tell("launched"))
    handle._call_when_over(lambda _: tell("over"))
    with pytest.raises(KeyboardInterrupt):
        handle._set_started(1)
    with pytest.raises(KeyboardInterrupt):
        handle._set_over(0)
    handle._set_over(0)
    handle._set_over(0)
    assert told == ["launched", "over"]
