"""A group as an event loop sees it: what may block is done in threads, and what they find comes back into the loop.

    submit --> a thread that pickles, one call after the other --> the group's own threads --> loop

`aio` is what users see of it; `_aio.streams` is `map` and `imap`.
"""

from __future__ import annotations

import asyncio
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import Protocol, TypeVar

from procorch._aio.calls import Call, Start
from procorch._aio.gentle import GentlePickles
from procorch._aio.hops import Hops, Threads, settle
from procorch._callbacks import Callbacks
from procorch._daemon import Daemon
from procorch._group import ProcessGroup
from procorch._handle import ProcessHandle

R = TypeVar("R")

_GRACE_SECONDS = 0.5
"""How long the end of a group waits for a thread that may be in the user's code, where nobody can stop it: a blocking
input, or an object that is pickled. It ends by itself when it comes back from there."""


class Endable(Protocol):
    """What has to be told of the end of the group."""

    def end(self, error: BaseException) -> None:
        """Take in that the group has ended.

        Args:
            error (BaseException): What whoever still waits gets.
        """
        ...

    def join(self, timeout: float) -> None:
        """Wait for the threads of its own.

        Args:
            timeout (float): Seconds at most for each.
        """
        ...


class Ways:
    """The ways between one loop and the threads of one group."""

    def __init__(self, name: str) -> None:
        """Begin, in the loop.

        Args:
            name (str): The group's name.
        """
        self.hops: Hops = Hops(asyncio.get_running_loop())
        self.threads: Threads = Threads(name, self.hops)


class Bridge:
    """What an async group and its views have in common."""

    def __init__(self, group: ProcessGroup) -> None:
        """Begin; belongs to the loop that uses it first.

        Args:
            group (ProcessGroup): Ended together with this.
        """
        self.group = group
        group._functions.make_pickles = GentlePickles
        self.name: str = group._supervisor.name
        self.open_streams: set[Endable] = set()
        self._giver = Callbacks(f"{self.name}-aio")
        self._stopper = Callbacks(f"{self.name}-aio-stop")  # another one, as the giver may be busy for long
        self._ways: Ways | None = None
        self._binding = threading.Lock()
        self._given = threading.Event()  # all that was accepted is with the group, or never will be
        self._forced = False
        self._ended: asyncio.Future[None] | None = None
        self._closer: threading.Thread | None = None
        self._failure: BaseException | None = None  # what leaving the group raises, once

    def ways(self) -> Ways:
        """Give the ways to the loop that is running.

        Returns:
            Ways: Always the same.

        Raises:
            RuntimeError: No loop is running, or another than before.
        """
        loop = asyncio.get_running_loop()
        with self._binding:
            if self._ways is None:
                self._ways = Ways(self.name)
                finalizer = weakref.finalize(self, _let_go, self._giver, self._stopper, self._ways.threads)
                finalizer.atexit = False
        if self._ways.hops.loop is not loop:
            raise RuntimeError(f"the group {self.name!r} is used in another event loop already: make one for each loop")
        return self._ways

    def check_open(self) -> None:
        """Refuse work for a group that takes none.

        Raises:
            GroupClosed: It has been closed or left, or cannot start its workers.
        """
        if self._ended is not None:
            raise self.group._supervisor.ending.closed()
        self.group._supervisor.check_open()

    def submit(self, begin: Callable[[], Future[R]]) -> asyncio.Future[R]:
        """Let the group begin something in a thread, after what was given before.

        Args:
            begin (Callable[[], Future[R]]): Gives its future.

        Returns:
            asyncio.Future[R]: Cancelling it cancels that.

        Raises:
            GroupClosed: See `check_open`.
        """
        ways = self.ways()
        self.check_open()
        call = Call(ways.hops, begin, self._lost, self._stopper.run)
        self._giver.run(call.begin)
        return call.future

    def _lost(self) -> BaseException:
        return self.group._supervisor.ending.error()

    async def start(self, begin: Callable[[], ProcessHandle[R]]) -> ProcessHandle[R]:
        """Let the group start a process of its own, likewise.

        Args:
            begin (Callable[[], ProcessHandle[R]]): Gives its handle.

        Returns:
            ProcessHandle[R]: When the process is there. Cancelling who waits ends it.

        Raises:
            GroupClosed: See `check_open`.
        """
        ways = self.ways()
        self.check_open()
        starting = Start(ways.hops, begin)
        self._giver.run(starting.begin)
        return await starting.wait()

    # --- the end ------------------------------------------------------------------------------------------------------

    def terminate(self) -> None:
        """End all processes now. Returns at once; for any moment."""
        self.group.terminate()
        self._given.set()

    async def leave(self, *, force: bool) -> None:
        """Wait for all work and all processes, however often whoever waits is cancelled; that ends the processes.

        Args:
            force (bool): End the processes now.

        Raises:
            BaseException: As leaving a `ProcessGroup`; CancelledError if whoever waits was cancelled.
        """
        ways = self.ways()
        if force:
            self._end_by_force()
        if self._ended is None:
            self._begin_to_close(ways)
        assert self._ended is not None
        cancelled = None
        while not self._ended.done():
            try:
                await asyncio.wait([self._ended])
            except asyncio.CancelledError as error:
                cancelled = error
                self._end_by_force()
        assert self._closer is not None
        self._closer.join()  # it has said its last
        failure, self._failure = self._failure, None
        if cancelled is not None:
            raise cancelled
        if failure is not None and not self._forced:
            raise failure

    def _begin_to_close(self, ways: Ways) -> None:
        ended: asyncio.Future[None] = ways.hops.loop.create_future()
        closer = Daemon(self._close, f"procorch-{self.name}-aio-closer", (ways, ended))
        try:
            closer.start()
        except RuntimeError:  # the system has no room for it: whoever leaves once more tries again
            self.terminate()
            raise
        self._ended, self._closer = ended, closer
        self._giver.run(self._given.set)

    def _end_by_force(self) -> None:
        self._forced = True
        self.terminate()

    def _close(self, ways: Ways, ended: asyncio.Future[None]) -> None:
        """Close the group and all that belongs to it. In a thread of its own."""
        self._given.wait()
        try:
            self.group.__exit__(None, None, None)
        except BaseException as error:  # noqa: BLE001 - raised in the loop
            self._failure = error
        streams = tuple(self.open_streams)
        for stream in streams:
            stream.end(self.group._supervisor.ending.closed())
        _let_go(self._giver, self._stopper, ways.threads)
        self._giver.join(_GRACE_SECONDS)
        self._stopper.join(_GRACE_SECONDS)
        ways.threads.join(_GRACE_SECONDS)
        for stream in streams:
            stream.join(_GRACE_SECONDS)
        ways.hops.post(partial(settle, ended, None, None))


def _let_go(*threads: Callbacks | Threads) -> None:
    for one in threads:
        one.close()
