"""What ``progress=True`` is: a bar of tqdm, on the standard error of this process if that is a terminal.

tqdm is made for programs whose bars share one lock between processes. Here only one process draws, so:

- the lock is only that of threads. Taken around each drawing here, since tqdm's own code keeps it for ever if an
  interrupt comes in between; and never the one between processes, which a worker that is killed while it draws a bar
  of its own takes with it.
- there is no thread that looks after the bar: whoever waits for results does.
"""

from __future__ import annotations

import functools
import os
import sys
import weakref
from collections.abc import Callable
from typing import Any

from procorch._extras import load
from procorch._progress import Progress


def teller(progress: object, name: str) -> Callable[[Progress], object] | None:
    """Find out what ``progress=`` asks for.

    Args:
        progress (object): What was given.
        name (str): Of the function.

    Returns:
        Callable[[Progress], object] | None: What to tell of the progress; None for nothing.

    Raises:
        ImportError: A bar is wanted, and tqdm is not installed.
        TypeError: It is nothing of what is allowed.
    """
    if progress is None or progress is False:
        return None
    if progress is True:
        return Bar(load("tqdm.auto", extra="progress", purpose="progress=True"), name.rpartition(".")[2])
    if not callable(progress):
        raise TypeError(f"progress must be True, False, None or callable, not {progress!r}")
    return progress


class Bar:
    """A bar for one call."""

    def __init__(self, tqdm: Any, name: str) -> None:
        """Begin; nothing is drawn yet.

        Args:
            tqdm (Any): The module ``tqdm.auto``.
            name (str): What stands before it.
        """
        self._class, self._lock, self._bars = _prepared(tqdm.tqdm)
        self._name = name
        self._bar: Any = None

    def __call__(self, progress: Progress) -> None:
        """Draw.

        Args:
            progress (Progress): How far the call has come.
        """
        with self._lock:
            if self._bar is not None:
                self._draw(self._bar, progress)
            elif not progress.last:  # or it was interrupted when it was to be drawn first
                self._bar = self._class(total=progress.total, desc=self._name, **_settings())
                self._bars.add(self._bar)

    @staticmethod
    def _draw(bar: Any, progress: Progress) -> None:
        notable = {"failed": progress.failed, "retried": progress.retried}
        bar.set_postfix({word: number for word, number in notable.items() if number}, refresh=False)
        if progress.last:
            bar.n = progress.done
            bar.close()  # draws it once more
        else:
            bar.update(progress.done - bar.n)


def _settings() -> dict[str, Any]:
    # Drawn at each call; the rate is an average, since results come in bunches.
    settings: dict[str, Any] = {"file": sys.stderr, "mininterval": 0, "miniters": 0, "smoothing": 0, "leave": True}
    if "TQDM_DISABLE" not in os.environ:  # tqdm reads it itself, but only what is not given
        settings["disable"] = _is_silent(sys.stderr)
    return settings


def _is_silent(stream: Any) -> bool | None:
    """Whether to draw nothing; None lets tqdm see whether it is a terminal, which a notebook's is not."""
    if stream is None or getattr(stream, "closed", False):
        return True
    return False if type(stream).__module__.partition(".")[0] == "ipykernel" else None


class _NoLock:
    """In the place of tqdm's lock where ours is held."""

    def acquire(self, *_: object, **__: object) -> bool:
        return True

    def release(self) -> None:
        pass

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        pass


@functools.cache
def _prepared(tqdm: Any) -> tuple[Any, Any, weakref.WeakSet[Any]]:
    """Give a class of bars as the module's text says, the lock to hold meanwhile, and the bars that there are."""
    lock = load("tqdm.std", extra="progress", purpose="progress=True").TqdmDefaultWriteLock.th_lock
    bars = weakref.WeakSet[Any]()

    def after_fork() -> None:
        # Another thread may have been drawing; and the bars are the parent's, whatever becomes of their copies.
        lock._at_fork_reinit()  # noqa: SLF001 - as the standard library does it with its own
        for bar in bars:
            bar.disable = True

    os.register_at_fork(after_in_child=after_fork)
    return type("Bar", (tqdm,), {"monitor_interval": 0, "_lock": _NoLock()}), lock, bars
