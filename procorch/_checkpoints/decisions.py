"""What becomes of items when a call goes on from a checkpoint, by what is recorded of them.

done -----------------------> skipped, its recorded result is given
failed, or reported --------> begun, with all its tries
in doubt, a try is left ----> begun, with those that are left
in doubt, no try is left ---> reported (`TaskInterrupted`); that is recorded
unknown --------------------> begun
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, TypeAlias, cast

from procorch._checkpoint import Key
from procorch._checkpoints.digests import digest_of
from procorch._checkpoints.journal import Known
from procorch._checkpoints.store import Found, Store
from procorch._errors import CheckpointError, CheckpointMismatch
from procorch._verdict import shorten

_INT64 = range(-(1 << 63), 1 << 63)
"""What SQLite takes as a number."""


class Go(NamedTuple):
    """Neighbours are to be begun."""

    knowns: list[Known]
    begun: int
    """How often they have been already, of the tries that they have; if they have, there is one."""


class Skip(NamedTuple):
    """Neighbours are done."""

    results: list[bytes | None]
    """What they gave, pickled; None if that is not kept."""


class Report(NamedTuple):
    """The item is in doubt, and is not to be begun."""

    known: Known
    begun: int
    certain: bool


class Refuse(NamedTuple):
    """The call ends here."""

    error: Exception


Decision: TypeAlias = Go | Skip | Report | Refuse


class Decisions:
    """Decides about the items of one run. One thread."""

    def __init__(self, store: Store, key: Callable[..., Key] | None, retries: int) -> None:
        """Begin.

        Args:
            store (Store): Open, with what earlier runs have left settled.
            key (Callable[..., Key] | None): Of `Checkpoint`.
            retries (int): Extra tries of an item.
        """
        self.path: str = store.path
        self._store = store
        self._key = key
        self._retries = retries
        self._seen: dict[bytes, int] = {}  # position of each key's fingerprint

    def decide(self, first: int, items: Sequence[Any], *, parts: bool) -> Iterator[Decision]:
        """Decide what becomes of items.

        Args:
            first (int): Position of the first.
            items (Sequence[Any]): Some neighbours.
            parts (bool): Whether each is a tuple of arguments.

        Yields:
            Decision: For one or more of them, in their order; `Refuse` is the last.
        """
        keys, marks, refusal = self._know(first, items, parts=parts)
        found = self._find(first, keys)
        going, done = list[Known](), list[bytes | None]()
        for key, mark, item in zip(keys, marks, items, strict=False):
            one = found.get(key)
            if one is not None and one.fingerprint is not None and mark is not None and one.fingerprint != mark:
                refusal = self._other_item(key, one, item)
                break
            if one is not None and one.state == "done":
                if going:
                    yield Go(going, 0)
                    going = []
                done.append(one.result)
                continue
            if done:
                yield Skip(done)
                done = []
            begun, certain = self._begun_before(key, mark, one)
            known = Known(key, self._known_by(key, mark), shorten(item), mark)
            if not begun:
                going.append(known)
                continue
            if going:
                yield Go(going, 0)
                going = []
            yield Go([known], begun) if begun <= self._retries else Report(known, begun, certain)
        if done:
            yield Skip(done)
        if going:
            yield Go(going, 0)
        if refusal is not None:
            yield Refuse(refusal)

    def _find(self, first: int, keys: Sequence[Key]) -> dict[Key, Found]:
        """Give what is recorded of neighbours."""
        if not self._store.has_items:
            return {}
        if self._key is not None:
            return self._store.with_keys(keys)
        return self._store.between(range(first, first + len(keys)))

    def _known_by(self, key: Key, mark: bytes | None) -> int | bytes:
        """Give what tells an item from others where it is noted: its key's fingerprint, or its position."""
        return mark if self._key is not None and mark is not None else cast("int", key)

    def _know(
        self, first: int, items: Sequence[Any], *, parts: bool
    ) -> tuple[Sequence[Key], list[bytes | None], Exception | None]:
        """Give keys and fingerprints of items, up to the first whose key is wrong, and what is wrong with that."""
        call = self._key
        if call is None:
            return range(first, first + len(items)), list(map(digest_of, items)), None
        keys, marks = list[Key](), list[bytes | None]()
        for position, item in enumerate(items, first):
            try:
                key = _checked(call(*item) if parts else call(item))
                marks.append(self._mark_of(position, key))
                keys.append(key)
            except Exception as error:  # noqa: BLE001 - the user's function may raise anything
                return keys, marks, error
        return keys, marks, None

    def _mark_of(self, position: int, key: Key) -> bytes:
        mark = digest_of(key)
        assert mark is not None
        before = self._seen.setdefault(mark, position)
        if before != position:
            raise CheckpointError(self.path, f"has one key for two items, {before} and {position}: {key!r}")
        return mark

    def _begun_before(self, key: Key, mark: bytes | None, found: Found | None) -> tuple[int, bool]:
        """Tell how often an item without an outcome had begun, and whether that is certain."""
        store = self._store
        lost = store.lost_run
        if not (store.doubts or lost):
            return 0, True
        begun = store.doubts.get(self._known_by(key, mark), 0)
        if not begun and lost and (found is None or found.run < lost):
            return 1, False
        return begun, True

    def _other_item(self, key: Key, found: Found, item: Any) -> CheckpointMismatch:
        recorded, now = str(found.item), shorten(item)
        advice = "take another file for another input, or key= to know items wherever they stand"
        if recorded == now:
            advice = f"they look the same, but their pickles differ: if that is all, {advice}"
        reason = f"was made with another item {key!r}: {recorded} then, {now} now; {advice}"
        return CheckpointMismatch(self.path, reason, "item", recorded, now)

    def other_doubts(self, beyond: int) -> list[Known]:
        """Give the items further on that are to be reported too, where they are known by position.

        Args:
            beyond (int): A position.

        Returns:
            list[Known]: In their order.
        """
        doubts = self._store.doubts.items()
        marks = sorted(
            mark for mark, begun in doubts if isinstance(mark, int) and mark > beyond and begun > self._retries
        )
        return [Known(mark, mark, None, None) for mark in marks]


def _checked(key: object) -> Key:
    """Give a key as SQLite takes it, and gives it back."""
    if isinstance(key, bytes):
        return bytes(key)
    if isinstance(key, str):
        try:
            return key.encode().decode()  # of this very type, as all of these
        except UnicodeEncodeError:
            raise ValueError(f"key must give a str that UTF-8 can hold, not {key!r}; os.fsencode makes bytes") from None
    if not isinstance(key, int) or isinstance(key, bool):
        raise TypeError(f"key must give a str, an int or bytes, not {key!r}")
    number = int(key)  # for one of a subclass, as of an IntEnum, the range would be searched from end to end
    if number not in _INT64:
        raise ValueError(f"key must give an int of 64 bits, not {number}")
    return number
