"""A long map that keeps what it has done: begun again, after whatever has ended it, it goes on from there."""

from __future__ import annotations

import sqlite3
import tempfile
import time
from pathlib import Path

from procorch import Checkpoint, ProcessGroup, TaskInterrupted


def work(number: int) -> int:
    """Take a while.

    Args:
        number (int): At least 0.

    Returns:
        int: Its square.

    Raises:
        ValueError: It is 13.
    """
    time.sleep(0.01)
    if number == 13:
        raise ValueError("not this one")
    return number * number


def name_of(number: int) -> str:
    """Give an item a name of its own, by which it is known wherever it stands.

    Args:
        number (int): The item.

    Returns:
        str: Its name.
    """
    return f"square of {number}"


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder, ProcessGroup() as group:
        path = Path(folder, "run.db")

        for square in group.imap(work, range(100), checkpoint=path):
            if square == 25:
                break  # or a crash, a power cut of the cluster's node, a Ctrl-C

        results = group.map(work, range(100), checkpoint=path, return_exceptions=True)  # goes on from there
        for number, result in enumerate(results):
            if isinstance(result, TaskInterrupted):
                print(f"nobody knows whether {number} took effect; the next call tries it again")
            elif isinstance(result, Exception):
                print(f"{number}: {result!r}")
        print(sum(result for result in results if isinstance(result, int)))

        # What is recorded, for anybody to ask.
        database = sqlite3.connect(path)
        for state, count, attempts in database.execute(
            "SELECT state, count(*), sum(attempts) FROM items GROUP BY state"
        ):
            print(f"{count} {state}, begun {attempts} times")
        database.close()

        # Known by keys, items may stand anywhere; known by a version, the function may change.
        kept = Checkpoint(Path(folder, "other.db"), key=name_of, version="1")
        print(group.map(work, [3, 4, 5], checkpoint=kept), group.map(work, [5, 6, 3], checkpoint=kept))
