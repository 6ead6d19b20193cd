"""How much at once: how many items go into a chunk, and how far `imap` reads ahead. Pure arithmetic on counts."""

from __future__ import annotations

import attrs
from attrs.validators import ge, gt


@attrs.define
class ChunkSizer:
    """Finds, for one job, how many items make a good chunk: from one item towards a fixed amount of work.

    A chunk at most doubles the one before, since a cost is only known from what has run.
    """

    seconds: float = attrs.field(validator=gt(0))
    """Work to aim at in one chunk, in seconds."""

    most: int = attrs.field(validator=ge(1))
    """Most items in a chunk."""

    cost: float | None = None
    """Estimated seconds an item takes; None before the first report."""

    largest: int = 1
    """Items in the largest chunk that a report has been seen for."""

    def learn(self, items: int, busy: float) -> None:
        """Take in that ``items`` items took ``busy`` seconds.

        Args:
            items (int): Items of one chunk that finished; at least 1.
            busy (float): Seconds from the first one's beginning to the last one's end.
        """
        seen = busy / items
        # The newest chunk counts half: inputs drift, and a heavy one must shorten the next chunk at once.
        self.cost = seen if self.cost is None else (self.cost + seen) / 2
        self.largest = max(self.largest, items)

    def size(self, waiting: int, workers: int) -> int:
        """Say how many of the waiting items make the next chunk.

        Args:
            waiting (int): Items that wait; at least 1.
            workers (int): Workers that share them.

        Returns:
            int: At least 1, at most ``waiting``.
        """
        if self.cost is None:
            return 1
        # Asked this way round, since the quotient has no limit.
        by_cost = self.most if self.cost * self.most <= self.seconds else int(self.seconds / self.cost)
        # Each worker's share in two parts, so that chunks shrink towards the end and no worker ends long after others.
        share = -(-waiting // (2 * workers))
        return max(1, min(by_cost, 2 * self.largest, share, self.most))


@attrs.define(on_setattr=attrs.setters.NO_OP)  # its counts change with every item; the sizes are checked at the start
class Window:
    """How many inputs a stream may have taken and not yet given back as results.

    With a given size the bound is exact. Without one it starts small and doubles, at most once in half a window of
    results, when the consumer waits although few results are held back: then the workers run dry, and it is not one
    slow item that the consumer waits for.
    """

    size: int = attrs.field(validator=ge(1))
    """The bound now, in items."""

    most: int = attrs.field(validator=ge(1))
    """What it may grow to; the same as ``size`` for an exact bound."""

    taken: int = 0
    """Inputs taken so far."""

    given: int = 0
    """Results given to the consumer so far."""

    _grown_at: int = attrs.field(default=0, init=False)
    """``given`` when it last grew."""

    @property
    def room(self) -> int:
        """Inputs that may be taken now."""
        return self.size - (self.taken - self.given)

    def waited(self, held: int, *, eager: bool = False) -> None:
        """Take in that the consumer waits for a result.

        Args:
            held (int): Results that are there but out of turn. If they fill much of the window, its head is slow, and
                to read on would only pile up results behind it.
            eager (bool): Whether nothing is gained by a bound. Then it is there only to let the first results through
                before all inputs are taken.
        """
        if self.room > 0:
            return
        if eager and self.given > self._grown_at:
            self.size, self._grown_at = 4 * self.size, self.given
        elif held * 4 < self.size and (self.given - self._grown_at) * 2 >= self.size:
            self.size, self._grown_at = min(self.size * 2, self.most), self.given
