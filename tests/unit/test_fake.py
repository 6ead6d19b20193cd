"""Unit: what `procorch.testing` refuses."""

from __future__ import annotations

import pytest

from procorch.testing import Clock, crash


def test_a_clock_goes_forward_only() -> None:
    clock = Clock()
    clock.advance(0)
    before = clock()
    clock.advance(1.5)
    with pytest.raises(ValueError, match="seconds must be at least 0, not -1"):
        clock.advance(-1)
    assert clock() == before + 1.5


def test_a_crash_is_for_items_and_ends_nothing_else() -> None:
    with pytest.raises(RuntimeError, match="for items that run in a worker"):
        crash()
