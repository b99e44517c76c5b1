"""How well a detector finds faces: pure functions of labelled and detected boxes.

Detections are taken best score first. Each takes the label that it overlaps most, of those that count, are still free
and overlap enough. One that finds none of these but an ignored label is itself ignored; every other one is a false
positive. In an ignored crowd the detection's own area must lie, since a crowd holds many faces.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import List, Optional, Sequence, Tuple

import numpy as np

from app.tools.evaluation.intervals import NORMAL_95, Rate, Share
from app.tools.evaluation.labels import LabelledPicture
from app.types import Faces
from app.vision.quality import main_face

SIZE_BOUNDS_PX = (0.0, 16.0, 32.0, 64.0, 128.0, math.inf)
"""Faces are counted by the shorter side of their label, in the picture's own pixels."""

NO_LABEL = -1
IGNORED = -2

LEAST_EYE_DISTANCE_PX = 1.0
"""A face seen from the side has its eyes in one place; an error in eye distances says nothing there."""


@dataclass(frozen=True)
class PictureMatch:
    """What became of one picture's detections, best first."""

    boxes: np.ndarray
    scores: np.ndarray
    labels: np.ndarray
    """For each detection the row of the label it found, NO_LABEL or IGNORED."""
    landmark_errors: np.ndarray
    """For each detection the mean distance of its landmarks from its label's, in eye distances; NaN without."""


@dataclass(frozen=True)
class PrecisionCurve:
    """One point a distinct score, highest first."""

    scores: np.ndarray
    recalls: np.ndarray
    precisions: np.ndarray


@dataclass(frozen=True)
class LandmarkError:
    """Distance of landmarks from their labels, mean of the five, in eye distances."""

    faces: int
    mean: float
    median: float
    interval: Tuple[float, float]
    """Of the mean, from the spread between faces."""


@dataclass(frozen=True)
class SizeRecall:
    """Found faces of one range of sizes."""

    from_px: float
    to_px: float
    found: Share

    def __str__(self) -> str:
        if self.from_px == 0:
            return f"below {self.to_px:g} px"
        return f"{self.from_px:g} px and more" if math.isinf(self.to_px) else f"{self.from_px:g} to {self.to_px:g} px"


@dataclass(frozen=True)
class DetectionFigures:
    """Everything that labelled pictures say of a detector. All but AP is at one least score."""

    average_precision: Optional[float]
    """None where no label counts."""
    found: Share
    precise: Share
    by_size: Tuple[SizeRecall, ...]
    false_positives: Rate
    """In all pictures."""
    false_positives_without_faces: Rate
    """In the pictures that have no face at all."""
    disturbed_without_faces: Share
    """How many of these have a false positive."""
    landmarks: Optional[LandmarkError]
    ignored_labels: int


def measure_detection(
    pictures: Sequence[LabelledPicture], matches: Sequence[PictureMatch], min_score: float
) -> DetectionFigures:
    """All figures. The detections should go far below `min_score`, or AP lacks the end of its curve."""
    kept = [_at_least(match, min_score) for match in matches]
    curve = precision_curve(pictures, matches)
    sizes = np.concatenate([_counted_sizes(picture) for picture in pictures])
    found = np.concatenate([_found_labels(picture, match) for picture, match in zip(pictures, kept)])
    false = np.array([int((match.labels == NO_LABEL).sum()) for match in kept])
    without = np.array([picture.has_no_face for picture in pictures], bool)
    hits = int(found.sum())
    return DetectionFigures(
        average_precision=average_precision(curve) if len(sizes) else None,
        found=Share(hits, len(sizes)),
        precise=Share(hits, hits + int(false.sum())),
        by_size=_recall_by_size(sizes, found),
        false_positives=Rate(int(false.sum()), len(pictures)),
        false_positives_without_faces=Rate(int(false[without].sum()), int(without.sum())),
        disturbed_without_faces=Share(int((false[without] > 0).sum()), int(without.sum())),
        landmarks=_landmark_error(np.concatenate([match.landmark_errors for match in kept])),
        ignored_labels=int(sum(picture.ignored.sum() for picture in pictures)),
    )


def ignore_small(picture: LabelledPicture, min_px: float) -> LabelledPicture:
    """The same picture, whose labels with a shorter side below `min_px` are ignored."""
    return dataclasses.replace(picture, ignored=picture.ignored | (_sizes(picture.boxes) < min_px))


def only_main_face(picture: LabelledPicture, size: Tuple[int, int]) -> LabelledPicture:
    """The same picture of this width and height, whose labels are all ignored but that of the face it is of."""
    counted = np.flatnonzero(~picture.ignored)
    if not len(counted):
        return picture
    count = len(counted)
    boxes = picture.boxes[counted].astype(np.float32)
    main = main_face(Faces(boxes, np.ones(count, np.float32), np.zeros((count, 5, 2), np.float32)), size)
    ignored = np.ones(len(picture.boxes), bool)
    ignored[counted[main]] = False
    return dataclasses.replace(picture, ignored=ignored)


