"""Examining one enrolment photo: which face it is about, and whether that face is good enough."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Callable, Optional, Tuple

import cv2
import numpy as np

from app.gallery.people import PhotoFinding
from app.identity.gates import rejections
from app.recognizer import Recognizer
from app.settings import QualityLimits
from app.types import Faces, Reason
from app.vision.quality import main_face, measure

MAX_SIDE_PX = 1600
"""Larger photos are shrunk to this first; the aligned face is 112 pixels wide anyway."""

CERTAIN_SCORE = 0.95
"""From this score on, fallbacks are not tried. In a photo that is on its side a detector finds faces with lower
scores, some of them where there are none."""

ROTATION_PENALTY = 1.0
"""How much the score of a rotated photo must be higher, in log odds: most photos are upright."""


_ADVICE = {
    Reason.IMPLAUSIBLE: "possibly no face; use a photo from the front",
    Reason.TURNED_AWAY: "use a photo from the front, or raise quality.photo_max_yaw_deg",
    Reason.TILTED: "turn the photo upright",
    Reason.CUT_OFF: "use a photo that shows the whole face",
    Reason.TOO_DARK: "use a brighter photo, or lower quality.min_exposure",
    Reason.TOO_BRIGHT: "use a darker photo, or raise quality.max_exposure",
    Reason.LOW_SCORE: "no clear face; use a sharp photo from the front, or lower quality.photo_min_score",
    Reason.TOO_SMALL: "use a larger picture of the face, or lower quality.photo_min_face_px",
    Reason.TOO_BLURRED: "use a sharper photo, or lower quality.photo_min_sharpness",
}
"""What to do about a photo that a gate rejects."""


@dataclass(frozen=True)
class Attempt:
    """One way of presenting a photo to the detector."""

    transform: Callable[[np.ndarray], np.ndarray]
    rotated: bool = False


def _with_border(picture: np.ndarray) -> np.ndarray:
    """A face that fills its picture to the edges is found when there is a margin around it."""
    height, width = picture.shape[:2]
    vertical, horizontal = height // 3, width // 3
    return cv2.copyMakeBorder(
        picture, vertical, vertical, horizontal, horizontal, cv2.BORDER_CONSTANT, value=(127, 127, 127)
    )


def _rotated(code: int) -> Callable[[np.ndarray], np.ndarray]:
    return lambda picture: np.asarray(cv2.rotate(picture, code))


UNCHANGED = Attempt(lambda picture: picture)
UPSIDE_DOWN = Attempt(_rotated(cv2.ROTATE_180), rotated=True)
"""Always tried: a detector also finds faces that are upside down, with slightly lower scores."""
FALLBACKS = (
    Attempt(_with_border),
    Attempt(_rotated(cv2.ROTATE_90_CLOCKWISE), rotated=True),
    Attempt(_rotated(cv2.ROTATE_90_COUNTERCLOCKWISE), rotated=True),
)
"""Tried when no face reaches CERTAIN_SCORE."""


def examine_photo(
    picture: np.ndarray,
    recognizer: Recognizer,
    limits: QualityLimits,
    rotated_by_exif: bool = False,
) -> PhotoFinding:
    """What can be found in a photo (H x W x 3, uint8, BGR)."""
    shrunk = _shrunk(picture)
    found = _best_attempt(shrunk, recognizer, limits.min_score)
    if found is None:
        return PhotoFinding(Reason.NO_FACE, message="use a sharp photo that shows the face from the front")
    attempt, presented, faces = found
    certain = faces[np.flatnonzero(faces.scores >= limits.min_score)]
    candidates = certain if len(certain) else faces
    size = (presented.shape[1], presented.shape[0])
    face = candidates[main_face(candidates, size)]
    crop = recognizer.crops(presented, face)
    quality = measure(face, size, crop, scale=picture.shape[0] / shrunk.shape[0])
    (rejection,) = rejections(quality, limits)
    message = ""
    if rejection is not None:
        message = _ADVICE[rejection.reason]
    elif len(certain) > 1:
        message = f"{len(certain)} faces; the clearest near the middle is used"
        if attempt is UNCHANGED:
            left, top = (face.boxes[0, :2] + face.boxes[0, 2:]) / 2 / size
            message += f" ({left * 100:.0f} % from the left, {top * 100:.0f} % from the top)"
    return PhotoFinding(
        reason=rejection.reason if rejection else (Reason.MAIN_FACE_USED if len(certain) > 1 else Reason.USED),
        embedding=recognizer.embed_crops(crop)[0] if rejection is None else None,
        faces_found=len(certain),
        face_px=float(quality.size_px[0]),
        sharpness=float(quality.sharpness[0]),
        rotation_fixed=attempt.rotated or rotated_by_exif,
        message=message,
        measured=rejection.measured if rejection else None,
        limit=rejection.limit if rejection else None,
    )


def _best_attempt(
    picture: np.ndarray, recognizer: Recognizer, min_score: float
) -> Optional[Tuple[Attempt, np.ndarray, Faces]]:
    """The attempt with the best face, one that reaches `min_score` first, with the picture as it was presented."""
    best: Optional[Tuple[Attempt, np.ndarray, Faces]] = None
    best_rank = (False, -np.inf)
    for attempt in (UNCHANGED, UPSIDE_DOWN, *FALLBACKS):
        if best is not None and attempt in FALLBACKS and best[2].scores.max() >= CERTAIN_SCORE:
            break
        presented = attempt.transform(picture)
        (faces,) = recognizer.find([presented])
        if len(faces):
            score = float(faces.scores.max())
            odds = min(max(score, 1e-6), 1 - 1e-6)
            rank = (score >= min_score, math.log(odds / (1 - odds)) - (ROTATION_PENALTY if attempt.rotated else 0))
            if rank > best_rank:
                best, best_rank = (attempt, presented, faces), rank
    return best


def _shrunk(picture: np.ndarray) -> np.ndarray:
    height, width = picture.shape[:2]
    scale = MAX_SIDE_PX / max(height, width)
    if scale >= 1:
        return picture
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA))
