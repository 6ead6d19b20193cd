"""What a group did, and when: written to a file that Perfetto and chrome://tracing open, and drawn as a timeline.

with TraceFile("run.trace.json") as trace, ProcessGroup(on_event=trace) as group:
    group.map(function, items)

print(text("run.trace.json"))                       # a table and a line for each worker
save_svg("run.trace.json", "run.svg")               # needs the extra rich
save_picture("run.trace.json", "run.png")           # needs the extra plot
"""

from __future__ import annotations

import os
import threading
from pathlib import Path
from types import TracebackType
from typing import Self

from procorch import events as e
from procorch._timelines import as_plot, as_rich, as_text
from procorch._timelines.reading import read
from procorch._timelines.rows import GroupRows

__all__ = ["TraceFile", "save_picture", "save_svg", "text"]

LINES = 1000
"""So many rows are written at once at the latest: about 150 kB."""
BURST = 64
"""So many events in a row are written one by one: what little happens before long silence is in the file at once."""
PER_SECOND = 10.0
"""So often a second it is written in the long run: to open, write and close costs about 50 us, on a network more."""


class TraceFile:
    """Writes what a group tells to a file: give it to ``on_event=``. Several groups may have the same.

    The file is JSON, in the "Trace Event Format": open it at https://ui.perfetto.dev or chrome://tracing, or see it by
    ``python -m procorch trace``. Each group is a process there, and each worker's slot a thread, whose spans are chunks
    of items. The file is whole each time it was written, so also if the program is killed: then the spans that had not
    ended have no end. No descriptor stays open in between.

    If the file cannot be written any more, as on a full disk, the error is raised once, and the rest is dropped.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Make the file, or empty it.

        Args:
            path (str | os.PathLike[str]): Where. Nothing else may write there meanwhile.

        Raises:
            OSError: It cannot be written there.
        """
        self._path = Path(path).absolute()
        self._lock = threading.Lock()  # each group calls from a thread of its own
        self._lines: list[str] = []
        self._groups: dict[int, GroupRows] = {}  # by thread: no event but the first and the last names its group
        self._begun = 0
        self._wall = 0.0
        self._allowance = float(BURST)
        self._heard = 0.0
        self._closed = False
        self._pid = os.getpid()
        self._path.write_text("[")
        self._size = 1
        """Bytes before the end, which is written again each time."""
        self._write()

    def __repr__(self) -> str:
        return f"<TraceFile {str(self._path)!r}{' closed' if self._closed else ''}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __call__(self, event: e.Event) -> None:
        """Take the next event of a group. The events of one group come from one thread, as a group calls its hook.

        Args:
            event (Event): It. Dropped when the file is closed.

        Raises:
            OSError: The file cannot be written any more.
        """
        with self._lock:
            if self._closed:
                return
            group = self._group_of(event)
            if group is None:
                return
            self._lines += group.rows(event)
            if self._is_due(event.at) or isinstance(event, e.GroupEnded):
                self._write()

    def close(self) -> None:
        """Write what is left. What comes afterwards is dropped. Does nothing in a forked copy of the process.

        Raises:
            OSError: It cannot be written.
        """
        if os.getpid() != self._pid:
            return  # it would cut off what the other has written since, and its lock may be taken for ever
        with self._lock:
            if not self._closed:
                self._write()
                self._closed = True

    def _group_of(self, event: e.Event) -> GroupRows | None:
        thread = threading.get_ident()
        if isinstance(event, e.GroupBegan):
            self._begun += 1
            if self._begun == 1:
                self._wall = event.wall
            # By the wall's clock: the groups' own may be different ones, as that of a `FakeEngine`.
            shift = max(0, round((event.wall - self._wall) * 1e6))
            self._groups[thread] = GroupRows(self._begun, shift, event)
        if isinstance(event, e.GroupEnded):
            return self._groups.pop(thread, None)
        return self._groups.get(thread)

    def _is_due(self, now: float) -> bool:
        """Tell whether to write now: at once, but in the long run only so often."""
        self._allowance = min(BURST, self._allowance + max(0.0, now - self._heard) * PER_SECOND)
        self._heard = now
        if self._allowance < 1:
            return len(self._lines) >= LINES
        self._allowance -= 1
        return True

    def _write(self) -> None:
        """Write over the end, which comes again behind it: so the file is whole each time."""
        more = self._joined(self._lines, first=self._size == 1)
        unended = [row for group in self._groups.values() for row in group.open_rows()]
        end = self._joined(unended, first=self._size == 1 and not more) + "\n]\n"
        try:
            with self._path.open("r+b") as file:
                # In this order: a file that is cut off can be read, and one with a rest behind its end cannot.
                file.truncate(self._size)
                file.seek(self._size)
                file.write((more + end).encode())
        except OSError:
            self._closed = True
            raise
        self._size += len(more)  # rows are ASCII
        self._lines.clear()

    @staticmethod
    def _joined(rows: list[str], *, first: bool) -> str:
        return ("\n" if first else ",\n") + ",\n".join(rows) if rows else ""


def text(trace: str | os.PathLike[str], *, width: int = 100) -> str:
    """Show a trace as a table, and a line of blocks for each worker.

    Args:
        trace (str | os.PathLike[str]): What a `TraceFile` has written, perhaps by a program that was killed.
        width (int): Columns it may take, at least; long names may need more.

    Returns:
        str: Lines, the last one ended too.

    Raises:
        OSError: The file cannot be read.
        ValueError: It is no trace of a group.
    """
    return as_text.render(read(trace), width=width)


def save_svg(trace: str | os.PathLike[str], svg: str | os.PathLike[str], *, width: int = 120) -> None:
    """Draw what `text` shows, in colours, with the extra ``rich``.

    Args:
        trace (str | os.PathLike[str]): As of `text`.
        svg (str | os.PathLike[str]): Where to.
        width (int): Columns.

    Raises:
        ImportError: `rich` is not installed; says how to.
        OSError: A file cannot be read, or written.
        ValueError: It is no trace of a group.
    """
    rich = as_rich.library()
    Path(svg).write_text(as_rich.svg(rich, read(trace), width=width), encoding="utf-8")


def save_picture(trace: str | os.PathLike[str], picture: str | os.PathLike[str]) -> None:
    """Draw a timeline with the extra ``plot``.

    Args:
        trace (str | os.PathLike[str]): As of `text`.
        picture (str | os.PathLike[str]): Where to. Its suffix says what it will be: ``.png``, ``.svg``, ``.pdf`` ...

    Raises:
        ImportError: `matplotlib` is not installed; says how to.
        OSError: A file cannot be read, or written.
        ValueError: It is no trace of a group, or nothing that can be drawn has such a suffix.
    """
    library = as_plot.library()
    as_plot.save(library, read(trace), Path(picture))
