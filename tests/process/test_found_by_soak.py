"""Process: what the soak has found, each as the least that shows it."""

from __future__ import annotations

from pathlib import Path

import pytest
import targets
import targets_soak
from helpers import Method, is_gone, the_worker

from procorch import GroupClosed, ProcessGroup


@pytest.mark.limit(60)
def test_terminate_ends_a_started_process_that_lives_on_while_its_item_rests(method: Method, gate: Path) -> None:
    with ProcessGroup(1, mp_context=method) as group:
        view = group.options(retries=1, retry_on=KeyError, backoff=1000)
        handle = view.start(targets_soak.leave_thread_and_fail, str(gate))
        pid = the_worker(group, "ending").pid
        assert pid is not None
        group.terminate()
        with pytest.raises(GroupClosed):
            handle.result()
        assert handle.join(20)
        assert handle.exitcode == -15
    assert is_gone(pid)


@pytest.mark.limit(60)
def test_a_started_process_is_not_started_again_before_it_has_ended(method: Method, log: Path, gate: Path) -> None:
    with ProcessGroup(1, mp_context=method) as group:
        view = group.options(retries=1, retry_on=KeyError, backoff=0.001)
        handle = view.start(targets_soak.leave_thread_and_fail_once, str(log), str(gate))
        first = the_worker(group, "ending").pid
        assert first is not None
        for number in range(3):  # takes much longer than the item rests
            assert group.start(targets.doubler, number).result() == 2 * number
        assert len(log.read_text().splitlines()) == 1
        assert not is_gone(first)
        gate.touch()
        assert handle.result() == 2
        assert handle.join(20)
        assert handle.exitcode == 0
