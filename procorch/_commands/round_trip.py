"""Tries a start method in an interpreter of its own, so that one that hangs or crashes costs nobody else anything."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import statistics
import subprocess
import sys
import time
from multiprocessing import spawn

import attrs

from procorch._group import ProcessGroup

_CALLS = 20
_END_SECONDS = 5.0
"""Longest wait for what is left of an interpreter that has been killed."""


@attrs.frozen
class Times:
    """What a start method takes, in seconds."""

    start: float
    """From making a group to the result of its first call; a fork server's own start included."""
    call: float
    """Of a further call: the median of some."""


@attrs.frozen
class Failed:
    """It does not work."""

    reason: str


def try_out(method: str, seconds: float) -> Times | Failed:
    """Run some calls in a worker of a start method.

    Args:
        method (str): Which.
        seconds (float): Longest time for all of it.

    Returns:
        Times | Failed: What it took, or why it does not work.
    """
    path = [entry or os.getcwd() for entry in sys.path]  # noqa: PTH109 - a str
    code = f"import sys; sys.path[:] = {path!r}; from {__name__} import main; main({method!r})"
    command = [os.fsdecode(spawn.get_executable()), "-c", code]
    try:
        # In a process group of its own, so that what hangs before it has one can be ended.
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            process_group=0,
        )
    except OSError as error:
        return Failed(f"cannot start {command[0]}: {error}")
    with process:
        try:
            output, errors = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            return Failed(f"no answer within {seconds:g} s")
        finally:
            _end(process)
    return _understood(output, errors, process.returncode)


def _end(process: subprocess.Popen[str]) -> None:
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.communicate(timeout=_END_SECONDS)


def _understood(output: str, errors: str, code: int) -> Times | Failed:
    try:
        start, call = json.loads(output)
    except ValueError:
        lines = errors.strip().splitlines()
        return Failed(lines[-1] if lines else f"it ended with exit code {code}")
    return Times(start, call)


def main(method: str) -> None:
    """Run some calls, and print what they took as JSON. Runs in the other interpreter.

    Args:
        method (str): The start method.
    """
    began = time.perf_counter()
    with ProcessGroup(1, name="doctor", mp_context=method) as group:  # type: ignore[arg-type]  # one that there is
        group.submit(abs, -1).result()
        start = time.perf_counter() - began
        calls: list[float] = []
        for number in range(_CALLS):
            began = time.perf_counter()
            group.submit(abs, number).result()
            calls.append(time.perf_counter() - began)
    print(json.dumps([start, statistics.median(calls)]))
