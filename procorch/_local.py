"""The engine for this machine: processes, their channels, and one wait on all of them. Decides nothing."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import socket
import time
from collections.abc import Callable, Iterator, Sequence

from typing_extensions import override

from procorch import _messages as m
from procorch import _pgroup, _process, _spares, _tree
from procorch._channel import Channel
from procorch._engine import Chunk, Engine, Function, Worker
from procorch._events import Remains, WorkerEvent
from procorch._inbox import Inbox
from procorch._main import being_imported
from procorch._passing import NO_ROOM, wait_for_room
from procorch._popen import METHODS
from procorch._process import WorkerProcess
from procorch._records import levels
from procorch._shares import Shares
from procorch._signals import STACK_SIGNAL

_MOST_FUNCTIONS = 256
"""Functions that a worker keeps; the one used longest ago goes first."""


class LocalWorker(Worker):
    """One process and the channel to it. See `_engine.Worker`."""

    def __init__(
        self, engine: LocalEngine, slot: int, name: str, make_process: Callable[[str, int, int], WorkerProcess]
    ) -> None:
        """Start the process.

        Args:
            engine (LocalEngine): To tell when something is left to be sent, and when the process has ended.
            slot (int): The slot's number.
            name (str): The process's name.
            make_process (Callable[[str, int, int], WorkerProcess]): By its start method.

        Raises:
            OSError: The system refuses descriptors or a process.
        """
        self.slot = slot
        self.name = name
        self.ended = False
        self._forgotten = False
        self._killed = False  # by us
        self._oom_kills = _tree.oom_kills()
        self._strays = _tree.Strays()
        self._engine = engine
        self._functions: dict[int, None] = {}  # those by reference that it has, the youngest last
        self._data: Function | None = None  # the one that is not; it may hold any amount of data
        self._levels = b""  # of loggers, as it knows them
        self._shared: set[int] = set()  # what it has got of what is shared
        self._shares_version: object = None
        with _process.starting:  # by its module: a forked worker gets another
            self.channel = Channel()
            try:
                self.process = make_process(name, *self.channel.worker_fds)
                self.process.start()
            except BaseException:
                self.channel.close()
                raise
            self.channel.drop_worker_fds()
        self._pid = self.process.popen.pid
        self.pid = self._pid
        self._inbox = Inbox(slot, self.channel.page)

    @property
    def death_fd(self) -> int:
        """The descriptor that becomes readable when the process has ended."""
        return self.process.popen.death_fd

    # --- orders -------------------------------------------------------------------------------------------------------

    @override
    def say(self, message: m.ToWorker) -> None:
        """Send a message, now or as soon as the socket takes it.

        Args:
            message (m.ToWorker): To the worker.
        """
        if type(message) is m.Post:
            self._tell_shares()  # it may refer to what is shared
        if not self.channel.send(message):
            self._engine.has_unsent(self)

    def set_up(self, setup: m.Setup) -> None:
        """Send what comes first of all.

        Args:
            setup (m.Setup): How it gets ready.
        """
        self._tell_levels()  # first: initializers log, too
        self.say(setup)

    def _tell_levels(self) -> None:
        """Tell the worker the levels of the loggers, if it is to forward what is logged and does not know them."""
        if self._engine.forward_logs:
            now = levels()
            if now is not self._levels and now != self._levels:
                self.say(m.Levels(now))
            self._levels = now

    def _tell_shares(self) -> None:
        """Send what is shared and the worker does not have, and let it forget what is not shared any more."""
        shares = self._engine.shares
        if self._shares_version is not shares.version:
            self._shares_version = shares.version  # first: a change in between is seen the next time
            for message in shares.catch_up(self._shared):
                self.say(message)

    @override
    def send(self, chunk: Chunk) -> None:
        self._tell_levels()
        self._tell_shares()
        seq = self._inbox.expect()
        self._introduce(chunk.function)
        timed = chunk.limit is not None
        self.say(m.Run(seq, chunk.function.key, chunk.style, chunk.stop_on_error, chunk.items, timed, chunk.talks))

    def _introduce(self, function: Function) -> None:
        """Send a function that the worker does not have, and let it forget another that makes room."""
        known = self._functions
        if not function.by_reference:
            self._introduce_data(function)
        elif function.key in known:
            known[function.key] = known.pop(function.key)  # now the youngest
        else:
            if len(known) >= _MOST_FUNCTIONS:
                oldest = next(iter(known))
                del known[oldest]
                self.say(m.Forget(oldest))
            known[function.key] = None
            self.say(m.Define(function.key, function.payload))

    def _introduce_data(self, function: Function) -> None:
        if self._data is not function:
            if self._data is not None:
                self.say(m.Forget(self._data.key))
            self._data = function
            self.say(m.Define(function.key, function.payload))

    @override
    def withdraw(self) -> None:
        self._inbox.withdraw()

    @override
    def ask(self) -> None:
        self.say(m.Stop())

    @override
    def show_stack(self) -> None:
        self.process.popen.send_signal(STACK_SIGNAL)

    @override
    def terminate(self) -> None:
        # To wait for somebody who does not listen would only take time.
        self._signal(signal.SIGKILL if _tree.ignores(self._pid, signal.SIGTERM) else signal.SIGTERM)

    @override
    def kill(self) -> None:
        self._signal(signal.SIGKILL)

    def _signal(self, number: int) -> None:
        if self.process.popen.has_ended():
            return
        self._killed |= number == signal.SIGKILL
        self._strays.find(self._pid)
        if not _pgroup.signal_group(self._pid, number) or number == signal.SIGKILL:
            # It has not made its group yet; or it has left it.
            self.process.popen.send_signal(number)
        self._strays.signal(number)

    # --- news ---------------------------------------------------------------------------------------------------------

    @override
    def read(self) -> Iterator[WorkerEvent]:
        if self._forgotten:
            return  # another thread was told of its end too
        if self.ended and not self.process.popen.has_ended():
            # Another thread had let go of a descriptor that became ready, and this worker got that number.
            self.ended = False
        # Also where somebody else has sent the rest by now, or the engine would hear of room in the socket for ever.
        if self.channel.writing and self.channel.flush():
            self._engine.watch(self)
        try:
            while (messages := self.channel.receive()) is not None:
                for message in messages:
                    yield from self._inbox.hear(message)
                if not self.ended:
                    # One piece at a time, so that no worker keeps the others waiting; the dead are read to the end.
                    return
        except EOFError:
            self._engine.hung_up(self)
        if self.ended:
            exitcode = self.process.popen.exit_code()
            yield from self._inbox.died(exitcode, self._remains(exitcode))
            self._engine.forget(self)

    def _remains(self, exitcode: int | None) -> Remains:
        if exitcode == 0:
            return Remains()
        # Only a SIGKILL that is not ours may be the system's.
        kills = _tree.oom_kills() - self._oom_kills if exitcode == -signal.SIGKILL and not self._killed else 0
        return Remains(self.channel.stack(), _tree.likely_cause(exitcode, kills))

    @override
    def take_logged(self) -> list[m.Logged]:
        logged = self._inbox.logged
        if logged:
            self._inbox.logged = []
        return logged

    @override
    def take_said(self) -> list[m.Said]:
        said = self._inbox.said
        if said:
            self._inbox.said = []
        return said

    @override
    def listens(self) -> bool:
        return self._inbox.listens

    @override
    def taken(self) -> int:
        return self._inbox.taken

    @override
    def want_receipts(self, wanted: bool) -> None:
        self._inbox.want_receipts(wanted)

    @override
    def look(self) -> list[WorkerEvent]:
        return self._inbox.glance(stack=self.channel.has_stack)

    @override
    def has_begun(self) -> bool:
        return self._inbox.begun

    def close(self) -> None:
        """Give back what the ended process leaves in this one, and end what it has left elsewhere."""
        self._forgotten = True
        self._strays.close()
        self.channel.close()
        self.process.join(0)  # takes it off multiprocessing's list of children
        self.process.close()

    def end(self) -> None:
        """Kill the process, wait for its end and close: nobody will hear of it."""
        self.kill()
        self.process.join()
        self.close()


class LocalEngine(Engine):
    """Starts processes and waits for them. See `_engine.Engine`."""

    shareable = True

    def __init__(self, method: str, setup: m.Setup, *, forward_logs: bool, shares: Shares | None = None) -> None:
        """Begin without processes.

        Args:
            method (str): Start method: ``"forkserver"``, ``"spawn"`` or ``"fork"``.
            setup (m.Setup): How each process gets ready.
            forward_logs (bool): Whether workers send here what is logged in them.
            shares (Shares | None): What workers share; None for nothing.

        Raises:
            RuntimeError: This process is about to import the main module of another.
            OSError: The system refuses descriptors.
        """
        self.shares: Shares = Shares("") if shares is None else shares
        self.forward_logs: bool = forward_logs
        if being_imported():
            raise RuntimeError(
                "a group cannot start processes here: this is a worker that imports the main module, "
                "and what starts work there belongs under `if __name__ == '__main__':`"
            )
        self._make_process = METHODS[method]
        self._setup = setup
        self._pid = os.getpid()
        self._unsent: set[LocalWorker] = set()
        self._workers: set[LocalWorker] = set()
        self._shares_version: object = self.shares.version
        with contextlib.ExitStack() as opened:
            self._selector = opened.enter_context(selectors.DefaultSelector())
            self._wake_reader, self._wake_writer = socket.socketpair()
            opened.enter_context(self._wake_reader)
            opened.enter_context(self._wake_writer)
            self._wake_reader.setblocking(False)
            self._wake_writer.setblocking(False)
            self._selector.register(self._wake_reader, selectors.EVENT_READ)
            opened.pop_all()
        for end in (self._selector, self._wake_reader, self._wake_writer):
            _process.ends.add(end)
        _spares.keep(self)
        self.shares.changed = self.wake

    @property
    @override
    def clock(self) -> Callable[[], float]:
        return time.monotonic

    @override
    def start(self, slot: int, name: str) -> LocalWorker:
        worker = LocalWorker(self, slot, name, self._make_process)
        try:
            self._selector.register(worker.channel, selectors.EVENT_READ, (worker, False))
            worker.channel.listening = True
            self._selector.register(worker.death_fd, selectors.EVENT_READ, (worker, True))
            worker.set_up(self._setup)
        except BaseException:
            # Nobody would hear of this process: it must not live.
            self.hung_up(worker)
            with contextlib.suppress(KeyError):  # it was not to be registered
                self._selector.unregister(worker.death_fd)
            worker.end()
            raise
        self._workers.add(worker)
        return worker

    @override
    def wait(self, timeout: float | None) -> Sequence[LocalWorker]:
        with contextlib.suppress(KeyError):  # it is empty, and another thread may empty it too
            while True:
                self.watch(self._unsent.pop())
        news: dict[LocalWorker, None] = {}
        if _spares.are_there() and (timeout is None or timeout > _spares.IDLE_SECONDS):
            timeout = _spares.IDLE_SECONDS
        ready = self._selector.select(timeout)
        if not ready and timeout == _spares.IDLE_SECONDS:
            _spares.drop()
        for key, _ in ready:
            if key.data is None:
                with contextlib.suppress(BlockingIOError):
                    self._wake_reader.recv(4096)
                continue
            worker, ended = key.data
            worker.ended |= ended
            news[worker] = None
        if self._shares_version is not self.shares.version:
            # To be read is to be told what has been closed: an idle worker would keep it.
            self._shares_version = self.shares.version
            news.update(dict.fromkeys(self._workers))
        return list(news)

    @override
    def wake(self) -> None:
        if os.getpid() != self._pid:
            return  # a forked copy, in which these descriptors may stand for something else
        while True:
            try:
                self._wake_writer.send(b"\0")
            except OSError as error:  # full: then it is awake already; closed: then nobody sleeps
                if error.errno in NO_ROOM:
                    wait_for_room()
                    continue
            return

    @override
    def close(self) -> None:
        _spares.leave(self)
        for worker in list(self._workers):  # only where the group has failed
            worker.end()
        self._selector.close()
        self._wake_reader.close()
        self._wake_writer.close()

    # --- what its workers tell it -------------------------------------------------------------------------------------

    def has_unsent(self, worker: LocalWorker) -> None:
        """Take in that a worker's socket is full; any thread.

        Args:
            worker (LocalWorker): Which one.
        """
        self._unsent.add(worker)
        self.wake()

    def watch(self, worker: LocalWorker) -> None:
        """Wait for what the worker's channel needs now: news, and room if something is left to send.

        Args:
            worker (LocalWorker): Which one.
        """
        if worker.channel.listening:
            both = selectors.EVENT_READ | selectors.EVENT_WRITE
            worker.channel.writing = bool(worker.channel.unsent)
            wanted = both if worker.channel.writing else selectors.EVENT_READ
            try:
                self._selector.modify(worker.channel, wanted, (worker, False))
            except (KeyError, ValueError, OSError):
                if worker.channel.listening:
                    raise  # else another thread has just let go of it

    def hung_up(self, worker: LocalWorker) -> None:
        """Wait no longer for news on the worker's channel: its end is closed.

        Args:
            worker (LocalWorker): Which one.
        """
        if worker.channel.listening:
            worker.channel.listening = False
            self._selector.unregister(worker.channel)

    def forget(self, worker: LocalWorker) -> None:
        """Let go of a worker that has ended.

        Args:
            worker (LocalWorker): Which one.
        """
        self.hung_up(worker)
        self._selector.unregister(worker.death_fd)
        self._workers.discard(worker)
        worker.close()
