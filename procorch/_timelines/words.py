"""A timeline in words: its title, its names, and what its signs stand for. Pure."""

from __future__ import annotations

import unicodedata
from datetime import datetime

from procorch._timelines.axis import duration
from procorch._timelines.timeline import MarkKind, Timeline

TASKS_APART = 6
"""So many tasks have a colour of their own: more, nobody can tell apart."""

PALETTE = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#a89f00", "#5b6770")
"""The tasks' colours, after Okabe and Ito: apart for colour-blind eyes, too. The last is that of all other tasks."""

MARK_WORDS: dict[MarkKind, str] = {
    "crash": "crash",
    "timeout": "timeout",
    "kill": "SIGTERM, SIGKILL",
    "failure": "failed for good",
    "retry": "tried again",
}
"""What the marks stand for."""

_COUNTED: tuple[tuple[MarkKind, str, str], ...] = (
    ("failure", "failed", "failed"),
    ("retry", "retry", "retries"),
    ("timeout", "timeout", "timeouts"),
    ("crash", "crash", "crashes"),
)


def title(timeline: Timeline) -> str:
    """Tell the run in one line.

    Args:
        timeline (Timeline): It.

    Returns:
        str: As ``"etl: 4 workers, 2.1 s, 1,200 items, 1 failed, 2 retries"``.
    """
    different = list(dict.fromkeys(printable(group.name) for group in timeline.groups))
    names = ", ".join(different[:3]) or "nothing"
    if len(different) > 3:
        names += f" and {len(different) - 3} more"
    parts = [count(len(timeline.rows), "worker"), duration(timeline.seconds)]
    parts.append(count(sum(row.items for row in timeline.rows), "item"))
    for kind, one, more in _COUNTED:
        if number := timeline.count(kind):
            parts.append(f"{number:,} {one if number == 1 else more}")
    return f"{names}: {', '.join(parts)}"


def origin(timeline: Timeline) -> list[str]:
    """Tell when it was, and what is missing.

    Args:
        timeline (Timeline): The run.

    Returns:
        list[str]: Up to two lines.
    """
    found: list[str] = []
    for group in timeline.groups[:1]:
        moment = datetime.fromtimestamp(group.wall).astimezone().strftime("%Y-%m-%d %H:%M:%S %Z")
        found.append(f"began {moment}, pid {group.pid}")
    if not timeline.whole:
        found.append("not whole: the program was killed, or is still running")
    return found


def count(number: int, noun: str) -> str:
    """Tell how many.

    Args:
        number (int): How many.
        noun (str): Of what, in the singular.

    Returns:
        str: As ``"1 item"`` or ``"1,200 items"``.
    """
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def printable(text: str, longest: int = 60) -> str:
    """Make a name fit to be shown.

    Args:
        text (str): Anything.
        longest (int): How many characters may remain.

    Returns:
        str: In one line, without control characters.
    """
    text = "".join(letter if letter.isprintable() else "?" for letter in text)
    return text if len(text) <= longest else f"…{text[1 - longest :]}"


def room(text: str) -> int:
    """Tell how much room a name takes in letters of fixed width.

    Args:
        text (str): The name.

    Returns:
        int: How many columns: two for each Chinese, Japanese or Korean letter.
    """
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in text)


def colours_of(timeline: Timeline) -> dict[str, int]:
    """Share out the colours.

    Args:
        timeline (Timeline): The run.

    Returns:
        dict[str, int]: The number of each task's colour; `TASKS_APART` for all that have none of their own.
    """
    return {task: min(number, TASKS_APART) for number, task in enumerate(timeline.tasks)}


def task_words(timeline: Timeline, colours: dict[str, int]) -> dict[int, str]:
    """Name the colours.

    Args:
        timeline (Timeline): The run.
        colours (dict[str, int]): As of `colours_of`.

    Returns:
        dict[int, str]: What each colour stands for, with how much of the busy time that was if there are several.
    """
    seconds: dict[int, float] = {}
    names: dict[int, str] = {}
    for row in timeline.rows:
        for span in row.chunks:
            colour = colours[span.task]
            seconds[colour] = seconds.get(colour, 0.0) + span.seconds
            names.setdefault(colour, printable(span.task, 44) if colour < TASKS_APART else "other tasks")
    total = sum(seconds.values()) or 1.0
    shares = {colour: f" {_share(seconds[colour] / total)}" if len(names) > 1 else "" for colour in names}
    return {colour: names[colour] + shares[colour] for colour in sorted(names)}


def _share(part: float) -> str:
    return f"{part:.0%}" if part >= 0.005 else "<1%"
