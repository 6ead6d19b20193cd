"""Running the command line in tests: as a shell does, in a process of its own."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Generator
from typing import Any

from helpers import in_session


@contextlib.contextmanager
def started(*arguments: str, **options: Any) -> Generator[subprocess.Popen[bytes]]:
    """Begin a command, with pipes to it and from it."""
    pipes: dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    with in_session(sys.executable, "-m", "procorch", *arguments, bufsize=0, **(pipes | options)) as process:
        yield process


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
