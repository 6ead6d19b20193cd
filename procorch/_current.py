"""What a function that `ProcessGroup.start` was given may ask and tell while it runs. Loaded where one does.

parent --> listener's thread --> stopping, messages --> the function --> messages, ready --> parent
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator
from multiprocessing import current_process as standard_process
from typing import Any, TypeVar, overload

from procorch import _mail, _signals
from procorch import _messages as m
from procorch._buffers import loads
from procorch._outcome import pack
from procorch._public import public

T = TypeVar("T")

_REPORTED_EVERY = 16
"""Messages after which the parent is told that they were taken, if there are more; else it is told at once."""


@public
class StopRequest:
    """Whether this process was asked to stop: by `ProcessHandle.stop`, or since its group ends.

    Like an event that nobody here sets: true once it was asked for, and waitable, in an event loop by ``await``.
    """

    def __init__(self) -> None:
        """Not for users: see `CurrentProcess.stopping`."""
        self._event = threading.Event()
        self._lock = threading.Lock()
        self._calls: list[Callable[[], object]] = []

    def is_set(self) -> bool:
        """Tell whether it was asked for.

        Returns:
            bool: Also by ``bool()``.
        """
        return self._event.is_set()

    __bool__ = is_set

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it is asked for.

        Args:
            timeout (float | None): Seconds to wait at most; None for no limit.

        Returns:
            bool: Whether it was.
        """
        return self._event.wait(timeout)

    def __await__(self) -> Generator[Any, None, None]:
        """Wait until it is asked for, in an event loop.

        Returns:
            Generator[Any, None, None]: For ``await``.
        """
        import asyncio  # here: who waits so has loaded it

        loop = asyncio.get_running_loop()
        asked: asyncio.Future[None] = loop.create_future()

        def settle() -> None:
            if not asked.done():
                asked.set_result(None)

        def tell() -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(settle)

        self._call(tell)
        try:
            yield from asked
        finally:
            with self._lock:
                if tell in self._calls:
                    self._calls.remove(tell)

    def _call(self, call: Callable[[], object]) -> None:
        """Call once it is asked for; at once if it was."""
        with self._lock:
            if not self.is_set():
                self._calls.append(call)
                return
        call()

    def _set(self) -> None:
        with self._lock:
            self._event.set()
            calls, self._calls = self._calls, []
        for call in calls:
            call()

    def __repr__(self) -> str:
        """Say whether it is set.

        Returns:
            str: Such as ``<StopRequest: not asked for>``.
        """
        return f"<StopRequest: {'asked for' if self else 'not asked for'}>"


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
        self._stopping = StopRequest()
        self._change = threading.Condition()
        self._messages: deque[m.Payload] = deque()
        self._taken = self._reported = 0
        self._sent = self._allowed = 0
        self._stopping._call(self._notify)

    @property
    def name(self) -> str:
        """Its name, as `ProcessHandle.name` has it."""
        return standard_process().name

    @property
    def stopping(self) -> StopRequest:
        """Whether it was asked to stop. Who never asks for this is not asked but sent SIGTERM."""
        return self._stopping

    def ready(self) -> None:
        """Tell that it is ready to serve: see `ProcessHandle.wait_ready`."""
        self._line.send(m.Serving())

    def send(self, obj: object) -> None:
        """Send a message to the parent, who gets it from the handle: by iterating over it, or `ProcessHandle.receive`.

        Waits while 64 are there that were not taken. What was sent arrives, whatever becomes of this process then.

        Args:
            obj (object): Pickled here.

        Raises:
            BaseException: What pickle, or the object's own code, raises.
        """
        payload = pack(obj)
        with self._change:
            self._change.wait_for(lambda: self._sent < self._allowed)
            self._sent += 1
            self._line.send(m.Post(payload))

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
        """
        with self._change:
            if not self._change.wait_for(lambda: self._messages or self._stopping, timeout):
                raise TimeoutError(f"no message within {timeout} s")
            if self._stopping:
                raise EOFError("the process was asked to stop")
            payload = self._messages.popleft()
            self._taken += 1
            self._line.page.note_taken(self._taken)  # first: who gets it may die of it
            report = not self._messages or self._taken - self._reported >= _REPORTED_EVERY
            if report:
                self._reported = self._taken
                self._line.send(m.Taken(self._taken))
        return checked(loads(payload), kind)

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

    def _hear(self, message: m.ToWorker | None) -> bool:
        """Take in what the parent says, in the listener's thread; None when it is gone."""
        match message:
            case m.Post(payload):
                with self._change:
                    self._messages.append(payload)
                    self._change.notify_all()
            case m.Allow(total):
                with self._change:
                    self._allowed = total
                    self._change.notify_all()
            case m.Cease() | None:
                self._stopping._set()
            case _:
                return False
        return True

    def _notify(self) -> None:
        with self._change:
            self._change.notify_all()

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
    if _mail.line is None or _signals.forked:
        raise RuntimeError("current_process() is for functions that ProcessGroup.start runs, and this is none")
    with _lock:
        if _current is None:
            current = CurrentProcess(_mail.line)
            if not _mail.line.mail.take_over(current._hear):
                raise RuntimeError("current_process() was called for the first time after the function had returned")
            _mail.line.page.listen()
            _current = current
        return _current


class Serving:
    """A function that is to stay up: ending by ``SystemExit`` with 0 or nothing is to return."""

    def __init__(self, fn: Callable[..., Any]) -> None:
        """Wrap it.

        Args:
            fn (Callable[..., Any]): The function.
        """
        self._fn = fn

    def __call__(self, *args: Any) -> Any:
        """Call it.

        Args:
            *args (Any): Its arguments.

        Returns:
            Any: What it returns.
        """
        try:
            return self._fn(*args)
        except SystemExit as end:
            if end.code is not None and end.code != 0:
                raise
            return None
