"""One round: some groups at once, each with threads that give it work and one that does it harm, to their end."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import get_args

import attrs
from givers import Giver
from items import HOARDED, Method, set_up, wind_up
from ledger import Ending, Handled, Judge, Ledger, Line, Record, lines_of
from saboteur import Ender, Saboteur
from system import Belongings, lives, wait_for

from procorch import GroupClosed, ProcessGroup

_GONE_WITHIN = 10.0
"""Seconds in which all must be gone that was started. More than is promised: this machine may have a lot to do."""


class _LeftByError(Exception):
    """Leaves a group's block."""


@attrs.define
class Tally:
    """What a run has seen."""

    rounds: Counter[str] = attrs.field(factory=Counter)
    outcomes: Counter[str] = attrs.field(factory=Counter)
    kinds: Counter[str] = attrs.field(factory=Counter)
    harm: Counter[str] = attrs.field(factory=Counter)
    latest: float = 0.0
    """Seconds from an item's limit to its error, at most."""
    slowest_end: float = 0.0
    """Seconds that the processes of a round took at most to be gone after its groups were left."""
    longest: float = 0.0
    """Seconds of the longest round."""

    def add(self, records: list[Record], late: list[float]) -> None:
        """Count a group's items."""
        self.outcomes.update(record.verdict for record in records)
        self.kinds.update(record.item.kind for record in records)
        self.latest = max([self.latest, *late])


@attrs.frozen
class Plan:
    """How a group is to be."""

    method: Method
    workers: int
    givers: int
    ending: Ending
    seconds: float
    pause: float
    """Mean seconds between two strikes of the saboteur; 0 for peace."""
    max_tasks: int | None
    max_memory: int | None
    has_setup: bool
    forwards: bool

    @classmethod
    def draw(cls, method: Method, givers: int, chance: random.Random) -> Plan:
        """Make one."""
        return cls(
            method,
            chance.choice([1, 2, 3]),
            givers,
            chance.choice(get_args(Ending)),
            chance.uniform(0.5, 4.0),
            # A spawned worker takes so long to start that a quicker saboteur would let few of them come to work.
            chance.choice([0.0, 0.3, 0.05 if method != "spawn" else 0.2]),
            chance.choice([None, None, 1, 5]),
            chance.choice([None, None, 2 * HOARDED]),
            chance.random() < 0.5,
            chance.random() < 0.7,
        )


class Play(threading.Thread):
    """The life of one group."""

    def __init__(self, plan: Plan, ledger: Ledger, seed: str) -> None:
        super().__init__(name=f"play-{plan.method}", daemon=True)
        self.plan = plan
        self.ledger = ledger
        self._seed = f"{seed} {plan.method}"
        self.harm: Counter[str] = Counter()
        self.late: list[float] = []
        self.givers: list[Giver] = []
        self.at = "at its beginning"

    def run(self) -> None:
        try:
            self._play()
        except BaseException as error:  # noqa: BLE001 - all that comes here is a fault of the group's
            self.ledger.complain(f"{self.plan} ended with {error!r}")

    def _make(self) -> ProcessGroup:
        plan, log = self.plan, str(self.ledger.log)
        return ProcessGroup(
            plan.workers,
            name=plan.method,
            mp_context=plan.method,
            initializer=set_up if plan.has_setup else None,
            initargs=(log,) if plan.has_setup else (),
            finalizer=wind_up if plan.has_setup else None,
            finalargs=(log,) if plan.has_setup else (),
            max_tasks_per_child=plan.max_tasks,
            max_memory_per_child=plan.max_memory,
            forward_logs=plan.forwards,
            on_event=self.ledger.hear,
        )

    def _play(self) -> None:
        chance = random.Random(self._seed)
        began = time.monotonic()
        group = self._make()
        others: list[Saboteur | Ender] = []
        if self.plan.pause:
            others.append(Saboteur("saboteur", group, self.ledger, random.Random(self._seed + " s"), self.plan.pause))
        if self.plan.ending in {"close", "terminate"}:
            others.append(
                Ender(group, chance.uniform(0.0, self.plan.seconds), by_force=self.plan.ending == "terminate")
            )
        for number in range(self.plan.givers):
            own = random.Random(f"{self._seed} {number}")
            self.givers.append(
                Giver(f"giver {number} of {group!r}", group, self.ledger, own, set_up=self.plan.has_setup)
            )
        failures = self._live(group, others)
        left_at = time.monotonic()
        for thread in [*self.givers, *others]:
            self.at = f"waiting for {thread.name} after its end"
            thread.stop()
            thread.join()
        self._collect(failures)
        for one in others:
            self.harm += one.done if isinstance(one, Saboteur) else Counter()
        self.harm[f"groups: {self.plan.ending}"] += 1
        self.at = f"over after {time.monotonic() - began:.1f} s, {left_at - began:.1f} s until it was left"
        self.late = Judge(self.ledger, self.plan.ending, left_at, self.plan.forwards).judge()

    def _live(self, group: ProcessGroup, others: list[Saboteur | Ender]) -> list[BaseException]:
        """Let everybody work, and leave the group; give the failures that this raises."""
        try:
            with group:
                self.at = "at work"
                for thread in [*self.givers, *others]:
                    thread.start()
                self.givers[0].join(self.plan.seconds)
                if self.plan.ending == "finish":
                    self._finish()
                self.at = "leaving"
                if self.plan.ending == "raise":
                    raise _LeftByError
        except _LeftByError:
            pass
        except BaseExceptionGroup as failed:
            return list(failed.exceptions)
        return []

    def _finish(self) -> None:
        for giver in self.givers:
            giver.stop()
        for giver in self.givers:
            self.at = f"waiting for {giver.name}"
            giver.join()

    def _collect(self, failures: list[BaseException]) -> None:
        """Settle the processes that nobody has asked for their results: their failures are what leaving raised."""
        records = [record for giver in self.givers for record in giver.uncollected]
        errors = []
        for record in records:
            assert record.handle is not None
            handle = record.handle
            outcome = record.settle_by(lambda handle=handle: handle.result(0))  # type: ignore[misc]
            record.records_seen = len(self.ledger.handled[record.item.id])
            if isinstance(outcome, BaseException) and not record.cancelled and not isinstance(outcome, GroupClosed):
                errors.append(outcome)
        # A giver may have been about to ask: so these are all that were started.
        started = [record.outcome for record in self.ledger.records if record.handle is not None]
        unknown = [failure for failure in failures if not any(failure is outcome for outcome in started)]
        if unknown:
            self.ledger.complain(f"leaving raised what no process failed with: {unknown}")
        silent = [error for error in errors if not any(error is failure for failure in failures)]
        if silent and self.plan.ending != "raise":
            self.ledger.complain(f"leaving did not raise {silent}")

    def __str__(self) -> str:
        text = f"{self.plan}, {self.at}, {len(self.ledger.records)} items"
        if self.is_alive():
            text += f"; at work: {[giver.name for giver in self.givers if giver.is_alive()]}, without an outcome:"
            text = "\n  ".join([text, *self.ledger.unsettled()])
        return text


