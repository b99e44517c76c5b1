"""Faces that fill the picture: a second look at a small size finds them.

A network sees only so many pixels at once. Of a face that is larger in its input it finds parts at best, such as an eye
and a cheek; at a smaller size it finds the whole.
"""

from __future__ import annotations

from typing import Sequence

import numpy as np

from app.types import Faces

SEEN_AT_ONCE_PX = 320
"""Faces up to this size in the network's input are found. RetinaFace and SCRFD miss most of those above 400 pixels."""

CLOSE_UP_SHARE = 0.3
"""The second look's size as a share of the first's. It is never above SEEN_AT_ONCE_PX."""

MIN_CLOSE_UP_PX = 75
"""Longer side at the second look from which a face counts; smaller ones are found at the first."""

MAX_COVERED = 0.5
"""A face of the first look of which more than this is inside a close-up is the same one, or a part of it."""

LOOK_EVERY = 5
"""In a video, close-ups are looked for in every fifth frame while there is none."""

NEAR_SHARE = 0.2
"""Longer side of a face as a share of the picture's, from which the next frame is looked at twice."""


def second_size(first: int) -> int:
    """The input size of the second look."""
    return min(round(first * CLOSE_UP_SHARE), SEEN_AT_ONCE_PX)


def with_close_ups(first: Faces, second: Faces, min_px: float) -> Faces:
    """The faces of both looks, best first; `min_px` is MIN_CLOSE_UP_PX in pixels of the image."""
    close = second[_longer_sides(second) >= min_px]
    if not len(close):
        return first
    both = close.followed_by(first[~covered(first.boxes, close.boxes)])
    return both[np.argsort(-both.scores, kind="stable")]


class CloseUpWatch:
    """When to look twice at a frame of a channel. A second look costs a fifth to a half of the first."""

    def __init__(self) -> None:
        self._frames = 0
        self._near = False

    def due(self) -> bool:
        return self._near or self._frames % LOOK_EVERY == 0

    def saw(self, faces: Faces, image_shape: Sequence[int]) -> None:
        """Call with the faces of every frame."""
        self._frames += 1
        self._near = bool((_longer_sides(faces) >= NEAR_SHARE * max(image_shape[:2])).any())


def _longer_sides(faces: Faces) -> np.ndarray:
    return np.asarray((faces.boxes[:, 2:] - faces.boxes[:, :2]).max(axis=1))


def covered(boxes: np.ndarray, others: np.ndarray, larger: float = 0.0) -> np.ndarray:
    """Which of the boxes are inside one of the others, by more than MAX_COVERED of their area.

    The sides of that one must be this many times larger.
    """
    if not len(others):
        return np.zeros(len(boxes), np.bool_)
    low = np.maximum(boxes[:, None, :2], others[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], others[None, :, 2:])
    shared = np.clip(high - low, 0, None).prod(axis=2)
    areas, other_areas = ((sides[:, 2:] - sides[:, :2]).prod(axis=1) for sides in (boxes, others))
    inside = (shared > MAX_COVERED * areas[:, None]) & (other_areas[None] >= larger**2 * areas[:, None])
    return np.asarray(inside.any(axis=1))
