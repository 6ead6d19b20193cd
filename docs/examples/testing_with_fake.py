"""Tests of one's own code with `procorch.testing`: no process, no waiting, a crash on request."""

from __future__ import annotations

from procorch import ProcessGroup, WorkerCrashed
from procorch.testing import FakeEngine, crash


def word_count(text: str) -> int:
    """Count the words of a text; the code under test.

    Args:
        text (str): Any.

    Returns:
        int: Words between white space.
    """
    if text == "poison":
        crash()
    return len(text.split())


def total(group: ProcessGroup, texts: list[str]) -> tuple[int, int]:
    """Count the words of many texts; the code under test.

    Args:
        group (ProcessGroup): Where to run.
        texts (list[str]): Any.

    Returns:
        tuple[int, int]: Words, and texts that were lost to a crash.
    """
    counts = group.map(word_count, texts, return_exceptions=True)
    return sum(c for c in counts if isinstance(c, int)), sum(isinstance(c, WorkerCrashed) for c in counts)


if __name__ == "__main__":
    with ProcessGroup(2, engine=FakeEngine()) as group:
        assert total(group, ["one two", "three"]) == (3, 0)
        assert total(group, ["one two", "poison", "three"]) == (3, 1)
    print("both tests passed")
