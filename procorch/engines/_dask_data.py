"""Large data on a cluster of dask: brought there as data, past the graph of tasks, and kept as long as they are needed.

They are lost with the last worker that has them; then they are brought anew. In the client's event loop.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, TypeAlias

from distributed import Client

DaskFuture: TypeAlias = Any
"""A future of dask, which tells few of its types, and other ones in each release: so does a client."""

_MOST_FUNCTIONS = 8
"""Large functions that are kept, each with all workers that have it; the one used longest ago goes first."""


class Data:
    """What an engine keeps on the cluster."""

    def __init__(self, client: Client) -> None:
        """Keep nothing yet.

        Args:
            client (Client): Of dask.
        """
        self._client: Any = client
        self._numbers = itertools.count(1)
        self._functions: OrderedDict[int, dict[str, asyncio.Task[DaskFuture]]] = OrderedDict()
        self._shared: dict[int, asyncio.Task[DaskFuture]] = {}

    async def bring(self, name: str, value: object, address: str | None) -> DaskFuture:
        """Bring data to one worker, or to all.

        Args:
            name (str): No other data of anybody's has it.
            value (object): The data.
            address (str | None): The worker's; None for all.

        Returns:
            DaskFuture: With which they end.
        """
        key = f"procorch-data-{name}-{next(self._numbers)}"
        workers = None if address is None else [address]
        found: dict[str, DaskFuture] = await self._client.scatter(
            {key: value}, workers=workers, broadcast=address is None, hash=False, asynchronous=True
        )
        return found[key]

    async def function(self, name: str, key: int, payload: bytes, address: str) -> DaskFuture:
        """Give a function that a worker has, or gets now.

        Args:
            name (str): As of `bring`.
            key (int): The function's.
            payload (bytes): Its pickle.
            address (str): The worker's.

        Returns:
            DaskFuture: The pickle.
        """
        there = self._functions.setdefault(key, {})
        self._functions.move_to_end(key)
        if len(self._functions) > _MOST_FUNCTIONS:
            self._functions.popitem(last=False)
        if not _is_there(there.get(address)):
            there[address] = asyncio.ensure_future(self.bring(name, payload, address))
        return await _of(there[address])

    async def shared(self, name: str, key: int, make: Callable[[], object]) -> DaskFuture:
        """Give something shared that the cluster has, or gets now.

        Args:
            name (str): As of `bring`.
            key (int): Its number.
            make (Callable[[], object]): Gives the data.

        Returns:
            DaskFuture: The data.
        """
        if not _is_there(self._shared.get(key)):
            self._shared[key] = asyncio.ensure_future(self.bring(name, make(), None))
        return await _of(self._shared[key])

    def keep_only(self, keys: set[int]) -> None:
        """Let go of what is not shared any more.

        Args:
            keys (set[int]): The numbers of what is.
        """
        for key in self._shared.keys() - keys:
            del self._shared[key]

    def clear(self) -> None:
        """Let go of everything."""
        self._functions.clear()
        self._shared.clear()


def _is_there(brought: asyncio.Task[DaskFuture] | None) -> bool:
    """Tell whether something is there, or on its way."""
    if brought is None or brought.cancelled():
        return False
    return not brought.done() or (brought.exception() is None and brought.result().status == "finished")


async def _of(brought: asyncio.Task[DaskFuture]) -> DaskFuture:
    # Others wait for the same: that one of them is cancelled must not cost them anything.
    return await asyncio.shield(brought)
