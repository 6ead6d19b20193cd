"""What tests with an event loop share: one that allows no warnings, and waiting in it for what must be looked at."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class _Keeps(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append(self.format(record))


def run(main: Coroutine[Any, Any, T], *, slow: float = 5.0) -> T:
    """Run it in a loop in debug mode, and fail if asyncio has anything to say: tasks left, errors that nobody saw."""
    keeps = _Keeps()
    logger = logging.getLogger("asyncio")
    logger.addHandler(keeps)
    try:
        with asyncio.Runner(debug=True) as runner:
            runner.get_loop().slow_callback_duration = slow
            result = runner.run(main)
    finally:
        logger.removeHandler(keeps)
    assert keeps.said == []
    return result


async def until(true: Callable[[], object], seconds: float = 20.0) -> None:
    """Wait in the loop for something that can only be seen by looking."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not come to that"
        await asyncio.sleep(0.002)
