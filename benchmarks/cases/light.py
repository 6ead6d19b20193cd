"""Items that cost next to nothing: what is left is the cost of handing them over."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import proc
import work
from peers.base import NotOffered, Peer
from records import Found
from typing_extensions import override
from watch import Watch

from cases.base import Case, Setting, affordable, warm

_RESULTS: dict[str, Callable[[int], Any]] = {
    "int": work.plus_one,
    "str": work.text,
    "None": work.nothing,
    "float": work.half,
    "tuple": work.pair,
}


class Trivial(Case):
    """Many of them, in a list."""

    name = "trivial"
    title = "`map` over 200,000 trivial items, by the kind of their results"
    unit = "µs/item"
    call = "map"
    variants = tuple(_RESULTS)
    quick_variants = ("int",)
    once = frozenset({"str", "None", "float", "tuple"})

    @override
    def chunk(self, variant: str, items: int, workers: int) -> int:
        return math.ceil(items / (4 * workers))

    @override
    def run(self, setting: Setting, peer: Peer, watch: Watch) -> Found:
        fn = _RESULTS[setting.variant]

        def call(count: int) -> list[Any]:
            return peer.map(fn, range(count), self.chunk(setting.variant, count, peer.workers))

        with peer:
            warm(peer)
            count = affordable(call, 200_000, 0.3 if setting.quick else 0.6)
            with watch:
                results = call(count)
        if len(results) != count or results[-1] != fn(count - 1):
            raise AssertionError("wrong results")
        return Found(watch.seconds / count * 1e6, count)


class Scale(Case):
    """Does the cost of an item depend on their number?"""

    name = "scale"
    title = "cost of a trivial item in a `map` over a thousand to ten million items"
    unit = "µs/item"
    call = "map"
    variants = ("1,000", "10,000", "100,000", "1,000,000", "10,000,000")
    quick_variants = ("1,000", "10,000")
    most_rounds = 1
    _MOST: ClassVar[tuple[float, float]] = (8.0, 1.0)
    """Seconds, full and quick, beyond which a size is left out."""

    @override
    def chunk(self, variant: str, items: int, workers: int) -> int:
        return min(10_000, math.ceil(items / (4 * workers)))

    @override
    def run(self, setting: Setting, peer: Peer, watch: Watch) -> Found:
        count = int(setting.variant.replace(",", ""))

        def call(some: int) -> list[Any]:
            return peer.map(work.plus_one, range(some), self.chunk(setting.variant, some, peer.workers))

        with peer:
            warm(peer)
            most = self._MOST[setting.quick]
            if affordable(call, count, most / 8, enough=most) < count:
                raise NotOffered(f"takes over {most:.0f} s")
            with watch:
                call(count)
        return Found(watch.seconds / count * 1e6, count)


class Stream(Case):
    """A stream that is consumed as it comes."""

    name = "stream"
    title = "ten million trivial items through a stream (`imap`): cost, and memory"
    unit = "µs/item"
    call = "stream"
    variants = ("ints",)
    quick_variants = ("ints",)
    watch_memory = True
    most_rounds = 1
    seconds = (150.0, 30.0)

    @override
    def chunk(self, variant: str, items: int, workers: int) -> int:
        return 1000

    @override
    def run(self, setting: Setting, peer: Peer, watch: Watch) -> Found:
        def call(count: int) -> None:
            chunk = self.chunk(setting.variant, count, peer.workers)
            deque(peer.stream(work.plus_one, _inputs(count), chunk), maxlen=0)

        wanted, seconds, enough = (200_000, 0.3, 0.6) if setting.quick else (10_000_000, 5.0, 40.0)
        with peer:
            warm(peer)
            # Before the trials: what they leave is used again.
            proc.forget_peak()
            before = proc.peak()
            count = affordable(call, wanted, seconds, enough=enough)
            with watch:
                call(count)
            grown = proc.peak() - before
        extra = {"parent grew MB": grown, "bytes/item": grown * 1e6 / count}
        return Found(watch.seconds / count * 1e6, count, extra=extra)


def _inputs(count: int) -> Iterator[int]:
    """Inputs without a length, as from a file or a database."""
    yield from range(count)
