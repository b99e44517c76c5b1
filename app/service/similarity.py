"""Similarities from 0 to 1 as CompreFace's clients know them, calibrated for the embedder in use.

CompreFace computes them from the distance d of two embeddings of unit length: (tanh((c0 - d) * c1) + 1) / 2. Here c0
is the distance at the threshold for a name, so that strangers stay below 0.5, and c1 gives the curve the slope of the
probability that two faces are of one person.
"""

from __future__ import annotations

import math
from typing import Tuple

from app.gallery.gallery import Gallery

UNCALIBRATED_SLOPE = 20.0
"""How fast the log odds rise with the cosine, for an embedder without a reference."""


def coefficients(gallery: Gallery) -> Tuple[float, float]:
    """c0 and c1."""
    reference = gallery.recognizer.reference
    slope = UNCALIBRATED_SLOPE if reference is None else reference.certainty.slope
    limit = math.sqrt(max(2 - 2 * gallery.threshold, 1e-6))
    # The cosine is 1 - d**2 / 2: near the threshold it changes c0 times as fast as d. The curve's slope is 2 * c1.
    return limit, slope * limit / 2


def similarity(cosine: float, gallery: Gallery) -> float:
    """From 0 to 1; 0.5 at the threshold for a name."""
    c0, c1 = coefficients(gallery)
    distance = math.sqrt(max(2 - 2 * cosine, 0.0))
    return (math.tanh((c0 - distance) * c1) + 1) / 2
