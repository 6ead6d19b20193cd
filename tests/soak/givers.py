"""Threads that give a group random work, in all the ways in which it takes any."""

from __future__ import annotations

import concurrent.futures
import contextlib
import random
import threading
from collections.abc import Generator
from functools import partial

import attrs
from items import HANGS, TAME, WILD, Item, Kind, Result, Retriable, perform
from ledger import Dropped, Ledger, Options, Record, Refused, index_in, now_called_back, settle_all

from procorch import GroupClosed, GroupView, ProcessGroup, ProcessHandle


class InputFailed(Exception):
    """What an input raises instead of an item."""


@attrs.define
class Inputs:
    """What an `imap` reads, and how far it has."""

    ledger: Ledger
    options: Options
    giver: Giver
    fails_at: int
    """Which item it raises instead of giving; -1 for none."""
    most: int
    records: list[Record] = attrs.field(factory=list)
    closed: bool = False

    def __iter__(self) -> Generator[Item]:
        try:
            for number in range(self.most):
                if number == self.fails_at:
                    raise InputFailed(number)
                self.records.append(self.giver.new_record("imap", self.options))
                yield self.records[-1].item
        finally:
            self.closed = True


class Giver(threading.Thread):
    """Gives work and checks what comes of it, until it is told to stop or the group takes no more."""

    def __init__(self, name: str, group: ProcessGroup, ledger: Ledger, chance: random.Random, *, set_up: bool) -> None:
        super().__init__(name=name, daemon=True)
        self._group = group
        self._ledger = ledger
        self._chance = chance
        self._set_up = set_up
        self._over = threading.Event()
        self.refused = False
        self.uncollected: list[Record] = []
        """Processes of `start` whose results nobody has asked for."""

    def stop(self) -> None:
        """Let it come to an end."""
        self._over.set()

    def run(self) -> None:
        ways = [self._submit, self._map, self._imap, self._start]
        try:
            while not self._over.is_set() and not self.refused:
                options = self._options()
                view = self._group.options(
                    timeout=options.timeout,
                    retries=options.retries,
                    retry_on=Retriable if options.retries_own else (),
                    backoff=options.backoff,
                )
                self._chance.choices(ways, [4, 2, 3, 1])[0](view, options)
        except BaseException as error:  # noqa: BLE001 - all that comes here is a fault of the group's
            self._ledger.complain(f"{self.name} got {error!r} from the group {self._group!r}")

    # --- what is given ------------------------------------------------------------------------------------------------

    def _options(self) -> Options:
        chance = self._chance
        return Options(
            chance.choice([None, None, chance.uniform(0.2, 1.0)]),
            chance.choice([0, 0, 0, 1, 2]),
            chance.random() < 0.5,
            chance.choice([0.0, 0.02]) if chance.random() < 0.7 else (0.01, 0.05),
        )

    def new_record(self, call: str, options: Options) -> Record:
        """Think of an item."""
        chance = self._chance
        rare = chance.random() * (1 if call in {"submit", "start"} else 6)
        kind: Kind
        if rare < 0.08 and options.timeout is not None:
            kind = chance.choice(HANGS)
        elif rare < 0.25:
            kind = chance.choice(WILD)
        else:
            kind = chance.choices(TAME, [40, 10, 10, 4, 6, 6, 2, 2])[0]
        amount = chance.randrange(4_000_000) if kind == "large" else chance.randrange(40)
        cargo = self._cargo(kind)
        log = str(self._ledger.log)
        return self._ledger.add(call, options, lambda number: Item(number, kind, log, amount, self._set_up, cargo))  # type: ignore[arg-type]

    def _cargo(self, kind: Kind) -> object:
        if kind == "no argument":
            return threading.Lock()
        return bytes(self._chance.randrange(2_000_000)) if self._chance.random() < 0.02 else b""

    def _seen(self, record: Record) -> None:
        """Note what has been logged by an item whose outcome is here."""
        record.records_seen = len(self._ledger.handled[record.item.id])

    # --- ways to give it ----------------------------------------------------------------------------------------------

    def _submit(self, view: GroupView, options: Options) -> None:
        records = [self.new_record("submit", options) for _ in range(self._chance.choice([1, 1, 2, 5, 12]))]
        for record in records:
            try:
                record.future = view.submit(perform, record.item)
            except GroupClosed:
                self.refused = True
                record.settle(Refused())
                continue
            record.future.add_done_callback(partial(now_called_back, record))
            self._ledger.expose(record)
        given = {record.future: record for record in records if record.future is not None}
        if self._chance.random() < 0.5:
            for future in concurrent.futures.as_completed(given):
                self._collect(given[future])
        else:
            for record in given.values():
                self._collect(record)

    def _collect(self, record: Record) -> None:
        assert record.future is not None
        record.settle_by(record.future.result)
        self._seen(record)

    def _map(self, view: GroupView, options: Options) -> None:
        chance = self._chance
        records = [self.new_record("map", options) for _ in range(chance.choice([1, 5, 40, 200]))]
        as_values = chance.random() < 0.7
        try:
            outcomes = view.map(
                perform,
                [record.item for record in records],
                chunksize=chance.choice([None, None, 1, 7]),
                buffersize=chance.choice([None, None, 10]),
                return_exceptions=as_values,
            )
        except GroupClosed:
            self.refused = True
        except BaseException as error:  # noqa: BLE001 - the first item that failed
            self._settle_failed(records, error)
        else:
            for record, outcome in zip(records, outcomes, strict=True):
                record.settle(outcome)
                self._seen(record)
        settle_all(records, Dropped())

    def _settle_failed(self, records: list[Record], error: BaseException) -> None:
        """Take in that a call raised the error of one of its items."""
        index = index_in(error)
        if index < 0:
            raise error
        records[index].settle(error)
        if isinstance(error, GroupClosed):
            self.refused = True

    def _imap(self, view: GroupView, options: Options) -> None:
        chance = self._chance
        ordered = chance.random() < 0.6
        bound = chance.choice([None, None, 1, 8, 60])
        fails_at = chance.choice([-1, -1, -1, chance.randrange(60)])
        inputs = Inputs(self._ledger, options, self, fails_at, chance.choice([10, 100, 10**9]))
        leave_after = chance.randrange(300)
        as_values = chance.random() < 0.8
        given = 0
        try:
            stream = view.imap(
                perform,
                iter(inputs),
                ordered=ordered,
                chunksize=chance.choice([None, None, 1, 5]),
                buffersize=bound,
                return_exceptions=as_values,
            )
            with contextlib.closing(stream):
                for outcome in stream:
                    self._settle_next(inputs.records, given, outcome, ordered=ordered)
                    given += 1
                    if bound is not None and len(inputs.records) > given - 1 + bound:
                        self._ledger.complain(f"imap took {len(inputs.records)} with {given - 1} given, bound {bound}")
                    if given > leave_after or self._over.is_set():
                        break
        except GroupClosed:
            self.refused = True
        except InputFailed as error:
            if error.args[0] != fails_at or (ordered and given != fails_at):
                self._ledger.complain(f"imap raised {error!r} after {given} items, not {fails_at}")
        except BaseException as error:  # noqa: BLE001 - the next item that failed
            self._settle_failed(inputs.records, error)
            if ordered and index_in(error) != given:
                self._ledger.complain(f"imap raised {error!r} of {index_in(error)} in the place of {given}")
        if inputs.records and not inputs.closed:
            self._ledger.complain("the input of an imap was not closed")
        settle_all(inputs.records, Dropped())

    def _settle_next(self, records: list[Record], given: int, outcome: object, *, ordered: bool) -> None:
        if ordered:
            record = records[given]
        elif isinstance(outcome, Result):
            record = next(one for one in records if one.item.id == outcome.id)
        else:
            assert isinstance(outcome, BaseException)
            record = records[index_in(outcome)]
        record.settle(outcome)
        self._seen(record)

    def _start(self, view: GroupView, options: Options) -> None:
        started: list[Record] = []
        for _ in range(self._chance.choice([1, 1, 3])):
            record = self.new_record("start", options)
            try:
                record.handle = view.start(perform, record.item)
            except GroupClosed:
                self.refused = True
                record.settle(Refused())
                continue
            started.append(record)
            self._ledger.expose(record)
        if self._chance.random() < 0.2:
            self._watch_some(len(started))
        for record in started:
            handle = record.handle
            assert handle is not None
            if self._chance.random() < 0.3:
                self.uncollected.append(record)
            else:
                record.settle_by(handle.result)
                self._seen(record)

    def _watch_some(self, count: int) -> None:
        for ended in self._group.as_completed():
            self._check_ended(ended)
            count -= 1
            if count <= 0:
                return

    def _check_ended(self, handle: ProcessHandle[object]) -> None:
        if handle.is_alive():
            self._ledger.complain(f"as_completed gave {handle!r}")
