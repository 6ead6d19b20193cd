"""Descriptors over a socket. Each crosses with the first bytes of the item that it belongs to, one for each `sendmsg`.

The kernel never joins what was sent with a descriptor to what came after it, so each arrives not later than the bytes
that it was sent with. If the receiver has no room for it, that is said in its place. Loaded in every worker.
"""

from __future__ import annotations

import array
import errno
import select
import socket

from procorch._memory import keep_few_open
from procorch._parcel import Data, Descriptor
from procorch._wire import FrameReader, WithDescriptor

_ROOM = socket.CMSG_SPACE(array.array("i").itemsize)
_TRUNCATED = int(socket.MSG_CTRUNC)  # not as the member of an enumeration, which takes a microsecond to look at
_CLOSE_ON_EXEC = getattr(socket, "MSG_CMSG_CLOEXEC", 0)

NO_ROOM = {errno.ETOOMANYREFS, errno.ENOBUFS, errno.ENOMEM}
"""What the system says if too much is on its way already. The receiver takes it out of there without our help."""

_MOMENT_SECONDS = 0.001
"""Until it is tried again: long enough to cost next to nothing, short beside what it takes to send so much."""


def receive(connection: socket.socket, reader: FrameReader) -> int:
    """Read once.

    Args:
        connection (socket.socket): To read from.
        reader (FrameReader): Gets the descriptors; tell it of the bytes by `FrameReader.filled`.

    Returns:
        int: How many bytes there were; 0 at the end.

    Raises:
        OSError: As of ``recvmsg``.
    """
    count, ancillary, flags, _ = connection.recvmsg_into([reader.space()], _ROOM, _CLOSE_ON_EXEC)
    if ancillary:
        fds = array.array("i")
        for _, _, data in ancillary:
            fds.frombytes(data)
        descriptors = [Descriptor(fd) for fd in fds]
        reader.descriptors.extend(descriptors)
        for descriptor in descriptors:
            keep_few_open(descriptor)
    elif flags & _TRUNCATED:
        reader.descriptors.append(None)
    return count


def rights(piece: WithDescriptor) -> list[tuple[int, int, Data]]:
    """Give what ``sendmsg`` takes for a descriptor.

    Args:
        piece (WithDescriptor): What is sent with it.

    Returns:
        list[tuple[int, int, Data]]: Ancillary data.
    """
    return [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [piece.descriptor.fd]).tobytes())]


def wait_for_room() -> None:
    """Wait a moment for others to take what is on its way out of there: nothing tells when they have."""
    select.select([], [], [], _MOMENT_SECONDS)
