"""When `procorch map` gives up: ``--halt``, in the words of GNU parallel."""

from __future__ import annotations

import argparse
import re
from typing import Literal, NamedTuple


class Halt(NamedTuple):
    """After how many failures to give up, and how."""

    when: Literal["never", "soon", "now"] = "never"
    """``"soon"`` begins nothing more; ``"now"`` also stops what runs."""
    failures: int = 1
    """How many failures it takes."""

    def is_due(self, failed: int) -> bool:
        """Tell whether to give up.

        Args:
            failed (int): Failures so far.

        Returns:
            bool: Whether it has come to that.
        """
        return self.when != "never" and failed >= self.failures


def read_halt(text: str) -> Halt:
    """Read the value of the option.

    Args:
        text (str): ``never``, ``soon,fail=N`` or ``now,fail=N``.

    Returns:
        Halt: What it says.

    Raises:
        ArgumentTypeError: It is none of these.
    """
    if text == "never":
        return Halt()
    found = re.fullmatch(r"(soon|now),fail=([1-9][0-9]*)", text)
    if found is None:
        raise argparse.ArgumentTypeError(f"{text!r} is neither never nor soon,fail=N nor now,fail=N")
    return Halt("soon" if found[1] == "soon" else "now", int(found[2]))
