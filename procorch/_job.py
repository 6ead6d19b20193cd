"""One call of `map`, `imap`, `submit` or `start`: what it runs, and where its outcomes go."""

from __future__ import annotations

import pickle
from collections import deque
from collections.abc import Sequence
from typing import Any, NamedTuple

import attrs
from typing_extensions import override

from procorch._engine import Function
from procorch._events import JobSpec, Outcomes
from procorch._items import Items
from procorch._messages import PROTOCOL, Pack, Payload, Style
from procorch._talk import Talk
from procorch._verdict import Place


class Packed(NamedTuple):
    """An item's arguments, pickled."""

    payload: Payload


class Batch(NamedTuple):
    """The arguments of some items."""

    values: list[Any]
    """Each plain data, or `Packed`."""
    plain: bool
    """Whether all are plain data."""


NONE_BEGUN: dict[int, int] = {}
"""Shared, and never changed."""


class Sink:
    """Where the outcomes of a job go. Called without the lock, by whichever thread learnt of them."""

    def deliver(self, items: Sequence[int], outcomes: Outcomes, place: Place | None) -> None:
        """Take outcomes in, quickly.

        Args:
            items (Sequence[int]): Numbers of items.
            outcomes (Outcomes): Theirs, in the same order.
            place (Place | None): Where they ran; None if nowhere.

        Raises:
            NotImplementedError: The subclass forgot it.
        """
        raise NotImplementedError

    tells_end: bool = False
    """Whether it is to be told when the job is over."""

    def over(self) -> None:
        """Take in that each item has had its outcome, and that nothing of the job runs any more."""

    def sent(self) -> None:
        """Take in that the item of a `Call` goes to a worker, in each of its tries. Called under the lock."""

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

    def stopping(self, *, rests: bool) -> None:
        """Take in that the process of the job's own is to come to its end. Called under the lock.

        Args:
            rests (bool): Whether its function does not run now.
        """

    def restarted(self) -> None:
        """Take in that the process of the job's own has ended, and another is to take its place."""

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
    talk: Talk | None = None
    """With the process of its own; None if nobody talks with that."""
    number: int = 0
    """Given by `Supervisor.open`."""
    retried: int = 0
    """How often an item of it was begun in vain, and is begun again."""
    deck: deque[Any] = attrs.field(factory=deque[Any])
    """The arguments of items that nobody else knows of yet: each entry a `Batch`, or plain data of one item. Its owner
    appends without a lock; the supervisor takes all that is there, under its own."""
    closed: bool = False
    """Whether nobody asks any more for what is left in the deck."""
    begun: dict[int, int] = attrs.field(factory=dict[int, int])
    """How often items had begun before they came here, for those that had, by number. Set before they are in the deck,
    where the items are put next."""
    items: Items = attrs.field(factory=Items)
    """The arguments of the items without an outcome: plain data as they are, others `Packed`."""

    def take(self) -> int:
        """Take what is in the deck. Called under the lock, as the others here.

        Returns:
            int: How many items that is.
        """
        before = self.items.count
        single: list[Any] = []
        for _ in range(len(self.deck)):
            one = self.deck.popleft()
            if type(one) is not Batch:
                single.append(one)
                continue
            if single:
                self.items.add(single, plain=True)
                single = []
            self.items.add(one.values, plain=one.plain)
        if single:
            self.items.add(single, plain=True)
        return self.items.count - before

    def take_begun(self) -> dict[int, int]:
        """Take what is known of items that had begun before. Called under the lock, after `take`.

        Returns:
            dict[int, int]: By number; perhaps also of some that are still to come.
        """
        if not self.begun:
            return NONE_BEGUN
        return {number: self.begun.pop(number) for number in list(self.begun)}

    def drop(self, numbers: Sequence[int]) -> None:
        """Let the arguments of items go.

        Args:
            numbers (Sequence[int]): Those that have an outcome now.
        """
        self.items.drop(numbers)

    def left(self) -> list[int]:
        """Tell which items have no outcome.

        Returns:
            list[int]: Their numbers.
        """
        return list(self.items)

    def load(self, numbers: Sequence[int]) -> list[Payload] | Pack:
        """Give the arguments of items as they go to a worker.

        Args:
            numbers (Sequence[int]): Some without an outcome.

        Returns:
            list[Payload] | Pack: Plain data is pickled now.
        """
        values, plain = self.items.get(numbers)
        if plain:
            return Pack(len(values), pickle.dumps(values, PROTOCOL))
        return [one.payload if type(one) is Packed else pickle.dumps(one, PROTOCOL) for one in values]


@attrs.define(eq=False)
class Call(Job):
    """One with a single item, as `submit` and `start` make it."""

    payload: Payload | None = None
    """The pickled arguments; None once it has its outcome."""

    @override
    def take(self) -> int:
        return 1

    @override
    def drop(self, numbers: Sequence[int]) -> None:
        self.payload = None

    @override
    def left(self) -> list[int]:
        return [] if self.payload is None else [0]

    @override
    def load(self, numbers: Sequence[int]) -> list[Payload] | Pack:
        assert self.payload is not None
        self.sink.sent()
        return [self.payload]
