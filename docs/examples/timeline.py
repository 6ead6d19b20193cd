"""A run with some trouble, written to a trace file, and shown: in the terminal, as SVG, as a picture."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import time
from pathlib import Path

from procorch import ProcessGroup
from procorch.trace import TraceFile, save_picture, save_svg, text


def load(folder: str, number: int) -> int:
    """Load something: item 11 ends its process, item 17 hangs, item 23 fails, each the first time; 29 fails always."""
    tries = Path(folder) / str(number)
    first = not tries.exists()
    tries.touch()
    time.sleep(0.02 + 0.06 * (number * 7 % 10) / 10)
    if number == 11 and first:
        os.kill(os.getpid(), signal.SIGSEGV)
    if number == 17 and first:
        time.sleep(3600)
    if (number == 23 and first) or number == 29:
        raise ConnectionError(f"no answer for {number}")
    return number


def fit(number: int) -> float:
    """Compute something with what was loaded; some take longer than others."""
    time.sleep(0.05 + 0.25 * (number % 9 == 0))
    return number / 2


def main(folder: Path) -> None:
    """Run both, and show what was.

    Args:
        folder (Path): Where the trace and the pictures go.
    """
    trace = folder / "run.trace.json"
    with ProcessGroup(4, name="etl", on_event=TraceFile(trace)) as group, tempfile.TemporaryDirectory() as notes:
        view = group.options(timeout=0.4, retries=2, retry_on=ConnectionError, backoff=0.05)
        loaded = view.map(load, [notes] * 60, range(60), return_exceptions=True)
        group.map(fit, [number for number in loaded if isinstance(number, int)])
    print(text(trace, width=110), end="")
    save_svg(trace, folder / "timeline.svg")  # needs procorch[rich]
    save_picture(trace, folder / "timeline.png")  # needs procorch[plot]


if __name__ == "__main__":
    if sys.argv[1:]:
        main(Path(sys.argv[1]))
    else:
        with tempfile.TemporaryDirectory() as temporary:
            main(Path(temporary))
