"""What a group shares with its workers: pickled once, in a file of its own, and told to each worker."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable
from typing import Any

from procorch import _messages as m
from procorch import _values
from procorch._buffers import Callback, pack, write_apart
from procorch._errors import NotPicklable, Task
from procorch._mentions import mentions_main
from procorch._parcel import Parcel
from procorch._pickles import Pickles
from procorch._share import Shared, given

_LEAST = 1 << 12
"""Bytes from which on a buffer is not copied when the object is rebuilt: those of a page."""


def pickled(value: object, pickles: Pickles, task: Callable[[], Task]) -> bytes | Parcel | NotPicklable:
    """Pickle an object that all workers get.

    Args:
        value (object): The object.
        pickles (Pickles): Of this call.
        task (Callable[[], Task]): Names it; called only if it fails.

    Returns:
        bytes | Parcel | NotPicklable: Bytes only where there is no room, or no file without a name; or the error.
    """

    def plainly(callback: Callback | None) -> bytes:
        return pickles.dumps(value, callback)

    def by_value(callback: Callback | None) -> bytes:
        return _values.dumps(value, {}, buffer_callback=callback)

    plain: bytes | Exception
    failure: Exception | None = None
    try:
        parcel = write_apart(plainly, lambda head: not mentions_main(head), least=_LEAST, alone=True)
        if parcel is not None:
            return parcel
        plain = plainly(None)
        if not mentions_main(plain):
            return plain
    except Exception as error:  # noqa: BLE001 - the user's __reduce__ may raise anything
        plain = error
    if pickles.goes_by_value(plain):
        try:
            return write_apart(by_value, least=_LEAST, alone=True) or by_value(None)
        except Exception as error:  # noqa: BLE001 - as above
            failure = error
    payload = pickles.not_by_value(value, plain, failure, "argument", task)
    return payload if isinstance(payload, NotPicklable) else pack([payload], [], alone=True) or payload


class Shares:
    """What a group shares with its workers. Any thread, and finalizers: each step is one of the interpreter's."""

    def __init__(self, group: str) -> None:
        """Begin with nothing.

        Args:
            group (str): The group's name.
        """
        self._group = group
        self._messages: dict[int, m.Share] = {}
        self.version: object = object()
        """Another one after each change."""
        self.changed: Callable[[], None] = lambda: None
        """Called when something was closed, at any moment; does not wait and takes no lock."""

    def add(self, value: object, payload: m.Payload | None) -> Shared[Any]:
        """Share an object.

        Args:
            value (object): The object.
            payload (m.Payload | None): Its pickle; None if it need not be sent anywhere.

        Returns:
            Shared[Any]: The handle, with which it ends.
        """
        key = int.from_bytes(os.urandom(8), "little")  # by accident, nobody else's
        if payload is not None:
            self._messages[key] = m.Share(key, self._group, payload)
        self.version = object()
        shared: Shared[Any] = Shared(key, self._group, value, None, lambda: self.drop(key))
        given[key] = shared
        weakref.finalize(shared, self.drop, key).atexit = False
        return shared

    def pass_on(self, message: m.Share) -> None:
        """Share with workers here what somebody else has shared with this process; `drop` ends that.

        Args:
            message (m.Share): As it came; a number that is known already changes nothing.
        """
        if message.key not in self._messages:
            self._messages[message.key] = message
            self.version = object()

    def drop(self, key: int) -> None:
        """Share something no longer.

        Args:
            key (int): Its number; one that is not known is no matter.
        """
        given.pop(key, None)
        if self._messages.pop(key, None) is not None:
            self.version = object()
            self.changed()

    def close(self) -> None:
        """Let go of everything: there are no workers any more. Handles keep their objects."""
        self._messages.clear()

    def catch_up(self, known: set[int]) -> list[m.ToWorker]:
        """Tell what a worker has to hear.

        Args:
            known (set[int]): The numbers that it knows; brought up to date.

        Returns:
            list[m.ToWorker]: In this order.
        """
        now = self._messages.copy()
        gone = known - now.keys()
        new = [message for key, message in now.items() if key not in known]
        known.symmetric_difference_update(gone)
        known.update(message.key for message in new)
        return [*map(m.Unshare, gone), *new]
