"""How a stream takes its inputs: in the consumer's thread, as many at a time as is good, pickled where they need it.

Knows nothing of where they go.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from functools import partial
from itertools import islice
from typing import Any

from procorch._errors import NotPicklable, Task
from procorch._job import Packed
from procorch._messages import Style
from procorch._parcel import Parcel
from procorch._pickles import Pickles
from procorch._plain import are_plain, is_plain

_MOST_AT_ONCE = 16384
"""Inputs taken in one go where they are there for the taking, and plain data: half a millisecond's work."""

_FEW_AT_ONCE = 64
"""The same where each may be long in coming, but workers have enough to do and the last ones were not; or where each
is to be pickled."""

_QUICK_SECONDS = 0.00005
"""Such an input has come at once."""

_LONG_SECONDS = 0.00025
"""Longer than this it should not take to take and pickle some."""


class Intake:
    """The inputs of one call."""

    fed = False
    """Whether somebody else takes them, so that none may be there although there will be more."""

    def __init__(
        self, sources: list[Iterator[Any]], style: Style, pickles: Pickles, *, ready: bool, star: bool = False
    ) -> None:
        """Begin; nothing is taken before it is asked for.

        Args:
            sources (list[Iterator[Any]]): What the items, or the parts of each item, come from.
            style (Style): How they are passed on.
            pickles (Pickles): Of the call.
            ready (bool): Whether taking an input never waits for anything, as from a list.
            star (bool): Whether what comes from the only source are sequences of parts.
        """
        self._sources = sources
        self._inputs: Iterator[Any]
        if star:
            self._inputs = map(tuple, sources[0])
        else:
            self._inputs = sources[0] if style is Style.ONE else zip(*sources, strict=False)
        self._pickles = pickles
        self.ready = ready
        """Whether taking an input never waits for anything."""
        self.over = False
        """Whether there is no further input."""
        self.plain = False
        """Whether the last ones were plain data."""
        self.has_large = False
        """Whether an item has gone into a file."""
        self.quick = False
        """Whether the last ones came at once."""
        self._at_once = 1

    def how_many(self, *, alone: bool) -> int:
        """Tell how many are good to take in one go.

        Args:
            alone (bool): Whether each is to go on before the next is waited for, if that may take long.

        Returns:
            int: At least 1.
        """
        if self.has_large:
            return 1
        if self.ready:
            return self._at_once
        return min(self._at_once, _FEW_AT_ONCE) if self.quick and not alone else 1

    def take(self, most: int, clock: Callable[[], float]) -> tuple[list[Any], Exception | None]:
        """Take inputs.

        Args:
            most (int): At most so many, at least 1; fewer only if there are no more.
            clock (Callable[[], float]): Tells the time in seconds.

        Returns:
            tuple[list[Any], Exception | None]: The inputs, and what taking the next one raised.
        """
        taken: list[Any] = []
        error: Exception | None = None
        began = clock()
        try:
            taken.extend(islice(self._inputs, most))
        except Exception as raised:  # noqa: BLE001 - the user's iterable may raise anything
            error = raised
        self.over = len(taken) < most
        self.quick = clock() - began < _QUICK_SECONDS * most
        self.plain = bool(taken) and are_plain(taken)
        return taken, error

    def take_each(
        self, most: int, put: Callable[[Any], None], enough: Callable[[], bool], clock: Callable[[], float]
    ) -> tuple[list[Any], Exception | None]:
        """Take inputs that may be long in coming: each is put where others find it before the next is waited for.

        Args:
            most (int): At most so many, at least 1.
            put (Callable[[Any], None]): Takes each that is plain data. After one that is not, no more are taken.
            enough (Callable[[], bool]): Asked after each whether it is time to do something else.
            clock (Callable[[], float]): Tells the time in seconds.

        Returns:
            tuple[list[Any], Exception | None]: As of `take`; if `plain` is false, the last has not been put.
        """
        taken: list[Any] = []
        error: Exception | None = None
        began = clock()
        self.plain = True
        is_ours = False  # whether what is raised now cannot come from the user's iterable
        try:
            for item in islice(self._inputs, most):
                is_ours = True
                taken.append(item)
                if not is_plain(item):
                    self.plain = False
                    break
                put(item)
                if enough():
                    break
                is_ours = False
            else:
                self.over = len(taken) < most
        except Exception as raised:  # the user's iterable may raise anything
            if is_ours:
                raise  # by the handler of a signal: what was taken may not have been put, and nobody is to wait for it
            error, self.over = raised, True
        self.quick = clock() - began < _QUICK_SECONDS * len(taken)
        return taken, error

    def pack(
        self, taken: list[Any], name: Callable[[int], Task], clock: Callable[[], float]
    ) -> list[Packed | NotPicklable]:
        """Pickle inputs.

        Args:
            taken (list[Any]): From `take`.
            name (Callable[[int], Task]): Names one by its place among them; called only for an error.
            clock (Callable[[], float]): Tells the time in seconds.

        Returns:
            list[Packed | NotPicklable]: For each, its pickle or why there is none.
        """
        began = clock()
        packed: list[Packed | NotPicklable] = []
        for place, item in enumerate(taken):
            packed.append(self._packed(item, partial(name, place)))
        self._pace(took=clock() - began)
        return packed

    def _packed(self, item: Any, task: Callable[[], Task]) -> Packed | NotPicklable:
        payload = self._pickles.item(item, task)
        self.has_large |= type(payload) is Parcel
        return payload if isinstance(payload, NotPicklable) else Packed(payload)

    def took_plain(self) -> None:
        """Take in that the last ones need no pickling."""
        self._at_once = min(4 * self._at_once, _MOST_AT_ONCE)

    def _pace(self, took: float) -> None:
        more = 4 * self._at_once if took < _LONG_SECONDS else self._at_once // 2
        self._at_once = max(1, min(more, _FEW_AT_ONCE))

    @property
    def awaited(self) -> bool:
        """Whether none is there now although there will be more, or an end that is not known yet."""
        return False

    def allow(self, total: int) -> None:
        """Tell whoever takes them how far to go.

        Args:
            total (int): Inputs that may be taken, those so far among them.
        """

    def close(self) -> None:
        """Take no more: end generators among the sources."""
        for source in self._sources:
            if isinstance(source, Generator):
                source.close()
