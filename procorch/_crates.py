"""A payload on its way to a process that shares no descriptors with this one: large data as one buffer, out of band.

    Parcel (a file without a name) --Crate.of--> Crate --(pickle protocol 5, its buffer beside it)--> Crate --open--> Parcel

Whoever carries it decides whether the buffer really goes beside the pickle; older protocols take it in band.
"""

from __future__ import annotations

import errno
import os
import pickle
from typing import Any, Self, TypeAlias

from procorch._memory import into_file, into_memory
from procorch._messages import Payload
from procorch._parcel import Data, Descriptor, Parcel


class Crate:
    """The contents of a `Parcel`, in memory."""

    __slots__ = ("_arrived", "content", "text")

    def __init__(self, text: Data, content: Any, *, arrived: bool = False) -> None:
        """Put it together.

        Args:
            text (Data): What stands in the parcel's frame.
            content (Any): What its file holds; any object with a buffer.
            arrived (bool): Whether the memory is this side's own.
        """
        self.text: Data = text
        self.content: Any = content
        self._arrived = arrived

    @classmethod
    def of(cls, parcel: Parcel) -> Self:
        """Take what a parcel holds.

        Args:
            parcel (Parcel): Stays as it is.

        Returns:
            Self: Its memory is copied only where somebody writes to it.

        Raises:
            OSError: It has lost its file on the way here.
        """
        descriptor = parcel.descriptor
        if descriptor is None:
            raise OSError(errno.EMFILE, "this process has too many open files")
        memory = descriptor.memory or into_memory(descriptor.fd, os.fstat(descriptor.fd).st_size)
        return cls(bytes(parcel.text), memory)

    def open(self) -> Parcel:
        """Give it as a parcel, whose memory may be written to.

        Returns:
            Parcel: To be loaded once.
        """
        view = memoryview(self.content)
        if view.readonly or not self._arrived:
            # Read-only is what some carriers deliver. And where it did not travel at all, the sender's stays as it is.
            view = memoryview(bytearray(view))
        descriptor = Descriptor(-1)
        descriptor.memory = view.cast("B")
        return Parcel(self.text, descriptor, once=True)

    @property
    def nbytes(self) -> int:
        """Its size."""
        return len(self.text) + memoryview(self.content).nbytes

    def __sizeof__(self) -> int:
        """Tell its size, for carriers that ask how much they hold.

        Returns:
            int: Bytes.
        """
        return self.nbytes

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        """Pickle with the content as a buffer.

        Args:
            protocol (Any): Of pickle; from 5 on, buffers may go out of band.

        Returns:
            tuple[Any, ...]: How to rebuild it.
        """
        content = pickle.PickleBuffer(self.content) if protocol >= 5 else bytearray(self.content)
        return _arrived, (bytes(self.text), content)


Carried: TypeAlias = bytes | Crate
"""A payload as it crosses."""


def pack(payload: Payload) -> Carried:
    """Make a payload fit to cross.

    Args:
        payload (Payload): Of this process.

    Returns:
        Carried: A crate if it is large.
    """
    return Crate.of(payload) if isinstance(payload, Parcel) else bytes(payload)


def unpack(carried: Carried) -> Payload:
    """Take a payload that has crossed.

    Args:
        carried (Carried): From `pack`.

    Returns:
        Payload: The same, in this process.
    """
    return carried.open() if isinstance(carried, Crate) else carried


def to_file(carried: Carried, *, lasting: bool = False) -> Payload:
    """Take a payload that has crossed, to hand it on to a process of this machine.

    Args:
        carried (Carried): From `pack`.
        lasting (bool): Whether it is there to stay.

    Returns:
        Payload: The same; a crate's content is in a file again.

    Raises:
        MemoryError: There is no room for it.
    """
    if not isinstance(carried, Crate):
        return carried
    descriptor = into_file([(0, memoryview(carried.content).cast("B"))], lasting=lasting)
    if descriptor is None:
        raise MemoryError(f"no room for {carried.nbytes} bytes in a file without a name")
    return Parcel(carried.text, descriptor)


def _arrived(text: bytes, content: Any) -> Crate:
    return Crate(text, content, arrived=True)
