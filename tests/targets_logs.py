"""What the tests of logging run in worker processes. Importable there by name, whatever the start method."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import sys
import threading
import warnings
from multiprocessing import util
from typing import Any, NoReturn

from helpers import Method
from targets import Unloadable, append, wait_for

import procorch

log = logging.getLogger("tests.logs")


def say(text: str, level: int = logging.WARNING, name: str = "tests.logs") -> str:
    logging.getLogger(name).log(level, "%s", text)
    return text


def say_twice(text: str) -> str:
    """Log, as the module of the item may, at two levels."""
    log.debug("quiet %s", text)
    log.warning("loud %s", text)
    return text


def count_up(item: int, lines: int = 1000) -> int:
    for line in range(lines):
        log.warning("%d %d", item, line)
    return item


def count_to(lines: int) -> int:
    return count_up(0, lines)


def say_large(size: int) -> None:
    log.warning("%s", "x" * size)


def say_and_exit(code: int) -> None:
    log.warning("the last words")
    os._exit(code)


def say_and_die() -> None:
    log.warning("the last words")
    os.kill(os.getpid(), signal.SIGKILL)


def fail_and_say() -> None:
    try:
        raise KeyError("lost")
    except KeyError:
        log.exception("caught", extra={"shelf": [1, 2]})


class Stubborn:
    """Neither pickles nor tells what it is."""

    def __reduce__(self) -> NoReturn:
        raise RuntimeError("not pickled")

    def __repr__(self) -> str:
        raise RuntimeError("no repr")

    def __str__(self) -> str:
        raise RuntimeError("no str")


class Speaking:
    """Does not pickle, but has a repr."""

    def __init__(self) -> None:
        self.lock = threading.Lock()

    def __repr__(self) -> str:
        return "<speaking>"


def say_odd_things() -> int:
    log.warning(
        "extras", extra={"speaking": Speaking(), "stubborn": Stubborn(), "late": Unloadable(), "whole": {"a": 1}}
    )
    log.warning("two %s %s", "one")  # noqa: PLE1206 - that is the subject
    log.warning("%s", Stubborn())
    log.warning(Stubborn())
    return 7


def warn(text: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn(text, UserWarning, stacklevel=1)


def say_as_multiprocessing() -> None:
    logger = multiprocessing.get_logger()
    logger.propagate = True  # as if somebody wanted it so
    logger.warning("of multiprocessing")
    logging.getLogger("multiprocessing.pool").warning("of a part of multiprocessing")
    logging.getLogger("multiprocessing_of_mine").warning("of mine")


def say_in_threads(size: int, lines: int) -> bytes:
    """Return something large while threads log."""
    threads = [threading.Thread(target=count_up, args=(number, lines)) for number in range(4)]
    for thread in threads:
        thread.start()
    return bytes(size)


def say_in_handler(size: int, times: int) -> bytes:
    """Return something large while a signal handler logs, again and again."""
    left = list(range(times))

    def handler(signum: int, frame: object) -> None:
        log.warning("signal %d", left.pop(0))
        if left:
            signal.setitimer(signal.ITIMER_REAL, 0.0005)

    signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.0005)
    lines = 0
    while left:
        log.warning("line %d", lines)
        lines += 1
    return bytes(size)


def time_out_while_saying(gate: str, seconds: float) -> int:
    """Log without end, until a signal handler raises; then open the gate."""

    def handler(signum: int, frame: object) -> None:
        raise TimeoutError("too late")

    signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    lines = 0
    try:
        while True:
            log.warning("%s", f"{lines} " + "x" * 50_000)
            lines += 1
    except TimeoutError:
        append(gate, "open")
        return lines


def fork_and_say() -> int:
    """Log in the item's process and in one that it forks."""
    log.warning("before")
    child = os.fork()
    if not child:
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115, PTH123 - lastResort writes there
        log.warning("in the fork")
        os._exit(0)
    os.waitpid(child, 0)
    log.warning("after")
    return child


def describe_logging() -> tuple[list[str], list[str], int, bool]:
    """Tell what is configured here: the handlers of two loggers, the level of root, and who shows warnings."""
    root, mine = logging.getLogger(), logging.getLogger("tests.logs")
    captured = warnings.showwarning.__module__ == "logging"
    return [type(one).__name__ for one in root.handlers], [repr(one) for one in mine.handlers], root.level, captured


def level_of(name: str) -> tuple[int, int]:
    return logging.getLogger(name).level, logging.root.manager.disable


def set_level(name: str, level: int) -> None:
    logging.getLogger(name).setLevel(level)


def say_at_exit(text: str) -> None:
    util.Finalize(None, log.warning, args=(text,), exitpriority=1)


def leave_thread_that_says(text: str) -> None:
    """Leave a thread running that logs when the worker has been told to end."""

    def wait_and_say() -> None:
        threading.main_thread().join()
        log.warning("%s", text)

    threading.Thread(target=wait_and_say, name="left").start()


def say_in_nested(text: str, method: Method) -> None:
    with procorch.ProcessGroup(1, mp_context=method, name="inner") as group:
        group.map(say, [text])
        group.submit(say_at_exit, "bye").result()


class LoadsWithLevel:
    """A function whose module, as it is loaded, sets a level of its own."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _load_with_level, ()

    def __call__(self, text: str) -> str:
        return say_twice(text)


def _load_with_level() -> LoadsWithLevel:
    log.setLevel(logging.CRITICAL)
    return LoadsWithLevel()


def say_and_wait() -> None:
    log.warning("waiting")
    signal.pause()


def log_and_wait(name: str, gate: str) -> int:
    """Log once, and then wait for a file."""
    logging.getLogger(name).warning("said")
    wait_for(gate)
    return 1
