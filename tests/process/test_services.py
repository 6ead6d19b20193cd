"""Process: functions that are to stay up: started again, ready, asked to stop, and stopped in order."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import targets_service as targets
from helpers import Method, is_gone, kill_and_wait_for_the_next, script, wait_until
from targets import append, doubler

from procorch import NotSupported, ProcessGroup, Restart, TooManyRestarts, WorkerCrashed, events
from procorch.testing import FakeEngine

QUICK = Restart(backoff=0.01)
ALWAYS = Restart("always", backoff=0.01)


def lines(log: Path) -> list[str]:
    return log.read_text().splitlines()


# --- stopping ---------------------------------------------------------------------------------------------------------


def test_a_function_that_is_asked_to_stop_returns(method: Method) -> None:
    with ProcessGroup(mp_context=method) as group:
        handle = group.start(targets.serve)
        assert handle.wait_ready()
        handle.stop()
        assert handle.result() == "stopped"
        assert handle.join()
        assert handle.exitcode == 0
        handle.stop()  # nothing is left to be stopped
    assert group.stats().signals == 0


def test_the_request_can_be_awaited() -> None:
    with ProcessGroup() as group:
        handle = group.start(targets.run_loop)
        assert handle.wait_ready()
        handle.stop()
        assert handle.result() == "stopped"


def test_who_cannot_be_asked_gets_sigterm_at_once(tmp_path: Path) -> None:
    with ProcessGroup() as group:
        handle = group.start(targets.deaf, str(tmp_path / "started"))
        wait_until((tmp_path / "started").exists)
        began = time.monotonic()
        handle.stop()
        assert handle.join()
        assert time.monotonic() - began < 1.5
        assert handle.exitcode == -signal.SIGTERM
        with pytest.raises(WorkerCrashed, match="SIGTERM"):
            handle.result()


def test_who_ignores_that_gets_sigkill(tmp_path: Path) -> None:
    with ProcessGroup() as group:
        handle = group.start(targets.deaf_to_signals, str(tmp_path / "started"))
        wait_until((tmp_path / "started").exists)
        handle.stop()
        assert handle.join()
        assert handle.exitcode == -signal.SIGKILL


def test_who_takes_longer_than_the_grace_gets_sigterm() -> None:
    with ProcessGroup() as group:
        handle = group.start(targets.serve_and_take_its_time, 60.0)
        assert handle.wait_ready()
        handle.stop(grace=0.05)
        assert handle.join()
        assert handle.exitcode == -signal.SIGTERM
    # Nobody asked for its result; but its end was asked for.


def test_who_takes_no_longer_has_its_result() -> None:
    with ProcessGroup() as group:
        handle = group.start(targets.serve_and_take_its_time, 0.05)
        assert handle.wait_ready()
        handle.stop(grace=20)
        assert handle.result() == "stopped late"


def test_a_process_that_is_being_started_is_stopped(method: Method) -> None:
    with ProcessGroup(mp_context=method) as group:
        handle = group.start(targets.serve, restart=QUICK)
        handle.stop()
        assert handle.join(10)
        assert not handle.wait_ready()
    assert group.processes == ()


def test_a_service_that_rests_before_its_restart_is_over_at_once(tmp_path: Path) -> None:
    with ProcessGroup() as group:
        handle = group.start(targets.come_to_an_end, str(tmp_path / "log"), ["raise"], restart=Restart(backoff=600))
        wait_until(lambda: handle.restarts == 1 and not group.processes)
        handle.stop()
        assert handle.join(5)


def test_one_that_crashes_while_it_is_stopped_is_loud() -> None:
    def run() -> None:
        with ProcessGroup() as group:
            assert group.start(targets.serve_and_crash, restart=QUICK).wait_ready()

    with pytest.raises(ExceptionGroup) as caught:
        run()
    (error,) = caught.value.exceptions
    assert isinstance(error, WorkerCrashed)
    assert error.exitcode == -signal.SIGSEGV


def test_a_generator_that_waits_for_messages_is_closed_at_once() -> None:
    with ProcessGroup() as group:
        stream = group.start(targets.double_messages)
        stream.send(1)
        stream.send(2)
        rows = iter(stream)
        assert [next(rows), next(rows)] == [2, 4]
        stream.close()
        assert stream.join()
        assert stream.exitcode == 0
    assert group.stats().signals == 0


# --- restarts ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("restart", "ends", "reasons"),
    [
        (QUICK, ["raise", "kill", "exit 3", "done"], ["raised", "crashed", "raised"]),
        (QUICK, ["raise", "exit 0"], ["raised"]),
        (QUICK, ["done"], []),
        (ALWAYS, ["done", "raise", "exit 0", "serve"], ["returned", "raised", "returned"]),
    ],
)
def test_it_is_started_again_for_a_reason(
    tmp_path: Path, restart: Restart, ends: list[str], reasons: list[str]
) -> None:
    told: list[events.Event] = []
    log = tmp_path / "log"
    with ProcessGroup(name="s", on_event=told.append) as group:
        handle = group.start(targets.come_to_an_end, str(log), ends, restart=restart)
        if ends[-1] == "serve":
            assert handle.wait_ready()
            assert handle.is_alive()
        else:
            assert handle.result() == (None if ends[-1] == "exit 0" else ends[-1])
    assert len(set(lines(log))) == len(ends)
    restarted = [event for event in told if isinstance(event, events.ServiceRestarted)]
    assert [event.reason for event in restarted] == reasons
    assert [event.restarts for event in restarted] == list(range(1, len(ends)))
    assert {event.name for event in restarted} <= {handle.name}
    stats = group.stats()
    assert [(one.reason, one.detail) for one in stats.restarts] == [(one.reason, one.detail) for one in restarted]
    assert stats.restarted == handle.restarts == len(reasons)
    assert stats.done == 1
    assert stats.failed == 0


def test_what_a_restart_was_for_is_told_in_words(tmp_path: Path) -> None:
    with ProcessGroup() as group:
        ends = ["raise", "kill", "exit 3", "done"]
        group.start(targets.come_to_an_end, str(tmp_path / "log"), ends, restart=QUICK).join()
    details = [one.detail for one in group.stats().restarts]
    assert details == ["ValueError: start 0", "was killed by SIGKILL", "SystemExit: 3"]


def test_one_that_hangs_is_started_again(tmp_path: Path) -> None:
    with ProcessGroup() as group:
        view = group.options(timeout=0.2)
        handle = view.start(targets.come_to_an_end, str(tmp_path / "log"), ["hang", "done"], restart=QUICK)
        assert handle.result() == "done"
    assert [one.reason for one in group.stats().restarts] == ["timed out"]


def test_it_is_ready_again_when_it_says_so_again(method: Method) -> None:
    told: list[events.Event] = []
    with ProcessGroup(mp_context=method, on_event=told.append) as group:
        handle = group.start(targets.serve, restart=QUICK)
        for _ in range(3):
            assert handle.wait_ready()
            kill_and_wait_for_the_next(handle)
        assert handle.wait_ready()
    ready = [event for event in told if isinstance(event, events.ServiceReady)]
    assert len({event.pid for event in ready}) == len(ready) == 4
    assert {event.name for event in ready} == {handle.name}


@pytest.mark.parametrize("end", ["terminate", "kill"])
def test_one_that_the_user_has_ended_stays_so(end: str) -> None:
    with ProcessGroup() as group:
        handle = group.start(targets.serve, restart=ALWAYS)
        assert handle.wait_ready()
        getattr(handle, end)()
        assert handle.join(5)
    assert handle.restarts == 0


# --- the end of a group of services -----------------------------------------------------------------------------------


def test_services_are_stopped_in_order_when_all_else_is_done(log: Path) -> None:
    with ProcessGroup(2) as group:
        handles = [group.start(targets.serve, str(log), name=f"s{number}", restart=ALWAYS) for number in range(3)]
        assert all(handle.wait_ready() for handle in handles)
        other = group.start(append, str(log), "process")
        items = group.imap(append, [str(log)] * 4, ["item"] * 4)
        next(items)
        group.submit(append, str(log), "call")
        other.join()
    told = lines(log)
    services = [line for line in told if line.startswith(("stopped", "ended"))]
    assert services == [f"{what} s{number}" for number in (2, 1, 0) for what in ("stopped", "ended")]
    assert told[-6:] == services
    assert [handle.result() for handle in handles] == ["stopped"] * 3


def test_one_that_dies_before_its_turn_to_be_stopped_is_started_again(log: Path, gate: Path) -> None:
    with ProcessGroup() as group:
        first = group.start(targets.serve, str(log), name="first", restart=QUICK)
        last = group.start(targets.serve_and_take_its_time, 1.0, name="last", restart=QUICK)
        assert first.wait_ready()
        assert last.wait_ready()
        pid = first.pid
        assert pid is not None
        group.close()
        os.kill(pid, signal.SIGKILL)
        assert last.join(10)
    assert first.restarts == 1
    assert lines(log) == ["stopped first", "ended first"]


def test_when_one_has_failed_for_good_the_others_stop_and_it_is_loud(log: Path, tmp_path: Path) -> None:
    def run() -> None:
        with ProcessGroup(name="web") as group:
            for number in range(2):
                group.start(targets.serve, str(log), name=f"s{number}", restart=ALWAYS).wait_ready()
            limited = Restart(max_restarts=2, backoff=0.01)
            group.start(targets.come_to_an_end, str(tmp_path / "starts"), ["raise", "kill", "raise"], restart=limited)
            assert group.join(10)  # nobody has closed it
            assert group.map(doubler, [1, 2]) == [2, 4]

    with pytest.raises(ExceptionGroup, match="a process of the group 'web' failed") as caught:
        run()
    assert lines(log) == ["stopped s1", "ended s1", "stopped s0", "ended s0"]
    (error,) = caught.value.exceptions
    assert isinstance(error, TooManyRestarts)
    assert (error.worker, error.restarts, error.attempts, error.within) == ("web-1", 2, 3, 60.0)
    assert error.reason == "raised"
    assert isinstance(error.__cause__, ValueError)
    assert str(error.__cause__) == "start 2"
    assert str(error).startswith("service 'web-1' has failed for good after 2 restarts: ")


def test_when_none_can_be_started_any_more_the_others_stop_and_it_is_loud(log: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"

    def run() -> None:
        with ProcessGroup(initializer=targets.fail_if_there, initargs=(str(broken),)) as group:
            handles = [group.start(targets.serve, str(log), name=f"s{number}", restart=QUICK) for number in range(2)]
            assert all(handle.wait_ready() for handle in handles)
            broken.touch()
            pid = handles[0].pid
            assert pid is not None
            os.kill(pid, signal.SIGKILL)
            assert group.join(10)  # nobody has closed it

    with pytest.raises(ExceptionGroup) as caught:
        run()
    assert [str(error) for error in caught.value.exceptions] == ["no database"]
    assert lines(log) == ["stopped s1", "ended s1"]


def test_one_that_returns_too_often_has_failed_for_good(tmp_path: Path) -> None:
    with ProcessGroup() as group:
        restart = Restart("always", max_restarts=1, backoff=0)
        handle = group.start(targets.come_to_an_end, str(tmp_path / "log"), ["done", "done"], restart=restart)
        with pytest.raises(TooManyRestarts) as caught:
            handle.result()
    assert caught.value.reason == "returned"
    assert caught.value.__cause__ is None


def test_a_group_that_is_terminated_ends_its_services_at_once(log: Path) -> None:
    with ProcessGroup() as group:
        handle = group.start(targets.serve, str(log), restart=ALWAYS)
        assert handle.wait_ready()
        group.terminate()
    assert lines(log) == []
    assert not handle.is_alive()


PARENT = """
import sys
import targets_service as targets
from procorch import ProcessGroup, Restart

