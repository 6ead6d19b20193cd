"""Process: the progress of real calls: what is told while items run, wait and fail, and in every ending."""

from __future__ import annotations

import gc
import itertools
import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import attrs
import pytest
from helpers import Method, script, wait_until
from targets import begin_and_wait, crash_on_three, crash_until, divide, doubler, wait_for
from targets_progress import wait_in, wait_or_double

from procorch import GroupClosed, ProcessGroup, Progress, WorkerCrashed


@attrs.define
class Listener:
    """Hears of a progress, and does something about it."""

    react: Callable[[Progress], object] = lambda progress: None
    heard: list[Progress] = attrs.field(factory=list[Progress])

    def __call__(self, progress: Progress) -> None:
        self.heard.append(progress)
        self.react(progress)

    @property
    def last(self) -> Progress:
        """The last one, after the check that there is just one such."""
        assert [progress.last for progress in self.heard] == [False] * (len(self.heard) - 1) + [True]
        return self.heard[-1]


# --- what is told, and when -------------------------------------------------------------------------------------------


def test_counts(method: Method) -> None:
    listener = Listener()
    with ProcessGroup(2, mp_context=method) as group:
        results = group.map(divide, [1, 0] * 500, return_exceptions=True, progress=listener)
    assert len(results) == 1000
    assert attrs.evolve(listener.last, elapsed=0.0) == Progress(1000, 1000, 500, 0, 0, 0.0, True)
    assert listener.heard[0].done == 0
    for before, after in itertools.pairwise(listener.heard):
        assert before.done <= after.done
        assert before.elapsed < after.elapsed
        assert 0 <= after.running <= 2


@pytest.mark.parametrize("call", ["map", "imap"])
def test_it_goes_on_while_nothing_comes(call: str, gate: Path) -> None:
    # The item ends only once time has been seen to pass: if nothing were told meanwhile, it never would.
    listener = Listener(lambda progress: gate.touch() if progress.elapsed > 1.5 else None)
    with ProcessGroup(2) as group:
        assert list(getattr(group, call)(wait_for, [str(gate)], progress=listener)) == [str(gate)]
    assert any(progress.running == 1 for progress in listener.heard)
    assert len(listener.heard) < 20, "it is told only now and then"


@pytest.mark.parametrize("call", ["map", "imap", "unordered"])
def test_rare_results_are_told_as_they_come(call: str, tmp_path: Path) -> None:
    # Each item waits until the end of the one before has been told.
    (tmp_path / "0").touch()
    listener = Listener(lambda progress: (tmp_path / str(progress.done)).touch())
    keywords: dict[str, Any] = {} if call != "unordered" else {"ordered": False}
    with ProcessGroup(1) as group:
        run = group.map if call == "map" else group.imap
        results = run(wait_in, [str(tmp_path)] * 12, range(12), progress=listener, **keywords)
        assert list(results) == [*range(12)]
    assert [*dict.fromkeys(progress.done for progress in listener.heard)] == [*range(13)]
    assert listener.last.elapsed < 11, "it was told of only when it was time to tell anyway"


@pytest.mark.parametrize("call", ["map", "imap"])
def test_rare_results_are_told_out_of_turn_too(call: str, tmp_path: Path) -> None:
    # As above, behind an item that waits for the end of all others.
    listener = Listener(lambda progress: (tmp_path / str((progress.done + 1) % 12)).touch())
    with ProcessGroup(2) as group:
        run = getattr(group, call)
        assert list(run(wait_in, [str(tmp_path)] * 12, range(12), chunksize=1, buffersize=12, progress=listener)) == [
            *range(12)
        ]
    assert listener.last.elapsed < 10, "it was told of only when it was time to tell anyway"


@pytest.mark.parametrize("call", ["map", "imap"])
def test_what_is_out_of_turn_has_ended(call: str, gate: Path) -> None:
    listener = Listener(lambda progress: gate.touch() if progress.done == 7 else None)
    with ProcessGroup(2) as group:
        results = list(getattr(group, call)(wait_or_double, [str(gate)] * 8, range(8), progress=listener))
    assert results == [*range(0, 16, 2)]
    assert 7 in [progress.done for progress in listener.heard]


def test_a_slow_consumer_hears_of_what_goes_on_behind_it(tmp_path: Path) -> None:
    listener = Listener()
    with ProcessGroup(1) as group:
        stream = group.imap(doubler, range(1000), chunksize=1000, progress=listener)
        for _ in range(70):  # results of one chunk come in one piece
            next(stream)
        before = len(listener.heard)
        for _ in range(65):
            began = time.monotonic()
            next(stream)
            wait_until(lambda began=began: time.monotonic() > began + 0.02)  # type: ignore[misc]
        assert len(listener.heard) > before
        stream.close()


def test_it_goes_on_while_inputs_are_slow_and_nothing_comes(gate: Path) -> None:
    taken: list[int] = []
    listener = Listener(lambda progress: gate.touch() if progress.elapsed > 0.3 else None)

    def inputs() -> Generator[int, None, None]:
        while len(taken) < 1000 and not gate.exists():
            began = time.monotonic()
            wait_until(lambda began=began: time.monotonic() > began + 0.02)  # type: ignore[misc]
            taken.append(len(taken))
            yield taken[-1]

    with ProcessGroup(1) as group:
        stream = group.imap(wait_or_double, itertools.repeat(str(gate)), inputs(), buffersize=2000, progress=listener)
        assert list(stream) == [2 * number for number in taken]
    assert len(taken) < 1000


