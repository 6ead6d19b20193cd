"""Process: objects shared with all workers of a group."""

from __future__ import annotations

import gc
import os
import pickle
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import targets
import targets_large
from helpers import Method, script, the_worker, wait_until

from procorch import GroupClosed, NotPicklable, ProcessGroup, Shared, _parcel
from procorch.testing import FakeEngine

LARGE = bytearray(range(256)) * 4096


@pytest.fixture(autouse=True)
def _collected() -> Iterator[None]:
    yield
    gc.collect()


@pytest.mark.parametrize("value", [[1, 2, 3], LARGE, (LARGE, "text"), {"a": 1}], ids=["list", "large", "both", "dict"])
def test_workers_find_it(method: Method, value: Any) -> None:
    with ProcessGroup(2, mp_context=method) as group, group.share(value) as shared:
        assert shared.value is value
        key = next(iter(value)) if isinstance(value, dict) else 1
        assert group.map(targets_large.value_at, [shared] * 20, [key] * 20) == [value[key]] * 20
        assert group.start(targets_large.value_at, shared, key).result() == value[key]


def test_it_is_loaded_once_in_each_worker() -> None:
    with ProcessGroup(1) as group:
        shared = group.share([object()])
        outcomes = group.map(targets_large.same_each_time, [shared] * 5, range(5))
        assert len(set(outcomes)) == 1
        assert outcomes[0][1]
        # Another item finds what an earlier one left in its process.
        assert group.submit(targets_large.write_to, group.share([1, 2]), 0).result()[1] == [-1, 2]
        other = group.share([1, 2])
        group.submit(targets_large.write_to, other, 0).result()
        assert group.submit(targets_large.write_to, other, 1).result()[1] == [-1, -1]
        assert other.value == [1, 2]


def test_an_array_is_writable_in_each_worker_for_itself() -> None:
    np = pytest.importorskip("numpy")
    array = np.arange(100_000)
    with ProcessGroup(2) as group:
        shared = group.share(array)
        assert group.submit(targets_large.write_to, shared, 5).result()[1][5] == -1
        assert array[5] == 5
        with ProcessGroup(1) as other:
            assert other.submit(targets_large.write_to, other.share(array), 5).result()[1][5] == -1


def test_it_lies_in_memory_once() -> None:
    size = 64 << 20
    data = bytearray([1]) * size
    with ProcessGroup(2) as group:
        np = pytest.importorskip("numpy")
        shared = group.share(np.frombuffer(data, np.uint8))
        before, after = group.submit(targets_large.private_bytes, shared).result()
        assert after - before < size // 4


def test_an_item_with_it_is_small() -> None:
    with ProcessGroup(1) as group:
        shared = group.share(LARGE)
        assert len(pickle.dumps(shared, 5)) < 120


def test_it_comes_with_functions_that_hold_it() -> None:
    with ProcessGroup(2) as group:
        shared = group.share([5, 6, 7])
        assert group.map(partial(targets_large.value_at, shared), range(3)) == [5, 6, 7]
        assert group.submit(partial(targets_large.value_at, shared, index=1)).result() == 6


def test_items_and_functions_keep_it_alive() -> None:
    with ProcessGroup(1) as group:
        assert group.submit(targets_large.value_at, group.share([5]), 0).result() == 5
        assert group.map(partial(targets_large.value_at, group.share([5, 6])), range(2)) == [5, 6]
        stream = group.imap(partial(targets_large.value_at, group.share([5, 6])), [0, 1], buffersize=1)
        gc.collect()
        assert list(stream) == [5, 6]


def test_a_result_that_is_a_handle_is_that_handle() -> None:
    with ProcessGroup(1) as group:
        shared = group.share([1])
        assert group.submit(targets_large.give, shared).result() is shared


def test_classes_of_a_script_without_a_guard(tmp_path: Path) -> None:
    pytest.importorskip("cloudpickle")
    path = tmp_path / "script.py"
    path.write_text(
        "from procorch import ProcessGroup\n"
        "class Point:\n    def __init__(self, x): self.x = x\n"
        "with ProcessGroup(1) as group:\n"
        "    shared = group.share([Point(5), bytearray(100_000)])\n"
        "    print(group.submit(lambda: (shared.value[0].x, isinstance(shared.value[0], Point))).result())\n"
    )
    with script(str(path), stdout=subprocess.PIPE) as running:
        assert running.stdout is not None
        assert running.stdout.read() == "(5, True)\n"


# --- crashes ----------------------------------------------------------------------------------------------------------


def test_a_replacement_gets_it(method: Method, tmp_path: Path) -> None:
    with ProcessGroup(1, mp_context=method) as group:
        shared = group.share([1, LARGE])
        future = group.options(retries=1).submit(targets_large.die_with, shared, str(tmp_path / "mark"))
        assert future.result() == [1, LARGE]
        os.kill(the_worker(group).pid or 0, signal.SIGKILL)
        assert group.submit(targets_large.value_at, shared, 0).result() == 1


# --- its end ----------------------------------------------------------------------------------------------------------


