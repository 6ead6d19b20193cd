"""Times of items, in steps; no process. What is counted is checked with the scheduler's machine, see `watched`."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from procorch._tally import Durations

_TIMES = st.lists(st.tuples(st.floats(1e-8, 1e6), st.integers(1, 1000)), min_size=1)


def test_without_items_there_is_none() -> None:
    assert Durations().quantile(0.5) is None


@given(_TIMES, st.floats(0.01, 1.0))
def test_a_quantile_is_right_to_some_per_cent(times: list[tuple[float, int]], part: float) -> None:
    durations = Durations()
    for seconds, items in times:
        durations.add(seconds * items, items)
    every = sorted(seconds for seconds, items in times for _ in range(items))
    exact = every[max(0, math.ceil(part * len(every)) - 1)]
    near = every[max(0, math.ceil(part * len(every) - 1e-6) - 1)]  # where floats are rounded the other way
    found = durations.quantile(part)
    assert found == pytest.approx(exact, rel=0.03) or found == pytest.approx(near, rel=0.03)


def test_a_clock_that_stands_still() -> None:
    durations = Durations()
    durations.add(0.0, 5)
    assert durations.quantile(0.5) == pytest.approx(0.0, abs=1e-8)
