"""Visits with planted embeddings: those of different people are orthogonal."""

import numpy as np

from app.identity.strangers import Visit

MODEL = "planted"
DIMENSION = 128
BASIS = np.linalg.qr(np.random.default_rng(7).normal(size=(DIMENSION, 8)))[0].T.astype(np.float32)
"""One row per person."""


def mixed(person, other, share):
    """A face whose similarity with `person` is `share`, and which otherwise resembles `other`."""
    return (share * BASIS[person] + np.sqrt(1 - share**2) * BASIS[other]).astype(np.float32)


def visit(visit_id, person, *, embedding=None, stranger=None, crop_quality=None, weight=2.0, **fields):
    fields = {"channel": "door", "track": 1, "first_seen": 0.0, "last_seen": 1.0, **fields}
    return Visit(
        id=visit_id,
        model=MODEL,
        embedding=BASIS[person] if embedding is None else embedding,
        weight=weight,
        looks=2,
        crop=None if crop_quality is None else f"{visit_id}.jpg",
        crop_quality=crop_quality or 0.0,
        stranger=stranger,
        **fields,
    )
