"""Large data on a cluster of dask: brought there as data, past the graph of tasks, and kept as long as they are needed.

In the client's event loop.
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

_MOST_FUNCTIONS = 16
"""Large functions that are kept, one for each worker that has it; the one used longest ago goes first."""


class Data:
    """What an engine keeps on the cluster."""

    def __init__(self, client: Client) -> None:
        """Keep nothing yet.

        Args:
            client (Client): Of dask.
        """
        self._client: Any = client
        self._numbers = itertools.count(1)
        self._functions: OrderedDict[tuple[int, str], asyncio.Task[DaskFuture]] = OrderedDict()
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
        known = (key, address)
        if known not in self._functions:
            self._functions[known] = asyncio.ensure_future(self.bring(name, payload, address))
            if len(self._functions) > _MOST_FUNCTIONS:
                self._functions.popitem(last=False)
        self._functions.move_to_end(known)
        return await _when_there(self._functions, known)

    async def shared(self, name: str, key: int, make: Callable[[], object]) -> DaskFuture:
        """Give something shared that the cluster has, or gets now.

        Args:
            name (str): As of `bring`.
            key (int): Its number.
            make (Callable[[], object]): Gives the data.

        Returns:
            DaskFuture: The data.
        """
        if key not in self._shared:
            self._shared[key] = asyncio.ensure_future(self.bring(name, make(), None))
        return await _when_there(self._shared, key)

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


async def _when_there(kept: dict[Any, asyncio.Task[DaskFuture]], key: object) -> DaskFuture:
    try:
        # Others wait for the same: that one of them is cancelled must not cost them anything.
        return await asyncio.shield(kept[key])
    except Exception:
        kept.pop(key, None)  # whoever comes next tries again
        raise
