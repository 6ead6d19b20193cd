"""A problem for pymoo, imported only where that is installed."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np

problem = importlib.import_module("pymoo.core.problem")  # in this way, since it has no types


class Distance(problem.ElementwiseProblem):  # type: ignore[misc, name-defined]
    """The squared distance to (1, 1)."""

    def __init__(self, **options: Any) -> None:
        super().__init__(n_var=2, n_obj=1, xl=np.full(2, -5.0), xu=np.full(2, 5.0), **options)

    def _evaluate(self, x: Any, out: dict[str, Any], *args: object, **kwargs: object) -> None:
        out["F"] = float(((x - 1.0) ** 2).sum())
