"""Process: workers are killed at random moments; no item runs twice, and each has exactly one outcome."""

from __future__ import annotations

import itertools
import random
import signal
from functools import partial
from pathlib import Path

import pytest
import targets
from helpers import Killer, Method, executions

from procorch import ProcessGroup, WorkerCrashed


def run_under_fire(
    method: Method, kills: int, retries: int, log: Path, seed: int, pause: float = 0.02
) -> tuple[list[object], int]:
    """Run items until the killer has done its work; give the outcomes by index and the kills."""
    outcomes: list[object] = []
    double = partial(targets.double_logged, str(log))
    with ProcessGroup(3, mp_context=method) as group:
        stream = group.options(retries=retries).imap(
            double, itertools.count(), itertools.count(), return_exceptions=True, buffersize=400
        )
        chance = random.Random(seed)

        def victim() -> int | None:
            found = [info.pid for info in group.processes if info.state != "ending"]
            return chance.choice(found) if found else None

        with Killer(victim, kills, lambda: chance.uniform(0.0, pause)) as killer:
            for outcome in stream:
                outcomes.append(outcome)
                if not killer.left and len(outcomes) >= 3000:
                    break
        stream.close()
        assert group.map(targets.doubler, range(20)) == list(range(0, 40, 2))
    return outcomes, kills - killer.left


@pytest.mark.limit(150)
@pytest.mark.parametrize(
    # A spawned worker takes so long to start that a quicker killer would let few of them come to work.
    ("method", "kills", "pause"),
    [("forkserver", 200, 0.02), ("fork", 200, 0.02), ("spawn", 100, 0.1)],
)
def test_at_most_once(method: Method, kills: int, pause: float, log: Path) -> None:
    outcomes, killed = run_under_fire(method, kills, 0, log, kills, pause)
    runs = executions(log)
    lost = [index for index, outcome in enumerate(outcomes) if isinstance(outcome, WorkerCrashed)]
    assert killed == kills
    assert max(runs.values()) == 1
    for index, outcome in enumerate(outcomes):
        if isinstance(outcome, WorkerCrashed):
            assert outcome.task.index == index
            assert outcome.exitcode == -signal.SIGKILL
            assert runs[index] <= 1
        else:
            assert outcome == 2 * index
            assert runs[index] == 1
    assert len(lost) <= kills


@pytest.mark.limit(150)
def test_at_most_retries_plus_one(log: Path) -> None:
    outcomes, _ = run_under_fire("forkserver", 200, 2, log, seed=7)
    runs = executions(log)
    assert max(runs.values()) <= 3
    for index, outcome in enumerate(outcomes):
        if isinstance(outcome, WorkerCrashed):
            assert outcome.attempts == 3
        else:
            assert outcome == 2 * index
            assert runs[index] >= 1
