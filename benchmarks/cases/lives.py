"""The life of a pool: how long it takes to come and to go."""

from __future__ import annotations

import statistics

import work
from peers.base import Peer
from records import Found
from typing_extensions import override
from watch import Watch

from cases.base import Case, Setting, laps, warm


class Open(Case):
    """A short life."""

    name = "open"
    title = "open a pool, run 4 items, close it, by start method; a fork server has been started before"
    unit = "ms"
    call = "open"
    variants = quick_variants = ("forkserver", "spawn", "fork")
    has_serial = False

    @override
    def method(self, setting: Setting) -> str:
        return setting.variant

    @override
    def run(self, setting: Setting, peer: Peer, watch: Watch) -> Found:
        _live(peer)
        for _ in laps(watch, lambda: _live(peer), quick=setting.quick):
            pass
        return Found(statistics.median(watch.laps) * 1000, len(watch.laps))


def _live(peer: Peer) -> None:
    with peer:
        peer.map(work.plus_one, range(4), 1)


class Close(Case):
    """The end of one that has worked."""

    name = "close"
    title = "close a pool that has worked and is idle"
    unit = "ms"
    call = "close"
    variants = ("as usual", "16 workers")
    quick_variants = ("as usual",)
    once = frozenset({"16 workers"})
    has_serial = False

    @override
    def workers(self, setting: Setting) -> int:
        return 16 if setting.variant == "16 workers" else setting.workers

    @override
    def run(self, setting: Setting, peer: Peer, watch: Watch) -> Found:
        for _ in laps(watch, peer.close, quick=setting.quick):
            peer.open()
            warm(peer)
        return Found(statistics.median(watch.laps) * 1000, len(watch.laps))


class Workers(Case):
    """Does it bear many of them? The items sleep, so that more workers than processors help."""

    name = "workers"
    title = "open a pool of 1 to 64 workers, sleep 256 times 5 ms in it, close it"
    unit = "ms"
    call = "open"
    variants = ("1", "4", "16", "64")
    quick_variants = ("8",)
    tunable = False
    most_rounds = 1

    @override
    def workers(self, setting: Setting) -> int:
        return int(setting.variant)

    @override
    def run(self, setting: Setting, peer: Peer, watch: Watch) -> Found:
        count = 64 if setting.quick else 256
        # So that the fork server is there.
        _live(type(peer)(1, peer.method, tuned=peer.tuned))
        with watch, peer:
            peer.map(work.sleep, [0.005] * count, 1)
        ideal = count * 0.005 / int(setting.variant)
        return Found(watch.seconds * 1000, count, extra={"sleeping alone ms": ideal * 1000})
