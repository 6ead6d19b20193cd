"""Unit: the parent's end of a worker's socket and page."""

from __future__ import annotations

import errno

import pytest

from procorch._channel import Channel


@pytest.mark.parametrize("refused", ["os.memfd_create", "os.ftruncate", "mmap.mmap"])
def test_what_cannot_be_made_whole_leaves_nothing_open(refused: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EMFILE, "too many open files")

    monkeypatch.setattr(refused, refuse)
    with pytest.raises(OSError, match="too many open files"):
        Channel()
