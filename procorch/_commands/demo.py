"""The command ``demo``: double numbers in named processes, then digest Python's own standard library in many.

Its workers import this file for the two functions, so it loads little.
"""

from __future__ import annotations

import hashlib
import sysconfig
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import argparse


_EXIT = "Exit code: 0 if both agree, else 1. Example: procorch demo"


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


def add_to(commands: Any) -> None:
    """Add the command.

    Args:
        commands (Any): What `argparse.ArgumentParser.add_subparsers` returns.
    """
    text = "Double numbers in named processes, then digest Python's standard library in many, beside a serial run."
    parser = commands.add_parser("demo", description=text, epilog=_EXIT)
    parser.set_defaults(run=run)


def run(given: argparse.Namespace) -> int:
    """Run the command.

    Args:
        given (argparse.Namespace): Nothing of interest.

    Returns:
        int: 1 if anything differs from the serial run, else 0.
    """
    _double_in_named_processes()
    return 0 if _digest_the_standard_library() else 1


def _double_in_named_processes() -> None:
    """Start a process for each number, and print what each gives, as it ends."""
    from procorch._group import ProcessGroup  # here: workers import this file, and make no group

    numbers = {}
    with ProcessGroup(name="doubler") as group:
        for number in (5, 10, 15, 20, 25):
            numbers[group.start(doubler, number)] = number
        numbers[group.start(doubler, 2, name="Test")] = 2
        for process in group.as_completed():
            print(f"{numbers[process]:>3} doubled is {process.result():>3}  by {process.name:<10} pid {process.pid}")


def _digest_the_standard_library() -> bool:
    """Digest its files in a group's workers, check against a serial run, and tell whether both agree."""
    from procorch._group import ProcessGroup  # as above

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
