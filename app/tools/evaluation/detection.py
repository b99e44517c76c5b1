"""How well a detector finds faces: pure functions of labelled and detected boxes.

Detections are matched in the order of their scores. Each is assigned to the unmatched label with the largest overlap,
if that is large enough. A detection that overlaps only an ignored label is ignored as well; all others are false
positives. For an ignored crowd, the overlap is the share of the detection inside it, since a crowd contains many faces.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Optional, Sequence, Tuple

import numpy as np

from app.intervals import NORMAL_95, Rate, Share
from app.tools.evaluation.labels import LabelledPicture
from app.types import Faces
from app.vision.quality import main_face

SIZE_BOUNDS_PX = (0.0, 16.0, 32.0, 64.0, 128.0, math.inf)
"""Bounds of the size classes: shorter side of the label, in pixels of the picture."""

NO_LABEL = -1
IGNORED = -2

MIN_EYE_DISTANCE_PX = 1.0
"""In profile the eyes coincide, and an error in eye distances is meaningless."""


@dataclass(frozen=True)
class PictureMatch:
    """The detections of one picture, best first, and their labels."""

    boxes: np.ndarray
    scores: np.ndarray
    labels: np.ndarray
    """For each detection the row of its label, NO_LABEL or IGNORED."""
    landmark_errors: np.ndarray
    """For each detection the mean distance of its landmarks from the label's, in eye distances; NaN without label."""


@dataclass(frozen=True)
class PrecisionCurve:
    """One point for each distinct score, highest first."""

    scores: np.ndarray
    recalls: np.ndarray
    precisions: np.ndarray


@dataclass(frozen=True)
class LandmarkError:
    """Mean distance of the five landmarks from their labels, in eye distances."""

    faces: int
    mean: float
    median: float
    interval: Tuple[float, float]
    """95 % interval of the mean."""


@dataclass(frozen=True)
class SizeRecall:
    """Recall of one size class."""

    from_px: float
    to_px: float
    found: Share

    def __str__(self) -> str:
        if self.from_px == 0:
            return f"below {self.to_px:g} px"
        return f"from {self.from_px:g} px" if math.isinf(self.to_px) else f"{self.from_px:g} to {self.to_px:g} px"


@dataclass(frozen=True)
class DetectionFigures:
    """All figures of an evaluation. All but AP are for one minimum score."""

    average_precision: Optional[float]
    """None if all labels are ignored."""
    found: Share
    precise: Share
    by_size: Tuple[SizeRecall, ...]
    false_positives: Rate
    """In all pictures."""
    false_positives_without_faces: Rate
    """In the pictures without faces."""
    disturbed_without_faces: Share
    """The share of pictures without faces that have a false positive."""
    landmarks: Optional[LandmarkError]
    ignored_labels: int


def measure_detection(
    pictures: Sequence[LabelledPicture], matches: Sequence[PictureMatch], min_score: float
) -> DetectionFigures:
    """All figures. The detections should include scores far below `min_score`, which AP needs."""
    # Matching starts with the best scores, so it does not depend on those that are removed here.
    above = [match.scores >= min_score for match in matches]
    kept = [
        PictureMatch(match.boxes[rows], match.scores[rows], match.labels[rows], match.landmark_errors[rows])
        for match, rows in zip(matches, above)
    ]
    curve = precision_curve(pictures, matches)
    sizes = np.concatenate([_sizes(picture.boxes[~picture.ignored]) for picture in pictures])
    found = np.concatenate(
        [
            np.isin(np.arange(len(picture.boxes)), match.labels)[~picture.ignored]
            for picture, match in zip(pictures, kept)
        ]
    )
    false = np.array([int((match.labels == NO_LABEL).sum()) for match in kept])
    without = np.array([picture.has_no_face for picture in pictures], bool)
    hits = int(found.sum())
    return DetectionFigures(
        average_precision=average_precision(curve) if len(sizes) else None,
        found=Share(hits, len(sizes)),
        precise=Share(hits, hits + int(false.sum())),
        by_size=tuple(
            SizeRecall(low, high, Share(int(found[inside].sum()), int(inside.sum())))
            for low, high in zip(SIZE_BOUNDS_PX, SIZE_BOUNDS_PX[1:])
            for inside in [(sizes >= low) & (sizes < high)]
        ),
        false_positives=Rate(int(false.sum()), len(pictures)),
        false_positives_without_faces=Rate(int(false[without].sum()), int(without.sum())),
        disturbed_without_faces=Share(int((false[without] > 0).sum()), int(without.sum())),
        landmarks=_landmark_error(np.concatenate([match.landmark_errors for match in kept])),
        ignored_labels=int(sum(picture.ignored.sum() for picture in pictures)),
    )


