"""What is measured, and in which order: peers take turns, forwards and backwards."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import attrs
from cases import CASES
from cases.base import Case, Setting
from peers import PEERS
from records import Job


@attrs.frozen
class Wish:
    """What the user asked for."""

    cases: tuple[str, ...]
    peers: tuple[str, ...]
    workers: int
    quick: bool
    rounds: int | None = None
    """None for as many as each case is worth."""


def plan(wish: Wish) -> list[Job]:
    """List all measurements in their order.

    Args:
        wish (Wish): Cases and peers by their names; peers that are not installed must not be among them.

    Returns:
        list[Job]: Round by round, so that what changes with time changes all.
    """
    jobs: list[Job] = []
    for number in range(max(_rounds(CASES[name], wish) for name in wish.cases)):
        for name in wish.cases:
            jobs += _turn(CASES[name], wish, number)
    return jobs


def _rounds(case: Case, wish: Wish, variant: str = "") -> int:
    if wish.rounds is not None:
        return wish.rounds
    return 1 if wish.quick or variant in case.once else case.most_rounds


def _turn(case: Case, wish: Wish, number: int) -> Iterator[Job]:
    """One round of a case."""
    limit = case.seconds[wish.quick]
    for variant in case.quick_variants if wish.quick else case.variants:
        if number >= _rounds(case, wish, variant):
            continue
        setting = Setting(variant, wish.workers, wish.quick)
        rows = list(_rows(case, setting, wish.peers))
        for peer, tuned in reversed(rows) if number % 2 else rows:
            yield Job(case.name, variant, peer, tuned, wish.workers, wish.quick, number, limit)


def _rows(case: Case, setting: Setting, names: Sequence[str]) -> Iterator[tuple[str, bool]]:
    for name in names:
        peer = PEERS[name]
        if name == "limit":
            if case.has_limit:
                yield name, False
        elif name == "serial":
            if case.has_serial:
                yield name, False
        elif case.name != "open" or setting.variant in peer.methods:
            yield name, False
            if case.tunable and case.call in peer.tunes and _differs(case, setting, name):
                yield name, True


def _differs(case: Case, setting: Setting, name: str) -> bool:
    """Tell whether the tuned settings are others than the defaults."""
    return not PEERS[name].one_by_one or case.call == "open" or case.chunk(setting.variant, 1000, 2) > 1
