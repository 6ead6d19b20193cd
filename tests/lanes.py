"""An engine whose chunks tests answer by hand."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable, Generator
from typing import NamedTuple

import attrs
from typing_extensions import override

from procorch import _assignments, _far
from procorch import _messages as m
from procorch._assignments import Answer, Assignment
from procorch._engine import Capabilities, Room
from procorch._lanes import Lane, LaneEngine, News


class Launch(NamedTuple):
    """A chunk that has come to the engine."""

    lane: Lane
    assignment: Assignment

    def tell(self, news: News) -> None:
        self.lane.tell(self.assignment.number, news)

    def do(self) -> None:
        """Do it here, and answer."""
        self.tell(_far.run(self.assignment))


class ByHand(LaneEngine):
    """Notes what it is told, and does nothing."""

    def __init__(
        self, capabilities: Capabilities | None = None, *, room: Room | None = None, keeps_limits: bool = True
    ) -> None:
        super().__init__(Capabilities() if capabilities is None else capabilities, keeps_limits=keeps_limits)
        self.launches: queue.SimpleQueue[Launch] = queue.SimpleQueue()
        self.under_way = 0
        self.most = 0
        self.said: list[tuple[str, int]] = []
        self.refuses = ""
        self._size = room

    @property
    @override
    def room(self) -> Room | None:
        return self._size

    @override
    def launch(self, lane: Lane, assignment: Assignment) -> None:
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        self.launches.put(Launch(lane, assignment))

    @override
    def take_back(self, lane: Lane) -> None:
        self.said.append(("take back", lane.number))

    @override
    def ask(self, lane: Lane) -> None:
        self.said.append(("ask", lane.number))

    @override
    def done_with(self, lane: Lane) -> None:
        self.under_way -= 1
        self.said.append(("done with", lane.number))

    @override
    def refusal(self) -> str:
        return self.refuses

    def __repr__(self) -> str:
        return "<ByHand>"

    # --- for tests ----------------------------------------------------------------------------------------------------

    def next(self) -> Launch:
        """Wait for the next chunk."""
        return self.launches.get(timeout=20)

    def grow(self, workers: int, window: int) -> None:
        self._size = Room(workers, window)
        self.wake()

    @contextlib.contextmanager
    def answered(self, do: Callable[[Launch], object] = Launch.do) -> Generator[list[Launch]]:
        """Let a thread answer, as long as the block lasts; give what has come."""
        seen: list[Launch] = []
        end = Launch(Lane(self, 0, ""), _NOTHING)

        def work() -> None:
            while (launch := self.launches.get()) is not end:
                seen.append(launch)
                do(launch)

        thread = threading.Thread(target=work, name="answers")
        thread.start()
        try:
            yield seen
        finally:
            self.launches.put(end)
            thread.join()


_NOTHING = Assignment("", 0, _assignments.Sent(0, b"", True, ""), m.Style.ONE, False, (), None, None)


@attrs.define
class Answers:
    """Makes answers that no process has given."""

    pid: int = 5
    host: str = "there"

    def of(self, *outcomes: _assignments.Crossed, refused: str = "", broken: str = "") -> Answer:
        return Answer(self.pid, self.host, list(outcomes), 0.25, 0, refused, broken)
