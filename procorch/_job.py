"""One call of `map`, `imap`, `submit` or `start`: what it runs, and where its outcomes go."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import attrs

from procorch._engine import Function
from procorch._events import JobSpec, Outcome
from procorch._messages import Payload, Style
from procorch._verdict import Place


class Sink:
    """Where the outcomes of a job go. Called without the lock, by whichever thread learnt of them."""

    def deliver(self, items: Sequence[int], outcomes: Sequence[Outcome], place: Place | None) -> None:
        """Take outcomes in, quickly.

        Args:
            items (Sequence[int]): Numbers of items.
            outcomes (Sequence[Outcome]): Theirs, in the same order.
            place (Place | None): Where they ran; None if nowhere.

        Raises:
            NotImplementedError: The subclass forgot it.
        """
        raise NotImplementedError

    def index_of(self, item: int) -> int | None:
        """Tell an item's place in the user's input. Called without the lock, before the item's outcome is delivered.

        Args:
            item (int): Its number.

        Returns:
            int | None: From 0; None if there is only this one.
        """
        return None

    def started(self, pid: int | None) -> None:
        """Take in that a process of the job's own has been started.

        Args:
            pid (int | None): Its process id, if it has one.
        """

    def ended(self, exitcode: int | None) -> None:
        """Take in that the process of the job's own is gone for good, or that there never will be one.

        Args:
            exitcode (int | None): As of `multiprocessing.Process`; None is not known.
        """


@attrs.define(eq=False)
class Job:
    """One such call."""

    function: Function
    style: Style
    spec: JobSpec
    sink: Sink
    number: int = 0
    """Given by `Supervisor.open`."""
    deck: deque[Payload] = attrs.field(factory=deque[Payload])
    """The pickled arguments of items that nobody else knows of yet. Its owner appends without a lock; the supervisor
    takes, under its own: whole chunks of a stream before it hears of a worker's end of work, all when told to."""
    taken: int = 0
    """Items taken from the deck so far."""
    payloads: dict[int, Payload] = attrs.field(factory=dict[int, Payload])
    """The pickled arguments of the items without an outcome."""
