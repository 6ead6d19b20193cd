"""What the tests of progress run in worker processes, and a program that they interrupt."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import targets

import procorch


def wait_in(folder: str, number: int) -> int:
    """Wait for the item's own gate: a file named by its number."""
    targets.wait_for(str(Path(folder) / str(number)))
    return number


def wait_or_double(gate: str, number: int) -> int:
    if number == 0:
        targets.wait_for(gate)
    return 2 * number


def writer(path: str) -> Callable[[procorch.Progress], None]:
    """Write each progress as a line of JSON."""

    def write(progress: procorch.Progress) -> None:
        with Path(path).open("a") as file:
            print(json.dumps([progress.done, progress.failed, progress.last]), file=file)

    return write


def main(log: str, call: str, heard: str) -> None:
    """Begin items that never end, and wait for them until interrupted."""
    progress = True if heard == "bar" else writer(heard)
    items: range | map[int] = range(50) if call == "map" else map(int, range(50))
    with procorch.ProcessGroup(2) as group:
        wait = [log] * 50, ["never"] * 50
        if call == "map":
            group.map(begin_or_wait, *wait, items, progress=progress)
        else:
            for _ in group.imap(begin_or_wait, *wait, items, progress=progress):
                pass


def begin_or_wait(log: str, gate: str, number: int) -> int:
    """Give the first three at once; of the others, wait for ever."""
    if number < 3:
        return number
    targets.begin_and_wait(log, gate, number)
    return number


if __name__ == "__main__":
    main(*sys.argv[1:])
