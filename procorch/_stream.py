"""What `map` and `imap` do in the caller's thread: take inputs, hand them over, give results back in their order.

    inputs --(as the window has room)--> pickles --> supervisor ... workers ... supervisor --> arrived --> consumer

Inputs are taken, pickled and results opened here, in the thread that asks for the next result, so that the user's code
runs where the user expects it and nothing runs ahead of the consumer by more than the window.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterator, Sequence
from typing import Any, NamedTuple, TypeAlias

import attrs
from typing_extensions import override

from procorch._chunks import Window
from procorch._engine import Function
from procorch._errors import NotPicklable, Task
from procorch._events import Dropped, JobSpec, Outcome
from procorch._job import Job, Sink
from procorch._memory import is_crowded
from procorch._messages import Style, Value
from procorch._options import TaskOptions
from procorch._parcel import Parcel
from procorch._pickles import Pickles
from procorch._supervisor import Supervisor
from procorch._verdict import Place, annotate, fault_of, open_value, shorten
from procorch._waits import Condition

_HOLD_BACK_SECONDS = 0.0005
"""How long inputs are held back to be handed over together, if the next is there for the taking. To hand over costs
about 0.02 ms, and a worker is without work for no longer than this."""


@attrs.frozen
class Shape:
    """How a call wants its results."""

    ordered: bool
    return_exceptions: bool
    whole: bool
    """It is a `map`: the caller gets all results or the first error, and takes part until then."""
    chunksize: int | None

    def spec(self, options: TaskOptions) -> JobSpec:
        """Tell the scheduler's part of it.

        Args:
            options (TaskOptions): How each item is treated.

        Returns:
            JobSpec: For the job.
        """
        return options.spec(
            chunksize=self.chunksize,
            stop_on_failure=self.whole and not self.return_exceptions,
            streaming=not self.whole,
        )


class _InputFailed(NamedTuple):
    """In the place of the item that the user's iterable raised instead of giving."""

    error: Exception


_Arrival: TypeAlias = Outcome | NotPicklable | _InputFailed


