"""A program: runs the cells that it reads, a JSON list, in a Jupyter kernel, and writes what they printed."""

from __future__ import annotations

import json
import sys
from typing import Any

import jupyter_client.manager

_SECONDS = 40
"""For a kernel to start, and for a cell to run."""


def main() -> None:
    cells: list[str] = json.load(sys.stdin)
    manager, client = jupyter_client.manager.start_new_kernel(startup_timeout=_SECONDS)
    try:
        outputs = [_run(client, cell) for cell in cells]
    finally:
        client.stop_channels()
        manager.shutdown_kernel()
    json.dump(outputs, sys.stdout)


def _run(client: Any, cell: str) -> str:
    printed: list[str] = []

    def hear(message: dict[str, Any]) -> None:
        content = message["content"]
        printed.append(content.get("text") or "\n".join(content.get("traceback", ())))

    client.execute_interactive(cell, timeout=_SECONDS, output_hook=hear)
    return "".join(printed)


if __name__ == "__main__":
    main()
