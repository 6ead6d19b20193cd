"""Programs with a checkpoint that tests run, kill, and begin again."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from targets import append
from targets_resume import kill_parent_at, padded, padded_result, slow_square, square_logged

from procorch import Checkpoint, CheckpointError, ProcessGroup, TaskInterrupted
from procorch.engines import ExecutorEngine
from procorch.testing import FakeEngine


def run_killed(database: str, log: str, count: int, engine: str) -> None:
    """One try: squares, of which each report is noted before the next is asked for; at last, how it went."""
    results: dict[int, Any] = {}
    with contextlib.ExitStack() as stack:
        if engine == "processes":
            group = stack.enter_context(ProcessGroup(2, mp_context="fork"))
        else:
            threads = stack.enter_context(ThreadPoolExecutor(2))
            group = stack.enter_context(ProcessGroup(2, engine=ExecutorEngine(threads, isolate=False)))
        stream = group.imap(
            slow_square, [log] * count, range(count), return_exceptions=True, checkpoint=database, chunksize=20
        )
        for number, result in enumerate(stream):
            results[number] = result
            if isinstance(result, TaskInterrupted):
                append(f"{log}-reports", str(number))
    doubtful = sum(isinstance(result, TaskInterrupted) for result in results.values())
    if not doubtful:
        assert results == {number: number * number for number in range(count)}
        append(f"{log}-over", "1")


def run_fifty(database: str, log: str, count: str, kills: str, engine: str) -> None:
    """Try again and again, in a process of its own each time, and kill the first ones at random moments."""
    rng = random.Random(20)
    left, tries = int(kills), 0
    with ProcessGroup(1, engine=FakeEngine()) as group:
        group.map(abs, [1], checkpoint=f"{database}-first")  # each try would load its modules
    Path(f"{database}-first").unlink()
    while not Path(f"{log}-over").exists():
        tries += 1
        assert tries < 2 * int(kills) + 10, "it does not come to its end"
        pid = os.fork()
        if not pid:
            os.setsid()
            run_killed(database, log, int(count), engine)
            os._exit(0)
        if left:
            before = Path(log).stat().st_size
            # Every third at any moment, the others when it is at work.
            while left % 3 and Path(log).stat().st_size == before:
                time.sleep(0.001)
            time.sleep(rng.uniform(0.0, 0.06))
            os.kill(pid, signal.SIGKILL)
            left -= 1
        _, status = os.waitpid(pid, 0)
        assert os.WIFSIGNALED(status) or status == 0
    print("kills left", left, flush=True)


def run_killing_itself(database: str, log: str, method: Any, retries: str) -> None:
    """Be killed by an item; the second time, print what comes."""
    Path(f"{log}-parent").write_text(str(os.getpid()))
    with ProcessGroup(2, mp_context=method) as group:
        view = group.options(retries=int(retries))
        print(view.map(kill_parent_at, [log] * 20, range(20), [7] * 20, return_exceptions=True, checkpoint=database))


def run_as_nobody(database: str, log: str) -> None:
    """Begin a run in a folder that is for others to write."""
    with ProcessGroup(1, mp_context="fork") as group, tempfile.TemporaryDirectory() as folder:
        group.map(abs, range(3), checkpoint=f"{folder}/run.db")  # loads what somebody else may not read
    if os.geteuid() == 0:
        os.setgid(65534)
        os.setuid(65534)
    try:
        with ProcessGroup(1, mp_context="fork") as group:
            print(group.map(square_logged, [log] * 3, range(3), checkpoint=Checkpoint(database)))
    except Exception as error:  # noqa: BLE001 - it is looked at by the test
        print(type(error).__name__, error)


def run_until_told(database: str, log: str) -> None:
    """Hold a checkpoint for ever."""
    with ProcessGroup(1) as group:
        stream = group.imap(square_logged, [log] * 999, range(999), checkpoint=database)
        print(next(stream), flush=True)
        time.sleep(60)


def run_on_full_disk(folder: str, log: str) -> None:
    """Fill a small disk, then make it larger and go on. In a mount namespace of its own."""
    mount = ["mount", "-t", "tmpfs", "-o", "size=1M", "tmpfs", folder]
    subprocess.run(mount, check=True)
    database, arguments = f"{folder}/run.db", ([log] * 300, range(300))
    with ProcessGroup(2) as group:

        def try_it() -> list[Any]:
            try:
                results = group.map(padded, *arguments, checkpoint=database, return_exceptions=True)
            except CheckpointError as error:
                print(error, flush=True)
                return []
            for number, result in enumerate(results):
                if isinstance(result, TaskInterrupted):
                    append(f"{log}-reports", str(number))
            return results

        try_it()
        with sqlite3.connect(database) as connection:
            before = connection.execute("SELECT count(*) FROM items WHERE state = 'done'").fetchone()[0]
        connection.close()
        print("recorded", before, flush=True)
        try_it()
        subprocess.run(["mount", "-o", "remount,size=100M", folder], check=True)
        try_it()
        print(try_it() == [padded_result(number) for number in range(300)], flush=True)


def main() -> None:
    """Run one of the programs above."""
    globals()[sys.argv[1]](*sys.argv[2:])
