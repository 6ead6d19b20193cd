"""How long and how many: every number that procorch decides by, with its unit and its reason. Pure; no clock."""

from __future__ import annotations

from collections.abc import Sequence

import attrs
from attrs.validators import ge, gt, instance_of, optional

ANY_NUMBER = 1 << 30
"""Of workers: as many as there is room for."""


@attrs.frozen
class Limits:
    """The group's numbers. Users meet few of them; the defaults are what the documentation promises."""

    max_workers: int = attrs.field(default=1, validator=[instance_of(int), ge(1)])
    """Most worker processes alive at once; those of `start` come on top."""

    chunk_seconds: float = attrs.field(default=0.010, validator=gt(0))
    """Work in one chunk, in seconds. A chunk costs the parent about 0.3 ms, so that is a few hundredths of it; the call
    of another job waits for half of it on average."""

    chunk_seconds_per_worker: float = attrs.field(default=0.0002, validator=ge(0))
    """Least work in one chunk for each worker of the group, in seconds. It costs the parent about 0.1 ms to deal with a
    chunk, so that it is busy with that for half of its time at most; this counts from fifty workers on."""

    least_chunk_seconds: float = attrs.field(default=0.0005, validator=ge(0))
    """Work below which chunks do not shrink towards the end of a job, in seconds: a few times what one costs."""

    max_chunk_items: int = attrs.field(default=32768, validator=ge(1))
    """Most items in one chunk, however cheap they look."""

    overrun: float = attrs.field(default=2.0, validator=gt(1))
    """A chunk that takes so many times as long as planned has to hand back what it has not begun."""

    overrun_slack: float = attrs.field(default=0.002, validator=ge(0))
    """Seconds beyond that for which the way to the worker, its news and a busy machine account."""

    recall_look: float = attrs.field(default=0.001, validator=gt(0))
    """Seconds between asking a chunk back and looking how far it has come, if it has not ended by then. What a worker
    notes and what it is asked meet in memory after less than a microsecond."""

    steal_seconds: float = attrs.field(default=0.002, validator=gt(0))
    """Work not begun, in seconds, for which a chunk is asked back to be shared with an idle worker: ten times what that
    costs."""

    distant: bool = False
    """Whether the way to the workers and back may be long, so that it is measured, and chunks are to be worth it."""

    chunk_ways: float = attrs.field(default=2.0, validator=ge(0))
    """Least work in one chunk, in times of the way to a distant worker and back, where the next chunk waits there."""

    chunk_ways_alone: float = attrs.field(default=10.0, validator=ge(0))
    """The same where none does, so that the worker waits for the way each time."""

    least_chunk_ways: float = attrs.field(default=0.5, validator=ge(0))
    """Work below which chunks do not shrink towards the end of a job, in times of that way."""

    prefetch_ways: float = attrs.field(default=10.0, validator=ge(0))
    """Most work in a chunk that is sent before a worker is free for it, in times of that way. With more, the way is
    a small part of it, and to wait behind a chunk that takes long costs more than to go the way when one is free."""

    limits_elsewhere: bool = False
    """Whether items that run too long are stopped by whoever runs them, and not on orders."""

    timed_alone: bool = False
    """Whether an item that may run for some time only is sent in a chunk of its own: where the death of a process costs
    its chunk, to stop one item would cost its neighbours."""

    look_after: float = attrs.field(default=0.020, validator=gt(0))
    """Seconds after which the parent looks at a busy worker's finished items without being told of them. A worker
    announces results at most every ten milliseconds, so one may wait behind a heavy item that follows light ones."""

    limit_look: float = attrs.field(default=0.005, validator=gt(0))
    """Seconds between two looks whether an item has run too long, where its limit is shorter than that."""

    stop_grace: float = attrs.field(default=5.0, validator=gt(0))
    """Seconds that a worker asked to stop gets before SIGTERM: threads that its items left running keep it alive."""

    kill_grace: float = attrs.field(default=1.5, validator=gt(0))
    """Seconds between SIGTERM and SIGKILL: everything is gone within 2 s of a Ctrl-C."""

    stack_look: float = attrs.field(default=0.010, validator=gt(0))
    """Seconds between asking a process whose item has run too long for its stack, and looking whether it is there.
    To write one takes less than a millisecond; nothing tells when it has come to its end."""

    stack_grace: float = attrs.field(default=0.250, validator=gt(0))
    """Seconds until SIGTERM for a process that writes no stack: its machine is loaded, or it sleeps in the system."""

    max_tasks: int | None = attrs.field(default=None, validator=optional(ge(1)))
    """Items that a worker's process runs before it is replaced; None for no such number."""

    initializes: bool = False
    """Whether processes run an initializer: one that has been started gets to it, even if nobody needs it any more."""

    finalizes: bool = False
    """Whether processes run a finalizer, which takes as long as it takes: `stop_grace` begins after it."""

    max_failed_starts: int = attrs.field(default=3, validator=ge(1))
    """Workers in a row that may end by themselves before being ready, until the group gives up."""

    max_killed_starts: int = attrs.field(default=100, validator=ge(1))
    """The same for workers that a signal killed. Larger, since that may come from outside and pass."""

    max_unbegun_deaths: int = attrs.field(default=20, validator=ge(1))
    """Workers that may die with an item, as their next, before it begins, until it is given up: signals from outside
    may do that a few times, an argument too large for the memory would do it for ever."""


