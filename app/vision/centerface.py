"""CenterFace: a heat map of face centres. It names what is vertical first: height before width, y before x."""

from __future__ import annotations

import numpy as np

from app.vision.grid_detector import Grid, GridDetector


class CenterFace(GridDetector):
    """Reads heat map, scale (logarithm of the size in strides), offset and landmarks at stride 4."""

    family = "centerface"
    strides = (4,)

    def scores(self, grid: Grid) -> np.ndarray:
        return grid.values("score")

    def boxes(self, grid: Grid, rows: np.ndarray) -> np.ndarray:
        middle = grid.cells(rows) + grid.picked("offset", rows)[:, ::-1] + 0.5
        half = np.exp(grid.picked("scale", rows)[:, ::-1]) / 2
        return np.hstack([middle - half, middle + half]) * grid.stride

    def landmarks(self, grid: Grid, rows: np.ndarray, boxes: np.ndarray) -> np.ndarray:
        """As fractions of the box, from its upper left corner."""
        fractions = grid.picked("landmarks", rows).reshape(-1, 5, 2)[:, :, ::-1]
        points: np.ndarray = boxes[:, None, :2] + fractions * (boxes[:, 2:] - boxes[:, :2])[:, None]
        return points
