"""Unit: what ray says of an end, as people are told. Without ray."""

from __future__ import annotations

import pytest

from procorch.engines import _ray_api

_OWNER = (
    "The actor is dead because its owner has died. Owner Id: 01000000ffff Owner Ip address: 192.0.2.2 "
    "Owner worker exit type: {} Worker exit detail: Owner's worker process has crashed."
)
_KILLED = "The actor is dead because it was killed by `ray.kill`."


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (_KILLED, _KILLED),
        (_OWNER.format("SYSTEM_ERROR"), _OWNER.format("SYSTEM_ERROR")),
        # The owner of an actor is the process that has its group.
        (_OWNER.format("INTENDED_USER_EXIT"), _ray_api.SHUT_DOWN),
    ],
)
def test_the_reason_of_a_death(said: str, told: str) -> None:
    error = RuntimeError(f"The actor died unexpectedly before finishing this task.\n\tclass_name: Some\n{said}\n\n")
    assert _ray_api.text_of(error) == told


def test_what_is_no_death_is_told_by_its_first_line_or_its_kind() -> None:
    assert _ray_api.text_of(ValueError("\n one \n two ")) == "one"
    assert _ray_api.text_of(ValueError()) == "ValueError"
