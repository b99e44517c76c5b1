"""YuNet as published in 2023: one answer a cell, counted in strides from the cell's upper left corner."""

from __future__ import annotations

import numpy as np

from app.vision.grid_detector import Grid, GridDetector


class YuNet(GridDetector):
    """Reads cls, obj, bbox (centre, logarithm of the size) and kps at strides 8, 16 and 32."""

    family = "yunet"

    def scores(self, grid: Grid) -> np.ndarray:
        face, objectness = (np.clip(grid.values(role), 0, 1) for role in ("score", "objectness"))
        return np.asarray(np.sqrt(face * objectness))

    def boxes(self, grid: Grid, rows: np.ndarray) -> np.ndarray:
        answers = grid.picked("box", rows)
        middle = grid.cells(rows) + answers[:, :2]
        half = np.exp(answers[:, 2:]) / 2
        return np.hstack([middle - half, middle + half]) * grid.stride

    def landmarks(self, grid: Grid, rows: np.ndarray, boxes: np.ndarray) -> np.ndarray:
        offsets = grid.picked("landmarks", rows).reshape(-1, 5, 2)
        points: np.ndarray = (grid.cells(rows)[:, None] + offsets) * grid.stride
        return points