def test_tries_are_told(tmp_path: Path) -> None:
    listener = Listener()
    with ProcessGroup(1) as group:
        assert group.options(retries=3).map(crash_until, [str(tmp_path)], [2], progress=listener) == [3]
    assert attrs.evolve(listener.last, elapsed=0.0) == Progress(1, 1, 0, 2, 0, 0.0, True)


def test_a_crash_is_a_failure() -> None:
    listener = Listener()
    with ProcessGroup(2) as group:
        group.map(crash_on_three, range(6), return_exceptions=True, progress=listener)
    assert (listener.last.done, listener.last.failed) == (6, 1)


def test_it_is_called_by_the_thread_that_consumes_and_may_use_the_group() -> None:
    threads: list[int] = []

    def react(progress: Progress) -> None:
        threads.append(threading.get_ident())
        assert group.submit(doubler, progress.done).result() == 2 * progress.done

    with ProcessGroup(2) as group:
        thread = threading.Thread(target=lambda: group.map(doubler, range(1000), progress=Listener(react)))
        thread.start()
        thread.join()
        assert set(threads) == {thread.ident}
        threads.clear()
        assert len(list(group.imap(doubler, range(1000), progress=Listener(react)))) == 1000
        assert set(threads) == {threading.get_ident()}


def test_an_input_is_taken_no_further_for_it() -> None:
    taken: list[int] = []
    listener = Listener()

    def inputs() -> Generator[int, None, None]:
        for number in itertools.count():
            taken.append(number)
            yield number

    with ProcessGroup(1) as group:
        stream = group.imap(doubler, inputs(), buffersize=3, progress=listener)
        assert taken == []
        assert next(stream) == 0
        assert len(taken) <= 3
        stream.close()
    assert listener.last.total is None


# --- every ending -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("call", ["map", "imap"])
def test_an_error(call: str) -> None:
    listener = Listener()
    with ProcessGroup(1) as group, pytest.raises(ZeroDivisionError):
        list(getattr(group, call)(divide, range(100), chunksize=1, progress=listener))
    assert (listener.last.failed, listener.last.total) == (1, 100)
    assert 1 <= listener.last.done < 100, "what never began has not ended"


def test_a_break() -> None:
    listener = Listener()
    with ProcessGroup(2) as group:
        for result in group.imap(doubler, itertools.count(), progress=listener):
            if result == 20:
                break
    assert listener.last.done > 10


def test_a_stream_that_is_dropped() -> None:
    listener = Listener()
    with ProcessGroup(2) as group:
        stream = group.imap(doubler, itertools.count(), progress=listener)
        next(stream)
        del stream
        gc.collect()
        assert listener.last.last


@pytest.mark.parametrize("call", ["map", "imap"])
def test_a_group_that_is_terminated(call: str, log: Path, gate: Path) -> None:
    # By the callable itself, which is told in the middle of the wait.
    listener = Listener(lambda progress: group.terminate() if log.read_text() else None)
    with ProcessGroup(1) as group, pytest.raises(GroupClosed):
        list(getattr(group, call)(begin_and_wait, [str(log)], [str(gate)], progress=listener))
    assert listener.last.done == 0


@pytest.mark.parametrize("call", ["map", "imap"])
def test_what_the_callable_raises_ends_the_call(call: str, log: Path, gate: Path) -> None:
    def react(progress: Progress) -> None:
        if log.read_text() and not progress.last:
            raise LookupError("enough")

    listener = Listener(react)
    with ProcessGroup(2) as group:
        with pytest.raises(LookupError, match="enough") as raised:
            list(getattr(group, call)(begin_and_wait, [str(log)] * 9, [str(gate)] * 9, range(9), progress=listener))
        assert listener.last.last
        assert not hasattr(raised.value, "__notes__")
        gate.touch()
        assert group.map(doubler, [1]) == [2]
    # Two ran; each worker may have begun one more when they ended, before the group knew that nobody wants it.
    assert len(log.read_text().splitlines()) <= 4


def test_an_error_of_an_item_goes_before_one_of_the_callable() -> None:
    def react(progress: Progress) -> None:
        if progress.last:
            raise LookupError("at the end")

    with ProcessGroup(1) as group, pytest.raises(WorkerCrashed) as raised:
        group.map(crash_on_three, range(6), progress=react)
    assert "procorch: at the end, progress raised LookupError('at the end')" in raised.value.__notes__


@pytest.mark.limit(60)
@pytest.mark.parametrize("call", ["map", "imap"])
def test_ctrl_c(call: str, log: Path, tmp_path: Path) -> None:
    heard = tmp_path / "heard"
    with script("-m", "targets_progress", str(log), call, str(heard), stderr=subprocess.PIPE) as process:
        wait_until(lambda: heard.exists() and "[3, 0, false]" in heard.read_text())
        os.killpg(process.pid, signal.SIGINT)
        _, err = process.communicate(timeout=20)
    assert err.count("Traceback") == 1, err
    assert err.rstrip().endswith("KeyboardInterrupt")
    lines = [json.loads(line) for line in heard.read_text().splitlines()]
    assert lines[0] == [0, 0, False]
    assert [last for *_, last in lines] == [False] * (len(lines) - 1) + [True]
    assert lines[-1][0] == 3


def test_a_forked_copy_tells_nothing() -> None:
    listener = Listener()
    with ProcessGroup(1) as group:
        stream = group.imap(doubler, range(3), progress=listener)
        next(stream)
        before = len(listener.heard)
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                stream.close()
                code = len(listener.heard) - before
            finally:
                os._exit(code)
        assert os.waitpid(pid, 0)[1] == 0
        assert list(stream) == [2, 4]
    assert listener.last.done == 3
