"""RetinaFace as InsightFace published it for MXNet: offsets from square anchors, as maps.

It counts whole pixels: an anchor of 16 pixels covers pixels 0 to 15, and its centre is 7.5. At every stride the anchors
are those of a cell of 16 pixels, enlarged.
"""

from __future__ import annotations

from typing import Optional

import numpy as np

from app.inference.engine import Engine
from app.settings import DetectionSettings
from app.vision.grid_detector import Grid, GridDetector, flattened
from app.vision.preprocessing import Preprocessing

ANCHOR_SIZES = {8: (32, 16), 16: (128, 64), 32: (512, 256)}
"""By stride: the anchors' side lengths, in the order of the channels."""

FIRST_CENTRE = 7.5


class RetinaFaceMXNet(GridDetector):
    """Reads cls_prob (background before face), bbox_pred and landmark_pred at strides 8, 16 and 32.

    mnet_cov2 has type_prob as well: three kinds whose probabilities add up to one, the last of which is a masked face.
    """

    family = "retinaface_mxnet"
    anchors = 2

    def __init__(
        self, engine: Engine, preprocessing: Preprocessing, settings: DetectionSettings, landmark_scale: float
    ) -> None:
        """`landmark_scale`: what landmark offsets are multiplied with; 1, or 0.2 for mnet025_v2 and mnet_cov2."""
        super().__init__(engine, preprocessing, settings)
        self._landmark_scale = landmark_scale

    def scores(self, grid: Grid) -> np.ndarray:
        return flattened(grid.outputs["score"][self.anchors :])

    def boxes(self, grid: Grid, rows: np.ndarray) -> np.ndarray:
        deltas, sizes = grid.picked("box", rows), _sizes(grid, rows)
        middle = _centres(grid, rows) + deltas[:, :2] * sizes
        half = (np.exp(deltas[:, 2:]) * sizes - 1) / 2
        return np.hstack([middle - half, middle + half])

    def landmarks(self, grid: Grid, rows: np.ndarray, boxes: np.ndarray) -> np.ndarray:
        offsets = grid.picked("landmarks", rows).reshape(-1, 5, 2) * self._landmark_scale
        points: np.ndarray = _centres(grid, rows)[:, None] + offsets * _sizes(grid, rows)[:, None]
        return points

    def mask_probabilities(self, grid: Grid, rows: np.ndarray) -> Optional[np.ndarray]:
        if "mask" not in grid.outputs:
            return None
        return np.asarray(flattened(grid.outputs["mask"][2 * self.anchors :])[rows])


def _centres(grid: Grid, rows: np.ndarray) -> np.ndarray:
    centres: np.ndarray = grid.cells(rows) * grid.stride + np.float32(FIRST_CENTRE)
    return centres


def _sizes(grid: Grid, rows: np.ndarray) -> np.ndarray:
    """N x 1."""
    return np.asarray(ANCHOR_SIZES[grid.stride], np.float32)[rows % grid.anchors, None]
