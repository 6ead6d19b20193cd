"""What a function that `ProcessGroup.start` was given may ask and tell while it runs. Loaded where one does.

parent --> whichever thread waits --> stopping, messages --> the function --> messages, ready --> parent
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Generator, Iterator
from contextlib import suppress
from multiprocessing import current_process as standard_process
from typing import TYPE_CHECKING, Any, TypeVar, overload

from procorch import _forked, _mail, _signals
from procorch import _messages as m
from procorch._buffers import loads
from procorch._outcome import pack
from procorch._public import public

if TYPE_CHECKING:
    import asyncio

T = TypeVar("T")

_REPORTED_EVERY = 16
"""Messages after which the parent is told that they were taken, if it is not told before: with a message of this
process, or when this one waits for more."""


@public
class StopRequest:
    """Whether this process was asked to stop: by `ProcessHandle.stop`, or since its group ends.

    Like an event that nobody here sets: true once it was asked for, and waitable, in an event loop by ``await``.
    """

    def __init__(self, mail: _mail.Mail) -> None:
        """Not for users: see `CurrentProcess.stopping`.

        Args:
            mail (_mail.Mail): Through which it comes.
        """
        self._mail = mail
        self._asked = False
        self._waiting: dict[asyncio.AbstractEventLoop, list[asyncio.Future[None]]] = {}

    def is_set(self) -> bool:
        """Tell whether it was asked for. Takes a microsecond; also by ``bool()``.

        Returns:
            bool: Of this moment.

        Raises:
            RuntimeError: As of `wait`.
        """
        return self.wait(0)

    __bool__ = is_set

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it is asked for.

        Args:
            timeout (float | None): Seconds to wait at most; None for no limit.

        Returns:
            bool: Whether it was.

        Raises:
            RuntimeError: This is a copy that `os.fork` made; or the handler of a signal has raised in the middle of
                reading, since when nothing is heard here any more; or it waits in the middle of such a wait.
        """
        return self._mail.wait_for(lambda: self._asked, timeout) or self._mail.is_over

    def __await__(self) -> Generator[Any, None, None]:
        """Wait until it is asked for, in an event loop.

        Returns:
            Generator[Any, None, None]: For ``await``.
        """
        import asyncio  # here: who waits so has loaded it

        loop = asyncio.get_running_loop()
        asked: asyncio.Future[None] = loop.create_future()
        waiting = self._waiting.setdefault(loop, [])
        if not waiting:
            loop.add_reader(self._mail.fileno(), self._look)
        waiting.append(asked)
        try:
            self._look()
            yield from asked
        finally:
            waiting.remove(asked)
            if not waiting:
                loop.remove_reader(self._mail.fileno())
                del self._waiting[loop]

    def _look(self) -> None:
        if self.is_set():
            self._tell_loops()

    def _set(self) -> None:
        """Take in that it is asked for, in any thread."""
        self._asked = True
        self._tell_loops()

    def _tell_loops(self) -> None:
        for loop, waiting in tuple(self._waiting.items()):
            for asked in tuple(waiting):
                with suppress(RuntimeError):  # that loop is closed, and nobody waits any more
                    loop.call_soon_threadsafe(_settle, asked)

    def __repr__(self) -> str:
        """Say whether it is set.

        Returns:
            str: Such as ``<StopRequest: not asked for>``.
        """
        return f"<StopRequest: {'asked for' if self else 'not asked for'}>"


def _settle(asked: asyncio.Future[None]) -> None:
    if not asked.done():
        asked.set_result(None)


