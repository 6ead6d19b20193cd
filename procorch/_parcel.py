"""A parcel: large data on its way, as a pickle with its large buffers beside it in a file without a name.

What a parcel is, and nothing that opens or writes one: see `_buffers`. Loaded in every worker.
"""

from __future__ import annotations

import os
import weakref
from typing import TypeAlias

Data: TypeAlias = bytes | bytearray | memoryview


class Descriptor:
    """Owns a descriptor: the last reference closes it."""

    __slots__ = ("__weakref__", "fd", "memory", "size")

    def __init__(self, fd: int) -> None:
        """Own it from now on.

        Args:
            fd (int): Open; -1 if its contents are in memory from the start.
        """
        self.fd: int = fd
        self.size: int = 0
        """Bytes on their way, if this process wrote them."""
        self.memory: memoryview | None = None
        """What the file held, or would, if it had to be closed before anybody asked for that, or never was one."""
        if fd >= 0:
            held[id(self)] = weakref.ref(self)

    def close(self) -> None:
        """Close it, if it is open."""
        fd, self.fd = self.fd, -1
        if fd >= 0:
            held.pop(id(self), None)
            os.close(fd)

    def __del__(self) -> None:
        # Not a finalizer of weakref: that costs several times as much, and would run for those of a forked copy, too.
        self.close()


held: dict[int, weakref.ref[Descriptor]] = {}
"""All open ones of this process. Not a WeakSet, which other threads may change while one looks through it."""


def all_held() -> list[Descriptor]:
    """Give all of this process that are open now.

    Returns:
        list[Descriptor]: In no order.
    """
    return [one for reference in held.copy().values() if (one := reference()) is not None]


def _close_in_child() -> None:
    """Let go of what is on its way in the process that was copied: a worker would keep it for its whole life."""
    for descriptor in all_held():
        descriptor.close()


os.register_at_fork(after_in_child=_close_in_child)


class Parcel:
    """A pickle whose large buffers lie in a file."""

    __slots__ = ("descriptor", "lasting", "once", "text")

    def __init__(self, text: Data, descriptor: Descriptor | None, *, once: bool = False) -> None:
        """Put it together.

        Args:
            text (Data): What stands in the frame.
            descriptor (Descriptor | None): The file; None if it was lost on the way, since this process had no room
                for another descriptor.
            once (bool): Whether it is loaded no more than once, and may then let go of the file.
        """
        self.text: Data = text
        self.descriptor: Descriptor | None = descriptor
        self.once: bool = once
        self.lasting: bool = False
        """Whether it is there to stay, and worth a descriptor of its own."""

    def __len__(self) -> int:
        """Count what stands in the frame.

        Returns:
            int: Bytes.
        """
        return len(self.text)

    @classmethod
    def received(cls, text: Data, descriptor: Descriptor | None) -> Parcel:
        """Take in one that has come from another process.

        Args:
            text (Data): What stood in the frame.
            descriptor (Descriptor | None): As for `Parcel`.

        Returns:
            Parcel: To be loaded once.
        """
        return cls(text, descriptor, once=True)
