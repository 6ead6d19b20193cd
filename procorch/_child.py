"""What runs inside a worker process: take chunks from the parent, call the functions, note the outcomes.

    socket ---- Setup, Define, Run ...---> [ Loop ] ---> [ Runner: load, call, dump ] ---> page (small outcomes)
    socket <--- Ready, Noted, Ended -----------+------------------------------------------ socket (large ones, logs)
                                               behind the page <--- stack, when asked for or in a crash

Every way out of a worker:

- the parent says `Stop`, or its end of the socket is closed: the finalizer runs, `serve` returns, and the process ends
  as any other;
- the initializer fails: the parent is told, `serve` returns;
- the parent dies: the process is killed wherever it is, see `_pgroup`;
- an item ends the process (`os._exit`, a signal): the parent sees the death and reads the page.

An item's own exceptions, SystemExit and KeyboardInterrupt included, are outcomes and end nothing. Loaded by every
worker when it starts, so imports are few: neither attrs nor asyncio nor the parent's half of this package.
"""

from __future__ import annotations

import mmap
import os
import pickle
import select
import socket
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, assert_never

from procorch import _messages as m
from procorch import _signals, _spares
from procorch._buffers import loads
from procorch._messages import Failure
from procorch._outcome import capture, pack
from procorch._parcel import Parcel
from procorch._passing import receive
from procorch._queue import PAGE_BYTES, Writer
from procorch._sender import Sender
from procorch._setup import Call, set_up, try_call
from procorch._wire import FrameReader

if TYPE_CHECKING:
    from procorch._logs import Logs

Send = Callable[[m.FromWorker], None]

_NOTE_EVERY_NS = 1_000_000
"""Results are announced at most once a millisecond: an announcement costs as much as a dozen trivial items."""

_forked = False
"""Set in a process that an item made with ``os.fork``. It shares our page and socket and must never write to them."""


def _mark_forked() -> None:
    global _forked  # noqa: PLW0603 - it is the process that has been forked
    _forked = True
    _signals.let_go()


class Death(BaseException):
    """Stands for the end of the process where there is none: `procorch.testing` runs items in the parent."""


class Runner:
    """Calls functions on items and records what became of them. Knows nothing of sockets and processes."""

    def __init__(self, queue: Writer, send: Send, clock: Callable[[], int] = time.monotonic_ns) -> None:
        """Begin with no functions.

        Args:
            queue (Writer): Where outcomes go.
            send (Send): Carries a message to the parent.
            clock (Callable[[], int]): Monotonic nanoseconds, the same clock as the parent's.
        """
        self._queue = queue
        self._send = send
        self._clock = clock
        # Each as it came, until an item wants it. One that cannot be loaded becomes the failure that its items get.
        self._functions: dict[int, m.Define | m.Retrying | Failure] = {}
        self.is_worn: Callable[[], bool] | None = None
        """Asked after each item whether this process wants to be replaced; None for never."""
        self.exit_code = 0
        """What the last item would have made of a process of its own: 1 if it raised, or what SystemExit says."""
        self.after_load: Callable[[], None] | None = None
        """Called when a function has been loaded, and with it, maybe, modules of the user's."""

    def define(self, message: m.Define) -> None:
        """Keep a function that chunks will name.

        Args:
            message (m.Define): The pickled function and its key.
        """
        self._functions[message.key] = message

    def _load(self, key: int) -> m.Retrying | Failure:
        """Give a function; the first time, load it, which may import the user's modules."""
        known = self._functions[key]
        if not isinstance(known, m.Define):
            return known
        function: m.Retrying | Failure
        try:
            loaded = pickle.loads(known.payload)
            function = loaded if isinstance(loaded, m.Retrying) else m.Retrying(loaded, ())
        except BaseException as error:  # noqa: BLE001 - importing the user's module may raise anything
            function = capture(error, "function")
        self._functions[key] = function
        if self.after_load is not None:
            self.after_load()
        return function

    def forget(self, message: m.Forget) -> None:
        """Drop a function.

        Args:
            message (m.Forget): Its key.
        """
        self._functions.pop(message.key, None)

    def run(self, chunk: m.Run) -> None:
        """Do a chunk's items in order, until the end, a failure that stops it, a request, a full page, or wear.

        Args:
            chunk (m.Run): What to do. Its function was defined before.
        """
        queue, clock, seq, timed = self._queue, self._clock, chunk.seq, chunk.timed
        function = None
        worn = False
        now = noted = clock()
        queue.open(seq, now)
        for position, payload in enumerate(chunk.items):
            if queue.stop_asked(seq) or queue.full():
                break
            queue.begin(position + 1)
            if timed and queue.stop_asked(seq):
                # The parent asks for this, looks again at what runs, and only then stops this process: an item that
                # begins in between would pay for its neighbour.
                queue.begin(position)
                break
            self.exit_code = 0
            if function is None:
                # Within an item: a function whose loading ends the process then costs that, not workers for ever.
                function = self._load(chunk.key)
            if timed:
                queue.note_time(clock())
            kind, result = self._outcome(function, chunk.style, payload)
            if timed:
                queue.note_time(0)
            now = clock()
            if isinstance(result, Parcel) or not queue.put(kind, result, now):
                self._send(m.Large(seq, position, kind, result))
                queue.put(m.Kind.BESIDE, b"", now)
            if kind is m.Kind.FAILURE and chunk.stop_on_error:
                break
            if self.is_worn is not None and (worn := self.is_worn()):
                break
            if now - noted > _NOTE_EVERY_NS:
                noted = now
                self._send(m.Noted())
        self._send(m.Ended(seq, worn))

    def _outcome(self, loaded: m.Retrying | Failure, style: m.Style, payload: m.Payload) -> tuple[m.Kind, m.Payload]:
        if isinstance(loaded, Failure):
            return m.Kind.FAILURE, loaded.payload
        function, retry_on = loaded
        try:
            argument = loads(payload)
        except BaseException as error:  # noqa: BLE001 - the user's __setstate__ may raise anything
            return m.Kind.FAILURE, capture(error, "argument").payload
        self._leave_if_forked()
        _signals.in_item = True
        try:
            if style is m.Style.ONE:
                value = function(argument)
            elif style is m.Style.MANY:
                value = function(*argument)
            else:
                value = function(*argument[0], **argument[1])
        except Death:
            raise
        except BaseException as error:  # noqa: BLE001 - an outcome like any other
            _signals.in_item = False
            self._leave_if_forked()
            self.exit_code = _exit_code(error)
            kind = m.Kind.RETRIABLE if isinstance(error, retry_on) else m.Kind.FAILURE
            return kind, capture(error, "raised").payload
        _signals.in_item = False
        self._leave_if_forked()
        try:
            return m.Kind.VALUE, pack(value)
        except BaseException as error:  # noqa: BLE001 - the user's __reduce__ may raise anything
            return m.Kind.FAILURE, capture(error, "result").payload

    @staticmethod
    def _leave_if_forked() -> None:
        if _forked:
            # The item called os.fork and this is the other process, back from the function: its parent goes on with
            # the chunk, so this one must not.
            os._exit(0)


