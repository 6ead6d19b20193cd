"""Notes on exceptions of the user's, whose classes may be of any kind."""

from __future__ import annotations


def annotate(error: BaseException, note: str) -> None:
    """Add a note to an exception, also to one whose class forbids to set attributes, as a frozen dataclass does.

    Args:
        error (BaseException): Of the user's.
        note (str): One line, or several.
    """
    object.__setattr__(error, "__notes__", [*getattr(error, "__notes__", ()), note])
