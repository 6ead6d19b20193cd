"""For tests of code that uses procorch: a group without processes, a clock wound by hand, and a crash on request.

    engine = FakeEngine()
    with ProcessGroup(2, engine=engine) as group:
        group.map(function, items)          # runs in this process, one item after the other

Functions, arguments and results are pickled as for real processes, so what could not cross fails here too. What the
fake cannot show is anything that needs a second process: memory that is not shared, speed, a hang.
"""

from __future__ import annotations

import mmap
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from multiprocessing import current_process
from typing import NoReturn

import attrs
from typing_extensions import override

from procorch import _far
from procorch import _messages as m
from procorch._engine import ALL, Capabilities, Chunk, Engine, Worker
from procorch._events import NO_REMAINS, WorkerEvent
from procorch._inbox import Inbox
from procorch._process import WorkerProcess
from procorch._queue import PAGE_BYTES, Reader
from procorch._runner import Death, Runner
from procorch._writer import Writer

__all__ = ["Clock", "FakeEngine", "crash"]

_here = threading.local()  # .running: whether this thread runs an item of a fake worker


class Clock:
    """A clock that stands still until it is wound by hand. Any thread."""

    def __init__(self, now: float = 0.0) -> None:
        """Set it.

        Args:
            now (float): Seconds from an arbitrary zero.
        """
        self._now = now
        self.changed: threading.Condition = threading.Condition()
        """Notified when it is wound, and by whoever waits for something else as well."""

    def __call__(self) -> float:
        """Tell the time.

        Returns:
            float: Seconds.
        """
        return self._now

    def advance(self, seconds: float) -> None:
        """Wind it forward.

        Args:
            seconds (float): At least 0.

        Raises:
            ValueError: ``seconds`` is negative or not a number.
        """
        if not seconds >= 0:  # so that it holds for NaN too
            raise ValueError(f"seconds must be at least 0, not {seconds}")
        with self.changed:
            self._now += seconds
            self.changed.notify_all()


def crash(exitcode: int = -signal.SIGKILL) -> NoReturn:
    """End the worker in which the calling item runs, as a crash would: its item becomes a `WorkerCrashed`.

    Args:
        exitcode (int): The exit code to die with; negative is the number of the signal to die of.

    Raises:
        RuntimeError: Called neither in a worker process, an engine's included, nor in an item that a `FakeEngine` runs.
    """
    if getattr(_here, "running", False):
        raise Death(exitcode)
    if not isinstance(current_process(), WorkerProcess) and not _far.runs_elsewhere():
        raise RuntimeError("crash() is for items that run in a worker")
    if exitcode < 0:
        os.kill(os.getpid(), -exitcode)
    os._exit(exitcode)


