"""Items that raise, that kill their process, and that take too long: each costs itself."""

from __future__ import annotations

import os
import signal
import time

from procorch import ProcessGroup, TaskTimeout, WorkerCrashed


def work(kind: str) -> str:
    """Fail in the way that is asked for."""
    if kind == "raise":
        raise ValueError("no such thing")
    if kind == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    if kind == "hang":
        time.sleep(3600)
    return "well"


if __name__ == "__main__":
    kinds = ["fine", "raise", "crash", "hang", "fine too"]
    with ProcessGroup(2) as group:
        view = group.options(timeout=0.5)
        for kind, result in zip(kinds, view.map(work, kinds, return_exceptions=True), strict=True):
            match result:
                case WorkerCrashed():
                    print(f"{kind}: the process {result.worker!r} died with exit code {result.exitcode}")
                case TaskTimeout():
                    print(f"{kind}: stopped after {result.limit} s")
                case Exception():
                    print(f"{kind}: {result!r}")
                case _:
                    print(f"{kind}: {result}")
