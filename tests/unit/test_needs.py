"""Unit: amounts that a chunk or an actor needs, and which are none. Without a cluster."""

from __future__ import annotations

from typing import Any

import pytest

from procorch.engines._needs import check_need, check_needs
from procorch.engines.ray import RayEngine


def test_amounts_are_kept() -> None:
    given = {"GPU": 1, "MEM": 0.5, "SLOT": 0}
    kept = check_needs("resources", given)
    assert kept == given
    assert kept is not given
    assert check_needs("resources", None) == {}


@pytest.mark.parametrize("amount", [-1, -0.5, float("inf"), float("nan")])
def test_what_no_place_can_have(amount: float) -> None:
    with pytest.raises(ValueError, match="num_cpus must be at least 0 and finite, not"):
        check_need("num_cpus", amount)


@pytest.mark.parametrize("amount", ["2", None, True])
def test_what_is_no_amount(amount: Any) -> None:
    with pytest.raises(TypeError, match=r"resources\['GPU'\] must be a number, not"):
        check_needs("resources", {"GPU": amount})


def test_an_actor_that_fits_nowhere_is_refused_before_ray_is_asked() -> None:
    options: list[dict[str, Any]] = [{"num_cpus": -1}, {"num_gpus": -1}, {"resources": {"GPU": -1}}]
    for given in options:
        with pytest.raises(ValueError, match=next(iter(given))):
            RayEngine(**given)