def test_to_close_it_frees_it_here_and_in_idle_workers() -> None:
    before = len(_parcel.held)
    with ProcessGroup(1) as group:
        pid_fds = Path(f"/proc/{group.submit(os.getpid).result()}/fd")

        def memfds() -> int:
            return sum("memfd" in os.readlink(fd) for fd in pid_fds.iterdir())  # noqa: PTH115 - there is no such file

        without = memfds()
        shared = group.share(LARGE)
        assert len(_parcel.held) == before + 1
        assert group.submit(targets_large.value_at, shared, 5).result() == 5
        loaded = memfds()
        assert loaded <= without + 1
        shared.close()
        shared.close()
        wait_until(lambda: memfds() == without)
        assert len(_parcel.held) == before


def test_a_handle_that_nobody_keeps_is_freed() -> None:
    before = len(_parcel.held)
    with ProcessGroup(1) as group:
        shared = group.share(LARGE)
        group.submit(targets_large.value_at, shared, 5).result()
        assert len(_parcel.held) == before + 1
        del shared
        wait_until(lambda: gc.collect() is not None and len(_parcel.held) == before)


def test_what_an_item_uses_stays_as_long_as_it_does(log: Path, gate: Path) -> None:
    with ProcessGroup(1) as group:
        shared = group.share([1, 2])
        future = group.submit(targets_large.wait_and_use, str(log), str(gate), shared)
        wait_until(log.read_text)
        shared.close()
        gate.touch()
        assert future.result() == [1, 2]


def test_a_closed_one_is_of_no_use() -> None:
    with ProcessGroup(1) as group:
        with group.share([1]) as shared:
            assert repr(shared) == "<Shared list, group 'Process'>"
        assert repr(shared) == "<Shared closed, group 'Process'>"
        with pytest.raises(ValueError, match="has been closed"):
            assert shared.value
        with pytest.raises(NotPicklable, match="has been closed") as caught:
            group.submit(targets_large.give, shared).result()
        assert caught.value.step == "dumps"


def test_the_end_of_the_group_frees_it() -> None:
    before = len(_parcel.held)
    group = ProcessGroup(1)
    with group:
        shared = group.share(LARGE)
    assert len(_parcel.held) == before
    assert shared.value is LARGE
    with pytest.raises(GroupClosed):
        group.share(1)


# --- elsewhere --------------------------------------------------------------------------------------------------------


def test_workers_of_another_group_do_not_find_it() -> None:
    with ProcessGroup(1, name="one") as group, ProcessGroup(1, mp_context="fork") as other:
        shared = group.share(LARGE)
        with pytest.raises(NotPicklable, match="with the group 'one' is known to that group's workers only") as caught:
            other.submit(targets_large.value_at, shared, 1).result()
        assert (caught.value.what, caught.value.step) == ("argument", "loads")
        assert other.submit(targets.doubler, 1).result() == 2


def test_workers_of_a_worker_do_not_find_it(method: Method) -> None:
    with ProcessGroup(1, name="outer") as group:
        shared = group.share([5])
        outcome = group.submit(targets_large.pass_on, shared, method).result()
        assert outcome[0] == 5
        assert "with the group 'outer' is known to that group's workers only" in outcome[1]


def test_another_process_does_not_find_it() -> None:
    with ProcessGroup(1) as group:
        payload = pickle.dumps(group.share(LARGE))
        done = subprocess.run(
            [sys.executable, "-c", "import pickle, sys; pickle.load(sys.stdin.buffer)"],
            input=payload,
            capture_output=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            check=False,
        )
        assert done.returncode == 1
        assert b"LookupError: what was shared with the group 'Process'" in done.stderr


def test_what_cannot_be_pickled_is_refused_at_the_call() -> None:
    with ProcessGroup(1) as group:
        with pytest.raises(NotPicklable, match=r"ProcessGroup\.share\(<unlocked") as caught:
            group.share(threading.Lock())
        assert caught.value.step == "dumps"


def test_what_cannot_be_rebuilt_is_an_error_of_each_item() -> None:
    with ProcessGroup(1) as group:
        shared = group.share(targets_large.Unloadable())
        for _ in range(2):
            with pytest.raises(LookupError, match="not here"):
                group.submit(targets_large.value_at, shared, 0).result()


def test_the_fake_engine() -> None:
    before = len(_parcel.held)
    with ProcessGroup(2, engine=FakeEngine()) as group:
        shared = group.share([5, 6])
        assert len(_parcel.held) == before
        assert group.map(partial(targets_large.value_at, shared), [0, 1]) == [5, 6]
        with pytest.raises(NotPicklable):
            group.share(threading.Lock())


def test_without_files_it_is_sent_once(monkeypatch: pytest.MonkeyPatch) -> None:
    with ProcessGroup(1) as group:
        group.submit(targets.doubler, 1).result()
        monkeypatch.delattr(os, "memfd_create")
        shared: Shared[Any] = group.share([1, LARGE])
        monkeypatch.undo()
        assert group.submit(targets_large.value_at, shared, 1).result() == LARGE
