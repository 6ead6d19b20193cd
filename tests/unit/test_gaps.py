"""Unit: numbers and indexes where some indexes get no number."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from procorch._gaps import Gaps


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 5))))
def test_each_number_has_its_index(parts: list[tuple[bool, int]]) -> None:
    gaps, index, expected = Gaps(), 0, list[int]()
    for skipped, count in parts:
        if skipped:
            gaps.skip(len(expected), count)
        else:
            expected.extend(range(index, index + count))
        index += count
    assert [gaps.index_of(number) for number in range(len(expected))] == expected
    assert bool(gaps) is any(skipped for skipped, _ in parts)
