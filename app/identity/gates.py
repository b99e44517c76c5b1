"""Quality gates: which faces are good enough to be compared, or to be enrolled from a photo.

A gate is a function that takes the measured quality of a face and the limits, and returns a reason to reject the face
or None. The same gates apply to faces in videos and in photos, with different limits. To add one, write the function
and add it to `GATES`, its reason to `Reason` (`app/types.py`), and its limit to `QualityLimits` and, with a default, to
`QualitySettings` (`app/settings/schema.py`).
"""

from __future__ import annotations

from typing import Callable, List, Optional, Tuple

from app.settings import QualityLimits
from app.types import FaceQuality, Reason

Gate = Callable[[FaceQuality, int, QualityLimits], Optional[Reason]]
"""(qualities, row of the face, limits) -> why the face is rejected. What was not measured is NaN and never rejects."""


def low_score(quality: FaceQuality, row: int, limits: QualityLimits) -> Optional[Reason]:
    return Reason.LOW_SCORE if quality.score[row] < limits.min_score else None


def too_small(quality: FaceQuality, row: int, limits: QualityLimits) -> Optional[Reason]:
    return Reason.TOO_SMALL if quality.size_px[row] < limits.min_face_px else None


def too_blurred(quality: FaceQuality, row: int, limits: QualityLimits) -> Optional[Reason]:
    return Reason.TOO_BLURRED if quality.sharpness[row] < limits.min_sharpness else None


GATES: Tuple[Gate, ...] = (low_score, too_small, too_blurred)
"""In this order; the first reason counts."""


def rejections(quality: FaceQuality, limits: QualityLimits) -> List[Optional[Reason]]:
    """One per face: why it is rejected, or None where it is good enough."""
    return [next(filter(None, (gate(quality, row, limits) for gate in GATES)), None) for row in range(len(quality))]
