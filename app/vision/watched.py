"""Which parts of the pictures of a channel count."""

from __future__ import annotations

from typing import Optional, Sequence, Tuple

import numpy as np

from app.settings import Polygon, ViewSettings, polygons

_MASK_PX = 320
"""Width of the mask for motion, which is compared with small copies of the frames."""


class WatchedArea:
    """Where faces are reported: in a polygon to watch (without any: everywhere), and in none to ignore."""

    def __init__(self, watch: Sequence[Polygon] = (), ignore: Sequence[Polygon] = ()) -> None:
        self._watch = tuple(watch)
        self._ignore = tuple(ignore)

    @classmethod
    def from_settings(cls, settings: ViewSettings) -> WatchedArea:
        return cls(polygons(settings.watch or ""), polygons(settings.ignore or ""))

    def watches(self, boxes: np.ndarray, frame_size: Tuple[int, int]) -> np.ndarray:
        """A mask of the boxes (N x 4, in pixels) that count: those whose middle does. `frame_size`: width, height."""
        middles = (boxes[:, :2] + boxes[:, 2:]) / 2 / np.array(frame_size, np.float32)
        return self._counts(middles[:, 0], middles[:, 1])

    def ignored_mask(self) -> Optional[np.ndarray]:
        """True where motion does not count: a small picture of the frame, stretched to a square. None: nowhere."""
        if not self._watch and not self._ignore:
            return None
        steps = (np.arange(_MASK_PX) + 0.5) / _MASK_PX
        x, y = np.meshgrid(steps, steps)
        return ~self._counts(x.reshape(-1), y.reshape(-1)).reshape(x.shape)

    def _counts(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        watched = np.full(x.shape, not self._watch)
        for polygon in self._watch:
            watched |= _inside(x, y, polygon)
        for polygon in self._ignore:
            watched &= ~_inside(x, y, polygon)
        return watched


def _inside(x: np.ndarray, y: np.ndarray, polygon: Polygon) -> np.ndarray:
    """Whether a ray from each point to the right crosses the outline an odd number of times."""
    inside = np.zeros(x.shape, np.bool_)
    for (x1, y1), (x2, y2) in zip(polygon, polygon[1:] + polygon[:1]):
        if y1 != y2:
            crosses = (y1 > y) != (y2 > y)
            inside ^= crosses & (x < x1 + (x2 - x1) * (y - y1) / (y2 - y1))
    return inside
