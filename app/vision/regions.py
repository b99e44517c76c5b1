"""Faces in parts of a frame: cut, shown to the network together, and mapped back to the frame."""

from __future__ import annotations

import dataclasses
from typing import Optional, Sequence, Tuple

import numpy as np

from app.types import Faces
from app.vision.attention import Plan, Window
from app.vision.close_ups import covered
from app.vision.detector import FaceDetector, Stage, suppress_overlaps, untimed

_EDGE_PX = 3
"""In the network: a face that is nearer to the inner edge of a window may be cut off there."""
_MUCH_LARGER = 1.8
"""Ratio of the sides of two faces from which the smaller one is a part of the larger, such as an eye."""
_SAME_IOU = 0.4


def find_as_planned(
    detector: FaceDetector,
    image: np.ndarray,
    plan: Plan,
    stage: Stage = untimed,
    min_score: Optional[float] = None,
) -> Faces:
    """The faces that the plan looks for, in pixels of the frame, best first.

    A face that several windows show is one face, one that the edge of a window cuts off is left to another window, and
    parts of a large face that a tile shows are none.
    """
    faces = Faces.empty()
    if plan.scan:
        (faces,) = detector.detect([image], stage=stage, min_score=min_score)
    tracked = [window for window in plan.windows if not window.searches]
    tiles = [window for window in plan.windows if window.searches]
    faces = faces.followed_by(_in_windows(detector, image, tracked, stage, min_score))
    if tiles:
        small = _in_windows(detector, image, tiles, stage, min_score)
        small = small[
            ~covered(small.boxes, np.concatenate([plan.expected.boxes, faces.boxes, small.boxes]), _MUCH_LARGER)
        ]
        faces = faces.followed_by(small)
    return suppress_overlaps(faces, _SAME_IOU)


def _in_windows(
    detector: FaceDetector, image: np.ndarray, windows: Sequence[Window], stage: Stage, min_score: Optional[float]
) -> Faces:
    """One after the other: on processors, a network that changes between batches of different sizes takes half as long
    again (docs/performance.md)."""
    found = Faces.empty()
    for window in windows:
        part = image[window.top : window.bottom, window.left : window.right]
        (faces,) = detector.detect([part], window.input_px, stage, close_ups=False, min_score=min_score)
        found = found.followed_by(in_frame(faces, window, (image.shape[1], image.shape[0])))
    return found


def in_frame(faces: Faces, window: Window, size: Tuple[int, int]) -> Faces:
    """Faces of a window in pixels of the frame, without those that an edge inside the frame may cut off."""
    left, top, right, bottom = window[:4]
    margin = _EDGE_PX * max(1.0, max(right - left, bottom - top) / window.input_px)
    offset = np.array([left, top], np.float32)
    boxes = faces.boxes + np.tile(offset, 2)
    low = np.where(np.array([left, top]) > 0, offset + margin, -np.inf)
    high = np.where(np.array([right, bottom]) < size, np.array([right, bottom]) - margin, np.inf)
    whole = (boxes[:, :2] >= low).all(axis=1) & (boxes[:, 2:] <= high).all(axis=1)
    return dataclasses.replace(faces, boxes=boxes, landmarks=faces.landmarks + offset)[np.flatnonzero(whole)]
