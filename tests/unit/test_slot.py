"""Unit tests, no process: the deadlines of slots."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from procorch import _events as e
from procorch._slot import Slot, Steps


def make(count: int) -> tuple[dict[int, Slot], Steps]:
    slots = {number: Slot(number, f"w-{number}", None) for number in range(1, count + 1)}
    return slots, Steps(slots)


def test_nothing_is_due_where_nothing_was_set() -> None:
    _, steps = make(2)
    assert steps.next_deadline() is None
    assert list(steps.due(1e9)) == []


def test_steps_are_taken_in_the_order_of_their_time_and_once() -> None:
    slots, steps = make(3)
    for number, when in ((1, 3.0), (2, 1.0), (3, 2.0)):
        steps.set(slots[number], when, e.Kill)
    assert steps.next_deadline() == 1.0
    assert [(slot.number, step) for slot, step in steps.due(2.0)] == [(2, e.Kill), (3, e.Kill)]
    assert list(steps.due(2.0)) == []
    assert steps.next_deadline() == 3.0


def test_a_step_that_is_due_is_taken_from_its_slot() -> None:
    slots, steps = make(1)
    steps.set(slots[1], 1.0, e.Look)
    for slot, _ in steps.due(1.0):
        assert (slot.deadline, slot.next_step, slot.alarm) == (None, None, None)
        steps.set(slot, 2.0, e.Kill)
    assert steps.next_deadline() == 2.0


def test_a_later_deadline_takes_the_place_of_an_earlier() -> None:
    slots, steps = make(1)
    steps.set(slots[1], 1.0, e.Look)
    steps.set(slots[1], 5.0, e.Kill)
    assert steps.next_deadline() == 5.0
    assert list(steps.due(4.9)) == []
    assert list(steps.due(5.0)) == [(slots[1], e.Kill)]


def test_an_earlier_deadline_takes_the_place_of_a_later() -> None:
    slots, steps = make(1)
    steps.set(slots[1], 5.0, e.Look)
    steps.set(slots[1], 1.0, e.Kill)
    assert steps.next_deadline() == 1.0
    assert list(steps.due(9.0)) == [(slots[1], e.Kill)]
    assert steps.next_deadline() is None


def test_a_deadline_that_is_taken_back_is_none() -> None:
    slots, steps = make(1)
    steps.set(slots[1], 1.0, e.Look)
    slots[1].deadline = slots[1].next_step = None
    assert steps.next_deadline() is None
    steps.set(slots[1], 2.0, e.Kill)
    assert steps.next_deadline() == 2.0


def test_a_slot_that_is_gone_has_no_deadline() -> None:
    slots, steps = make(2)
    steps.set(slots[1], 1.0, e.Look)
    steps.set(slots[2], 2.0, e.Look)
    del slots[1]
    assert steps.next_deadline() == 2.0


def size(steps: Steps) -> int:
    return len(steps._alarms)


def test_a_million_deadlines_that_move_to_later_times_take_no_room() -> None:
    slots, steps = make(2)
    for moment in range(500_000):
        for slot in slots.values():
            steps.set(slot, moment + 3600.0, e.Look)
        assert size(steps) <= 4
    assert steps.next_deadline() == 499_999 + 3600.0


def test_deadlines_that_come_and_go_take_no_room_though_time_does_not_reach_them() -> None:
    slots, steps = make(2)
    steps.set(slots[2], 1e6, e.Look)
    for moment in range(10_000):
        # A single item with a long limit, then a chunk that is looked at soon, and so on.
        steps.set(slots[1], moment + 1e7, e.Look)
        slots[1].deadline = None
        steps.set(slots[1], moment + 0.5, e.Look)
        assert list(steps.due(moment + 0.5)) == [(slots[1], e.Look)]
    assert size(steps) < 100


def test_the_next_deadline_is_found_though_one_was_moved_often() -> None:
    slots, steps = make(20)  # of which the first has none
    for number in range(2, 20):
        steps.set(slots[number], 1000.0 - number, e.Look)
    for moment in range(100):
        steps.set(slots[20], 900.0 - moment, e.Look)
        assert steps.next_deadline() == 900.0 - moment
    assert [slot.number for slot, _ in steps.due(1000.0)] == list(range(20, 1, -1))


def test_slots_that_come_and_go_leave_nothing() -> None:
    slots, steps = make(0)
    for number in range(10_000):
        slots[number] = Slot(number, "own", number)
        steps.set(slots[number], number + 3600.0, e.Look)
        if number:
            del slots[number]
    assert size(steps) < 100
    assert steps.next_deadline() == 3600.0


@given(st.lists(st.tuples(st.sampled_from(["set", "clear", "pass", "drop"]), st.integers(1, 3), st.integers(0, 20))))
def test_whatever_is_set_the_next_deadline_is_the_earliest(actions: list[tuple[str, int, int]]) -> None:
    slots, steps = make(3)
    now = 0.0
    for action, number, when in actions:
        slot = slots.get(number)
        if action == "pass":
            now += when
            expected = sorted(one.deadline for one in slots.values() if one.deadline is not None)
            expected = [deadline for deadline in expected if deadline <= now]
            assert _taken(steps, slots, now) == expected
        elif slot is not None and action == "set":
            steps.set(slot, now + when, e.Look)
        elif slot is not None and action == "clear":
            slot.deadline = slot.next_step = None
        elif slot is not None:
            del slots[number]
        left: list[Any] = [one.deadline for one in slots.values() if one.deadline is not None]
        assert steps.next_deadline() == min(left, default=None)


def _taken(steps: Steps, slots: dict[int, Slot], now: float) -> list[float]:
    before = {number: slot.deadline for number, slot in slots.items()}
    return [before[slot.number] or 0.0 for slot, _ in steps.due(now)]


def test_the_next_deadline_is_found_though_most_have_gone() -> None:
    slots, steps = make(100)
    for slot in slots.values():
        steps.set(slot, float(slot.number), e.Look)
        steps.set(slot, 1000.0 - slot.number, e.Kill)
    for number in range(1, 98):
        del slots[number]
    assert steps.next_deadline() == 900.0
    assert [slot.number for slot, _ in steps.due(1000.0)] == [100, 99, 98]
