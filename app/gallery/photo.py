"""One enrolment photo: which face it is of, and whether that face is good enough to know a person by."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Callable, Optional, Tuple

import cv2
import numpy as np

from app.gallery.people import PhotoFinding, PhotoStatus
from app.recognizer import Recognizer
from app.settings import GallerySettings
from app.types import Faces
from app.vision.quality import face_sizes_px, main_face, measure

LONGEST_SIDE_PX = 1600
"""A phone's photo is shrunk to this first; the aligned face is 112 pixels wide anyway."""


BEYOND_DOUBT = 0.95
"""Score from which no last resort is tried. On a photo lying on its side a detector sees faces of lower scores, also in
places where there are none."""


NO_FACE = "no face found; use a sharp photo that shows the face from the front"
DOUBTFUL = (
    "something like a face, but its score is {surest:.2f}, and at least {least:.2f} is needed (gallery.min_score)"
)


@dataclass(frozen=True)
class Attempt:
    """One way of holding a photo."""

    hold: Callable[[np.ndarray], np.ndarray]
    turned: bool = False


def _with_border(picture: np.ndarray) -> np.ndarray:
    """A face that fills its picture to the edges is found when it gets some air around it."""
    height, width = picture.shape[:2]
    across, along = height // 3, width // 3
    return cv2.copyMakeBorder(picture, across, across, along, along, cv2.BORDER_CONSTANT, value=(127, 127, 127))


def _turned(code: int) -> Callable[[np.ndarray], np.ndarray]:
    return lambda picture: np.asarray(cv2.rotate(picture, code))


AS_IT_IS = Attempt(lambda picture: picture)

UPRIGHT_OR_NOT = (
    AS_IT_IS,
    Attempt(_turned(cv2.ROTATE_180), turned=True),
)
"""Always both: a detector finds faces that stand on their heads too, only with a somewhat lower score."""

LAST_RESORTS = (
    Attempt(_with_border),
    Attempt(_turned(cv2.ROTATE_90_CLOCKWISE), turned=True),
    Attempt(_turned(cv2.ROTATE_90_COUNTERCLOCKWISE), turned=True),
)
"""Tried when no face is beyond doubt."""

TURNING_NEEDS = 1.0
"""How much surer, in log odds, a face must be for the photo to be turned: as a rule photos are upright."""


def examine_photo(
    picture: np.ndarray,
    recognizer: Recognizer,
    settings: GallerySettings,
    turned_by_exif: bool = False,
) -> PhotoFinding:
    """What a photo is worth. It is tried upside down too, and without a sure face in further ways."""
    small = _shrunk(picture)
    least_score = recognizer.detector.photo_score if settings.min_score is None else settings.min_score
    found = _best_attempt(small, recognizer, least_score)
    if found is None:
        return PhotoFinding(PhotoStatus.NO_FACE, message=NO_FACE)
    attempt, held, faces = found
    surest = float(faces.scores.max())
    if surest < least_score:
        return PhotoFinding(PhotoStatus.NO_FACE, message=DOUBTFUL.format(surest=surest, least=least_score))
    faces = faces[np.flatnonzero(faces.scores >= least_score)]
    chosen = main_face(faces, (held.shape[1], held.shape[0]))
    face = faces[chosen]
    # Sizes are told in the photo's own pixels.
    enlargement = picture.shape[0] / small.shape[0]
    face_px = float(face_sizes_px(face)[0]) * enlargement
    crop = recognizer.crops(held, face)
    sharp = float(measure(face, (held.shape[1], held.shape[0]), crop).sharpness[0])
    status, message = _verdict(len(faces), face_px, sharp, settings)
    if status is PhotoStatus.KEPT_MAIN_OF_SEVERAL and attempt is AS_IT_IS:
        left, top = (face.boxes[0, :2] + face.boxes[0, 2:]) / 2 / (held.shape[1], held.shape[0])
        message += f" ({left:.0%} from the left, {top:.0%} from the top)"
    return PhotoFinding(
        status=status,
        embedding=recognizer.embed_crops(crop)[0] if status.kept else None,
        faces_found=len(faces),
        face_px=face_px,
        sharpness=sharp,
        rotation_fixed=attempt.turned or turned_by_exif,
        message=message,
    )


def _best_attempt(
    picture: np.ndarray, recognizer: Recognizer, least_score: float
) -> Optional[Tuple[Attempt, np.ndarray, Faces]]:
    """The way of holding the photo in which its face is surest; one that shows a sure enough face comes first."""
    best: Optional[Tuple[Attempt, np.ndarray, Faces]] = None
    best_rank = (False, -np.inf)
    for attempt in (*UPRIGHT_OR_NOT, *LAST_RESORTS):
        if best is not None and attempt in LAST_RESORTS and best[2].scores.max() >= BEYOND_DOUBT:
            break
        held = attempt.hold(picture)
        (faces,) = recognizer.find([held])
        if len(faces):
            surest = float(faces.scores.max())
            rank = (surest >= least_score, _log_odds(surest) - (TURNING_NEEDS if attempt.turned else 0))
            if rank > best_rank:
                best, best_rank = (attempt, held, faces), rank
    return best


def _log_odds(score: float) -> float:
    share = min(max(score, 1e-6), 1 - 1e-6)
    return math.log(share / (1 - share))


def _verdict(faces: int, face_px: float, sharp: float, settings: GallerySettings) -> Tuple[PhotoStatus, str]:
    if face_px < settings.min_face_px:
        return (
            PhotoStatus.TOO_SMALL,
            f"the face is {face_px:.0f} px wide; at least {settings.min_face_px:.0f} are needed (gallery.min_face_px)",
        )
    if sharp < settings.min_sharpness:
        return (
            PhotoStatus.TOO_BLURRED,
            f"the face is too blurred: sharpness {sharp:.0f}, at least {settings.min_sharpness:.0f} is needed "
            "(gallery.min_sharpness)",
        )
    if faces > 1:
        return PhotoStatus.KEPT_MAIN_OF_SEVERAL, f"{faces} faces; the clearest near the middle is used"
    return PhotoStatus.KEPT, ""


def _shrunk(picture: np.ndarray) -> np.ndarray:
    height, width = picture.shape[:2]
    scale = LONGEST_SIDE_PX / max(height, width)
    if scale >= 1:
        return picture
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA))
