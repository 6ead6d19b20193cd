"""What a worker does with what is logged in it: send each record to the parent at once, and obey the parent's levels.

At once and in the thread that logs, so that what was logged just before a crash is with the kernel by then. Loaded in a
worker only when its parent wants the records: `logging` takes some milliseconds.
"""

from __future__ import annotations

import contextlib
import logging
import os
import pickle
from collections.abc import Callable
from typing import Any

from procorch import _messages as m
from procorch._messages import PROTOCOL
from procorch._writer import Writer

_PLAIN = frozenset({str, int, float, bool, bytes, type(None)})
"""Types that pickle and load whatever the user does."""

_formatter = logging.Formatter()


class Logs:
    """Forwards a worker's records. Made once in a process, and to its end."""

    def __init__(self, send: Callable[[m.FromWorker], None], page: Writer) -> None:
        """Take over the logging of this process.

        Args:
            send (Callable[[m.FromWorker], None]): To the parent; any thread, also in signal handlers.
            page (Writer): Tells which item runs.
        """
        # Of the copied parent, or of the main script, which configures logging in each process that loads it. To close
        # or to lose them could write out, once more, what the parent has buffered.
        self._replaced = _strip()
        self._followed: set[str] = set()
        self._table = m.LevelTable(logging.WARNING, 0, {})
        logging.getLogger().addHandler(_Forwarder(send, page))
        logging.captureWarnings(True)

    def follow(self, payload: m.Bytes) -> None:
        """Take over the parent's levels.

        Args:
            payload (m.Bytes): A pickled `LevelTable`, as a plain tuple.
        """
        self._table = m.LevelTable(*pickle.loads(payload))
        for name in self._followed - self._table.loggers.keys():
            logging.getLogger(name).setLevel(logging.NOTSET)
        self._followed = set(self._table.loggers)
        self.repeat()

    def repeat(self) -> None:
        """Set the parent's levels again: a module that has been loaded since may have set its own."""
        table = self._table
        logging.getLogger().setLevel(table.root)
        logging.disable(table.disable)
        for name, level in table.loggers.items():
            logging.getLogger(name).setLevel(level)


class _Forwarder(logging.Handler):
    def __init__(self, send: Callable[[m.FromWorker], None], page: Writer) -> None:
        super().__init__()
        self._send = send
        self._page = page
        self._pid = os.getpid()

    def handle(self, record: logging.LogRecord) -> bool:
        # Without the handler's lock: there is nothing here to lock, and it is not safe from signal handlers that raise.
        self.emit(record)
        return True

    def emit(self, record: logging.LogRecord) -> None:
        if of_multiprocessing(record.name):
            return
        if os.getpid() != self._pid:
            _last_resort(record)  # a process that an item made with os.fork: the socket is not its own
            return
        seq, begun = self._page.running()
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # the parent is gone; the item may go on
            self._send(m.Logged(seq, begun, pack(record)))
            self._page.count_logged()


def of_multiprocessing(name: str) -> bool:
    """Tell whether a logger is one of `multiprocessing`, which speaks of its own process and stays there.

    Args:
        name (str): The logger's name.

    Returns:
        bool: Whether it is.
    """
    return name.startswith("multiprocessing") and (len(name) == 15 or name[15] == ".")


def _last_resort(record: logging.LogRecord) -> None:
    """Do what `logging` does where nothing is configured."""
    handler = logging.lastResort
    if handler is not None and record.levelno >= handler.level:
        handler.handle(record)


def _strip() -> list[object]:
    """Take from all loggers what was configured; give it back."""
    root = logging.getLogger()
    loggers = [one for one in root.manager.loggerDict.copy().values() if isinstance(one, logging.Logger)]
    replaced: list[object] = []
    for logger in [root, *loggers]:
        if not of_multiprocessing(logger.name):
            # Filters, too, are the parent's business: it asks them when it handles the record.
            replaced += [*logger.handlers, *logger.filters]
            logger.handlers.clear()
            logger.filters.clear()
            logger.propagate, logger.disabled = True, False
            logger.setLevel(logging.NOTSET)
    return replaced


# --- records on their way ---------------------------------------------------------------------------------------------


def pack(record: logging.LogRecord) -> bytes:
    """Take a record apart for the way to the parent.

    Args:
        record (logging.LogRecord): Left as it is.

    Returns:
        bytes: A pickled pair: attributes of plain types, and the pickles of the others, by name. Never fails.
    """
    plain: dict[str, Any] = record.__dict__.copy()
    plain["msg"], plain["args"] = _message(record), None
    if record.exc_info:
        plain["exc_text"] = record.exc_text or _trace(record)
        plain["exc_info"] = None
    pickled: dict[str, bytes] = {}
    for name in [name for name, value in plain.items() if type(value) not in _PLAIN]:
        value = plain.pop(name)
        try:
            pickled[name] = pickle.dumps(value, PROTOCOL)
        except Exception:  # noqa: BLE001 - the user's __reduce__ may raise anything
            plain[name] = _repr(value)
    return pickle.dumps((plain, pickled), PROTOCOL)


def _message(record: logging.LogRecord) -> str:
    try:
        return str.__str__(record.getMessage())  # of str itself: see _outcome
    except Exception as error:  # noqa: BLE001 - arguments that do not fit, or the user's __str__
        return f"{_repr(record.msg)} with arguments {_repr(record.args)} cannot be formatted: {_repr(error)}"


def _trace(record: logging.LogRecord) -> str:
    try:
        return _formatter.formatException(record.exc_info)  # type: ignore[arg-type]  # the caller knows it is there
    except Exception as error:  # noqa: BLE001 - whatever the user put there
        return f"<no traceback: formatting it failed: {_repr(error)}>"


def _repr(value: object) -> str:
    try:
        return str.__str__(repr(value))
    except Exception:  # noqa: BLE001 - the user's __repr__ may raise anything
        return f"<{type(value).__name__}: its __repr__ failed>"