def ignore_small(picture: LabelledPicture, min_px: float) -> LabelledPicture:
    """Ignores the labels with a shorter side below `min_px`."""
    return dataclasses.replace(picture, ignored=picture.ignored | (_sizes(picture.boxes) < min_px))


def only_main_face(picture: LabelledPicture, size: Tuple[int, int]) -> LabelledPicture:
    """Ignores all labels but that of the main face. `size`: width and height of the picture."""
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
    """Assigns labels to the detections."""
    faces = faces[np.argsort(-faces.scores, kind="stable")]
    boxes = faces.boxes.astype(np.float64)
    overlap = _overlaps(boxes, picture)
    free = ~picture.ignored
    labels = np.full(len(faces), NO_LABEL)
    for row, shares in enumerate(overlap):
        candidates = np.where(free, shares, -1.0)
        best = int(candidates.argmax()) if len(candidates) else NO_LABEL
        if best != NO_LABEL and candidates[best] >= iou:
            labels[row] = best
            free[best] = False
        elif (shares[picture.ignored] >= iou).any():
            labels[row] = IGNORED
    errors = np.full(len(faces), np.nan)
    hits = np.flatnonzero(labels >= 0)
    errors[hits] = landmark_errors(faces.landmarks[hits], picture.landmarks[labels[hits]])
    return PictureMatch(boxes, faces.scores.astype(np.float64), labels, errors)


def landmark_errors(found: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Mean distance of five landmarks (N) in eye distances of the labels; NaN without labels, or in profile."""
    eyes = np.linalg.norm(truth[:, 0] - truth[:, 1], axis=1)
    eyes = np.where(eyes >= MIN_EYE_DISTANCE_PX, eyes, np.nan)
    return np.asarray(np.linalg.norm(found - truth, axis=2).mean(axis=1) / eyes)


def precision_curve(pictures: Sequence[LabelledPicture], matches: Sequence[PictureMatch]) -> PrecisionCurve:
    labels = np.concatenate([match.labels for match in matches])
    scores = np.concatenate([match.scores for match in matches])[labels != IGNORED]
    hits = (labels >= 0)[labels != IGNORED]
    order = np.argsort(-scores, kind="stable")
    scores, hits = scores[order], hits[order]
    # Detections with the same score are accepted or rejected together.
    last_of_score = np.append(scores[1:] != scores[:-1], True)[: len(scores)]
    true, count = np.cumsum(hits)[last_of_score], np.flatnonzero(last_of_score) + 1
    total = sum(int((~picture.ignored).sum()) for picture in pictures)
    return PrecisionCurve(scores[last_of_score], true / max(1, total), true / count)


def average_precision(curve: PrecisionCurve) -> float:
    """The area under the curve of all points, with the highest precision at this recall or a higher one."""
    best_from_here = np.maximum.accumulate(curve.precisions[::-1])[::-1]
    return float((np.diff(curve.recalls, prepend=0.0) * best_from_here).sum())


def _overlaps(boxes: np.ndarray, picture: LabelledPicture) -> np.ndarray:
    """Detections x labels: IoU, and for crowds the share of the detection inside."""
    truth = picture.boxes
    corner = np.maximum(boxes[:, None, :2], truth[None, :, :2])
    opposite = np.minimum(boxes[:, None, 2:], truth[None, :, 2:])
    common = np.clip(opposite - corner, 0, None).prod(axis=2)
    own = np.clip(boxes[:, 2:] - boxes[:, :2], 0, None).prod(axis=1)[:, None]
    theirs = np.clip(truth[:, 2:] - truth[:, :2], 0, None).prod(axis=1)[None]
    area = np.where(picture.crowds[None], own, own + theirs - common)
    return np.asarray(common / np.maximum(area, 1e-12))


def _sizes(boxes: np.ndarray) -> np.ndarray:
    return np.asarray((boxes[:, 2:] - boxes[:, :2]).min(axis=1, initial=np.inf))


def _landmark_error(errors: np.ndarray) -> Optional[LandmarkError]:
    errors = errors[~np.isnan(errors)]
    if not len(errors):
        return None
    mean = float(errors.mean())
    half = NORMAL_95 * float(errors.std(ddof=1)) / math.sqrt(len(errors)) if len(errors) > 1 else math.inf
    return LandmarkError(len(errors), mean, float(np.median(errors)), (max(0.0, mean - half), mean + half))
