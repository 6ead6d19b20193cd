"""How a stream takes inputs that others have taken: those that are there, at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from typing_extensions import override

from procorch._feed import Feed
from procorch._intake import Intake
from procorch._messages import Style
from procorch._pickles import Pickles
from procorch._plain import are_plain


class FedIntake(Intake):
    """The inputs of one call, from feeds."""

    fed = True

    def __init__(self, feeds: Sequence[Feed], order: list[int], pickles: Pickles) -> None:
        """Begin.

        Args:
            feeds (Sequence[Feed]): One or two.
            order (list[int]): For each of the call's iterables which feed has it; those of one are in their order.
            pickles (Pickles): Of the call.
        """
        # What is there is there for the taking.
        super().__init__([iter(())], Style.ONE, pickles, ready=True)
        self._feeds = feeds
        self._order = order

    @property
    def _there(self) -> int:
        return min([len(feed.rows) for feed in self._feeds])

    @property
    def _has_ended(self) -> bool:
        # In this order: what is there is looked at once it is known that no more comes.
        return any(feed.ended and not feed.rows for feed in self._feeds)

    @property
    @override
    def awaited(self) -> bool:
        return not self._there and not self._has_ended

    @override
    def allow(self, total: int) -> None:
        for feed in self._feeds:
            feed.allow(total)

    @override
    def how_many(self, *, alone: bool) -> int:
        return max(1, min(super().how_many(alone=alone), self._there))

    @override
    def take(self, most: int, clock: Callable[[], float]) -> tuple[list[Any], Exception | None]:
        count = min(most, self._there)
        if count:
            taken = self._rows(count)
            self.plain = are_plain(taken)
            return taken, None
        self.over, self.plain = True, False
        error = next((feed.error for feed in self._feeds if feed.ended and not feed.rows), None)
        if error is None or isinstance(error, Exception):
            return [], error
        raise error

    def _rows(self, count: int) -> list[Any]:
        taken = [_pop(feed, count) for feed in self._feeds]
        if len(taken) == 1:
            return taken[0]
        return [self._mixed(*map(iter, rows)) for rows in zip(*taken, strict=True)]

    def _mixed(self, *parts: Iterator[Any]) -> tuple[Any, ...]:
        return tuple([next(parts[which]) for which in self._order])

    @override
    def close(self) -> None:
        for feed in self._feeds:
            feed.close()


def _pop(feed: Feed, count: int) -> list[Any]:
    pop = feed.rows.popleft
    rows = [pop() for _ in range(count)]
    feed.taken(rows)
    return rows
