"""Faces that were found in the small stream of a camera are found again in a frame of its large one.

The two frames are never of the same instant for certain: cameras encode the streams apart, and their time stamps do not
agree. So a face counts as found again only if it is near its place and looks alike.
"""

from __future__ import annotations

import dataclasses
from typing import Callable, Dict, List, Sequence

import cv2
import numpy as np

from app.types import Faces

Find = Callable[[Sequence[np.ndarray], int], List[Faces]]
"""The faces of each image, with this longer side inside the detector."""

MIN_ALIKE = 0.75
"""Correlation of the two pictures of a face. With the people of the demo, and a small stream of half to a quarter of
the size, it is above 0.84 for one person and below 0.66 for two (`tests/vision/test_two_streams.py`)."""
_REACH = 1.5
"""How far the part that is searched reaches from the middle of the face, in its longer sides."""
_SEARCH_PX = 288
"""Longer side of that part inside the detector: a face has about 96 pixels there."""
_PATCH_PX = 24
_LARGER = 1.5
"""The face may be moved by a quarter of its side, and be so much larger or smaller."""
_SCALES = (0.85, 1.0, 1.15)


def found_in_large(
    faces: Faces, rows: Sequence[int], small: np.ndarray, large: np.ndarray, find: Find
) -> Dict[int, Faces]:
    """For each of `rows` that was found again: the face (one) in pixels of the large frame."""
    scale = np.array([large.shape[1] / small.shape[1], large.shape[0] / small.shape[0]] * 2, np.float32)
    expected = faces.boxes[list(rows)] * scale
    corners = [_part(box, large) for box in expected]
    again: Dict[int, Faces] = {}
    parts = [large[top:bottom, left:right] for left, top, right, bottom in corners]
    for row, (left, top, _, _), near in zip(rows, corners, find(parts, _SEARCH_PX)):
        near = dataclasses.replace(
            near,
            boxes=near.boxes + np.array([left, top, left, top], np.float32),
            landmarks=near.landmarks + np.array([left, top], np.float32),
        )
        likeness = [alike(small, faces.boxes[row], large, box, scale) for box in near.boxes]
        if likeness and max(likeness) >= MIN_ALIKE:
            again[row] = near[int(np.argmax(likeness))]
    return again


def with_faces(faces: Faces, others: Dict[int, Faces]) -> Faces:
    """The faces with those of some rows replaced."""
    boxes, landmarks, scores = faces.boxes.copy(), faces.landmarks.copy(), faces.scores.copy()
    for row, other in others.items():
        boxes[row], landmarks[row], scores[row] = other.boxes[0], other.landmarks[0], other.scores[0]
    return dataclasses.replace(faces, boxes=boxes, landmarks=landmarks, scores=scores)


def alike(small: np.ndarray, box: np.ndarray, large: np.ndarray, large_box: np.ndarray, scale: np.ndarray) -> float:
    """The correlation of a face in the small frame with what is around a place of the large one, -1 to 1."""
    patch = _patch(small, box, 1.0)
    middle = (large_box[:2] + large_box[2:]) / 2
    half = (box[2:] - box[:2]) / 2 * scale[:2]
    around = [
        _patch(large, np.concatenate([middle - factor * half, middle + factor * half]), _LARGER) for factor in _SCALES
    ]
    return max(float(cv2.matchTemplate(place, patch, cv2.TM_CCOEFF_NORMED).max()) for place in around)


def _part(box: np.ndarray, image: np.ndarray) -> List[int]:
    """The square around a box, as far as it is inside the image: left, top, right, bottom."""
    height, width = image.shape[:2]
    middle, reach = (box[:2] + box[2:]) / 2, _REACH * float((box[2:] - box[:2]).max())
    low, high = np.floor(middle - reach), np.ceil(middle + reach)
    left, top = (int(value) for value in np.clip(low, 0, [width - 1, height - 1]))
    right, bottom = (int(value) for value in np.clip(high, [left + 1, top + 1], [width, height]))
    return [left, top, right, bottom]


def _patch(image: np.ndarray, box: np.ndarray, larger: float) -> np.ndarray:
    """The green of a box, grown by a factor, at `_PATCH_PX` pixels per side of the box."""
    middle, half = (box[:2] + box[2:]) / 2, (box[2:] - box[:2]) / 2 * larger
    side = round(_PATCH_PX * larger)
    low, high = np.floor(middle - half).astype(int), np.ceil(middle + half).astype(int)
    height, width = image.shape[:2]
    columns, rows = (
        np.arange(low[0], high[0] + 1).clip(0, width - 1),
        np.arange(low[1], high[1] + 1).clip(0, height - 1),
    )
    pixels = image[rows[:, None], columns[None, :], 1]
    return np.asarray(cv2.resize(pixels, (side, side), interpolation=cv2.INTER_AREA))
