"""Unit: items by number, against a dictionary."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from procorch._items import Items, ranges
from procorch._plain import are_plain


@given(st.lists(st.integers(0, 20)))
def test_ranges_are_the_same_numbers(numbers: list[int]) -> None:
    found = ranges(numbers)
    assert [number for one in found for number in one] == numbers
    assert all(left.stop != right.start for left, right in pairwise(found))


class Kept(RuleBasedStateMachine):
    """`Items` holds what a dictionary would."""

    def __init__(self) -> None:
        super().__init__()
        self.items = Items()
        self.model: dict[int, Any] = {}
        self.plain: dict[int, bool] = {}

    @rule(count=st.integers(1, 5) | st.sampled_from([63, 64, 65, 1000]), plain=st.booleans())
    def add(self, count: int, plain: bool) -> None:
        start = self.items.count
        values: list[Any] = [(number, plain) for number in range(start, start + count)]
        numbers = self.items.add(values, plain=plain)
        assert numbers == range(start, start + count)
        self.model.update(zip(numbers, values, strict=True))
        self.plain.update(dict.fromkeys(numbers, plain))

    def some(self, data: st.DataObject) -> list[int]:
        there = sorted(self.model)
        first = data.draw(st.integers(0, len(there) - 1))
        picked = there[first : first + data.draw(st.integers(1, 200))]
        return picked[:: data.draw(st.sampled_from([1, 1, 2]))]

    @precondition(lambda self: self.model)
    @rule(data=st.data())
    def get(self, data: st.DataObject) -> None:
        numbers = self.some(data)
        values, plain = self.items.get(numbers)
        assert values == [self.model[number] for number in numbers]
        assert not plain or all(self.plain[number] for number in numbers)

    @precondition(lambda self: self.model)
    @rule(data=st.data())
    def drop(self, data: st.DataObject) -> None:
        numbers = self.some(data)
        self.items.drop(numbers)
        for number in numbers:
            del self.model[number]

    @invariant()
    def agree(self) -> None:
        assert list(self.items) == sorted(self.model)
        for number in (0, self.items.count - 1, self.items.count):
            assert (number in self.items) == (number in self.model)
        for number in list(self.model)[:3]:
            assert self.items[number] == self.model[number]


TestKept = pytest.mark.limit(120)(Kept.TestCase)


def test_what_is_dropped_is_let_go_of() -> None:
    class Thing:
        pass

    import weakref

    things: list[Any] = [Thing() for _ in range(100)]
    seen = weakref.ref(things[3])
    items = Items()
    items.add(things, plain=False)
    del things
    items.drop([3])
    assert seen() is None
    items.drop(range(3))
    items.drop(range(4, 100))
    assert list(items) == []


class Text(str):
    __slots__ = ()


@pytest.mark.parametrize(
    ("values", "plain"),
    [
        ([1, 2.5, True, None, 1j], True),
        ([1, "text", b"bytes"], True),
        ([(1, "a"), (None, b"")], True),
        (["x" * 256], True),
        (["x" * 257], False),
        ([1, b"x" * 257], False),
        ([(1, "x" * 257)], False),
        ([(1,) * 17], False),
        ([(1, (2,))], False),
        ([(1,), 1], False),
        ([Text("text")], False),
        ([[1]], False),
        ([1, bytearray(b"x")], False),
        ([()], True),
    ],
    ids=lambda value: str(value)[:30],
)
def test_what_is_plain(values: list[Any], plain: bool) -> None:
    assert are_plain(values) == plain
