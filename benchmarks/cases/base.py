"""What a case must say, and what the cases share."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar, Literal

import attrs
import work
from peers.base import Call, NotOffered, Peer
from records import Found
from watch import Watch


@attrs.frozen
class Setting:
    """How a case is to be run."""

    variant: str
    workers: int
    quick: bool


class Case:
    """One question, asked of every peer."""

    name: ClassVar[str]
    """For ``--only``, and in the tables."""
    title: ClassVar[str]
    """What is measured, for the reader of the table."""
    unit: ClassVar[str]
    """Of the value."""
    better: ClassVar[Literal["less", "more"]] = "less"
    call: ClassVar[Call]
    """What it uses of a peer."""
    variants: ClassVar[tuple[str, ...]]
    quick_variants: ClassVar[tuple[str, ...]]
    """With ``--quick``."""
    tunable: ClassVar[bool] = True
    """Whether settings of a peer can matter to it."""
    has_serial: ClassVar[bool] = True
    """Whether it makes sense without processes."""
    has_limit: ClassVar[bool] = False
    """Whether it measures what the machine itself can do."""
    watch_memory: ClassVar[bool] = False
    """Whether memory is what it is about."""
    most_rounds: ClassVar[int] = 3
    """Rounds of a full run unless a number is asked for: what takes long is done once."""
    once: ClassVar[frozenset[str]] = frozenset()
    """Variants that are done once in any case, unless a number is asked for."""
    seconds: ClassVar[tuple[float, float]] = (40.0, 15.0)
    """Hard limit of one measurement, full and quick."""

    def workers(self, setting: Setting) -> int:
        """Tell how many workers the peer gets."""
        return setting.workers

    def method(self, setting: Setting) -> str:
        """Tell with which start method: the safe one that all but few peers have."""
        return "forkserver"

    def chunk(self, variant: str, items: int, workers: int) -> int:
        """Tell how many items an informed user would send at once."""
        return 1

    def run(self, setting: Setting, peer: Peer, watch: Watch) -> Found:
        """Measure a peer.

        Args:
            setting (Setting): Variant and size.
            peer (Peer): Not open yet.
            watch (Watch): What lies in its blocks is what is measured.

        Returns:
            Found: The value in the unit of the case.
        """
        raise NotImplementedError

    def limit(self, setting: Setting, watch: Watch) -> Found:
        """Measure what the machine itself can do."""
        raise NotOffered


def warm(peer: Peer, fn: Callable[[Any], int] = work.who, item: object = 0.005) -> None:
    """Work until every worker has done some, if it comes to that soon."""
    seen: set[int] = set()
    until = time.monotonic() + 1.0
    while len(seen) < peer.workers and time.monotonic() < until:
        seen.update(peer.map(fn, [item] * 2 * peer.workers, 1))


def laps(watch: Watch, act: Callable[[], None], *, quick: bool) -> Iterator[int]:
    """Time something some times.

    Args:
        watch (Watch): Times it.
        act (Callable[[], None]): What to time.
        quick (bool): Whether twice is enough; else 3 to 10 times, as many as two seconds allow.

    Yields:
        int: Before each time, for what is to be done before, how often it was done.
    """
    done = 0
    # All of the time counts, not that of the watch alone: what is done before may take much longer.
    until = time.monotonic() + 2.0
    while done < 2 or (not quick and (done < 3 or (done < 10 and time.monotonic() < until))):
        yield done
        with watch:
            act()
        done += 1


def affordable(call: Callable[[int], object], wanted: int, seconds: float, *, enough: float = 0.0) -> int:
    """Find how many items take some seconds.

    Args:
        call (Callable[[int], object]): Does the work for a number of items; done with small ones to find out.
        wanted (int): Most items.
        seconds (float): About how long they may take.
        enough (float): All that are wanted are fine if they take no longer than this.

    Returns:
        int: At most ``wanted``.
    """
    count = min(1000, wanted)
    while True:
        few, many = count, min(3 * count, wanted)
        took_few, took_many = _time(call, few), _time(call, many)
        if took_many > seconds / 8 or many == wanted:
            break
        count = min(wanted, count * 10)
    # What a call costs apart from its items must not be taken for theirs.
    each = max((took_many - took_few) / (many - few) if many > few else 0.0, took_many / many / 100)
    fixed = max(0.0, took_many - each * many)
    if fixed + each * wanted <= max(seconds, enough):
        return wanted
    return min(wanted, max(few, int(max(seconds, fixed) / each)))


def _time(call: Callable[[int], object], count: int) -> float:
    began = time.perf_counter()
    call(count)
    return time.perf_counter() - began


def percentiles(seconds: Sequence[float], scale: float) -> tuple[float, float]:
    """Give the middle, and what only 1 in 100 exceeds."""
    ordered = sorted(seconds)
    return statistics.median(ordered) * scale, ordered[int(len(ordered) * 0.99)] * scale
