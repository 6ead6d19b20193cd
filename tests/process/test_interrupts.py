"""Process tests: Ctrl-C, as a terminal sends it: to all of the parent's process group."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from conftest import METHODS
from helpers import Method, is_gone, script, wait_until

_PROGRAM = """
import itertools, sys, time
import targets as t
import targets_limits as tl
from procorch import ProcessGroup

def numbers():
    return itertools.count() if call == "imap" else range(10000)

if __name__ == "__main__":
    method, log, call, way = sys.argv[1:]
    with ProcessGroup(2, mp_context=method) as group:
        if call == "map":
            group.map(tl.log_number_and_be_busy, [log] * 1000, [way] * 1000, numbers())
        elif call == "imap":
            for _ in group.imap(tl.log_number_and_be_busy, itertools.repeat(log), itertools.repeat(way), numbers()):
                pass
        elif call == "result":
            futures = [group.submit(tl.log_number_and_be_busy, log, way, number) for number in range(100)]
            futures[0].result()
        elif call == "start":
            group.start(tl.log_number_and_be_busy, log, way, 1).result()
        else:
            for number in range(100):
                group.submit(tl.log_number_and_be_busy, log, way, number)
            group.join()
"""


def interrupted(program: str, tmp_path: Path, log: Path, *arguments: str) -> tuple[str, float]:
    """Run a program, send Ctrl-C when it has logged something, and give its last words and how long it took to end."""
    path = tmp_path / "program.py"
    path.write_text(program)
    with script(str(path), *arguments, stderr=subprocess.PIPE) as process:
        wait_until(log.read_text)
        pids = {int(line.split()[1]) for line in log.read_text().splitlines()}
        os.killpg(process.pid, signal.SIGINT)
        sent = time.monotonic()
        _, err = process.communicate(timeout=20)
        took = time.monotonic() - sent
        # The shell's rule: ended by SIGINT itself, or with 128 + 2.
        assert process.returncode in {-signal.SIGINT, 130}, err
        assert all(map(is_gone, pids))
    begun = [float(line.split()[2]) for line in log.read_text().splitlines()]
    assert max(begun) < sent + 0.1, "an item has begun after it"
    return err, took


_WAYS = ["sleep", "gil", "quick"]
_INTERRUPTED = [
    *itertools.product(METHODS, ["map"], _WAYS),
    *itertools.product(METHODS, ["start"], ["sleep", "gil"]),  # what is quick is over before it can be interrupted
    # How processes end depends on how they were begun and what they do: that is seen above, wherever the caller waits.
    *itertools.product(["forkserver"], ["imap", "result", "join"], _WAYS),
    *itertools.product(["spawn", "fork"], ["imap", "result", "join"], ["gil"]),
]


@pytest.mark.limit(60)
@pytest.mark.parametrize(("method", "call", "way"), _INTERRUPTED)
def test_ctrl_c_ends_everything(method: Method, call: str, way: str, log: Path, tmp_path: Path) -> None:
    err, took = interrupted(_PROGRAM, tmp_path, log, method, str(log), call, way)
    assert err.count("Traceback") == 1, err
    assert err.rstrip().endswith("KeyboardInterrupt")
    assert took < 2


_WITHOUT_BLOCK = """
import sys
import targets_limits as tl
from procorch import ProcessGroup

if __name__ == "__main__":
    method, log, call, way = sys.argv[1:]
    group = ProcessGroup(2, mp_context=method)
    group.submit(tl.log_number_and_be_busy, log, way, 0).result()
"""


def test_ctrl_c_without_a_block(method: Method, log: Path, tmp_path: Path) -> None:
    err, took = interrupted(_WITHOUT_BLOCK, tmp_path, log, method, str(log), "result", "gil")
    assert err.count("Traceback") == 1, err
    assert took < 2


_STARTING = """
import sys
import targets as t
from procorch import ProcessGroup

if __name__ == "__main__":
    method, log = sys.argv[1:]
    with ProcessGroup(2, mp_context=method) as group:
        group.submit(t.doubler, 1)
        t.append(log, f"0 {0} 0")
        group.submit(t.doubler, 1).result()
        t.wait_for(log + "never")
"""


@pytest.mark.limit(60)
def test_ctrl_c_while_workers_start_brings_no_word_of_theirs(method: Method, log: Path, tmp_path: Path) -> None:
    for _ in range(5):
        log.write_text("")
        err, took = interrupted(_STARTING, tmp_path, log, method, str(log))
        assert err.count("Traceback") == 1, err
        assert took < 2


_MANY = """
import signal, sys
import targets as t
from procorch import ProcessGroup

if __name__ == "__main__":
    method, log = sys.argv[1:]
    with ProcessGroup(2, mp_context=method) as group:
        group.submit(t.doubler, 0).result()
        t.append(log, "0 0 0")
        while True:
            group.submit(t.doubler, 1)
"""


@pytest.mark.limit(120)
def test_ctrl_c_at_any_moment_of_a_call(log: Path, tmp_path: Path) -> None:
    """Between any two steps of the library: it must not lose what holds a process, a lock, or a caller."""
    for _ in range(12):
        log.write_text("")
        err, took = interrupted(_MANY, tmp_path, log, "forkserver", str(log))
        assert err.count("Traceback (most") == 1, err
        assert took < 3


_ALL_THE_TIME = """
import signal, threading, time
import targets as t
from procorch import ProcessGroup

class Interrupted(BaseException):
    pass

def interrupt(*_):
    if armed:
        armed.clear()
        raise Interrupted

def pester():
    while not stop.wait(0.0007):
        signal.pthread_kill(main, signal.SIGUSR1)

def use(group):  # of its own, as CPython 3.13 leaves a loop's jump back out of what is tried around it
    while time.monotonic() < until:  # an exception in a weak reference's callback is lost
        futures.append(group.submit(t.doubler, 2))
        futures[-1].cancel()

if __name__ == "__main__":
    armed, stop = [], threading.Event()
    main = threading.main_thread().ident
    signal.signal(signal.SIGUSR1, interrupt)
    thread = threading.Thread(target=pester)
    thread.start()
    futures, groups, interrupts = [], [], 0
    until = time.monotonic() + 6
    while time.monotonic() < until:
        groups.append(ProcessGroup(1, mp_context="fork"))
        try:
            armed.append(True)
            use(groups[-1])
            armed.clear()  # the last group was not interrupted
        except Interrupted:
            interrupts += 1
    stop.set()
    thread.join()
    for group in groups:
        group.terminate()
    assert all(group.join(20) for group in groups)
    assert interrupts > 10
    print(sum(not future.done() for future in futures), "of", len(futures), "lost")
"""


@pytest.mark.limit(60)
def test_callers_who_are_interrupted_all_the_time_leave_nobody_waiting(tmp_path: Path) -> None:
    """A signal's handler that raises, again and again, between any two steps: no future is lost, nothing hangs."""
    path = tmp_path / "program.py"
    path.write_text(_ALL_THE_TIME)
    with script(str(path), stdout=subprocess.PIPE) as process:
        out, _ = process.communicate(timeout=50)
        assert process.returncode == 0
    assert out.startswith("0 of ")
