"""What one worker has told, by message, by its page and by its death, put into the order in which it happened.

Only one chunk is with a worker at a time, so everything here is about the chunk that was sent last.
"""

from __future__ import annotations

from typing import assert_never

from procorch._events import (
    ChunkEnded,
    Finalized,
    Looked,
    Recorded,
    Remains,
    SetupFailed,
    WorkerDied,
    WorkerEvent,
    WorkerReady,
)
from procorch._messages import (
    Ended,
    Failure,
    FromWorker,
    Kind,
    Large,
    Last,
    Logged,
    Noted,
    Payload,
    Plain,
    Post,
    Ready,
    Retriable,
    Said,
    Serving,
    Taken,
    Value,
)
from procorch._messages import Finalized as FinalizedMessage
from procorch._messages import SetupFailed as SetupFailedMessage
from procorch._parcel import Parcel
from procorch._queue import Beside, Reader, Record


class Inbox:
    """Turns a worker's messages and page into events for the scheduler."""

    def __init__(self, slot: int, page: Reader) -> None:
        """Begin before the first chunk.

        Args:
            slot (int): The worker's slot, for the events.
            page (Reader): The worker's page.
        """
        self._slot = slot
        self._page = page
        self._seq = 0
        self._position = 0  # of the next item whose outcome goes out
        self._records: list[Record] = []  # read from the page; the first waits for what went beside it
        self._beside: dict[int, Value | Failure | Retriable] = {}  # by position
        self.logged: list[Logged] = []
        """What was logged, until somebody takes it."""
        self.said: list[Said] = []
        """What the item has said, until somebody takes it."""
        self._heard = 0  # how much was logged, in all
        self._due = 0  # how much must be heard before the records go out
        self._held = False  # whether they wait for that

    def expect(self) -> int:
        """Prepare for a chunk that is about to be sent.

        Returns:
            int: Its number.
        """
        self._seq += 1
        self._position = 0
        self._page.expect()
        return self._seq

    def withdraw(self) -> None:
        """Let the worker begin no further item of the chunk."""
        self._page.ask_stop(self._seq)

    def hear(self, message: FromWorker) -> list[WorkerEvent]:
        """Take in a message.

        Args:
            message (FromWorker): From the worker.

        Returns:
            list[WorkerEvent]: What it means; may be empty.
        """
        match message:
            case Noted():
                return self.look()
            case Ended(_, worn):
                return [*self._take_rest(), ChunkEnded(self._slot, self._page.busy_seconds(), worn)]
            case Logged(seq):
                self._heard += 1
                # Of a chunk that is not the one that was sent last, nobody knows the items any more.
                self.logged.append(message if seq == self._seq else message._replace(begun=0))
                return self.look() if self._held and self._heard >= self._due else []
            case Large(_, position, kind, payload):
                self._beside[position] = _outcome(kind, payload)
                return []
            case Post() | Taken() | Serving():
                self.said.append(message)
                return []
            case Ready():
                return [WorkerReady(self._slot)]
            case SetupFailedMessage(payload):
                return [SetupFailed(self._slot, Failure(payload))]
            case FinalizedMessage(payload):
                return [Finalized(self._slot, Failure(payload) if payload else None)]
            case _:
                assert_never(message)

    def look(self) -> list[WorkerEvent]:
        """Take what is finished according to the page, as far as what was logged before has been heard.

        Returns:
            list[WorkerEvent]: `Recorded`, any number.
        """
        held = self._held
        if not held:
            # What is held back is not added to: an item that logs without end would hold it back for ever.
            self._records += self._page.take(self._seq)
            self._due = self._page.logged()
        self._held = self._heard < self._due
        if self._held:
            return []
        events = self._release()
        return events + self.look() if held else events

    def _take_rest(self) -> list[WorkerEvent]:
        """Take all that is finished: all that was logged before has been heard."""
        self._held = False
        self._records += self._page.take(self._seq)
        return self._release()

    def _release(self) -> list[WorkerEvent]:
        events: list[WorkerEvent] = []
        outcomes: list[Value | Failure | Retriable] = []
        taken = 0
        for record in self._records:
            if isinstance(record, Plain):
                if outcomes:
                    events.append(Recorded(self._slot, outcomes))
                    outcomes = []
                events.append(Recorded(self._slot, record))
                self._position += len(record)
            elif isinstance(record, Beside) and self._position not in self._beside:
                break  # noted already, but still on its way through the socket
            else:
                outcomes.append(self._beside.pop(self._position) if isinstance(record, Beside) else record)
                self._position += 1
            taken += 1
        del self._records[:taken]
        if outcomes:
            events.append(Recorded(self._slot, outcomes))
        return events

    def glance(self, *, stack: bool) -> list[WorkerEvent]:
        """See how far the worker is with the chunk.

        Args:
            stack (bool): Whether it has written its stack.

        Returns:
            list[WorkerEvent]: What is finished, then `Looked`.
        """
        # What runs is read first: what is finished by then cannot be missing among what is finished.
        begun, since = self._page.running(self._seq)
        return [*self.look(), Looked(self._slot, begun, since, stack)]

    @property
    def begun(self) -> bool:
        """Whether an item of the chunk has begun."""
        return self._page.begun(self._seq) > 0

    @property
    def listens(self) -> bool:
        """Whether the item that runs hears what is said to it."""
        return self._page.listens()

    @property
    def taken(self) -> int:
        """How many messages the items of the process have taken."""
        return self._page.taken()

    def want_receipts(self, wanted: bool) -> None:
        """Let items tell at once, or not, when they have taken a message.

        Args:
            wanted (bool): Whether.
        """
        self._page.want_receipts(wanted)

    def died(self, exitcode: int | None, remains: Remains) -> list[WorkerEvent]:
        """Take in that the process has ended and that all its messages have been heard.

        Args:
            exitcode (int | None): As of `multiprocessing.Process`; None is not known.
            remains (Remains): What else it has left.

        Returns:
            list[WorkerEvent]: What it left, then `WorkerDied`.
        """
        events = self._take_rest()
        if self._position in self._beside:
            # It died between sending a large outcome and noting that it had.
            events.append(Recorded(self._slot, [self._beside.pop(self._position)]))
        events.append(WorkerDied(self._slot, exitcode, self._page.begun(self._seq), remains))
        return events


def _outcome(kind: Kind, payload: Payload) -> Value | Failure | Retriable:
    if kind is Kind.LAST:
        return Last(payload)
    if kind is Kind.VALUE or isinstance(payload, Parcel):
        return Value(payload)
    return Retriable(payload) if kind is Kind.RETRIABLE else Failure(payload)
