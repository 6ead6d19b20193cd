"""Large data: how much of it a second reaches the other side and is read there."""

from __future__ import annotations

import importlib
import math
from typing import Any

import work
from peers.base import Peer
from records import Found
from typing_extensions import override
from watch import Watch

from cases.base import Case, Setting, warm

_SIZE = 64 * 1024 * 1024


class _Large(Case):
    unit = "GB/s"
    better = "more"
    call = "map"
    variants = quick_variants = ("64 MB",)
    tunable = False  # each item is worth a message of its own, and all know
    has_serial = False  # there is nothing to carry
    has_limit = True
    watch_memory = True

    @override
    def limit(self, setting: Setting, watch: Watch) -> Found:
        source, target = _array(1), _array(2)
        with watch:
            for _ in range(8):
                target[:] = source
        return _found(8, watch, "a copy in memory that is there")


class Results(_Large):
    """From the workers."""

    name = "results"
    title = "results that are `numpy` arrays of 64 MB; the limit is one copy in memory"

    @override
    def run(self, setting: Setting, peer: Peer, watch: Watch) -> Found:
        count = _count(setting)
        with peer:
            warm(peer, work.prepare_array, _SIZE)
            with watch:
                results = peer.map(work.give_array, [_SIZE] * count, 1)
                reads = [work.take_array(array) for array in results]
        return _checked(reads, [1] * count, watch)


class Arguments(_Large):
    """To the workers."""

    name = "arguments"
    title = "arguments that are `numpy` arrays of 64 MB, all different; the limit is one copy in memory"

    @override
    def run(self, setting: Setting, peer: Peer, watch: Watch) -> Found:
        with peer:
            warm(peer)
            # Not before: what forks from this process counts its memory as its own.
            arrays = [_array(number) for number in range(_count(setting))]
            with watch:
                reads = peer.map(work.take_array, arrays, 1)
        return _checked(reads, list(range(len(arrays))), watch)


def _count(setting: Setting) -> int:
    return math.ceil((2 if setting.quick else 4) / setting.workers) * setting.workers


def _array(value: int) -> Any:
    numpy = importlib.import_module("numpy")
    return numpy.full(_SIZE, value, dtype=numpy.uint8)


def _checked(reads: list[tuple[int, bool]], values: list[int], watch: Watch) -> Found:
    if [total for total, _ in reads] != [value * _SIZE // 4096 for value in values]:
        raise AssertionError("wrong data")
    writable = all(writable for _, writable in reads)
    return _found(len(reads), watch, "arrives writable" if writable else "arrives read-only")


def _found(count: int, watch: Watch, word: str) -> Found:
    return Found(count * _SIZE / watch.seconds / 1e9, count, word)
