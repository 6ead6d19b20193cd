"""A group's other faces: what the standard library's executors and pools look like, for code that asks for those."""

from __future__ import annotations

from procorch._executors.executor import GroupExecutor
from procorch._executors.pool import GroupPool
from procorch._tasks import Tasks


class Facades(Tasks):
    """The calls of a group and its views, and these two."""

    def as_executor(self) -> GroupExecutor:
        """Give this as an executor of the standard library, for code that wants one.

        Returns:
            GroupExecutor: An instance of `concurrent.futures.Executor` that keeps its contract. To shut it down waits
            for what was given through it, and leaves the group as it is.
        """
        return GroupExecutor(self)

    def as_pool(self) -> GroupPool:
        """Give this in the shape of a `multiprocessing.pool.Pool`, for code that wants one.

        Returns:
            GroupPool: Has the calls of a pool that programs use. To close or terminate it leaves the group as it is.
        """
        return GroupPool(self)