class _FakeWorker(Worker):
    def __init__(self, engine: FakeEngine, slot: int, name: str) -> None:
        self.slot = slot
        self.name = name
        self.pid: int | None = None
        self._engine = engine
        self._memory = mmap.mmap(-1, PAGE_BYTES)
        self._writer = Writer(self._memory)
        self._page = Reader(self._memory)
        self._inbox = Inbox(slot, self._page)
        self._said: list[m.FromWorker] = [m.Ready()]
        self._runner = Runner(self._writer, self._said.append)
        self._functions: set[int] = set()
        self._todo: m.Run | None = None
        self._exitcode: int | None = None
        self._dead = self._asked = False

    # --- orders: under the group's lock -------------------------------------------------------------------------------

    @override
    def send(self, chunk: Chunk) -> None:
        function = chunk.function
        if function.key not in self._functions:
            self._functions.add(function.key)
            self._runner.define(m.Define(function.key, function.payload))
        seq = self._inbox.expect()
        run = m.Run(seq, function.key, chunk.style, chunk.stop_on_error, chunk.items, chunk.limit is not None)
        with self._engine.clock.changed:
            self._todo = run
            self._engine.clock.changed.notify_all()

    @override
    def withdraw(self) -> None:
        self._inbox.withdraw()

    @override
    def ask(self) -> None:
        with self._engine.clock.changed:
            self._asked = True
            self._engine.clock.changed.notify_all()

    @override
    def terminate(self) -> None:
        self.die(-signal.SIGTERM)

    @override
    def kill(self) -> None:
        self.die(-signal.SIGKILL)

    def die(self, exitcode: int) -> None:
        """End it; what it was given and has not begun stays undone."""
        with self._engine.clock.changed:
            if not self._dead:
                self._dead, self._exitcode, self._todo = True, exitcode, None
                self._engine.clock.changed.notify_all()

    # --- in the supervisor's thread -----------------------------------------------------------------------------------

    @property
    def has_news(self) -> bool:
        """Whether `read` would give something."""
        return bool(self._said) or self._dead

    @property
    def has_work(self) -> bool:
        """Whether `work` would do something."""
        return not self._dead and (self._asked or self._todo is not None)

    def work(self) -> None:
        """Do the chunk that is waiting, or end if that was asked for, here and now."""
        run, self._todo = self._todo, None
        if run is None:
            failed = self._runner.let_go()
            if failed is not None:
                self._said.append(m.Finalized(failed.payload))
            self.die(self._runner.exit_code if failed is not None else 0)
            return
        _here.running = True
        try:
            self._runner.run(run)
        except Death as death:
            self.die(death.args[0])
        finally:
            _here.running = False

    @override
    def read(self) -> Iterator[WorkerEvent]:
        while self._said:
            yield from self._inbox.hear(self._said.pop(0))
        if self._dead:
            yield from self._inbox.died(self._exitcode, NO_REMAINS)
            self._engine.bury(self)
            self._writer.close()
            self._page.close()

    @override
    def take_logged(self) -> list[m.Logged]:
        return []  # its items log in this process already

    @override
    def look(self) -> list[WorkerEvent]:
        return self._inbox.glance(stack=True)

    @override
    def has_begun(self) -> bool:
        return self._inbox.begun

    @override
    def show_stack(self) -> None:
        """There is none to show: when somebody looks, no item is running."""


class FakeEngine(Engine):
    """Runs items in this process, in the group's own thread, one after the other. For one group at a time."""

    has_main = True
    capabilities: Capabilities = attrs.evolve(ALL, prepare=False, converse=False)

    def __init__(self, clock: Clock | None = None) -> None:
        """Begin without workers.

        Args:
            clock (Clock | None): The clock by which the group measures time; None makes one that stands still.
        """
        self._clock = Clock() if clock is None else clock
        self._workers: list[_FakeWorker] = []
        self._woken = False

    @property
    @override
    def clock(self) -> Clock:
        """The clock by which the group measures time."""
        return self._clock

    @override
    def start(self, slot: int, name: str) -> Worker:
        worker = _FakeWorker(self, slot, name)
        self._workers.append(worker)
        return worker

    @override
    def wait(self, timeout: float | None) -> Sequence[Worker]:
        deadline = None if timeout is None else self.clock() + timeout
        with self.clock.changed:
            self.clock.changed.wait_for(lambda: self._has_something(deadline))
            self._woken = False
            working = next((worker for worker in self._workers if worker.has_work), None)
        if working is not None:
            working.work()
        return [worker for worker in self._workers if worker.has_news]

    def _has_something(self, deadline: float | None) -> bool:
        if self._woken or (deadline is not None and self.clock() >= deadline):
            return True
        return any(worker.has_work or worker.has_news for worker in self._workers)

    @override
    def wake(self) -> None:
        with self.clock.changed:
            self._woken = True
            self.clock.changed.notify_all()

    def bury(self, worker: _FakeWorker) -> None:
        """Forget a worker that has ended.

        Args:
            worker (_FakeWorker): Which one.
        """
        self._workers.remove(worker)

    @override
    def close(self) -> None:
        self._woken = False
