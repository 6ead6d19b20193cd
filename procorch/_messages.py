"""What crosses between the parent and one worker: closed unions of frozen tuples, and nothing that acts.

Loaded in every worker, hence tuples instead of attrs classes. How messages become bytes is `_wire`'s business, and what
an exception is made of `_outcome`'s; small results do not travel as messages at all but as records in the shared page
of `_queue`.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple, TypeAlias

from procorch._parcel import Parcel

PROTOCOL = 5
"""Of every pickle that crosses; named, so that the interpreters' differing defaults do not matter."""

Bytes: TypeAlias = bytes | bytearray | memoryview
"""A pickle, on its way out or as it came in."""

Payload: TypeAlias = Bytes | Parcel
"""The same of an item's arguments or result, which may be large."""


class Style(enum.IntEnum):
    """What an item's pickle holds and how the function is called with it."""

    ONE = 0
    """One argument: ``fn(item)``."""
    MANY = 1
    """A tuple of arguments: ``fn(*item)``."""
    CALL = 2
    """A pair of positional and keyword arguments: ``fn(*args, **kwargs)``."""


class Kind(enum.IntEnum):
    """What a finished item's record holds."""

    VALUE = 0
    """The pickled result."""
    FAILURE = 1
    """A pickled `Report`."""
    BESIDE = 2
    """Nothing: the result was too large for the page and went as `Large`."""
    RETRIABLE = 3
    """A pickled `Report` of an exception after which the caller wants another try."""

    # Results of several items in a row, which are plain data: a run of them.
    INTS = 4
    """Each an int of 64 bits, in a word of its own."""
    FLOATS = 5
    """Each a float, in a word of its own."""
    BOOLS = 6
    """Each a bool, in a byte of its own."""
    NONES = 7
    """Each None, in a byte of its own."""
    MARSHALLED = 8
    """Any of these, or other plain data, as `marshal` writes the items of a list."""

    LAST = 9
    """The pickled value that a generator returned: of one item, and there is nothing after it."""


# --- what became of an item -----------------------------------------------------------------------------------------

Stage = Literal["raised", "function", "argument", "result"]
"""Where it went wrong: the call itself raised, or one of these could not cross between the processes."""


class Value(NamedTuple):
    """The item's function returned."""

    payload: Payload
    """What it returned, pickled."""


class Last(Value):
    """There is no further row: the generator has ended, and returned this."""

    __slots__ = ()


class Failure(NamedTuple):
    """The item's function raised, or something could not cross."""

    payload: Bytes
    """A pickled `Report`, of plain types only: it can always be read."""


class Retriable(NamedTuple):
    """The item's function raised an exception after which the caller wants another try."""

    payload: Bytes
    """As in `Failure`."""


class Plain:
    """Results of several items in a row, as they are: plain data, which no pickle and no code of the user's made."""

    __slots__ = ("values",)

    def __init__(self, values: list[Any]) -> None:
        """Hold them.

        Args:
            values (list[Any]): In the order of the items; at least one.
        """
        self.values: list[Any] = values

    def __len__(self) -> int:
        """Count the items."""
        return len(self.values)

    def __eq__(self, other: object) -> bool:
        """Compare the results."""
        return isinstance(other, Plain) and self.values == other.values

    def __hash__(self) -> int:
        """Refuse: it holds a list."""
        raise TypeError("unhashable type: 'Plain'")

    def __repr__(self) -> str:
        """Show the results."""
        return f"Plain({self.values!r})"


class Report(NamedTuple):
    """An exception taken apart, so that it arrives whatever its class does when pickled."""

    stage: Stage
    name: str
    """Module and qualified name of its class; of a built-in one, the name alone."""
    text: str
    """What ``str`` said of it in the worker."""
    trace: str
    """The formatted traceback, causes included."""
    notes: list[str]
    """Its notes: many a class's own way of pickling drops them."""
    whole: bytes | None
    """The exception, pickled; None if it cannot be."""
    parts: bytes | None
    """The exception, pickled without the help of its class; None if it cannot be. For classes whose own way fails."""


class GeneratorEnd(NamedTuple):
    """What the function of a stream returns, in the worker, in the place of a row that there is not."""

    value: Any
    """What the generator returned."""


# --- messages -------------------------------------------------------------------------------------------------------


class Setup(NamedTuple):
    """Parent to worker, first of all: how to get ready."""

    payload: Bytes
    """A pickled tuple of initializer, its arguments, finalizer, its arguments, the functions perhaps None; empty for
    neither."""
    most_memory: int = 0
    """Resident bytes from which the worker wants to be replaced; 0 for no such bound."""
    memory_limit: int = 0
    """Bytes of memory beyond which the system refuses the worker more; 0 for no such limit."""
    threads: int = 0
    """How many threads each numerical library of the worker may use; 0 to leave them alone."""
    title_library: str = ""
    """See `_titles.show`."""


