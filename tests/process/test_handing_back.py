"""Process: chunks that were asked back, and what became of the items in them."""

from __future__ import annotations

from collections import Counter
from functools import partial
from pathlib import Path

import pytest
import targets
import targets_chunks
from helpers import Method, wait_until

from procorch import ProcessGroup


def two_workers(method: Method) -> ProcessGroup:
    """Make a group with two workers, both ready."""
    group = ProcessGroup(2, mp_context=method)
    wait_until(lambda: group.map(targets.nap, [0.001] * 4, chunksize=1) and len(group.processes) == 2)
    wait_until(lambda: [info.state for info in group.processes] == ["idle", "idle"])
    return group


def test_light_items_then_heavy_ones_run_once_each_and_in_all_processes(method: Method, log: Path) -> None:
    """All heavy ones may have been in one chunk, with light ones before them."""
    items = [(number, 0.0) for number in range(3000)] + [(number, 0.03) for number in range(3000, 3020)]
    with two_workers(method) as group:
        pids = group.map(partial(targets_chunks.sleep_logged, str(log)), items)
    runs = Counter(int(line.split()[0]) for line in log.read_text().splitlines())
    assert runs == Counter(range(3020))
    assert len(set(pids[3000:])) == 2


@pytest.mark.limit(10)
def test_an_item_behind_one_that_waits_for_it_goes_to_another_process(method: Method, log: Path, gate: Path) -> None:
    """It is in the same chunk, unless that just ends between the two, and would never run there."""
    with two_workers(method) as group:
        calls = range(4000)
        wait = partial(targets_chunks.wait_for_the_next, str(log), str(gate), 1000)
        assert group.map(wait, calls) == [*calls]
    assert Counter(log.read_text().splitlines()) == Counter(map(str, calls))