def _exit_code(error: BaseException) -> int:
    if not isinstance(error, SystemExit):
        return 1
    if error.code is None:
        return 0
    return error.code if isinstance(error.code, int) else 1


def serve(connection: socket.socket, page_fd: int) -> int:
    """Work for the parent until it says stop or is gone. Called in the worker's main thread.

    Args:
        connection (socket.socket): This worker's end; blocking. Leave it open to the end of the process: finalizers
            and threads that items left running may still log.
        page_fd (int): Descriptor of the shared page, behind which the stack is written; stays open.

    Returns:
        int: The exit code for this process.
    """
    global _forked  # noqa: PLW0603 - as above
    _forked = False
    os.register_at_fork(after_in_child=_mark_forked)
    _signals.handle(page_fd, PAGE_BYTES)
    with mmap.mmap(page_fd, PAGE_BYTES) as page:
        send = Sender(connection).send
        runner = Runner(writer := Writer(page), send)
        try:
            _loop(runner, connection, send, writer)
        except (BrokenPipeError, ConnectionResetError):
            pass  # The parent is gone; there is nobody to tell.
        finally:
            writer.close()
        return runner.exit_code


def _loop(runner: Runner, connection: socket.socket, send: Send, page: Writer) -> None:
    logs: Logs | None = None
    finalizer: Call | None = None
    for message in _receive(connection):
        match message:
            case m.Run():
                runner.run(message)
            case m.Define():
                runner.define(message)
            case m.Forget():
                runner.forget(message)
            case m.Setup():
                done = set_up(message, runner)
                if isinstance(done, Failure):
                    send(m.SetupFailed(done.payload))
                    return
                finalizer = done
                send(m.Ready())
            case m.Levels(payload):
                if logs is None:
                    logs = _forward_logs(send, page)
                    runner.after_load = logs.repeat
                logs.follow(payload)
            case m.Share() | m.Unshare():
                _keep_shared(message)
            case m.Stop():
                if finalizer is not None:
                    failed = try_call(finalizer)
                    send(m.Finalized(b"" if failed is None else failed.payload))
                return
            case _:
                assert_never(message)


def _forward_logs(send: Send, page: Writer) -> Logs:
    from procorch import _logs  # here: it takes some milliseconds, and the parent may not want it

    return _logs.Logs(send, page)


def _keep_shared(message: m.Share | m.Unshare) -> None:
    from procorch import _share  # here: few workers have something shared with them

    if isinstance(message, m.Share):
        _share.receive(message)
    else:
        _share.forget(message)


def _receive(connection: socket.socket) -> Iterator[m.ToWorker]:
    reader = FrameReader()
    while True:
        if _spares.are_there() and not select.select([connection], [], [], _spares.IDLE_SECONDS)[0]:
            _spares.drop()
        count = receive(connection, reader)
        if not count:
            return
        yield from reader.filled(count)  # type: ignore[misc]  # what comes this way is ToWorker
