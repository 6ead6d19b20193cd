"""Unit: inputs are taken, and a signal comes in between."""

from __future__ import annotations

from typing import Any, NoReturn, cast

import pytest

from procorch._intake import Intake
from procorch._messages import Style


def test_what_is_raised_between_two_inputs_is_no_fault_of_theirs() -> None:
    intake = Intake([iter([1, 2])], Style.ONE, cast("Any", None), ready=False)

    def interrupted(_: object) -> NoReturn:
        raise TimeoutError

    with pytest.raises(TimeoutError):
        intake.take_each(2, interrupted, lambda: False, lambda: 0.0)