class _Listener(logging.Handler):
    """Notes what items log."""

    def __init__(self, handled: Handled) -> None:
        super().__init__()
        self._handled = handled

    def emit(self, record: logging.LogRecord) -> None:
        item, number = map(int, record.getMessage().split())
        self._handled[item].append((record.process or 0, number))


class Round:
    """Plays some groups at once."""

    def __init__(self, number: int, seed: int, methods: list[Method], folder: Path) -> None:
        self.number = number
        self._folder = folder
        self.faults: list[str] = []
        handled: Handled = defaultdict(list)
        self._listener = _Listener(handled)
        self.plays: list[Play] = []
        for method in methods:
            chance = random.Random(f"{seed} {number} {method}")
            plan = Plan.draw(method, 4 if len(methods) == 1 else 2, chance)
            log = folder / f"log {number} {method}"
            log.touch()
            self.plays.append(Play(plan, Ledger(log, self.faults.append, handled), f"{seed} {number}"))

    def play(self, tally: Tally, temporary: Path) -> None:
        """Let them live, and look what they leave behind."""
        logger = logging.getLogger("soak")
        logger.addHandler(self._listener)
        before, began = Belongings.now(temporary), time.monotonic()
        for play in self.plays:
            play.start()
        for play in self.plays:
            play.join()
        logger.removeHandler(self._listener)
        left = time.monotonic()
        self._check_left(lambda: Belongings.now(temporary).added_since(before))
        lines = [line for play in self.plays for line in lines_of(play.ledger.log)]
        self._check_left(lambda: {"processes": alive} if (alive := list(_alive(lines))) else {})
        now = time.monotonic()
        tally.slowest_end, tally.longest = max(tally.slowest_end, now - left), max(tally.longest, now - began)
        tally.rounds.update([" and ".join(play.plan.method for play in self.plays)])
        for play in self.plays:
            tally.add(play.ledger.records, play.late)
            tally.harm += play.harm

    def _check_left(self, left: Callable[[], dict[str, object]]) -> None:
        if not wait_for(lambda: not left(), _GONE_WITHIN):
            self.faults.append(f"left behind after {_GONE_WITHIN} s: {left()}")

    def logs(self) -> dict[Path, int]:
        """Tell how large the logs are: they must not grow any more."""
        return {play.ledger.log: play.ledger.log.stat().st_size for play in self.plays}

    def __str__(self) -> str:
        return f"round {self.number}:\n" + "\n".join(map(str, self.plays))


def _alive(lines: list[Line]) -> Iterator[Line]:
    seen: set[tuple[int, int]] = set()
    for line in lines:
        who = line.pid, line.born
        if who not in seen and line.born and lives(*who):
            yield line
        seen.add(who)


def choose_methods(number: int, chance: random.Random, among: list[Method]) -> list[Method]:
    """Choose which groups there are at once: one of them in its turn, or all."""
    return among if chance.random() < 0.3 else [among[number % len(among)]]
