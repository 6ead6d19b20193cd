"""Unit: which worker of a cluster gets the next chunk, in any history of workers and chunks."""

from __future__ import annotations

from fractions import Fraction

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from procorch.engines._placement import Placement


class Histories(RuleBasedStateMachine):
    """Workers come and go, with the same addresses too; chunks are placed and come back, late ones of the gone too."""

    def __init__(self) -> None:
        super().__init__()
        self.placement = Placement()
        self.sizes: dict[int, int] = {}
        self.loads: dict[int, int] = {}

    @rule(worker=st.integers(0, 3), size=st.integers(1, 5))
    def join(self, worker: int, size: int) -> None:
        if worker not in self.sizes:
            self.placement.join(str(worker), size)
            self.sizes[worker], self.loads[worker] = size, 0

    @rule(worker=st.integers(0, 3))
    def leave(self, worker: int) -> None:
        self.placement.leave(str(worker))
        self.sizes.pop(worker, None)
        self.loads.pop(worker, None)

    @rule(times=st.integers(1, 30))
    def take(self, times: int) -> None:
        for _ in range(times):
            address = self.placement.take()
            if not self.sizes:
                assert address is None
                return
            assert address is not None
            load = {worker: Fraction(self.loads[worker], self.sizes[worker]) for worker in self.sizes}
            assert load[int(address)] == min(load.values())
            self.loads[int(address)] += 1

    @precondition(lambda self: any(self.loads.values()))
    @rule(data=st.data())
    def give_back(self, data: st.DataObject) -> None:
        worker = data.draw(st.sampled_from([one for one, load in self.loads.items() if load]))
        self.placement.give_back(str(worker))
        self.loads[worker] -= 1

    @rule(worker=st.integers(4, 6))
    def give_back_of_one_that_is_gone(self, worker: int) -> None:
        self.placement.give_back(str(worker))

    @invariant()
    def sizes_are_known(self) -> None:
        assert self.placement.size == sum(self.sizes.values())
        assert len(self.placement._heap) <= 4 * len(self.sizes) + 30


TestHistories = Histories.TestCase
TestHistories.settings = settings(max_examples=30, stateful_step_count=30)


def test_nobody_is_there() -> None:
    placement = Placement()
    assert (placement.take(), placement.size) == (None, 0)
    placement.leave("nobody")
    placement.give_back("nobody")


def test_by_load_for_the_size() -> None:
    placement = Placement()
    placement.join("large", 3)
    placement.join("small", 1)
    assert sorted(placement.take() or "" for _ in range(8)) == ["large"] * 6 + ["small"] * 2


def test_those_with_the_same_load_take_turns() -> None:
    placement = Placement()
    for address in "abc":
        placement.join(address, 1)
    assert [placement.take() for _ in range(6)] == list("abcabc")


def test_one_that_has_nothing_gives_nothing_back() -> None:
    placement = Placement()
    placement.join("a", 1)
    placement.join("b", 1)
    placement.give_back("a")
    assert [placement.take() for _ in range(4)] == ["a", "b", "a", "b"]


def test_one_that_comes_again_has_nothing() -> None:
    placement = Placement()
    placement.join("a", 1)
    placement.join("b", 1)
    assert [placement.take() for _ in range(2)] == ["a", "b"]
    placement.leave("a")
    placement.join("a", 1)
    assert placement.take() == "a"


def test_what_holds_no_longer_does_not_pile_up() -> None:
    placement = Placement()
    placement.join("a", 1)
    for _ in range(10_000):
        assert placement.take() == "a"
        placement.give_back("a")
    assert len(placement._heap) < 50
