"""Unit: the parent's end of a worker's socket and page."""

from __future__ import annotations

import errno
import os
import socket

import pytest

from procorch import _messages as m
from procorch._channel import Channel


@pytest.mark.parametrize("refused", ["os.memfd_create", "os.ftruncate", "mmap.mmap"])
def test_what_cannot_be_made_whole_leaves_nothing_open(refused: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EMFILE, "too many open files")

    monkeypatch.setattr(refused, refuse)
    with pytest.raises(OSError, match="too many open files"):
        Channel()


@pytest.mark.parametrize("refused", ["procorch._channel.FrameReader", "procorch._channel.Reader"])
def test_what_has_no_memory_leaves_nothing_open(refused: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(refused, refuse)
    with pytest.raises(MemoryError):
        Channel()


def test_a_worker_that_cannot_be_told_something_is_told_that_nothing_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else it would wait for that for ever, and who waits for its result with it."""

    def refuse(*_: object) -> None:
        raise PermissionError(errno.EPERM, "not permitted")

    channel = Channel()
    try:
        with monkeypatch.context() as refusing:
            refusing.setattr(socket.socket, "sendmsg", refuse)
            assert channel.send(m.Stop())
        with socket.socket(fileno=os.dup(channel.worker_fds[0])) as worker:
            worker.setblocking(False)
            assert worker.recv(1) == b""
    finally:
        channel.close()
