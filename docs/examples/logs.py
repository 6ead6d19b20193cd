"""Log in workers: one handler in the parent gets it all, with process and task."""

from __future__ import annotations

import logging
import os
import sys

from procorch import ProcessGroup, WorkerCrashed

log = logging.getLogger("shop")


def pack(order: int) -> int:
    """Pack an order, and say so; order 3 ends the process.

    Args:
        order (int): Its number.

    Returns:
        int: The same.
    """
    log.info("packing order %d", order)
    if order == 3:
        log.error("the roof comes down")
        os._exit(1)
    return order


if __name__ == "__main__":
    form = "%(processName)s %(levelname)s [%(task)s] %(message)s"
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(logging.Formatter(form, defaults={"task": "-"}))
    logging.basicConfig(level=logging.INFO, handlers=[handler])

    log.info("opening")
    with ProcessGroup(1, name="packer") as group:
        results = group.map(pack, range(5), return_exceptions=True)
    log.info("lost: %s", [result.task.index for result in results if isinstance(result, WorkerCrashed)])
