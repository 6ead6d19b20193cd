"""Process: every input is doubled exactly once across processes, whatever the inputs, workers and chunks."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import targets
from conftest import METHODS
from helpers import Method, executions
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from procorch import ProcessGroup

values = st.one_of(
    st.integers(),
    st.text(),
    st.binary(),
    st.floats(allow_nan=True),
    st.recursive(st.integers() | st.text(), lambda inner: st.tuples(inner, inner), max_leaves=6),
)


def same(one: Any, other: Any) -> bool:
    if isinstance(one, float) and isinstance(other, float):
        return one == other or (math.isnan(one) and math.isnan(other))
    return type(one) is type(other) and bool(one == other)


def check_doubled_once(group: ProcessGroup, items: list[Any], chunksize: int | None) -> None:
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        log.touch()
        double = partial(targets.double_logged, str(log))
        results = group.map(double, range(len(items)), items, chunksize=chunksize)
        assert len(results) == len(items)
        assert all(same(result, item * 2) for result, item in zip(results, items, strict=True))
        assert executions(log) == dict.fromkeys(range(len(items)), 1)
        pids = {int(line.split()[1]) for line in log.read_text().splitlines()}
        assert pids <= {info.pid for info in group.processes}


@pytest.fixture
def groups() -> Iterator[dict[tuple[Method, int], ProcessGroup]]:
    """A group for each start method and number of workers; started as they are needed."""
    made = {
        (method, workers): ProcessGroup(workers, mp_context=method) for method in METHODS for workers in range(1, 5)
    }
    yield made
    for group in made.values():
        group.close()
    assert all(group.join(20) for group in made.values())


@pytest.mark.limit(120)
@settings(max_examples=120, suppress_health_check=[HealthCheck.function_scoped_fixture])  # one set of groups for all
@given(
    items=st.lists(values, max_size=40),
    method=st.sampled_from(METHODS),
    workers=st.integers(1, 4),
    chunksize=st.none() | st.integers(1, 50),
)
def test_each_input_is_doubled_exactly_once(
    groups: dict[tuple[Method, int], ProcessGroup],
    items: list[Any],
    method: Method,
    workers: int,
    chunksize: int | None,
) -> None:
    check_doubled_once(groups[method, workers], items, chunksize)


@pytest.mark.limit(60)
@settings(max_examples=10)
@given(items=st.lists(values, max_size=12), workers=st.integers(1, 4), method=st.sampled_from(METHODS))
def test_the_same_in_a_group_made_for_it(items: list[Any], workers: int, method: Method) -> None:
    with ProcessGroup(workers, mp_context=method) as group:
        check_doubled_once(group, items, None)


def test_on_the_class() -> None:
    assert ProcessGroup.map(targets.doubler, [5, 10, 15, 20, 25]) == [10, 20, 30, 40, 50]
    assert ProcessGroup.map(targets.add, [1, 2], [3, 4]) == [4, 6]
