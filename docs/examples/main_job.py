"""The main job: double numbers in named processes, then digest Python's own standard library in many.

Run it with ``python docs/examples/main_job.py``. It ends with exit code 1 if anything differs from a serial run.
"""

from __future__ import annotations

import hashlib
import sys
import sysconfig
import time
from pathlib import Path

from procorch import ProcessGroup


def doubler(number: int) -> int:
    """Double a number.

    Args:
        number (int): Any.

    Returns:
        int: Twice as much.
    """
    return number * 2


def digest(path: str) -> str:
    """Digest one file.

    Args:
        path (str): Of a readable file.

    Returns:
        str: Its SHA-256, in hexadecimal.
    """
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def double_in_named_processes() -> None:
    """Start a process for each number, and print what each gives, as it ends."""
    numbers = {}
    with ProcessGroup(name="doubler") as group:
        for number in (5, 10, 15, 20, 25):
            numbers[group.start(doubler, number)] = number
        numbers[group.start(doubler, 2, name="Test")] = 2
        for process in group.as_completed():
            print(f"{numbers[process]:>3} doubled is {process.result():>3}  by {process.name:<10} pid {process.pid}")


def digest_the_standard_library() -> bool:
    """Digest every file of the standard library in a group's workers, and check against a serial run.

    Returns:
        bool: Whether both agree.
    """
    folder = Path(sysconfig.get_path("stdlib"))
    others = {"site-packages", "dist-packages"}  # what was installed beside it
    paths = [str(path) for path in folder.rglob("*") if path.is_file() and not others & set(path.parts)]
    began = time.perf_counter()
    with ProcessGroup(name="digest") as group:
        digests = group.map(digest, paths)
        workers = group.processes
    parallel = time.perf_counter() - began
    began = time.perf_counter()
    expected = [digest(path) for path in paths]
    serial = time.perf_counter() - began
    for worker in workers:
        print(f"{worker.name} (pid {worker.pid}) digested {worker.tasks_done} files")
    agree = digests == expected
    verdict = "the same" if agree else "DIFFERENT"
    print(f"{len(paths)} files in {parallel:.2f} s; then serially, from memory, in {serial:.2f} s: {verdict}")
    return agree


if __name__ == "__main__":
    double_in_named_processes()
    sys.exit(0 if digest_the_standard_library() else 1)
