"""Typing: what a type checker makes of the package as it was installed, which is `Any` if it has no types there."""

from __future__ import annotations

from typing import assert_type

from procorch import ProcessGroup


def doubler(number: int) -> int:
    return number * 2


with ProcessGroup() as group:
    assert_type(group.map(doubler, [1]), list[int])
    assert_type(group.submit(doubler, 1).result(), int)
    group.map(doubler, ["a"])  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
