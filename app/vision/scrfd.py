"""SCRFD as InsightFace exports it: distances from a cell's own corner point, counted in strides."""

from __future__ import annotations

import numpy as np

from app.vision.grid_detector import Grid, GridDetector


class SCRFD(GridDetector):
    """Reads score, bbox (left, top, right, bottom) and kps at strides 8, 16 and 32, two anchors a cell.

    Both anchors stand on the same point, the cell's upper left corner; their sizes do not matter.
    """

    family = "scrfd"
    anchors = 2
    photo_score = 0.6

    def scores(self, grid: Grid) -> np.ndarray:
        return grid.values("score")

    def boxes(self, grid: Grid, rows: np.ndarray) -> np.ndarray:
        points = grid.cells(rows)
        distances = grid.picked("box", rows)
        return np.hstack([points - distances[:, :2], points + distances[:, 2:]]) * grid.stride

    def landmarks(self, grid: Grid, rows: np.ndarray, boxes: np.ndarray) -> np.ndarray:
        offsets = grid.picked("landmarks", rows).reshape(-1, 5, 2)
        points: np.ndarray = (grid.cells(rows)[:, None] + offsets) * grid.stride
        return points