@attrs.frozen
class Backoff:
    """How long an item rests before it is tried again."""

    waits: tuple[float, ...] = (0.0,)
    """Seconds before the first extra try, the second and so on; the last holds for all further ones."""
    factor: float = 1.0
    """By how much the last of them grows with each further try."""
    most: float = 3600.0
    """Seconds beyond which growing brings it nowhere."""

    def seconds(self, failed: int) -> float:
        """Tell how long to rest.

        Args:
            failed (int): Tries so far, at least 1.

        Returns:
            float: Seconds; 0 for none.
        """
        beyond = failed - len(self.waits)
        if beyond < 0:
            return self.waits[failed - 1]
        last = self.waits[-1]
        # The exponent is bounded, as a float's is: 2 ** 64 times any wait that can be told from none is over `most`.
        return max(last, min(last * self.factor ** min(beyond, 64), self.most))


_NO_LIMIT = 1e9
"""Seconds from which a wait counts as one without a limit: thirty years. Ten times as much the system refuses."""


def check_count(name: str, value: object, *, least: int) -> int:
    """Check that an argument is a whole number of at least ``least``.

    Args:
        name (str): The argument's name, for the message.
        value (object): What was given.
        least (int): The smallest allowed number.

    Returns:
        int: The number.

    Raises:
        TypeError: It is not an int (a bool is none).
        ValueError: It is too small.
    """
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{name} must be an int of at least {least}, not {value!r}")
    if value < least:
        raise ValueError(f"{name} must be at least {least}, not {value}")
    return value


def check_bool(name: str, value: object) -> bool:
    """Check that an argument is True or False.

    Args:
        name (str): The argument's name, for the message.
        value (object): What was given.

    Returns:
        bool: The same.

    Raises:
        TypeError: It is neither.
    """
    if not isinstance(value, bool):
        raise TypeError(f"{name} must be True or False, not {value!r}")
    return value


def check_wait(name: str, value: object) -> float | None:
    """Check that an argument is a number of seconds to wait, or None for no limit.

    Args:
        name (str): The argument's name, for the message.
        value (object): What was given.

    Returns:
        float | None: Seconds, at least 0; None waits for ever.

    Raises:
        TypeError: It is neither a number nor None.
        ValueError: It is negative or not a number.
    """
    if value is None:
        return None
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise TypeError(f"{name} must be a number of seconds or None, not {value!r}")
    if not value >= 0:  # so that it holds for NaN too
        raise ValueError(f"{name} must be at least 0 seconds, not {value}")
    return float(value) if value < _NO_LIMIT else None


def check_limit(name: str, value: object) -> float | None:
    """Check that an argument is a number of seconds that something may take, or None for no limit.

    Args:
        name (str): The argument's name, for the message.
        value (object): What was given.

    Returns:
        float | None: Seconds, more than 0; None for no limit.

    Raises:
        TypeError: It is neither a number nor None.
        ValueError: It is not above 0, or not a number.
    """
    seconds = check_wait(name, value)
    if seconds == 0:
        raise ValueError(f"{name} must be more than 0 seconds, not {value}")
    return seconds


def check_backoff(name: str, value: object) -> Backoff:
    """Check that an argument is a wait in seconds, or several.

    Args:
        name (str): The argument's name, for the message.
        value (object): What was given.

    Returns:
        Backoff: A number doubles with each try; several are taken as they are.

    Raises:
        TypeError: It is neither a number nor a sequence of numbers.
        ValueError: One of them is negative, not a number, or without an end; or there is none.
    """
    several = isinstance(value, Sequence) and not isinstance(value, str | bytes)
    given: Sequence[object] = value if several else (value,)  # type: ignore[assignment]
    waits: list[float] = []
    for one in given:
        if not isinstance(one, int | float) or isinstance(one, bool):
            raise TypeError(f"{name} must be a number of seconds or a sequence of them, not {value!r}")
        if not 0 <= one < _NO_LIMIT:
            raise ValueError(f"{name} must be at least 0 seconds and finite, not {one}")
        waits.append(float(one))
    if not waits:
        raise ValueError(f"{name} must have at least one number of seconds")
    return Backoff(tuple(waits), 1.0 if several else 2.0)


def check_callable(name: str, fn: object) -> None:
    """Refuse what cannot be called.

    Args:
        name (str): The argument's name, for the message.
        fn (object): What was given.

    Raises:
        TypeError: It is not callable.
    """
    if not callable(fn):
        raise TypeError(f"{name} must be callable, not {fn!r}")


def check_name(name: object) -> str:
    """Check a process's or group's name.

    Args:
        name (object): What was given.

    Returns:
        str: The name.

    Raises:
        TypeError: It is no str.
        ValueError: It is empty.
    """
    if not isinstance(name, str):
        raise TypeError(f"name must be a str, not {name!r}")
    if not name:
        raise ValueError("name must not be empty")
    return name
