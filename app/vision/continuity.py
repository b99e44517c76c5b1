"""Whether a frame continues the one before: thumbnails of the picture and of each face, compared without brightness.

Identity is checked again where they differ, so a false alarm costs one embedding per face and nothing else.
"""

from __future__ import annotations

from typing import Optional, Tuple

import cv2
import numpy as np

_PICTURE = (32, 18)
_FACE = (12, 12)
_SAMPLES = 160
"""Pixels per row that the thumbnail of a picture is made from: reading all of them takes ten times as long."""
_CUT = 0.1
"""Distance of two frames (1 - correlation) from which there may be a cut."""
_UNUSUAL = 4.0
"""A cut differs this many times more than the frames before it: a shaking camera does not cut in every frame."""
_DRIFT = 0.35
"""Distance from the last reference picture from which a slow change, such as a dissolve, counts as a cut."""
_USUAL_INERTIA = 0.9
_MIN_CONTRAST = 2.0
"""Grey levels. A thumbnail with less of it is a blank picture."""


class CutDetector:
    """Finds cuts in the frames of one channel. Takes 0.05 ms per frame."""

    def __init__(self) -> None:
        self._last: Optional[np.ndarray] = None
        self._reference: Optional[np.ndarray] = None
        self._usual = 0.0

    def is_cut(self, image: np.ndarray) -> bool:
        """Whether `image` (H x W x 3, uint8) shows another scene than the one before. The first one does not."""
        step = max(1, image.shape[1] // _SAMPLES)
        thumbnail = _normalised(_shrunk(image[::step, ::step, 1], _PICTURE)[None])[0]
        last, self._last = self._last, thumbnail
        if last is None or self._reference is None:
            self._reference = thumbnail
            return False
        distance = 1 - float(last @ thumbnail)
        cut = distance > max(_CUT, _UNUSUAL * self._usual) or 1 - float(self._reference @ thumbnail) > _DRIFT
        if cut:
            self._reference = thumbnail
        self._usual = _USUAL_INERTIA * self._usual + (1 - _USUAL_INERTIA) * min(distance, _CUT)
        return cut


def face_thumbnails(image: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """One row per box (N x 4): 144 values of unit length. The product of two rows is their correlation, -1..1."""
    thumbnails = np.zeros((len(boxes), _FACE[0] * _FACE[1]), np.float32)
    visible = np.zeros((len(boxes), 1), np.bool_)
    height, width = image.shape[:2]
    for row, (x1, y1, x2, y2) in enumerate(boxes.tolist()):
        left, top = int(max(x1, 0)), int(max(y1, 0))
        right, bottom = int(min(x2, width)), int(min(y2, height))
        if right > left and bottom > top:
            visible[row] = True
            step = max(1, (right - left) // (4 * _FACE[0]))
            thumbnails[row] = _shrunk(image[top:bottom:step, left:right:step, 1], _FACE)
    return _normalised(thumbnails) * visible


def _shrunk(samples: np.ndarray, size: Tuple[int, int]) -> np.ndarray:
    # A copy without gaps: OpenCV would make one of all channels.
    return cv2.resize(np.ascontiguousarray(samples), size, interpolation=cv2.INTER_AREA).reshape(-1)


def _normalised(thumbnails: np.ndarray) -> np.ndarray:
    """Each row with mean 0 and length 1; a constant row where there is no contrast."""
    values = thumbnails.astype(np.float32)
    values -= values.mean(axis=1, keepdims=True)
    lengths = np.sqrt((values**2).sum(axis=1, keepdims=True))
    flat = lengths < _MIN_CONTRAST * np.sqrt(values.shape[1])
    return np.where(flat, 1 / np.sqrt(values.shape[1]), values / np.where(flat, 1, lengths)).astype(np.float32)
