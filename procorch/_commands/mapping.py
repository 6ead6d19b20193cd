"""What `procorch map` does, in the parent.

    lines --> Reader (a thread) --> imap ... workers ... --> one line of JSON for each, on standard output

Standard output belongs to the results alone: whatever else this process or a worker writes there goes to standard
error. Standard input belongs to the reader: programs that items start find none.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import select
import signal
import sys
import threading
import traceback
from collections.abc import Generator
from pathlib import Path
from typing import Any

from procorch._commands.halting import Halt
from procorch._commands.lines import Call, CallFailed, LineError, describe, initialize
from procorch._commands.reader import PatientFile, Reader, text_of_line
from procorch._commands.references import UnknownFunction, find
from procorch._commands.scripts import prepare_path
from procorch._commands.stopping import UNWANTED, Stopped
from procorch._errors import TaskError
from procorch._group import ProcessGroup
from procorch._stream import Stream
from procorch.events import Event, ItemFailed
from procorch.trace import TraceFile


def run(given: argparse.Namespace) -> int:
    """Call the function for each line.

    Args:
        given (argparse.Namespace): As `_commands.map` reads it.

    Returns:
        int: The exit code.
    """
    try:
        _check_descriptors(given.file)
        with _opened(given.file) as source, _results_apart() as out:
            call = Call(prepare_path(given.function), given.mode, verbose=given.verbose)
            if given.initializer is not None:
                given.initializer = prepare_path(given.initializer)
                find(given.initializer)
            return _show(call, source, out) if given.dry_run else _Mapping(given, call, source, out).run()
    except (UnknownFunction, _Unusable) as error:
        _say(f"procorch map: {error}", error.__cause__ if given.verbose else None)
        return 2
    except BrokenPipeError:
        return UNWANTED
    except OSError as error:  # of a dry run
        _say(f"procorch map: {describe(error)}")
        return 1


class _Unusable(Exception):
    """It cannot begin."""


class _Mapping:
    """One run."""

    def __init__(self, given: argparse.Namespace, call: Call, source: int, out: int) -> None:
        self._given = given
        self._call = call
        self._out = out
        self._failed = 0  # those that have been told of; for the others it is not their turn yet
        self._known_to_fail = 0
        self._gave_up = False
        self._stream: Stream | None = None
        self._is_unwanted = False
        self._trace = None if given.trace is None else _trace_to(given.trace)
        self._lines = Reader(source, out, self._unwanted)
        self._group = self._make_group()

    def run(self) -> int:
        """Run it, and give the exit code."""
        try:
            with self._trace or contextlib.nullcontext(), self._lines, self._group:
                for count, outcome in enumerate(self._outcomes(), 1):
                    self._take(count, outcome)
        except Stopped:
            if self._is_unwanted:
                return UNWANTED
            raise
        except BrokenPipeError:
            return UNWANTED
        except ImportError as error:  # of an extra
            raise _Unusable(str(error)) from error
        except Exception as error:  # noqa: BLE001 - of an initializer, the input, the disk: it is to be said in one line
            _say(f"procorch map: {describe(error)}", error if self._given.verbose else None)
            return 1
        if self._gave_up:
            _say(f"procorch map: gave up: {self._known_to_fail} failed")
        return 1 if self._failed else 0

    def _make_group(self) -> ProcessGroup:
        given = self._given
        return ProcessGroup(
            given.jobs,
            name="map",
            mp_context=given.mp_context,
            initializer=None if given.initializer is None else initialize,
            initargs=() if given.initializer is None else (given.initializer,),
            max_tasks_per_child=given.max_tasks_per_child,
            on_event=self._hear if given.halt.when != "never" or self._trace is not None else None,
        )

    def _hear(self, event: Event) -> None:
        """Take in what happens, in another thread."""
        if isinstance(event, ItemFailed):
            self._known_to_fail += 1
            self._give_up_if_due()
        if self._trace is not None:
            self._trace(event)

    def _give_up_if_due(self) -> None:
        """Give up as soon as enough is known to have failed, whosever turn it is."""
        halt: Halt = self._given.halt
        if halt.is_due(self._known_to_fail):
            self._gave_up = True
            self._lines.end()
            assert self._stream is not None  # it has given the group its work
            self._stream.halt()
            if halt.when == "now":
                self._group.terminate()

    def _outcomes(self) -> Generator[Any]:
        given = self._given
        view = self._group.options(timeout=given.timeout, retries=given.retries, retry_on=CallFailed)
        self._stream = view._imap_fed(self._call, self._lines, ordered=not given.unordered, progress=given.progress)
        return self._stream.results()

    def _unwanted(self) -> None:
        """Stop the main thread as SIGTERM does: nobody reads the results."""
        self._is_unwanted = True
        main = threading.main_thread().ident
        assert main is not None  # it has started
        signal.pthread_kill(main, signal.SIGTERM)

    def _take(self, count: int, outcome: Any) -> None:
        if not isinstance(outcome, BaseException):
            number, text = outcome
            self._write(f'{{"line": {number}, "result": {text}}}' if self._given.outcomes else text)
            return
        self._failed += 1
        number, reason, trace = _explain(count, outcome)
        # Where a bar is drawn, its line is cleared first; it is drawn anew below.
        clear = "\r\x1b[K" if self._given.progress and sys.stderr.isatty() else ""
        _say(f"{clear}line {number}: {reason}")
        if trace and self._given.verbose:
            _say(trace.rstrip())
        if self._given.outcomes:
            self._write(json.dumps({"line": number, "error": reason}))

    def _write(self, text: str) -> None:
        _write(self._out, f"{text}\n".encode())


def _trace_to(file: str) -> TraceFile:
    try:
        return TraceFile(file)
    except OSError as error:
        raise _Unusable(f"cannot write {file}: {error.strerror}") from None


def _explain(count: int, error: BaseException) -> tuple[int, str, str]:
    """Tell which line an error is of, what went wrong, and where."""
    if isinstance(error, LineError):
        return error.number, error.reason, error.trace
    if isinstance(error, TaskError):
        number = count if error.task.index is None else error.task.index + 1
        # Which line it is has been said already.
        text = str(error).removeprefix(f"{error.task} ")
        return number, f"{type(error).__name__}: {text}", "\n".join(getattr(error, "__notes__", ()))
    return count, describe(error), "".join(traceback.format_exception(error))


def _show(call: Call, source: int, out: int) -> int:
    """Write the calls, and run none."""
    failed = False
    with io.BufferedReader(PatientFile(source, closefd=False)) as lines:
        for number, line in enumerate(lines, 1):
            try:
                shown = call.show((number, text_of_line(line)))
            except LineError as error:
                failed = True
                _say(f"line {number}: {error.reason}")
            else:
                _write(out, f"{shown}\n".encode("utf-8", "surrogateescape"))
    return 1 if failed else 0


# --- descriptors ------------------------------------------------------------------------------------------------------


def _check_descriptors(file: str | None) -> None:
    """Refuse closed ones; let no other file get the number of one that is not needed."""
    closed = [fd for fd in (0, 1, 2) if _fill(fd)]
    if 0 in closed and _is_standard(file):
        raise _Unusable("standard input is closed")
    if 1 in closed:
        raise _Unusable("standard output is closed")


def _is_standard(file: str | None) -> bool:
    return file in {None, "-"}


@contextlib.contextmanager
def _opened(file: str | None) -> Generator[int]:
    """Open the input; in the block, standard input is empty for all else."""
    try:
        source = os.dup(0) if _is_standard(file) else _descriptor_of(str(file))
    except OSError as error:
        raise _Unusable(f"cannot read {file}: {error.strerror}") from None
    try:
        with _replaced(0, os.open(os.devnull, os.O_RDONLY)):
            yield source
    finally:
        os.close(source)


def _descriptor_of(file: str) -> int:
    with Path(file).open("rb") as opened:  # which refuses folders, and has read nothing
        return os.dup(opened.fileno())


@contextlib.contextmanager
def _results_apart() -> Generator[int]:
    """Give a descriptor of standard output; in the block, what others write there goes to standard error."""
    with _replaced(1, os.dup(2)) as out:
        yield out


def _fill(fd: int) -> bool:
    """Let an empty file have a descriptor that is closed; tell whether it was."""
    try:
        os.fstat(fd)
    except OSError:
        os.dup2(os.open(os.devnull, os.O_RDWR), fd)
        return True
    return False


@contextlib.contextmanager
def _replaced(fd: int, other: int) -> Generator[int]:
    """Let another file have a descriptor's number, in new processes too; give what was there by another number."""
    kept = os.dup(fd)
    os.dup2(other, fd)
    os.close(other)
    try:
        yield kept
    finally:
        if sys.stdout is not None:  # what was printed in the block belongs there
            sys.stdout.flush()
        os.dup2(kept, fd)
        os.close(kept)


def _write(fd: int, data: bytes) -> None:
    left = memoryview(data)
    while left:
        try:
            left = left[os.write(fd, left) :]
        except BlockingIOError:  # somebody else has made it so
            select.select([], [fd], [])


def _say(text: str, error: BaseException | None = None) -> None:
    """Say something on standard error."""
    if error is not None:
        text = f"{text}\n{''.join(traceback.format_exception(error)).rstrip()}"
    if sys.stderr is not None:
        with contextlib.suppress(BlockingIOError):
            sys.stderr.flush()
        # Not by print, which loses what does not fit where somebody has made it so that a write does not wait.
        _write(2, f"{text}\n".encode(sys.stderr.encoding, "backslashreplace"))
