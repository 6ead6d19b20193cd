"""The ways between an event loop and threads: into the loop many calls at a time, out of it to a thread that is free.

    loop --(Threads.call)--> a thread that may block --(Hops.post)--> loop

Knows nothing of groups.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any, TypeAlias, TypeVar

from procorch._daemon import Daemon
from procorch._waits import join_thread

R = TypeVar("R")

_Job: TypeAlias = tuple[Callable[[], Any], "asyncio.Future[Any]"]


def settle(future: asyncio.Future[R], value: R | None, error: BaseException | None) -> None:
    """Finish a future of the loop. In the loop.

    Args:
        future (asyncio.Future[R]): Left as it is if it is done: nobody waits for it any more.
        value (R | None): Its result, if there is no error.
        error (BaseException | None): Its error.
    """
    if future.done():
        return
    if error is None:
        future.set_result(value)  # type: ignore[arg-type]  # None only if that is the result
    elif isinstance(error, (StopIteration, StopAsyncIteration, GeneratorExit, asyncio.CancelledError)):
        # Futures refuse the first, the third would close the coroutines that wait, and the last would say that somebody
        # had cancelled them.
        future.set_exception(_stand_in(error))
    else:
        future.set_exception(error)


def _stand_in(error: BaseException) -> RuntimeError:
    stand_in = RuntimeError(f"it raised {type(error).__name__}, which means something else where it is awaited")
    stand_in.__cause__ = error
    return stand_in


class Hops:
    """Calls things in an event loop, from any thread. What comes at once wakes the loop once."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin.

        Args:
            loop (asyncio.AbstractEventLoop): Which one.
        """
        self.loop = loop
        self._calls: deque[Callable[[], object]] = deque()
        self._coming = False

    def post(self, call: Callable[[], object]) -> None:
        """Call something in the loop, soon. Nothing happens if the loop is closed: nobody waits there.

        Args:
            call (Callable[[], object]): Raises nothing.
        """
        self._calls.append(call)
        if not self._coming:
            self._coming = True
            try:
                self.loop.call_soon_threadsafe(self._arrive)
            except RuntimeError:
                pass  # it is closed, see below
            except BaseException:
                self._coming = False  # or nothing would ever arrive again
                raise
        if self.loop.is_closed():
            self._calls.clear()  # or they would keep all that they refer to

    def _arrive(self) -> None:
        self._coming = False  # first: who posts from now on lets the loop look again
        for _ in range(len(self._calls)):
            self._calls.popleft()()


class Threads:
    """Threads for what may block, as many as are needed at a time. Those that have nothing to do wait for more."""

    def __init__(self, name: str, hops: Hops) -> None:
        """Begin without any.

        Args:
            name (str): The group's name.
            hops (Hops): Into the loop that calls.
        """
        self._name = f"procorch-{name}-aio"
        self._hops = hops
        self._todo: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._idle = threading.Semaphore(0)
        self._closed = False
        self._threads: set[threading.Thread] = set()

    def call(self, do: Callable[[], R]) -> asyncio.Future[R]:
        """Do something in a thread. In the loop.

        Args:
            do (Callable[[], R]): Goes on also if nobody waits for it any more.

        Returns:
            asyncio.Future[R]: What it returns or raises.
        """
        future: asyncio.Future[R] = self._hops.loop.create_future()
        if self._closed or not self._idle.acquire(blocking=False):
            # A daemon: what blocks for ever, as somebody's input may, keeps nobody from exiting.
            thread = Daemon(self._work, self._name)
            self._threads.add(thread)
            try:
                thread.start()
            except RuntimeError:  # the system has no room for it
                self._threads.discard(thread)
                raise
        # Only now: what is refused is not to be done by the next thread.
        self._todo.put((do, future))
        return future

    def _work(self) -> None:
        while (job := self._todo.get()) is not None:
            self._do(*job)
            del job  # or it would stay alive until the next comes
            self._idle.release()
            if self._closed and self._idle.acquire(blocking=False):
                break  # else who closed them has seen this one, and its end is on its way
        self._threads.discard(threading.current_thread())

    def _do(self, do: Callable[[], Any], future: asyncio.Future[Any]) -> None:
        value, failure = None, None
        try:
            value = do()
        except BaseException as error:  # noqa: BLE001 - it is raised where it is waited for
            failure = error
        self._hops.post(partial(settle, future, value, failure))

    def close(self) -> None:
        """Let threads end as soon as they have nothing to do. Any thread."""
        self._closed = True
        while self._idle.acquire(blocking=False):
            self._todo.put(None)

    def join(self, timeout: float) -> None:
        """Wait for the end of those that can come to one. After `close`; not in a thread of these.

        Args:
            timeout (float): Seconds for each at most: one may be in the user's code, which nobody can stop.
        """
        for thread in tuple(self._threads):
            join_thread(thread, timeout)
