"""Whether what was made computes what its original computes."""

from __future__ import annotations

from typing import Mapping

import numpy as np

from app.errors import ModelError

TOLERANCE = 1e-4
"""Of an output's largest value, or of 1 where that is smaller: single precision, summed in another order."""


def largest_difference(expected: Mapping[str, np.ndarray], actual: Mapping[str, np.ndarray]) -> float:
    """Over all outputs, in the measure of TOLERANCE."""
    worst = 0.0
    for name, values in expected.items():
        if name not in actual or actual[name].shape != values.shape:
            found = actual[name].shape if name in actual else "no such output"
            raise ModelError(f"the output {name!r} should have the shape {values.shape}, found {found}")
        if not values.size:
            continue
        differences = np.abs(actual[name].astype(np.float64) - values)
        scale = max(1.0, float(np.abs(values).max()))
        worst = max(worst, float(differences.max()) / scale if np.isfinite(differences).all() else float("inf"))
    return worst


def require_equal(what: str, difference: float) -> None:
    if not difference <= TOLERANCE:
        raise ModelError(
            f"{what}: the network that was made does not compute what the original computes: the largest difference is "
            f"{difference:.2g}, at most {TOLERANCE:g} is allowed. Nothing was installed"
        )
