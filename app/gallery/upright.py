"""Which way up an enrolment photo is, and its faces in that orientation.

A detector finds faces in photos that are on their side or upside down too, with high scores and landmarks that are
upright. Their embeddings give them away: they are near those of things that are no faces.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Callable, Optional, Tuple

import cv2
import numpy as np

from app.recognizer import Recognizer
from app.settings import QualityLimits
from app.types import FaceQuality, Faces
from app.vision.quality import measure

MAX_SIDE_PX = 1600
"""Larger photos are shrunk to this first; the aligned face is 112 pixels wide anyway."""

MIN_SCORE = 0.5
"""Faces with lower scores are not looked at, whatever the detector's own minimum is."""

CERTAIN_SCORE = 0.95
"""From this score on, the photo is not tried with a border."""

CERTAIN_NON_FACE = 0.35
"""Below this similarity with non-faces, it certainly is a face: a photo with such a face is never turned. 94 % of
upright faces of LFW have a lower one, and none that is on its side or upside down."""
MAX_NON_FACE_ROTATED = 0.4
"""A photo is not turned to find what is less certainly a face: 99 % of upright faces are below it."""
CERTAIN_ROLL_DEG = 45.0

ROTATION_PENALTY = 1.0
"""How much the score of a rotated photo must be higher, in log odds: most photos are upright."""
NON_FACE_WEIGHT = 10.0
IMPLAUSIBLE_PENALTY = 3.0

_MOST_FACES = 30
"""A photo with more is not about one person."""


@dataclass(frozen=True)
class Attempt:
    """One way of presenting a photo to the detector."""

    transform: Callable[[np.ndarray], np.ndarray]
    rotated: bool = False
    border: float = 0.0
    """Part of the photo's width and height that is added on each side."""


def _with_border(picture: np.ndarray) -> np.ndarray:
    height, width = picture.shape[:2]
    vertical, horizontal = round(height * _BORDER), round(width * _BORDER)
    return cv2.copyMakeBorder(
        picture, vertical, vertical, horizontal, horizontal, cv2.BORDER_CONSTANT, value=(127, 127, 127)
    )


def _rotated(code: int) -> Callable[[np.ndarray], np.ndarray]:
    return lambda picture: np.asarray(cv2.rotate(picture, code))


_BORDER = 1 / 3
UNCHANGED = Attempt(lambda picture: picture)
WITH_BORDER = Attempt(_with_border, border=_BORDER)
"""A face that fills its picture to the edges is found when there is a margin around it."""
ROTATIONS = (
    Attempt(_rotated(cv2.ROTATE_180), rotated=True),
    Attempt(_rotated(cv2.ROTATE_90_CLOCKWISE), rotated=True),
    Attempt(_rotated(cv2.ROTATE_90_COUNTERCLOCKWISE), rotated=True),
)


@dataclass(frozen=True, eq=False)
class Upright:
    """A photo in the orientation in which its faces are upright, without a border."""

    picture: np.ndarray
    """In its full size."""
    faces: Faces
    """Embedded, from left to right, in pixels of `picture`."""
    quality: FaceQuality
    rotated: bool = False


def find_upright(picture: np.ndarray, recognizer: Recognizer, limits: QualityLimits) -> Optional[Upright]:
    """The photo's faces, the way up in which they look most like faces; None without any.

    The photo is not turned when it certainly shows a face as it is.
    """
    upright = _attempt(picture, UNCHANGED, recognizer)
    found = [] if upright is None else [upright]
    if upright is None or not _certain_faces(upright, limits).any():
        turned = filter(None, (_attempt(picture, attempt, recognizer) for attempt in ROTATIONS))
        found += (one for one in turned if not (one.quality.non_face > MAX_NON_FACE_ROTATED).all())
    best = max(found, key=lambda one: _likeness(one, limits), default=None)
    if best is None or (not best.rotated and best.faces.scores.max() < CERTAIN_SCORE):
        bordered = _attempt(picture, WITH_BORDER, recognizer)
        candidates = [one for one in (best, bordered) if one is not None]
        best = max(candidates, key=lambda one: _likeness(one, limits), default=None)
    return best


def _attempt(picture: np.ndarray, attempt: Attempt, recognizer: Recognizer) -> Optional[Upright]:
    shrunk = _shrunk(picture)
    presented = attempt.transform(shrunk)
    (faces,) = recognizer.find([presented])
    faces = faces[np.flatnonzero(faces.scores >= MIN_SCORE)[:_MOST_FACES]]
    if not len(faces):
        return None
    faces = faces[np.argsort(faces.boxes[:, 0] + faces.boxes[:, 2], kind="stable")]
    crops = recognizer.crops(presented, faces)
    faces = dataclasses.replace(faces, embeddings=recognizer.embed_crops(crops))
    whole = attempt.transform(picture) if attempt.rotated else picture
    scale = max(whole.shape[:2]) / max(shrunk.shape[:2])
    offset = np.round(np.array(shrunk.shape[1::-1]) * attempt.border).astype(np.float32)
    faces = dataclasses.replace(
        faces,
        boxes=((faces.boxes - np.tile(offset, 2)) * scale).astype(np.float32),
        landmarks=((faces.landmarks - offset) * scale).astype(np.float32),
    )
    quality = measure(faces, (whole.shape[1], whole.shape[0]), crops)
    if faces.embeddings is not None:
        quality = dataclasses.replace(quality, non_face=recognizer.non_face_similarities(faces.embeddings))
    return Upright(whole, faces, quality, attempt.rotated)


def _certain_faces(found: Upright, limits: QualityLimits) -> np.ndarray:
    """A mask; for an embedder without non-faces, no face is certain."""
    quality = found.quality
    return np.asarray(
        (quality.non_face < CERTAIN_NON_FACE)
        & (np.abs(quality.roll) <= CERTAIN_ROLL_DEG)
        & (quality.landmark_error <= limits.max_landmark_error)
    )


def _likeness(found: Upright, limits: QualityLimits) -> Tuple[bool, float]:
    """How much the best face of a photo looks like one: one that reaches the minimum score comes first."""
    quality = found.quality
    scores = np.clip(quality.score, 1e-6, 1 - 1e-6)
    implausible = (np.abs(quality.roll) > CERTAIN_ROLL_DEG) | (quality.landmark_error > limits.max_landmark_error)
    values = np.log(scores / (1 - scores)) - IMPLAUSIBLE_PENALTY * implausible
    values -= NON_FACE_WEIGHT * np.nan_to_num(quality.non_face)
    return bool((quality.score >= limits.min_score).any()), float(values.max()) - ROTATION_PENALTY * found.rotated


def _shrunk(picture: np.ndarray) -> np.ndarray:
    height, width = picture.shape[:2]
    scale = MAX_SIDE_PX / max(height, width)
    if scale >= 1:
        return picture
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA))