def match_faces(picture: LabelledPicture, faces: Faces, iou: float) -> PictureMatch:
    """Which label each detection found."""
    faces = faces[np.argsort(-faces.scores, kind="stable")]
    boxes = faces.boxes.astype(np.float64)
    overlap = _overlaps(boxes, picture)
    free = ~picture.ignored
    labels = np.full(len(faces), NO_LABEL)
    for row, shares in enumerate(overlap):
        countable = np.where(free, shares, -1.0)
        best = int(countable.argmax()) if len(countable) else NO_LABEL
        if best != NO_LABEL and countable[best] >= iou:
            labels[row] = best
            free[best] = False
        elif (shares[picture.ignored] >= iou).any():
            labels[row] = IGNORED
    errors = np.full(len(faces), np.nan)
    hits = np.flatnonzero(labels >= 0)
    errors[hits] = landmark_errors(faces.landmarks[hits], picture.landmarks[labels[hits]])
    return PictureMatch(boxes, faces.scores.astype(np.float64), labels, errors)


def landmark_errors(found: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Mean distance of five landmarks in eye distances of the truth (N); NaN where the truth has none or no width."""
    eyes = np.linalg.norm(truth[:, 0] - truth[:, 1], axis=1)
    eyes = np.where(eyes >= LEAST_EYE_DISTANCE_PX, eyes, np.nan)
    return np.asarray(np.linalg.norm(found - truth, axis=2).mean(axis=1) / eyes)


def precision_curve(pictures: Sequence[LabelledPicture], matches: Sequence[PictureMatch]) -> PrecisionCurve:
    labels = np.concatenate([match.labels for match in matches])
    scores = np.concatenate([match.scores for match in matches])[labels != IGNORED]
    hits = (labels >= 0)[labels != IGNORED]
    order = np.argsort(-scores, kind="stable")
    scores, hits = scores[order], hits[order]
    # Detections of one score stand or fall together; in between no threshold could cut.
    last_of_score = np.append(scores[1:] != scores[:-1], True)[: len(scores)]
    true, count = np.cumsum(hits)[last_of_score], np.flatnonzero(last_of_score) + 1
    total = sum(int((~picture.ignored).sum()) for picture in pictures)
    return PrecisionCurve(scores[last_of_score], true / max(1, total), true / count)


def average_precision(curve: PrecisionCurve) -> float:
    """The area below the curve, with all points: at each recall the best precision at this recall or a higher one."""
    best_from_here = np.maximum.accumulate(curve.precisions[::-1])[::-1]
    return float((np.diff(curve.recalls, prepend=0.0) * best_from_here).sum())


def _overlaps(boxes: np.ndarray, picture: LabelledPicture) -> np.ndarray:
    """Detections x labels: IoU, and for crowds the share of the detection that lies inside."""
    truth = picture.boxes
    corner = np.maximum(boxes[:, None, :2], truth[None, :, :2])
    opposite = np.minimum(boxes[:, None, 2:], truth[None, :, 2:])
    common = np.clip(opposite - corner, 0, None).prod(axis=2)
    own = np.clip(boxes[:, 2:] - boxes[:, :2], 0, None).prod(axis=1)[:, None]
    theirs = np.clip(truth[:, 2:] - truth[:, :2], 0, None).prod(axis=1)[None]
    area = np.where(picture.crowds[None], own, own + theirs - common)
    return np.asarray(common / np.maximum(area, 1e-12))


def _at_least(match: PictureMatch, min_score: float) -> PictureMatch:
    # Whom the better ones found does not depend on the ones that are left out: matching begins with the best.
    kept = match.scores >= min_score
    return PictureMatch(match.boxes[kept], match.scores[kept], match.labels[kept], match.landmark_errors[kept])


def _sizes(boxes: np.ndarray) -> np.ndarray:
    return np.asarray((boxes[:, 2:] - boxes[:, :2]).min(axis=1, initial=np.inf))


def _counted_sizes(picture: LabelledPicture) -> np.ndarray:
    return _sizes(picture.boxes[~picture.ignored])


def _found_labels(picture: LabelledPicture, match: PictureMatch) -> np.ndarray:
    """For each label that counts, whether it was found."""
    found = np.zeros(len(picture.boxes), bool)
    found[match.labels[match.labels >= 0]] = True
    return np.asarray(found[~picture.ignored])


def _recall_by_size(sizes: np.ndarray, found: np.ndarray) -> Tuple[SizeRecall, ...]:
    result: List[SizeRecall] = []
    for low, high in zip(SIZE_BOUNDS_PX, SIZE_BOUNDS_PX[1:]):
        inside = (sizes >= low) & (sizes < high)
        result.append(SizeRecall(low, high, Share(int(found[inside].sum()), int(inside.sum()))))
    return tuple(result)


def _landmark_error(errors: np.ndarray) -> Optional[LandmarkError]:
    errors = errors[~np.isnan(errors)]
    if not len(errors):
        return None
    mean = float(errors.mean())
    half = NORMAL_95 * float(errors.std(ddof=1)) / math.sqrt(len(errors)) if len(errors) > 1 else math.inf
    return LandmarkError(len(errors), mean, float(np.median(errors)), (max(0.0, mean - half), mean + half))
