"""Quality gates: which faces are good enough to be compared, or to be enrolled from a photo.

A gate is a function that takes the measured quality of a face and the limits, and returns a rejection with its numbers
or None. The same gates apply to faces in videos and in photos, with different limits. To add one, write the function
and add it to `GATES`, its reason and the layout of its numbers to `app/reasons.py`, and its limit to `QualityLimits`
and, with a default, to `QualitySettings` (`app/settings/quality.py`).
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


def turned_away(quality: FaceQuality, row: int, limits: QualityLimits) -> Optional[Rejection]:
    """To the side, up or down."""
    return _above(Reason.TURNED_AWAY, abs(quality.yaw[row]), limits.max_yaw_deg) or _above(
        Reason.TURNED_AWAY, abs(quality.pitch[row]), limits.max_pitch_deg
    )


def tilted(quality: FaceQuality, row: int, limits: QualityLimits) -> Optional[Rejection]:
    return _above(Reason.TILTED, abs(quality.roll[row]), limits.max_roll_deg)


def implausible(quality: FaceQuality, row: int, limits: QualityLimits) -> Optional[Rejection]:
    """Eyes, nose and mouth are not where a face has them."""
    return _above(Reason.IMPLAUSIBLE, quality.landmark_error[row], limits.max_landmark_error)


def cut_off(quality: FaceQuality, row: int, limits: QualityLimits) -> Optional[Rejection]:
    return _above(Reason.CUT_OFF, quality.cut_off[row], limits.max_cut_off)


def not_a_face(quality: FaceQuality, row: int, limits: QualityLimits) -> Optional[Rejection]:
    """Things that are no faces resemble one another, so a bad photo in the gallery would name them all."""
    return _above(Reason.NOT_A_FACE, quality.non_face[row], limits.max_non_face)


def too_dark(quality: FaceQuality, row: int, limits: QualityLimits) -> Optional[Rejection]:
    return _below(Reason.TOO_DARK, quality.exposure[row], limits.min_exposure)


def too_bright(quality: FaceQuality, row: int, limits: QualityLimits) -> Optional[Rejection]:
    return _above(Reason.TOO_BRIGHT, quality.exposure[row], limits.max_exposure)


def too_blurred(quality: FaceQuality, row: int, limits: QualityLimits) -> Optional[Rejection]:
    return _below(Reason.TOO_BLURRED, quality.sharpness[row], limits.min_sharpness)


GATES: Tuple[Gate, ...] = (
    not_a_face,
    implausible,
    low_score,
    too_small,
    turned_away,
    tilted,
    cut_off,
    too_dark,
    too_bright,
    too_blurred,
)
"""In this order; the first rejection counts. What was not measured (`non_face` before embedding) never rejects."""


def rejections(quality: FaceQuality, limits: QualityLimits) -> List[Optional[Rejection]]:
    """One per face: why it is rejected, or None where it is good enough."""
    return [next(filter(None, (gate(quality, row, limits) for gate in GATES)), None) for row in range(len(quality))]


def _below(reason: Reason, measured: float, limit: float) -> Optional[Rejection]:
    return Rejection(reason, float(measured), limit) if measured < limit else None


def _above(reason: Reason, measured: float, limit: float) -> Optional[Rejection]:
    return Rejection(reason, float(measured), limit) if measured > limit else None
