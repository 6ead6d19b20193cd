"""Items that take their time: how close to the sum of their times over the number of workers."""

from __future__ import annotations

import os
import random

import work
from peers.base import Peer
from records import Found
from typing_extensions import override
from watch import Watch

from cases.base import Case, Setting, warm

_COUNTS = {"0.5 ms": (600, 1000), "5 ms": (60, 100), "100 ms": (8, 12)}
"""Items, quick and full."""


class Durations(Case):
    """All alike.

    They are busy, until they have used so much of the processor themselves: what a peer spends in the
    parent is taken from its workers, and that belongs to what it costs.
    """

    name = "durations"
    title = "busy items of one duration: wall time over (sum / workers); the limit is what the machine gives just then"
    unit = "of ideal"
    call = "map"
    variants = tuple(_COUNTS)
    quick_variants = ("0.5 ms",)
    once = frozenset({"100 ms"})
    has_limit = True

    @override
    def chunk(self, variant: str, items: int, workers: int) -> int:
        # About 10 ms of work.
        return max(1, int(10 / float(variant.split()[0])))

    @override
    def run(self, setting: Setting, peer: Peer, watch: Watch) -> Found:
        items = _items(setting)
        chunk = self.chunk(setting.variant, len(items), setting.workers)
        return _against_ideal(peer, watch, items, setting.workers, chunk)

    @override
    def limit(self, setting: Setting, watch: Watch) -> Found:
        items = _items(setting)
        ideal = sum(items) / setting.workers
        with watch:
            pids = [_fork(items[number :: setting.workers]) for number in range(setting.workers)]
            for pid in pids:
                os.waitpid(pid, 0)
        return Found(watch.seconds / ideal, len(items), "bare processes, each with its share from the start")


def _items(setting: Setting) -> list[float]:
    few, many = _COUNTS[setting.variant]
    return [float(setting.variant.split()[0]) / 1000] * (few if setting.quick else many)


def _fork(items: list[float]) -> int:
    pid = os.fork()
    if not pid:
        for seconds in items:
            work.busy(seconds)
        os._exit(0)
    return pid


class Uneven(Case):
    """Light and heavy ones.

    The heavy ones sleep: the question is who gets what, and on a machine with few processors
    the parent's own work would hide the answer. The light ones are busy, since so short a sleep is not exact.
    """

    name = "uneven"
    title = "3,000 items of 0.1 ms and 20 of 50 ms: wall time over (sum / workers)"
    unit = "of ideal"
    call = "map"
    variants = ("light first", "heavy first", "shuffled")
    quick_variants = ("light first",)
    once = frozenset({"heavy first", "shuffled"})

    @override
    def run(self, setting: Setting, peer: Peer, watch: Watch) -> Found:
        light, heavy = [0.0001] * 3000, [-0.050] * 20
        if setting.quick:
            light, heavy = light[:1000], heavy[:8]
        items = heavy + light if setting.variant == "heavy first" else light + heavy
        if setting.variant == "shuffled":
            random.Random(1).shuffle(items)
        return _against_ideal(peer, watch, items, setting.workers, 1)


def _against_ideal(peer: Peer, watch: Watch, items: list[float], workers: int, chunk: int) -> Found:
    ideal = sum(abs(seconds) for seconds in items) / workers
    with peer:
        warm(peer)
        with watch:
            peer.map(work.busy_or_sleep, items, chunk)
    return Found(watch.seconds / ideal, len(items), extra={"ideal s": ideal})