@public
class CurrentProcess:
    """This process, to the function that `ProcessGroup.start` was given: see `current_process`.

    Iterating gives the messages that `ProcessHandle.send` sends, until the process is asked to stop. Methods may be
    called from any thread.
    """

    def __init__(self, line: _mail.Line) -> None:
        """Not for users: see `current_process`.

        Args:
            line (_mail.Line): To the parent.
        """
        self._line = line
        self._stopping = StopRequest(line.mail)
        # From here on under the lock of the mail.
        self._messages: deque[m.Payload] = deque()
        self._heard = self._reported = 0
        self._sent = self._allowed = 0

    @property
    def name(self) -> str:
        """Its name, as `ProcessHandle.name` has it."""
        return standard_process().name

    @property
    def stopping(self) -> StopRequest:
        """Whether it was asked to stop. Who never asks for this is not asked but sent SIGTERM."""
        return self._stopping

    def ready(self) -> None:
        """Tell that it is ready to serve: see `ProcessHandle.wait_ready`.

        Raises:
            RuntimeError: This is a copy that `os.fork` made.
        """
        self._line.mail.check_own()
        self._line.send(m.Serving())

    def send(self, obj: object, timeout: float | None = None) -> None:
        """Send a message to the parent, who gets it from the handle: by iterating over it, or `ProcessHandle.receive`.

        Waits while 64 are there that were not taken, also if the process is asked to stop. What was sent arrives,
        whatever becomes of this process then.

        Args:
            obj (object): Pickled here.
            timeout (float | None): Seconds to wait for room at most; None for no limit.

        Raises:
            TimeoutError: There was no room within ``timeout`` seconds; the message was not sent.
            RuntimeError: As of `StopRequest.wait`.
            BaseException: What pickle, or the object's own code, raises.
        """
        payload = pack(obj)
        mail = self._line.mail
        if mail.wait_for(self._may_send, timeout):
            self._line.send(m.Post(payload, self._reported))
        elif not mail.is_over:
            raise TimeoutError(f"no room for a message within {timeout} s")

    def _may_send(self) -> bool:
        may = self._sent < self._allowed
        if may:
            self._sent += 1
            self._reported = self._taken
        return may

    @property
    def _taken(self) -> int:
        """Messages that were taken. Counted by what is left, so that no interrupt can come between the two."""
        return self._heard - len(self._messages)

    @overload
    def receive(self, kind: type[T], timeout: float | None = None) -> T: ...
    @overload
    def receive(self, kind: None = None, timeout: float | None = None) -> Any: ...
    def receive(self, kind: type[Any] | None = None, timeout: float | None = None) -> Any:
        """Take the next message, and wait for it. A message that was taken is given to no other process.

        Args:
            kind (type[Any] | None): Of which type it must be; None for any.
            timeout (float | None): Seconds to wait at most; None for no limit.

        Returns:
            Any: What `ProcessHandle.send` was given.

        Raises:
            EOFError: The process was asked to stop.
            TimeoutError: None came within ``timeout`` seconds.
            TypeError: The message is of another type; it has been taken.
            RuntimeError: As of `StopRequest.wait`.
            Exception: What rebuilding the message raises; it has been taken.
        """
        taken: list[m.Payload] = []
        self._line.mail.check_own()
        self._report()
        self._line.mail.wait_for(lambda: self._stopping._asked or self._take_into(taken), timeout)
        if not taken:
            if self._stopping:
                raise EOFError("the process was asked to stop")
            raise TimeoutError(f"no message within {timeout} s")
        if self._line.page.wants_receipts():
            self._report()  # who waits for that is not to wait for what comes next here
        return checked(loads(taken[0]), kind)

    def _take_into(self, taken: list[m.Payload]) -> bool:
        if not self._messages:
            return False
        self._line.page.note_taken(self._taken + 1)  # first: who gets it may die of it
        taken.append(self._messages.popleft())
        return True

    def _report(self) -> None:
        """Tell how far it has come, if there is nothing more to take, or much that was not told."""
        news = self._taken - self._reported
        if news and (not self._messages or news >= _REPORTED_EVERY):
            self._reported = self._taken
            self._line.send(m.Taken(self._reported))

    @overload
    def messages(self, kind: type[T]) -> Iterator[T]: ...
    @overload
    def messages(self, kind: None = None) -> Iterator[Any]: ...
    def messages(self, kind: type[Any] | None = None) -> Iterator[Any]:
        """Take one message after the other.

        Args:
            kind (type[Any] | None): As of `receive`.

        Yields:
            Any: Each, until the process is asked to stop: what has not been taken by then is not taken any more.

        Raises:
            Exception: What `receive` raises, but for `EOFError`.
        """
        while True:
            try:
                message = self.receive(kind)
            except EOFError:
                return
            yield message

    def __iter__(self) -> Iterator[Any]:
        """Take one message after the other.

        Returns:
            Iterator[Any]: As of `messages`.
        """
        return self.messages()

    def _hear(self, message: m.ToWorker) -> bool:
        """Take in what the parent says, under the lock of the mail."""
        match message:
            case m.Post(payload):
                self._messages.append(payload)
                self._heard += 1
            case m.Allow(total):
                self._allowed = total
            case m.Cease():
                self._stopping._set()
            case m.Stop():
                self._stopping._set()
                return False  # a generator is to be closed; the main thread does that
            case m.Share() | m.Unshare():
                _mail.keep_shared(message)  # a message may refer to it
            case _:
                return False
        return True

    def __repr__(self) -> str:
        """Say which process.

        Returns:
            str: Such as ``<CurrentProcess 'server-1'>``.
        """
        return f"<CurrentProcess {self.name!r}>"


def checked(message: Any, kind: type[Any] | None) -> Any:
    """Refuse a message of another type than was asked for.

    Args:
        message (Any): What has come.
        kind (type[Any] | None): What was asked for; None for anything.

    Returns:
        Any: The message.

    Raises:
        TypeError: It is of another type.
    """
    if kind is not None and not isinstance(message, kind):
        raise TypeError(f"the message is no {kind.__qualname__}: {message!r}")
    return message


_current: CurrentProcess | None = None
_lock = threading.Lock()


def _after_fork_in_child() -> None:
    """Forget what belongs to the process that was copied: this one may become a worker of its own."""
    global _current, _lock
    _current, _lock = None, threading.Lock()


os.register_at_fork(after_in_child=_after_fork_in_child)


@public
def current_process() -> CurrentProcess:
    """Give this process, to the function that `ProcessGroup.start` was given. The first call is to come while it runs.

    Returns:
        CurrentProcess: Always the same.

    Raises:
        RuntimeError: Called elsewhere: in the parent, in a worker of `ProcessGroup.map` and its like, in a copy that
            `os.fork` made, or for the first time after the function has returned.
    """
    global _current  # noqa: PLW0603 - it belongs to the process
    if _mail.line is None or _forked.is_copy:
        raise RuntimeError("current_process() is for functions that ProcessGroup.start runs, and this is none")
    with _lock:
        if _current is None:
            current = CurrentProcess(_mail.line)
            # Once the function has returned, the main thread is about to read for itself, if it does not yet.
            if not (_signals.in_item and _mail.line.mail.listen(current._hear)):
                raise RuntimeError("current_process() was called for the first time after the function had returned")
            _mail.line.page.listen()
            _current = current
        return _current
