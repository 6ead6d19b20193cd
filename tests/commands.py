"""Running the command line in tests: as a shell does, in a process of its own."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path
from typing import Any

_HERE = Path(__file__).parent
_COMMAND = [sys.executable, "-m", "procorch"]


def environment() -> dict[str, str]:
    path = os.pathsep.join([str(_HERE.parent), str(_HERE), *filter(None, [os.environ.get("PYTHONPATH")])])
    return os.environ | {"PYTHONPATH": path}


@contextlib.contextmanager
def started(*arguments: str, **options: Any) -> Generator[subprocess.Popen[bytes]]:
    """Begin a command in a session of its own, and leave nothing of it."""
    settings: dict[str, Any] = {"env": environment(), "start_new_session": True, "bufsize": 0}
    settings |= dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    # As at a terminal: where tests run in the background, interrupts are ignored, and that would be inherited.
    before = signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        process = subprocess.Popen([*_COMMAND, *arguments], **(settings | options))
    finally:
        signal.signal(signal.SIGINT, before)
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()
        process.wait()


def ran(
    *arguments: str, given: bytes | str = b"", limit: float = 25, **options: Any
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    data = given if isinstance(given, bytes) else given.encode()
    with started(*arguments, **options) as process:
        out, err = process.communicate(data, timeout=limit)
    texts = [(text or b"").decode() for text in (out, err)]
    return subprocess.CompletedProcess(arguments, process.returncode, *texts)


def lines(text: str) -> list[str]:
    return text.split("\n")[:-1]