if __name__ == "__main__":
    with ProcessGroup(mp_context=sys.argv[1]) as group:
        handles = [group.start(targets.serve, restart=Restart("always")) for _ in range(2)]
        for handle in handles:
            handle.wait_ready()
        print(*(handle.pid for handle in handles), flush=True)
        group.join()
"""


def test_when_the_parent_is_killed_its_services_are_gone(method: Method) -> None:
    with script("-c", PARENT, method, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        pids = [int(word) for word in process.stdout.readline().split()]
        assert len(pids) == 2
        process.kill()
        process.wait()
        wait_until(lambda: all(map(is_gone, pids)), 2.0)


def test_who_has_looked_for_ended_processes_is_not_kept_by_those_that_stay_up() -> None:
    with ProcessGroup() as group:
        service = group.start(targets.serve, restart=QUICK)
        for number in range(3):
            other = group.start(doubler, number)
            other.join()
            done = group.as_completed()
            assert other in (next(done) for _ in range(number + 1))
            del done
        assert service._when_over == []


# --- bad input --------------------------------------------------------------------------------------------------------


def test_what_cannot_be_is_refused_at_the_call() -> None:
    with ProcessGroup() as group:
        with pytest.raises(TypeError, match=r"^restart must be a Restart or None, not 'always'$"):
            group.start(doubler, 1, restart="always")  # type: ignore[call-overload]
        with pytest.raises(ValueError, match=r"^restart takes the place of options\(retries=\)"):
            group.options(retries=1).start(doubler, 1, restart=QUICK)
        handle = group.start(doubler, 1)
        with pytest.raises(ValueError, match=r"^grace must be more than 0 seconds"):
            handle.stop(grace=0)
        assert handle.result() == 2
    assert group.stats().done == 1


@pytest.mark.parametrize("threads", [False, True])
def test_an_engine_that_cannot_talk_to_what_it_runs_says_so(threads: bool) -> None:
    with ThreadPoolExecutor(1) as executor, ProcessGroup(1, engine=executor if threads else FakeEngine()) as group:
        with pytest.raises(NotSupported, match=r"^start\(restart=\) is not to be had on .*, which cannot ask"):
            group.start(doubler, 1, restart=QUICK)
        handle = group.start(doubler, 1)
        for call in (handle.stop, handle.wait_ready, handle.receive, lambda: handle.send(1)):
            with pytest.raises(NotSupported, match="cannot talk to what it runs"):
                call()
        assert handle.result() == 2
