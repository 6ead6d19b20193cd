"""Which worker of a cluster gets the next chunk: the one with the least to do for its size. Pure."""

from __future__ import annotations

import heapq
import itertools


class Placement:
    """Counts what is with each worker. Not safe for several threads."""

    def __init__(self) -> None:
        """Begin without workers."""
        self._sizes: dict[str, int] = {}
        self._loads: dict[str, int] = {}
        # (load for the size, a number, address): one that holds for each worker, and some that hold no longer.
        self._heap: list[tuple[float, int, str]] = []
        self._numbers = itertools.count()

    @property
    def size(self) -> int:
        """Chunks that all workers together run at once."""
        return sum(self._sizes.values())

    def join(self, address: str, size: int) -> None:
        """Take in a worker.

        Args:
            address (str): Its address.
            size (int): Chunks that it runs at once, at least 1.
        """
        self._sizes[address], self._loads[address] = size, 0
        self._push(address)

    def leave(self, address: str) -> None:
        """Take in that a worker is gone, with all that it had.

        Args:
            address (str): Its address.
        """
        self._sizes.pop(address, None)
        self._loads.pop(address, None)

    def take(self) -> str | None:
        """Choose a worker for a chunk, which it then has.

        Returns:
            str | None: Its address; None if there is none.
        """
        while self._heap:
            load, _, address = heapq.heappop(self._heap)
            if address in self._loads and load == self._load(address):
                self._loads[address] += 1
                self._push(address)
                return address
        return None

    def give_back(self, address: str) -> None:
        """Take in that a worker does not have a chunk any more.

        Args:
            address (str): Its address; one that is gone by now is no matter.
        """
        if self._loads.get(address):
            self._loads[address] -= 1
            self._push(address)

    def _load(self, address: str) -> float:
        return self._loads[address] / self._sizes[address]

    def _push(self, address: str) -> None:
        heapq.heappush(self._heap, (self._load(address), next(self._numbers), address))
        if len(self._heap) > 4 * len(self._sizes) + 16:
            self._heap = [(self._load(one), next(self._numbers), one) for one in self._sizes]
            heapq.heapify(self._heap)
