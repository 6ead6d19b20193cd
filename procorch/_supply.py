"""The inputs of a stream, in the thread of its consumer: taken, pickled, handed over, and what comes of them kept.

    inputs --(as the window has room)--> pickles --> deck --> supervisor ... workers ... supervisor --> arrivals

Decides how far to go, and what to hold back. Who asks for the results: `_stream`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from typing_extensions import override

from procorch._arrivals import Arrivals, InputFailed
from procorch._chunks import Window
from procorch._condition import Condition
from procorch._engine import Function
from procorch._errors import NotPicklable, Task, TaskError
from procorch._events import Dropped, Outcomes
from procorch._intake import Intake
from procorch._items import Items
from procorch._job import Batch, Job, Packed, Sink
from procorch._memory import is_crowded
from procorch._messages import Style
from procorch._options import TaskOptions
from procorch._plain import are_plain
from procorch._shape import Shape
from procorch._supervisor import Supervisor
from procorch._verdict import Place, shorten

_HOLD_BACK_SECONDS = 0.0005
"""How long inputs are held back to be handed over together, if the next is there for the taking. To hand over costs
about 0.02 ms, and a worker is without work for no longer than this."""

_MOST_AHEAD = 1 << 18
"""Such inputs that are taken ahead of their results where these are kept anyway: nothing is saved by fewer."""


class Supply(Sink):
    """See the module's text."""

    def __init__(
        self,
        supervisor: Supervisor,
        function: Function,
        style: Style,
        intake: Intake,
        shape: Shape,
        options: TaskOptions,
        window: Window,
        owner: object,
    ) -> None:
        """Begin; nothing is taken before the first result is asked for.

        Args:
            supervisor (Supervisor): Of the group.
            function (Function): What to call.
            style (Style): How items are passed on to it.
            intake (Intake): The items.
            shape (Shape): How results are wanted.
            options (TaskOptions): How each item is treated.
            window (Window): How far to read ahead.
            owner (object): Kept alive until this is closed: a group that nobody refers to closes.
        """
        self._owner = owner
        self._handed_over = 0.0  # when, by the engine's clock
        self._supervisor = supervisor
        self._intake = intake
        self._shape = shape
        self._window = window
        self._job = Job(function, style, shape.spec(options), self)
        self._sealed = False
        self._pending: list[Any] = []  # less than a chunk of a given size, packed
        self._last = 1  # results given last, at a time
        self._numbers = 0  # items that got a number of the job
        self._halted = self._abandoned = False  # by others
        self._news = Condition()
        # From here on under the lock of `_news`.
        self._kept = Items()  # by index, those whose result is still to come or to be given: for messages
        self._arrivals = Arrivals(ordered=shape.ordered)
        self._waiting = False

    # --- what arrives, and what other threads may ask -----------------------------------------------------------------

    @override
    def deliver(self, items: Sequence[int], outcomes: Outcomes, place: Place | None) -> None:
        with self._news:
            self._arrivals.take_in(items, outcomes, place, self._kept)
            if self._waiting and self._enough():
                self._news.notify_all()

    @override
    def index_of(self, item: int) -> int:
        return self._arrivals.index_of(item)

    def _enough(self) -> bool:
        """Whether to wake the consumer: it has something to give, and, where it gives all at the end, to take."""
        arrivals, window = self._arrivals, self._window
        if self._abandoned or (self._halted and window.taken == window.given):
            return True
        if (self._intake.has_large or self._intake.fed) and self._may_take():
            return True
        if not arrivals.ready or not self._shape.whole or arrivals.failed is not None:
            return arrivals.ready
        return 2 * (window.taken - window.given - arrivals.held) <= (_MOST_AHEAD if self._is_eager else window.size)

    def look_again(self) -> None:
        """Wake the consumer if it waits: an input that was awaited is there. Any thread."""
        if self._waiting:
            with self._news:
                self._news.notify_all()

    def halt(self) -> None:
        """Let nothing more be begun, in another thread than the consumer's. What runs has its results.

        What never began is left out of the results.
        """
        self._halted = True
        if self._job.number:
            self._supervisor.stop(self._job)
        self.look_again()

    def abandon(self) -> None:
        """Give up the whole call, in another thread than the consumer's, and stop the processes that run some of it."""
        self._abandoned = True
        if self._job.number:
            self._supervisor.cancel(self._job)
        self.look_again()

    def cease(self) -> None:
        """Begin no further item, from now on and not only soon, as `close` does; stop nothing. Not for a finalizer."""
        if self._job.number:
            self._supervisor.drop(self._job)

    def _tell_again(self) -> None:
        """Tell what others may have told the job before it was opened, without seeing its number."""
        if self._abandoned:
            self._supervisor.cancel(self._job)
        elif self._halted:
            self._supervisor.stop(self._job)

    # --- how far to go ------------------------------------------------------------------------------------------------

    @property
    def _stops(self) -> bool:
        """Whether the first error known ends the whole call."""
        return self._shape.whole and not self._shape.return_exceptions

    @property
    def _is_stopped(self) -> bool:
        """Whether nothing more is to be begun: an error is known that ends the whole call, or somebody has said so."""
        return self._halted or (self._stops and self._arrivals.failed is not None)

    def _now(self) -> float:
        return self._supervisor.now() if self._job.number else 0.0

    def _may_take(self) -> bool:
        return not self._intake.awaited and self._has_room()

    def _allow(self) -> None:
        """Tell who takes inputs, if it is somebody else, how far to go."""
        if self._intake.fed and self._has_room():
            self._intake.allow(self._window.taken + (1 if self._intake.has_large else self._room))

    def _has_room(self) -> bool:
        if self._intake.over or self._room <= 0 or self._is_stopped:
            return False
        if not self._intake.has_large or self._window.taken == self._window.given:
            return True
        # Not further ahead of large items than memory allows, but never so that a worker goes without.
        return not is_crowded() or self._supervisor.hungry

    @property
    def _room(self) -> int:
        """How many inputs may be taken."""
        window = self._window
        return max(window.room, _MOST_AHEAD - window.taken + window.given) if self._is_eager else window.room

    @property
    def _is_eager(self) -> bool:
        return self._intake.plain and self._intake.ready and self._shape.eager

    # --- taking -------------------------------------------------------------------------------------------------------

    def _take(self) -> None:
        """Take some inputs, as many as are good to take in one go."""
        intake = self._intake
        if intake.ready or self._shape.chunksize is not None or not self._job.number:
            alone = not self._shape.whole or not self._job.number or self._supervisor.hungry
            taken, error = intake.take(min(intake.how_many(alone=alone), self._room), self._now)
            if taken:
                self._put(taken)
        else:
            error = self._take_each()
        if error is not None:
            # It has its turn like the error of an item: what was taken before it comes first.
            self._put_failed(InputFailed(error))
        if self._is_time():
            self._hand_over(all_of_it=False)
        if self._is_eager and self._job.number:
            self._supervisor.attend()

    def _take_each(self) -> Exception | None:
        """Take inputs that may be long in coming; give what taking the next one raised."""
        intake, supervisor = self._intake, self._supervisor
        most = min(intake.how_many(alone=False), self._room)
        taken, error = intake.take_each(most, self._job.deck.append, lambda: supervisor.hungry, self._now)
        other = [] if intake.plain else [taken.pop()]
        if taken:
            self._window.taken += len(taken)
            self._numbers += len(taken)
            with self._news:
                self._kept.add(taken, plain=True)
            intake.took_plain()
        if other:
            self._put(other)
        return error

    def _put(self, taken: list[Any]) -> None:
        """Put inputs where the supervisor's thread finds them."""
        first, intake = self._window.taken, self._intake
        self._window.taken += len(taken)
        with self._news:
            self._kept.add(taken, plain=intake.plain)
        if intake.plain:
            intake.took_plain()
            packed = self._sent_as(taken, first)
        else:
            each = intake.pack(
                self._sent_as(taken, first), lambda place: self._task(first + place, taken[place]), self._now
            )
            packed = self._packed(each, first)
            each.clear()  # an error among them may be kept, and with it the frame that has made this list
        self._numbers += len(packed)
        size = self._shape.chunksize
        if size is None:
            if packed:
                self._job.deck.append(Batch(packed, intake.plain))
            del packed  # likewise this frame
            return
        # Whole chunks, so that a worker which becomes free gets no part of one.
        self._pending += packed
        del packed
        whole = len(self._pending) - len(self._pending) % size
        if whole:
            self._put_pending(whole)

    def _sent_as(self, taken: list[Any], first: int) -> list[Any]:
        """Give inputs as they go to the workers."""
        return taken

    def _put_pending(self, count: int) -> None:
        part = self._pending[:count]
        del self._pending[:count]
        self._job.deck.append(Batch(part, are_plain(part)))

    def _packed(self, each: list[Packed | NotPicklable], first: int) -> list[Packed]:
        """Give the pickles; those inputs that have none have their outcome by that."""
        packed: list[Packed] = []
        for index, one in enumerate(each, first):
            if isinstance(one, NotPicklable):
                with self._news:
                    self._arrivals.skip(self._numbers + len(packed))
                self._fail(index, one)
            else:
                packed.append(one)
        return packed

    def _put_failed(self, error: InputFailed) -> None:
        index = self._window.taken
        with self._news:
            self._kept.add([None], plain=False)
        self._window.taken += 1
        self._fail(index, error)

    def _fail(self, index: int, error: TaskError | InputFailed) -> None:
        """Let an item that goes to no worker have an error for its outcome."""
        with self._news:
            self._arrivals.settle(index, [error], self._kept)
        if self._stops and self._job.number:
            self._supervisor.stop(self._job)

    def _task(self, index: int, item: Any) -> Task:
        return Task(self._job.function.name, shorten(item), index)

    # --- handing over -------------------------------------------------------------------------------------------------

    def _is_time(self) -> bool:
        """Whether to hand over what is in the deck: if a worker is free. A busy one will find it there by itself."""
        if not self._job.deck:
            return False
        if not self._job.number:
            return True
        if not self._supervisor.hungry:
            return False
        # If the next input may be long in coming, nothing is held back from a worker that could do it.
        return not self._intake.ready or self._now() - self._handed_over > _HOLD_BACK_SECONDS

    def _hand_over(self, *, all_of_it: bool = True) -> None:
        """Hand over what is in the deck, and, with ``all_of_it``, less than a chunk of a given size."""
        deck = self._job.deck
        if all_of_it and self._pending:
            self._put_pending(len(self._pending))
        if deck and not self._is_stopped:
            if not self._job.number:
                self._supervisor.open(self._job, sealed=False)
                self._tell_again()
            elif not self._supervisor.offer(self._job):
                self._drop_deck()
            self._handed_over = self._supervisor.now()
        elif deck:
            self._drop_deck()  # nothing more is to be begun
        if all_of_it and self._intake.over and self._job.number and not self._sealed:
            self._sealed = True
            self._supervisor.seal(self._job)

    def _drop_deck(self) -> None:
        """Let the items in the deck have an outcome without anybody's having seen them: the last that were numbered."""
        stop = self._numbers - len(self._pending)
        count = self._supervisor.discard(self._job)
        self.deliver(range(stop - count, stop), [Dropped()] * count, None)
