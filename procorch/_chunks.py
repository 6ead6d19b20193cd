"""How much at once: how many items go into a chunk, and how far `imap` reads ahead. Pure arithmetic on counts."""

from __future__ import annotations

import attrs
from attrs.validators import ge, gt

_GROWTH = 8
"""How many times as many items as the largest chunk before it a chunk may have. Not 2: a wrong guess costs an item and
some 20 ms, not a chunk, and each step on the way to the thousands of cheap items costs a message."""


@attrs.define(on_setattr=attrs.setters.NO_OP)  # as `Window`
class ChunkSizer:
    """Finds, for one job, how many items make a good chunk: from one item towards a fixed amount of work.

    A chunk is at most a few times the largest before, since a cost is only known from what has run, and at most half of
    a worker's share of what waits. So chunks shrink towards the end: guided self-scheduling (Polychronopoulos and Kuck,
    1987) with the factor of factoring (Hummel, Schonberg and Flynn, 1992). A guess that is wrong nevertheless is the
    business of `_recall`.
    """

    seconds: float = attrs.field(validator=gt(0))
    """Work to aim at in one chunk, in seconds."""

    most: int = attrs.field(validator=ge(1))
    """Most items in a chunk."""

    least_seconds: float = attrs.field(default=0.0, validator=ge(0))
    """Work below which a chunk does not shrink towards the end, in seconds."""

    seconds_per_worker: float = attrs.field(default=0.0, validator=ge(0))
    """Least work in one chunk for each of the workers, in seconds, since one parent deals all chunks."""

    far_seconds: float = 0.0
    """Least work in one chunk, in seconds, so that it is worth the way to workers that are far away."""

    least_far_seconds: float = 0.0
    """Work below which a chunk does not shrink for that reason, in seconds."""

    cost: float | None = None
    """Estimated seconds an item takes; None before the first report."""

    reach: int = 1
    """Most items that the next chunk may have by what has been seen to go well."""

    era: int = 0
    """How often a chunk has taken far longer than expected."""

    def learn(self, items: int, busy: float, era: int) -> None:
        """Take in that ``items`` items took ``busy`` seconds.

        Args:
            items (int): Items of one chunk that finished; at least 1.
            busy (float): Seconds from the first one's beginning to the last one's end.
            era (int): `era` when their chunk was sent. What was sent before the last surprise proves nothing about what
                came to light in it.
        """
        seen = busy / items
        # The newest chunk counts half: inputs drift, and a heavy one must shorten the next chunk at once.
        self.cost = seen if self.cost is None else (self.cost + seen) / 2
        if era == self.era:
            self.reach = max(self.reach, min(_GROWTH * items, self.most))

    def surprised(self, done: int = 1) -> None:
        """Take in that a chunk takes far longer than expected: begin again with few items.

        Args:
            done (int): How many are known to be not too many; 1 as long as nothing is known of the chunk.
        """
        self.reach = max(1, min(self.reach, done))
        self.era += 1

    def budget(self, workers: int) -> float:
        """Tell how much work a chunk is to have.

        Args:
            workers (int): Workers that share the items.

        Returns:
            float: Seconds.
        """
        return max(self.seconds, self.seconds_per_worker * workers, self.far_seconds)

    def least(self, workers: int) -> float:
        """Tell below how much work chunks do not shrink, as long as there is so much.

        Args:
            workers (int): Workers that share the items.

        Returns:
            float: Seconds.
        """
        return max(self.least_seconds, self.seconds_per_worker * workers - self.seconds, self.least_far_seconds)

    def expected(self, items: int, workers: int) -> float:
        """Estimate how long a chunk takes.

        Args:
            items (int): How many it has.
            workers (int): Workers that share the items.

        Returns:
            float: Seconds; the whole budget as long as no cost is known.
        """
        budget = self.budget(workers)
        return budget if self.cost is None else min(self.cost * items, budget)

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
        share = max(-(-waiting // (2 * workers)), self._worth(self.least(workers), self.cost))
        return max(1, min(self._worth(self.budget(workers), self.cost), self.reach, share, self.most, waiting))

    def _worth(self, seconds: float, cost: float) -> int:
        # Asked this way round, since the quotient has no limit.
        return self.most if cost * self.most <= seconds else int(seconds / cost)


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

    def waited(self, held: int) -> None:
        """Take in that the consumer waits for a result.

        Args:
            held (int): Results that are there but out of turn. If they fill much of the window, its head is slow, and
                to read on would only pile up results behind it.
        """
        if self.room <= 0 and held * 4 < self.size and (self.given - self._grown_at) * 2 >= self.size:
            self.size, self._grown_at = min(self.size * 2, self.most), self.given
