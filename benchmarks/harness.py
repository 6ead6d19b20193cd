"""Runs one measurement in a fresh process, with a hard limit, and leaves nothing of it.

This process adopts whatever a measurement leaves behind, such as fork servers, so what they have used is known once
they have ended, also where the measured process never collects them.
"""

from __future__ import annotations

import ctypes
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import attrs
import proc
from records import Found, Job, Result

_PR_SET_CHILD_SUBREAPER = 36  # of sys/prctl.h
_AFTERWARDS = 5.0
"""Seconds that helpers of a measured process may live longer than it."""
_LOOK = 0.2
"""Seconds between two looks at the memory."""


@attrs.define
class _Collected:
    """What the processes that have ended had used."""

    cpu: float = 0.0
    rss: float = 0.0

    def add(self, usage: Any) -> None:
        self.cpu += usage.ru_utime + usage.ru_stime
        self.rss = max(self.rss, usage.ru_maxrss / 1000)


def adopt() -> None:
    """Become the parent of whatever a child leaves behind when it ends."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def run(job: Job, *, watch_memory: bool) -> Result:
    """Run one measurement.

    Args:
        job (Job): What to measure.
        watch_memory (bool): Whether to look at the memory of all processes meanwhile. That slows them a little.

    Returns:
        Result: Also if the process failed, hung or was killed: then its word says so.
    """
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        path = Path(folder) / "result"
        log = Path(folder) / "log"
        with log.open("w") as output:
            command = [sys.executable, "-W", "ignore", str(Path(__file__).with_name("one.py"))]
            process = subprocess.Popen(
                [*command, json.dumps(attrs.asdict(job)), str(path)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                # What a killed peer leaves in the temporary folder goes with ours.
                env=os.environ | {"TMPDIR": folder},
            )
        in_time, most = _wait(process.pid, job.limit, watch_memory)
        own, others = _Collected(), _Collected()
        if not in_time:
            _kill_all()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        own.add(usage)
        left = _collect_others(others)
        said = json.loads(path.read_text()) if path.exists() else None
        if said is None and not in_time:
            return Result(job, Found(word=f"hangs (over {job.limit:.0f} s)"))
        if said is None:
            return Result(job, Found(word=f"ended with {process.returncode}: {_last_line(log)}"))
    found = Found(**said["found"])
    words = [found.word, "" if in_time else "does not end", f"left {left} processes" if left and in_time else ""]
    return Result(
        job,
        attrs.evolve(found, word="; ".join(word for word in words if word)),
        wall=said["wall"] or None,
        cpu=own.cpu + others.cpu - said["cpu_before"] if said["wall"] else None,
        rss_parent=said["rss_parent"],
        rss_worker=max(said["rss_worker"], others.rss) or None,
        pss=most or None,
    )


def _wait(pid: int, limit: float, watch_memory: bool) -> tuple[bool, float]:
    """Wait for a child's end; tell whether it came in time, and the most memory seen."""
    until, most = time.monotonic() + limit, 0.0
    handle = os.pidfd_open(pid)
    try:
        while (left := until - time.monotonic()) > 0:
            if select.select([handle], [], [], min(left, _LOOK) if watch_memory else left)[0]:
                return True, most
            most = max(most, proc.pss(pid)) if watch_memory else 0.0
        return False, most
    finally:
        os.close(handle)


def _collect_others(into: _Collected) -> int:
    """Collect what the measured process has left; kill what does not end by itself, and tell how many those were."""
    until, left = time.monotonic() + _AFTERWARDS, 0
    while True:
        try:
            pid, _, usage = os.wait4(-1, os.WNOHANG)
        except ChildProcessError:
            return left
        if pid:
            into.add(usage)
        elif time.monotonic() < until:
            time.sleep(0.005)
        else:
            left = left or len(proc.descendants(os.getpid()))
            _kill_all()


def _kill_all() -> None:
    """Kill everything below this process."""
    for pid in proc.descendants(os.getpid()):
        # Only we collect those whose parents have ended, and the others may be gone by now.
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").split("\n")
    return next((line.strip()[:80] for line in reversed(lines) if line.strip()), "nothing said")


def end_all() -> None:
    """Leave nothing behind when the benchmark itself is interrupted."""
    _kill_all()
    _collect_others(_Collected())
