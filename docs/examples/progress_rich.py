"""Progress shown by rich: a callable that moves one of its bars."""

from __future__ import annotations

import math

import rich.progress

from procorch import ProcessGroup, Progress


def length(number: int) -> int:
    """Count the digits of a factorial.

    Args:
        number (int): At least 0.

    Returns:
        int: Its digits.
    """
    return int(math.lgamma(number + 1) / math.log(10)) + 1


class Bar:
    """One line of a display of rich."""

    def __init__(self, display: rich.progress.Progress, text: str) -> None:
        """Add it.

        Args:
            display (rich.progress.Progress): Begun and ended by its own ``with`` block.
            text (str): What stands before the bar.
        """
        self._display = display
        self._line = display.add_task(text, total=None)

    def __call__(self, progress: Progress) -> None:
        """Move it.

        Args:
            progress (Progress): How far the call has come.
        """
        self._display.update(self._line, completed=progress.done, total=progress.total)


if __name__ == "__main__":
    with ProcessGroup() as group, rich.progress.Progress() as display:
        group.map(length, range(20_000), progress=Bar(display, "factorials"))
        longest = max(group.imap(length, range(20_000), progress=Bar(display, "once more")))
    print(longest)
