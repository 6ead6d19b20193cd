"""An object that lies once where all workers of a group find it: the handle, on both sides.

    parent: group.share(obj) -> Shared --(pickled: a number)----------> worker: the Shared of that number
                                Shares --(`Share`, once to each worker)----------^  .value: loaded on first use

How the number reaches a worker does not matter; that worker must have got the data from its own parent. Everywhere
else it leads nowhere, and says so. Loaded in a worker only when there is something shared.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable
from types import TracebackType
from typing import Any, Generic, Self, TypeVar, cast

from procorch import _messages as m
from procorch._buffers import loads
from procorch._parcel import Parcel
from procorch._public import public

T = TypeVar("T")


@public
class Shared(Generic[T]):
    """An object shared with all workers of a group, from `ProcessGroup.share`. Any thread.

    Pass it on as an argument, inside of one, or with a function that holds it: what crosses is a number. It leads to
    the object only in the processes of the group and in the one that shared it; elsewhere, to load it is an error.
    """

    __slots__ = ("__weakref__", "_close", "_group", "_key", "_lock", "_payload", "_value")

    def __init__(self, key: int, group: str, value: Any, payload: m.Payload | None, close: Callable[[], None]) -> None:
        """Not for users: `ProcessGroup.share` makes them.

        Args:
            key (int): Its number.
            group (str): The group's name, for messages.
            value (Any): The object, if there is no payload.
            payload (m.Payload | None): Its pickle, in a worker.
            close (Callable[[], None]): Gives the data back.
        """
        self._key = key
        self._group = group
        self._value = value
        self._payload = payload
        self._close: Callable[[], None] | None = close
        self._lock = threading.Lock()

    @property
    def value(self) -> T:
        """The object: in the process that shared it, that very one; in a worker, its copy, the same at each access.

        A worker's copy may be written to: the others do not see that, and pages that nobody writes to are in memory
        once for all workers. It is rebuilt at the first access.

        Raises:
            ValueError: The handle has been closed.
            Exception: What rebuilding it raises, in a worker.
        """
        with self._lock:
            if self._close is None:
                raise ValueError(self._closed())
            if self._payload is not None:
                self._value = loads(self._payload)
                self._payload = None
            return cast("T", self._value)

    def close(self) -> None:
        """Let go of the object, here and in the workers. A worker's copy stays while an item there still uses it.

        Items that have not begun by then fail. Twice is fine. In a worker, nothing happens.
        """
        if self._close is not None:
            self._close()
            if self._key not in _received:
                with self._lock:
                    self._close = self._value = None

    def _closed(self) -> str:
        return f"what was shared with the group {self._group!r} has been closed"

    def __enter__(self) -> Self:
        """Enter a block at whose end it is closed.

        Returns:
            Self: This handle.
        """
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close it.

        Args:
            exc_type (type[BaseException] | None): Ignored.
            exc (BaseException | None): Ignored.
            traceback (TracebackType | None): Ignored.
        """
        self.close()

    def __reduce__(self) -> tuple[Callable[..., Shared[Any]], tuple[int, str]]:
        """Pickle as a number.

        Returns:
            tuple[Callable[..., Shared[Any]], tuple[int, str]]: What finds it again.

        Raises:
            ValueError: It has been closed.
        """
        if self._close is None:
            raise ValueError(self._closed())
        return find, (self._key, self._group)

    def __repr__(self) -> str:
        """Say what it is.

        Returns:
            str: Such as ``<Shared ndarray, group 'etl'>``.
        """
        if self._close is None:
            what = "closed"
        else:
            what = "not loaded" if self._payload is not None else type(self._value).__name__
        return f"<Shared {what}, group {self._group!r}>"


given: weakref.WeakValueDictionary[int, Shared[Any]] = weakref.WeakValueDictionary()
"""What this process has shared, by number."""

_received: dict[int, Shared[Any]] = {}
"""What has been shared with this process, by number."""


def _forget_in_child() -> None:
    """A forked worker gets from its parent what is shared with it, as all others do."""
    given.clear()
    _received.clear()


os.register_at_fork(after_in_child=_forget_in_child)


def find(key: int, group: str) -> Shared[Any]:
    """Give the handle of a number. Pickles refer to it by name.

    Args:
        key (int): Its number.
        group (str): The name of the group that it is for.

    Returns:
        Shared[Any]: The same each time.

    Raises:
        LookupError: It is not for this process, or has been closed.
    """
    found = given.get(key) or _received.get(key)
    if found is None:
        raise LookupError(
            f"what was shared with the group {group!r} is known to that group's workers only, until it is closed"
        )
    return found


# --- in a worker ------------------------------------------------------------------------------------------------------


def receive(message: m.Share) -> None:
    """Keep what is shared with this worker.

    Args:
        message (m.Share): From the parent.
    """
    payload = message.payload
    if isinstance(payload, Parcel):
        payload.lasting = True
        payload.once = False  # if it cannot be loaded, the next access shall see the same error
    _received[message.key] = Shared(message.key, message.group, None, payload, _nothing)


def has_received(key: int) -> bool:
    """Tell whether something is shared with this process.

    Args:
        key (int): Its number.

    Returns:
        bool: Of this moment.
    """
    return key in _received


def forget(message: m.Unshare) -> None:
    """Let go of it, as far as no item uses it.

    Args:
        message (m.Unshare): From the parent.
    """
    _received.pop(message.key, None)


def keep(message: m.Share | m.Unshare) -> None:
    """Take in either.

    Args:
        message (m.Share | m.Unshare): From the parent.
    """
    if isinstance(message, m.Share):
        receive(message)
    else:
        forget(message)


def _nothing() -> None:
    """Close, in a worker: its parent decides."""
