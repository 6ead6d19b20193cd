"""procorch. It has no settings that depend on the work."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, cast

from peers.base import Peer, Pending
from typing_extensions import override

from procorch import ProcessGroup


class Procorch(Peer):
    """`procorch.ProcessGroup` with its defaults."""

    name = "procorch"
    library = "procorch"
    distribution = "procorch"

    @override
    def open(self) -> None:
        self._group = ProcessGroup(self.workers, mp_context=cast("Any", self.method))

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
