"""The parent's half of logging: the levels that workers are to follow, and their records handled as if made here."""

from __future__ import annotations

import logging
import pickle
from collections.abc import Sequence
from typing import Any

from procorch._job import Job
from procorch._logs import of_multiprocessing
from procorch._messages import PROTOCOL, LevelTable, Logged

_MARK = "procorch"
"""Key of our entry in the root logger's cache, among levels. `logging` clears it whenever a level changes anywhere."""

_reporter = logging.NullHandler()
"""Reports, as any handler of the standard library does, what a handler raised."""


# --- levels -----------------------------------------------------------------------------------------------------------


def levels() -> bytes:
    """Tell the levels of this process's loggers. Costs one look into a dictionary as long as none has changed.

    Returns:
        bytes: A pickled `LevelTable`, as a plain tuple. Equal if nothing has changed.
    """
    cache: dict[Any, Any] = getattr(logging.root, "_cache", {})
    known: list[bytes] | None = cache.get(_MARK)
    if known:
        return known[0]
    # First our entry, then the look: a change in between clears it, and the next call looks again. Empty, it counts
    # for nobody.
    entry: list[bytes] = []
    cache[_MARK] = entry
    entry.append(pickle.dumps(tuple(_look()), PROTOCOL))
    return entry[0]


def _look() -> LevelTable:
    manager = logging.root.manager
    loggers = {
        name: int(logger.level)  # as it may be a member of an enumeration that workers do not know
        for name, logger in sorted(manager.loggerDict.copy().items())
        if isinstance(logger, logging.Logger) and logger.level and not of_multiprocessing(name)
    }
    return LevelTable(int(logging.root.level), int(manager.disable), loggers)


# --- records ----------------------------------------------------------------------------------------------------------


def replay(logged: Sequence[Logged], job: Job | None, items: Sequence[int]) -> None:
    """Let this process's loggers and handlers have what a worker logged, in the same order.

    Args:
        logged (Sequence[Logged]): From the worker.
        job (Job | None): Whose items it had; None if none.
        items (Sequence[int]): The numbers of these.
    """
    for one in logged:
        # A thread may log just when the worker takes back that an item begins: others have that one by now.
        known = job is not None and 0 < one.begun <= len(items)
        _handle(one, _name(job, items[one.begun - 1]) if job is not None and known else None)


def _name(job: Job, item: int) -> str:
    index = job.sink.index_of(item)
    return job.function.name if index is None else f"item {index} of {job.function.name}"


def _handle(logged: Logged, task: str | None) -> None:
    record = None
    try:
        record = _rebuild(logged)
        if getattr(record, "task", None) is None:  # of a group inside the worker, which knows more; or the user's own
            record.task = task
        logger = logging.getLogger(record.name)
        if logger.isEnabledFor(record.levelno):
            logger.handle(record)
    except BaseException:  # noqa: BLE001 - filters and handlers of the user's may raise anything
        _reporter.handleError(record or logging.makeLogRecord({"msg": "a record of a worker, which cannot be read"}))


def _rebuild(logged: Logged) -> logging.LogRecord:
    plain, pickled = pickle.loads(logged.payload)
    record = logging.makeLogRecord({})
    start = record.created * 1000 - record.relativeCreated
    record.__dict__.update(plain)
    for name, payload in pickled.items():
        record.__dict__[name] = _load(payload)
    record.relativeCreated = record.created * 1000 - start  # since the start of this process, not of the worker
    if record.levelname == f"Level {record.levelno}":
        record.levelname = logging.getLevelName(record.levelno)  # maybe it has a name in this process
    return record


def _load(payload: bytes) -> object:
    try:
        return pickle.loads(payload)
    except BaseException as error:  # noqa: BLE001 - the user's classes may raise anything
        return f"<not loaded: {type(error).__name__}>"
