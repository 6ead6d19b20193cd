"""Process: how many processors there are, with a real affinity and a real control group."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers import Method, wait_until
from targets_machine import bind_to_one, workers_of_a_group

from procorch import ProcessGroup
from procorch._cgroups import _mounts

TOP = Path(__file__).parents[2]
ASK = "import procorch; usable = procorch.usable_cpus(); print(usable.count, usable.reason, sep='|')"
CONTROLS = {1: "cpu.cfs_quota_us", 2: "cpu.max"}


def asked(before: str, **given: str) -> str:
    """Ask another interpreter, after it has done something to itself."""
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHON_CPU_COUNT"}
    environment = {**inherited, "PYTHONPATH": str(TOP), **given}
    command = [sys.executable, "-c", f"{before}; {ASK}"]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.strip()


needs_two = pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="this process is bound to one processor")


@needs_two
def test_a_process_that_is_bound_to_one_processor() -> None:
    first = min(os.sched_getaffinity(0))
    assert asked(f"import os; os.sched_setaffinity(0, {{{first}}})") == "1|affinity"


@needs_two
def test_a_worker_counts_for_itself(method: Method, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PYTHON_CPU_COUNT", raising=False)
    with ProcessGroup(1, mp_context=method, initializer=bind_to_one) as group:
        assert group.submit(workers_of_a_group).result() == 1


@pytest.fixture
def control_group() -> Iterator[tuple[Path, int]]:
    """A control group below the root of the system's, and its version; if the system lets us make one."""
    made = None
    for mount in _mounts(Path("/")):
        folder = Path(mount.place) / f"procorch-test-{os.getpid()}"
        with contextlib.suppress(OSError):
            folder.mkdir()
            if (folder / CONTROLS[mount.version]).exists():
                made = folder, mount.version
                break
            folder.rmdir()
    if made is None:
        pytest.skip("this system lets nobody make a control group with a quota")
    yield made
    wait_until(lambda: not (made[0] / "cgroup.procs").read_text())
    made[0].rmdir()


def test_a_control_group_with_a_quota(control_group: tuple[Path, int]) -> None:
    folder, version = control_group
    (folder / CONTROLS[version]).write_text("60000")
    enter = f"import os; open('{folder}/cgroup.procs', 'w').write(str(os.getpid()))"
    assert asked(enter) == f"1|cgroup v{version} quota 0.6 of /{folder.name}"
    assert asked(enter, PYTHON_CPU_COUNT="5") == "5|PYTHON_CPU_COUNT"
    (folder / CONTROLS[version]).write_text("-1" if version == 1 else "max")
    assert "cgroup" not in asked(enter)
