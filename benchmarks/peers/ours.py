"""procorch. It has no settings that depend on the work."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, cast

from typing_extensions import override

from peers.base import Peer, Pending


class Procorch(Peer):
    """`procorch.ProcessGroup` with its defaults."""

    name = "procorch"
    library = "procorch"
    distribution = "procorch"

    def __init__(self, workers: int, method: str, *, tuned: bool) -> None:
        super().__init__(workers, method, tuned=tuned)
        from procorch import ProcessGroup  # here, as the others': only the process that measures it is to load it

        self._type = ProcessGroup

    @override
    def open(self) -> None:
        self._group = self._type(self.workers, mp_context=cast("Any", self.method))

    @override
    def close(self) -> None:
        self._group.close()
        self._group.join()

    @override
    def map(self, fn: Callable[[Any], Any], items: Sequence[Any], chunk: int) -> list[Any]:
        return self._group.map(fn, items)

    @override
    def stream(self, fn: Callable[[Any], Any], items: Iterable[Any], chunk: int) -> Iterator[Any]:
        return self._group.imap(fn, items)

    @override
    def submit(self, fn: Callable[[Any], Any], item: Any) -> Pending:
        return self._group.submit(fn, item)