NO_SETUP = Setup(b"")
"""There is nothing to do."""


class Retrying(NamedTuple):
    """A function, and the types of exceptions after which an item is to be tried again. Crosses pickled."""

    function: Callable[..., Any]
    retry_on: tuple[type[BaseException], ...]


class Define(NamedTuple):
    """Parent to worker: the function that later chunks name by its key."""

    key: int
    payload: Bytes
    """The pickled function, or a pickled `Retrying`."""


class Forget(NamedTuple):
    """Parent to worker: no later chunk will name this key."""

    key: int


class Pack(NamedTuple):
    """The arguments of several items in one pickle: plain data, see `_plain`."""

    items: int
    """How many."""
    payload: Bytes
    """A pickled list of them."""


class Share(NamedTuple):
    """Parent to worker: an object that items may refer to by its number."""

    key: int
    group: str
    """The name of the group, for messages."""
    payload: Payload
    """The pickled object."""


class Unshare(NamedTuple):
    """Parent to worker: no later item will refer to it."""

    key: int


class Run(NamedTuple):
    """Parent to worker: do these items, one after the other."""

    seq: int
    """The chunk's number; grows for each worker, from 1."""
    key: int
    """Which function."""
    style: Style
    stop_on_error: bool
    """Whether to begin no further item of the chunk after one that failed."""
    items: Sequence[Payload] | Pack
    """The pickled arguments: each item's by itself, or of all in one."""
    timed: bool = False
    """Whether to note when each item begins."""
    talks: bool = False
    """Whether the parent listens to what the item has to say, and may have something to say to it."""


class Levels(NamedTuple):
    """Parent to worker: forward what is logged, at these levels. Comes before `Setup`, and when levels have changed."""

    payload: Bytes
    """A pickled `LevelTable`, as a plain tuple."""


class LevelTable(NamedTuple):
    """The levels of all loggers of a process."""

    root: int
    disable: int
    """As `logging.disable` takes it."""
    loggers: dict[str, int]
    """Of those that have one of their own, by name."""


class Stop(NamedTuple):
    """Parent to worker: end, please."""


class Cease(NamedTuple):
    """Parent to worker: let the item that runs come to its end, please."""


class Post(NamedTuple):
    """Either way, while an item runs that talks: a message."""

    payload: Payload
    """The pickled object."""
    taken: int = 0
    """From a worker: as `Taken` tells it."""


class Allow(NamedTuple):
    """Parent to worker: how far it may go with its messages."""

    total: int
    """Messages that it may have sent, those so far among them; may be below 0, as long as it may send none."""


class Taken(NamedTuple):
    """Worker to parent: how far the item has come with the messages to it. The page knows it exactly."""

    total: int
    """Messages that this process has taken."""


class Serving(NamedTuple):
    """Worker to parent: the item says that it is ready to serve."""


class Ready(NamedTuple):
    """Worker to parent: the initializer has run; work may come."""


class SetupFailed(NamedTuple):
    """Worker to parent: the initializer raised, or could not be loaded; the worker ends."""

    payload: Bytes
    """As in `Failure`."""


class Large(NamedTuple):
    """Worker to parent: the outcome of one item that did not fit into the page."""

    seq: int
    position: int
    """Place of the item in its chunk, from 0."""
    kind: Kind
    payload: Payload
    """A parcel only if it is a value."""


class Logged(NamedTuple):
    """Worker to parent: something was logged."""

    seq: int
    """The chunk that was with the worker; 0 for none yet."""
    begun: int
    """How many of its items had begun: the last of them was running. 0 for none."""
    payload: Bytes
    """From `_logs.pack`."""


class Noted(NamedTuple):
    """Worker to parent: there is something new in the page."""


class Ended(NamedTuple):
    """Worker to parent: the chunk is over; items of it that the page does not count were never begun."""

    seq: int
    worn: bool = False
    """Whether the worker holds more memory than it should, and wants to be replaced."""


class Finalized(NamedTuple):
    """Worker to parent: the finalizer has run; the worker ends."""

    payload: Bytes
    """Empty, or as in `Failure` if it raised."""


Said: TypeAlias = Post | Taken | Serving
"""What an item says while it runs."""

ToWorker: TypeAlias = Setup | Define | Forget | Share | Unshare | Run | Levels | Stop | Cease | Post | Allow
FromWorker: TypeAlias = Ready | SetupFailed | Large | Logged | Noted | Ended | Finalized | Said
