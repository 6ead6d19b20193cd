"""The functions that tests of limits, stops and trees run in worker processes."""

from __future__ import annotations

import ctypes
import os
import re
import resource
import signal
import subprocess
import sys
import threading
import time
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Literal

from helpers import Method
from targets import append, wait_for

import procorch
from procorch import _daemon

Way = Literal["sleep", "gil", "subprocess", "spin"]


def hold_the_gil() -> None:
    """Match a regular expression that takes longer than anybody lives, in C code that lets nobody in."""
    re.match(r"(a+)+$", "a" * 80 + "b")


def busy(way: Way) -> None:
    """Be busy for ever, in one of the ways in which a process can be."""
    if way == "gil":
        hold_the_gil()
    elif way == "subprocess":
        subprocess.run(["sleep", "1000"], check=True)
    elif way == "spin":
        while True:
            pass
    else:
        time.sleep(1000)


def log_and_be_busy(log: str, way: Way) -> None:
    append(log, f"{os.getpid()} {time.monotonic()}")
    busy(way)


def ignore_sigterm_and_hold_the_gil() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    hold_the_gil()


def handle_sigterm_and_hold_the_gil() -> None:
    signal.signal(signal.SIGTERM, lambda *_: None)  # a handler in Python never gets to run
    hold_the_gil()


def leave_at_sigterm(log: str) -> None:
    """What many a service does: leave in good order."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(3))
    append(log, str(os.getpid()))
    time.sleep(1000)


def quick_or_stuck(log: str, stuck: int, value: int) -> int:
    append(log, str(value))
    if value == stuck:
        hold_the_gil()
    return value * 2


def stuck_until(folder: str, times: int) -> int:
    """Be stuck the first ``times`` times; give the number of the attempt that is not."""
    attempt = count_attempt(folder)
    if attempt <= times:
        hold_the_gil()
    return attempt


def fail_until(folder: str, times: int, kind: type[Exception]) -> int:
    attempt = count_attempt(folder)
    if attempt <= times:
        raise kind(f"attempt {attempt}")
    return attempt


def count_attempt(folder: str) -> int:
    path = Path(folder) / "attempts"
    append(str(path), str(time.monotonic()))
    return len(path.read_text().splitlines())


def slow_initializer(gate: str) -> None:
    wait_for(gate)


def pid_of(_: object = None) -> int:
    return os.getpid()


def hoard(size: int) -> int:
    """Keep some memory for ever."""
    _hoard.append(b"x" * size)
    return os.getpid()


_hoard: list[bytes] = []


def take(size: int) -> int:
    return len(bytearray(size))


def limits_within(limit: int) -> tuple[int, int]:
    """Ask a group in here for a process with a limit on its memory, and give what that has."""
    with procorch.ProcessGroup(1, memory_limit=limit) as group:
        return group.submit(resource.getrlimit, resource.RLIMIT_DATA).result()


def group_without_memory() -> str:
    """Use a group in here when the system gives no memory any more, and give its error's name."""
    threads = [threading.Thread(target=int) for _ in range(3)]  # their stacks stay: there will be one for a new thread
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    _daemon.MOST_LOOKS = 20  # one second
    resource.setrlimit(resource.RLIMIT_DATA, (0, 0))
    taken: list[bytes] = []
    try:
        while True:
            taken.append(bytes(100_000))  # leaves enough to go on from here
    except MemoryError:
        del taken[-10:]  # for what follows: a new thread cannot use it
    try:
        with procorch.ProcessGroup(1) as group:
            return str(group.submit(os.getpid).result())
    except (RuntimeError, MemoryError, ImportError) as error:  # an import may be the first to find none
        return type(error).__name__


def segfault(_: object = None) -> None:
    ctypes.string_at(0)


def abort(_: object = None) -> None:
    os.abort()


def use_up_processor_time() -> None:
    resource.setrlimit(resource.RLIMIT_CPU, (1, 1000))
    while True:
        pass


def note_end(log: str) -> None:
    append(log, f"{os.getpid()} end")


def fail_at_the_end() -> None:
    raise ValueError("no luck at the end")


def note_end_after(log: str, gate: str) -> None:
    wait_for(gate)
    note_end(log)


# --- trees ------------------------------------------------------------------------------------------------------------


def family(log: str, way: Way, *, session: bool = False) -> None:
    """Start a program, which starts another, and a process of Python; log their ids; be busy."""
    shell = subprocess.Popen(
        ["sh", "-c", "sleep 1000 & echo $!; wait"], stdout=subprocess.PIPE, text=True, start_new_session=session
    )
    assert shell.stdout is not None
    below = int(shell.stdout.readline())
    # By fork: the standard library's fork server leaves its socket behind when it is killed.
    child = get_context("fork").Process(target=time.sleep, args=(1000,))
    child.start()
    append(log, f"{os.getpid()} {shell.pid} {below} {child.pid}")
    busy(way)


def start_program(log: str) -> None:
    """Start a program that inherits nothing but its group."""
    append(log, f"{os.getpid()} {subprocess.Popen(['sleep', '1000']).pid}")
    time.sleep(1000)


def leave_behind(_: object = None) -> int:
    """Return while a program that was started runs on."""
    return subprocess.Popen(["sleep", "1000"]).pid


def nested_and_busy(log: str, method: Method, way: Way) -> None:
    """Run a group whose workers are busy with families of their own."""
    append(log, str(os.getpid()))
    with procorch.ProcessGroup(1, mp_context=method) as group:
        group.submit(family, log, way).result()


def nothing(_: Any = None) -> None:
    pass


def crash_once(log: str, value: int) -> int:
    append(log, str(value))
    if [int(line) for line in Path(log).read_text().splitlines()].count(value) == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return value


def log_number_and_be_busy(log: str, way: Way | Literal["quick"], number: int) -> int:
    append(log, f"{number} {os.getpid()} {time.monotonic()}")
    if way == "quick":
        time.sleep(0.005)
    else:
        busy(way)
    return number


def stubborn_stray(log: str) -> None:
    """Start a program in a session of its own that ignores SIGTERM."""
    ready = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(1, flush=True); time.sleep(1000)"
    stray = subprocess.Popen([sys.executable, "-S", "-c", ready], stdout=subprocess.PIPE, start_new_session=True)
    assert stray.stdout is not None
    stray.stdout.readline()
    append(log, f"{os.getpid()} {stray.pid}")
    time.sleep(1000)


def leave_group_and_spin(log: str) -> None:
    """Move to another process group, that of a child which is gone then."""
    child = subprocess.Popen(["sleep", "1000"], process_group=0)
    os.setpgid(0, child.pid)
    child.kill()
    child.wait()
    append(log, str(os.getpid()))
    busy("spin")