class Stream(Sink):
    """One call of `map` or `imap`. One thread consumes it; outcomes arrive from others."""

    def __init__(
        self,
        supervisor: Supervisor,
        function: Function,
        pickles: Pickles,
        inputs: list[Iterator[Any]],
        style: Style,
        shape: Shape,
        options: TaskOptions,
        window: Window,
        owner: object,
        *,
        ready_input: bool,
    ) -> None:
        """Begin; nothing is taken before the first result is asked for.

        Args:
            supervisor (Supervisor): Of the group.
            function (Function): What to call.
            pickles (Pickles): By which it was pickled.
            inputs (list[Iterator[Any]]): What the items, or the parts of each item, come from.
            style (Style): How they are passed on.
            shape (Shape): How results are wanted.
            options (TaskOptions): How each item is treated.
            window (Window): How far to read ahead.
            owner (object): Kept alive as long as this: a group that nobody refers to closes.
            ready_input (bool): Whether taking an input never waits for anything, as from a list.
        """
        self._owner = owner
        self._ready_input = ready_input
        self._handed_over = 0.0  # when, by the engine's clock
        self._supervisor = supervisor
        self._pickles = pickles
        self._sources = inputs
        self._inputs: Iterator[Any] = inputs[0] if style is Style.ONE else zip(*inputs, strict=False)
        self._shape = shape
        self._window = window
        self._job = Job(function, style, shape.spec(options), self)
        self._input_over = False
        self._sealed = False
        self._has_large = False  # whether an item has gone into a file
        self._numbers = 0  # items that got a number of the job
        self._items: dict[int, Any] = {}  # by index, those whose result is still to come or to be given: for messages
        self._next = 0  # the index whose turn it is
        self._news = Condition()
        # From here on under the lock of `_news`.
        self._indexes: dict[int, int] = {}  # of items whose number differs, since one before them was never handed over
        self._arrived: dict[int, tuple[_Arrival, Place | None]] = {}
        self._arrivals: deque[int] = deque()  # the same, in the order of arrival; kept only if that is asked for
        self._failed: int | None = None  # the lowest index that is known to have failed
        self._waiting = False

    # --- what arrives -------------------------------------------------------------------------------------------------

    @override
    def deliver(self, items: Sequence[int], outcomes: Sequence[Outcome], place: Place | None) -> None:
        with self._news:
            for number, outcome in zip(items, outcomes, strict=True):
                index = self._indexes.pop(number, number)
                if index in self._arrived or index not in self._items:
                    continue  # told twice, since a call was interrupted
                self._arrive(index, outcome, place, failed=type(outcome) is not Value and type(outcome) is not Dropped)
            if self._waiting and (self._ready() or (self._has_large and self._may_take())):
                self._news.notify_all()

    @override
    def index_of(self, item: int) -> int:
        with self._news:
            return self._indexes.get(item, item)

    def _arrive(self, index: int, outcome: _Arrival, place: Place | None, *, failed: bool) -> None:
        self._arrived[index] = (outcome, place)
        if not self._shape.ordered:
            self._arrivals.append(index)
        if failed and (self._failed is None or index < self._failed):
            self._failed = index

    def _ready(self) -> bool:
        return self._next in self._arrived if self._shape.ordered else bool(self._arrivals)

    # --- the consumer's thread ----------------------------------------------------------------------------------------

    def results(self) -> Generator[Any, None, None]:
        """Give the results.

        Yields:
            Any: What the function returned, or an exception if the caller wants these as values.

        Raises:
            BaseException: What an item raised, or taking the next input; an error of ours.
        """
        try:
            while self._advance():
                with self._news:
                    index = self._next if self._shape.ordered else self._arrivals.popleft()
                    outcome, place = self._arrived.pop(index)
                self._next += 1
                self._window.given += 1
                item = self._items.pop(index, None)
                if isinstance(outcome, Dropped) and self._failed is not None and self._stops:
                    continue  # an error further on is known, and this one was never begun
                yield self._open(index, item, outcome, place)
        finally:
            self.close()

    @property
    def _stops(self) -> bool:
        """Whether the first error known ends the whole call."""
        return self._shape.whole and not self._shape.return_exceptions

    def _advance(self) -> bool:
        """Take inputs as far as there is room, until it is some result's turn.

        Returns:
            bool: False if there are no more results.
        """
        taken = 0
        while True:
            # Two inputs for each result keep a full window full and fill an empty one, without making a result that
            # is there wait for an input that is not.
            if self._ready() and (taken >= 2 or not self._may_take()):
                self._prepare_to_give()
                return True
            if self._may_take():
                taken += 1
                self._take()
                continue
            self._hand_over()
            if self._ready():
                return True
            if self._window.taken == self._window.given:
                return False
            self._wait()

    def _may_take(self) -> bool:
        if self._input_over or self._window.room <= 0 or (self._stops and self._failed is not None):
            return False
        if not self._has_large or self._window.taken == self._window.given:
            return True
        # Not further ahead of large items than memory allows, but never so that a worker goes without.
        return not is_crowded() or self._supervisor.hungry

    def _take(self) -> None:
        index = self._window.taken
        try:
            item = next(self._inputs)
        except StopIteration:
            self._input_over = True
            return
        except Exception as error:  # noqa: BLE001 - the user's iterable may raise anything
            # It has its turn like the error of an item: what was taken before it comes first.
            self._input_over = True
            self._window.taken += 1
            self._fail(index, _InputFailed(error))
            return
        self._window.taken += 1
        self._items[index] = item
        payload = self._pickles.item(item, lambda: self._task(index, item))
        if isinstance(payload, NotPicklable):
            self._fail(index, payload)
            return
        if type(payload) is Parcel:
            self._has_large = True
        if self._numbers != index:
            with self._news:
                self._indexes[self._numbers] = index
        self._numbers += 1
        self._job.deck.append(payload)
        if self._is_time():
            self._hand_over()

    def _fail(self, index: int, error: NotPicklable | _InputFailed) -> None:
        """Let an item that goes to no worker have an error for its outcome."""
        with self._news:
            self._arrive(index, error, None, failed=True)
        if self._stops and self._job.number:
            self._supervisor.stop(self._job)

    def _is_time(self) -> bool:
        """Whether to hand over what is in the deck: if a worker is free. A busy one will find it there by itself."""
        if len(self._job.deck) % (self._shape.chunksize or 1):
            return False
        if not self._job.number:
            return True
        if not self._supervisor.hungry:
            return False
        # If the next input may be long in coming, nothing is held back from a worker that could do it.
        return not self._ready_input or self._supervisor.now() - self._handed_over > _HOLD_BACK_SECONDS

    def _prepare_to_give(self) -> None:
        """See to it that nothing lies in the deck while the consumer is busy with a result."""
        if self._input_over:
            self._hand_over()
        elif self._job.number and self._job.deck and not self._shape.whole and self._supervisor.hungry:
            # Without a number, less than one chunk is there: an item that cannot be pickled came to its turn first.
            self._supervisor.rouse()

    def _hand_over(self) -> None:
        deck = self._job.deck
        if deck and not (self._stops and self._failed is not None):
            if not self._job.number:
                self._supervisor.open(self._job, sealed=False)
            elif not self._supervisor.offer(self._job):
                self._drop_deck()
            self._handed_over = self._supervisor.now()
        elif deck:
            self._drop_deck()  # an error is known, and nothing more is to be begun
        if self._input_over and self._job.number and not self._sealed:
            self._sealed = True
            self._supervisor.seal(self._job)

    def _drop_deck(self) -> None:
        """Let the items in the deck have an outcome without anybody's having seen them: the last that were numbered."""
        count = self._supervisor.discard(self._job)
        self.deliver(range(self._numbers - count, self._numbers), [Dropped()] * count, None)

    def _wait(self) -> None:
        with self._news:
            self._window.waited(len(self._arrived))
            if self._may_take():
                return
            self._waiting = True
            try:
                self._news.wait_for(lambda: self._ready() or (self._has_large and self._may_take()))
            finally:
                self._waiting = False

    def _open(self, index: int, item: Any, outcome: _Arrival, place: Place | None) -> Any:
        if isinstance(outcome, Dropped):
            raise self._supervisor.ending.error()
        if isinstance(outcome, _InputFailed):
            raise outcome.error
        # Only what became of the item is ever given as a value: what comes in between (a Ctrl-C) goes its own way.
        fault: BaseException
        if isinstance(outcome, NotPicklable):
            fault = outcome
        elif isinstance(outcome, Value):
            try:
                return open_value(outcome, lambda: self._task(index, item))
            except NotPicklable as error:
                fault = error
        else:
            fault = fault_of(outcome, lambda: self._task(index, item), place, self._supervisor.ending)
        where = f" in process {place.name!r} (pid {place.pid})" if place is not None else ""
        annotate(fault, f"procorch: item {index} ({shorten(item)}){where}")
        if self._shape.return_exceptions:
            return fault
        raise fault

    def _task(self, index: int, item: Any) -> Task:
        return Task(self._job.function.name, shorten(item), index)

    def close(self) -> None:
        """Want nothing more: begin no further item, close the input."""
        if self._job.number and not (self._sealed and self._window.taken == self._window.given):
            self._supervisor.stop(self._job)
        for source in self._sources:
            if isinstance(source, Generator):
                source.close()
