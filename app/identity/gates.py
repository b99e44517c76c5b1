"""Quality gates: which faces are good enough to be compared, or to be enrolled from a photo.

A gate is a function that takes the measured quality of a face and the limits, and returns a rejection with its numbers
or None. The same gates apply to faces in videos and in photos, with different limits. To add one, write the function
and add it to `GATES`, its reason and the layout of its numbers to `app/reasons.py`, and its limit to `QualityLimits`
and, with a default, to `QualitySettings` (`app/settings/schema.py`).
"""

from __future__ import annotations

from typing import Callable, List, NamedTuple, Optional, Tuple

from app.settings import QualityLimits
from app.types import FaceQuality, Reason


class Rejection(NamedTuple):
    """Why a face is not good enough."""

    reason: Reason
    measured: float
    limit: float


Gate = Callable[[FaceQuality, int, QualityLimits], Optional[Rejection]]
"""(qualities, row of the face, limits) -> why the face is rejected. What was not measured is NaN and never rejects."""


def low_score(quality: FaceQuality, row: int, limits: QualityLimits) -> Optional[Rejection]:
    return _below(Reason.LOW_SCORE, quality.score[row], limits.min_score)


def too_small(quality: FaceQuality, row: int, limits: QualityLimits) -> Optional[Rejection]:
    return _below(Reason.TOO_SMALL, quality.size_px[row], limits.min_face_px)


def too_blurred(quality: FaceQuality, row: int, limits: QualityLimits) -> Optional[Rejection]:
    return _below(Reason.TOO_BLURRED, quality.sharpness[row], limits.min_sharpness)


GATES: Tuple[Gate, ...] = (low_score, too_small, too_blurred)
"""In this order; the first rejection counts."""


def rejections(quality: FaceQuality, limits: QualityLimits) -> List[Optional[Rejection]]:
    """One per face: why it is rejected, or None where it is good enough."""
    return [next(filter(None, (gate(quality, row, limits) for gate in GATES)), None) for row in range(len(quality))]


def _below(reason: Reason, measured: float, limit: float) -> Optional[Rejection]:
    return Rejection(reason, float(measured), limit) if measured < limit else None
