"""Unit: looking before sleeping, with a clock wound by hand."""

from __future__ import annotations

import pytest

from procorch._spin import _MOST_RESTS, Spin


class World:
    """Something comes after so many seconds; a look takes 5 microseconds, to be woken 50."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, processors: int = 2) -> None:
        monkeypatch.setattr("procorch._spin.usable_cpus", lambda: processors)
        self.now = 0.0
        self.comes = 0.0
        self.looks = self.sleeps = 0
        self.spin = Spin(lambda: self.now)

    def look(self) -> str:
        self.looks += 1
        self.now += 5e-6
        return "it" if self.now >= self.comes else ""

    def sleep(self) -> str:
        self.sleeps += 1
        self.now = max(self.now, self.comes) + 50e-6
        return "it"

    def wait(self, seconds: float) -> bool:
        """Wait for something that comes so late; tell whether that took a sleep."""
        self.comes = self.now + seconds
        before = self.sleeps
        assert self.spin.wait(self.look, self.sleep) == "it"
        return self.sleeps > before


def test_after_a_short_wait_the_next_does_not_sleep(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch)
    assert world.wait(0.00005)
    assert not any(world.wait(0.00005) for _ in range(100))
    assert world.looks < 1200


def test_long_waits_never_look(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch)
    assert all(world.wait(0.01) for _ in range(100))
    assert world.looks == 0


def test_what_was_in_vain_is_tried_more_and_more_seldom(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on processors that are busy: each wait is just too long to be worth it, and too short to tell that."""
    world = World(monkeypatch)
    tried = 0
    for _ in range(10_000):
        before = world.looks
        world.wait(0.0003)
        tried += world.looks > before
    assert tried < 10_000 // _MOST_RESTS + 12
    # And it comes back once that changes.
    slept = [world.wait(0.00002) for _ in range(2 * _MOST_RESTS)]
    assert not any(slept[_MOST_RESTS + 1 :])


def test_one_processor_sleeps(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch, processors=1)
    assert all(world.wait(0.00005) for _ in range(100))
