"""The families of grid detectors: what the values in their outputs mean.

All coordinates are network pixels; a `grid` holds one image's outputs at one stride.
"""

from __future__ import annotations

from typing import Optional

import numpy as np

from app.inference.engine import Engine
from app.settings import DetectionSettings
from app.vision.grid_detector import Grid, GridDetector, estimated_landmarks, flattened
from app.vision.preprocessing import Preprocessing

DSFD_ANCHOR_STRIDES = 4
DSFD_ANCHOR_SHAPE = np.array([1.5**-0.5, 1.5**0.5], np.float32)
"""Width and height of an anchor of size 1."""

MXNET_ANCHOR_SIZES = {8: (32, 16), 16: (128, 64), 32: (512, 256)}
"""RetinaFace for MXNet, by stride: the anchors' side lengths, in the order of the channels."""


class SCRFD(GridDetector):
    """SCRFD as InsightFace exports it: distances from the cell's upper left corner, in strides.

    Outputs: score, bbox (left, top, right, bottom) and kps at strides 8, 16 and 32, with two anchors per cell. Both
    anchors stand on the same point; their sizes do not matter.
    """

    family = "scrfd"
    anchors = 2

    def scores(self, grid: Grid) -> np.ndarray:
        return grid.values("score")

    def boxes(self, grid: Grid, rows: np.ndarray) -> np.ndarray:
        points = grid.cells(rows)
        distances = grid.picked("box", rows)
        return np.hstack([points - distances[:, :2], points + distances[:, 2:]]) * grid.stride

    def landmarks(self, grid: Grid, rows: np.ndarray, boxes: np.ndarray) -> np.ndarray:
        return _offsets_in_strides(grid, rows)


class YuNet(GridDetector):
    """YuNet as published in 2023: one answer per cell, in strides from the cell's upper left corner.

    Outputs: cls, obj, bbox (centre, logarithm of the size) and kps at strides 8, 16 and 32.
    """

    family = "yunet"

    def scores(self, grid: Grid) -> np.ndarray:
        face, objectness = (np.clip(grid.values(role), 0, 1) for role in ("score", "objectness"))
        return np.asarray(np.sqrt(face * objectness))

    def boxes(self, grid: Grid, rows: np.ndarray) -> np.ndarray:
        values = grid.picked("box", rows)
        middle = grid.cells(rows) + values[:, :2]
        half = np.exp(values[:, 2:]) / 2
        return np.hstack([middle - half, middle + half]) * grid.stride

    def landmarks(self, grid: Grid, rows: np.ndarray, boxes: np.ndarray) -> np.ndarray:
        return _offsets_in_strides(grid, rows)


class CenterFace(GridDetector):
    """CenterFace: a heat map of face centres at stride 4.

    Outputs: heat map, scale (logarithm of the size in strides), offset and landmarks. Vertical values come first:
    height before width, y before x.
    """

    family = "centerface"
    strides = (4,)

    def scores(self, grid: Grid) -> np.ndarray:
        return grid.values("score")

    def boxes(self, grid: Grid, rows: np.ndarray) -> np.ndarray:
        middle = grid.cells(rows) + grid.picked("offset", rows)[:, ::-1] + 0.5
        half = np.exp(grid.picked("scale", rows)[:, ::-1]) / 2
        return np.hstack([middle - half, middle + half]) * grid.stride

    def landmarks(self, grid: Grid, rows: np.ndarray, boxes: np.ndarray) -> np.ndarray:
        # As fractions of the box, from its upper left corner.
        fractions = grid.picked("landmarks", rows).reshape(-1, 5, 2)[:, :, ::-1]
        points: np.ndarray = boxes[:, None, :2] + fractions * (boxes[:, 2:] - boxes[:, :2])[:, None]
        return points


class DSFD(GridDetector):
    """DSFD, the dual shot face detector: offsets from upright anchors, one per cell. It has no landmarks.

    Outputs: loc and conf (softmaxed, face second) at strides 4 to 128. An anchor is four strides in size, half as high
    again as wide; no anchor is larger than the picture, and none stands outside it.
    """

    family = "dsfd"
    strides = (4, 8, 16, 32, 64, 128)

    def scores(self, grid: Grid) -> np.ndarray:
        return np.asarray(grid.outputs["score"][:, 1])

    def boxes(self, grid: Grid, rows: np.ndarray) -> np.ndarray:
        picture = np.asarray(grid.input_size, np.float32)
        offsets = grid.picked("box", rows)
        sides = np.minimum(DSFD_ANCHOR_STRIDES * grid.stride * DSFD_ANCHOR_SHAPE, picture)
        middle = np.minimum((grid.cells(rows) + 0.5) * grid.stride, picture) + offsets[:, :2] * 0.1 * sides
        half = np.exp(offsets[:, 2:] * 0.2) * sides / 2
        return np.hstack([middle - half, middle + half])

    def landmarks(self, grid: Grid, rows: np.ndarray, boxes: np.ndarray) -> np.ndarray:
        return estimated_landmarks(boxes)


class RetinaFaceMXNet(GridDetector):
    """RetinaFace as InsightFace published it for MXNet: offsets from square anchors, as maps.

    Outputs: cls_prob (background before face), bbox_pred and landmark_pred at strides 8, 16 and 32. mnet_cov2 also has
    type_prob: the probabilities of three classes, the last of which is a face with a mask.
    Anchors count whole pixels: one of 16 pixels covers pixels 0 to 15, and its centre is 7.5. At every stride they are
    enlarged versions of a cell of 16 pixels, so that their centres are 7.5 pixels from the cell's corner.
    """

    family = "retinaface_mxnet"
    anchors = 2

    def __init__(
        self, engine: Engine, preprocessing: Preprocessing, settings: DetectionSettings, landmark_scale: float
    ) -> None:
        """`landmark_scale` multiplies the landmark offsets: 1, or 0.2 for mnet025_v2 and mnet_cov2."""
        super().__init__(engine, preprocessing, settings)
        self._landmark_scale = landmark_scale

    def scores(self, grid: Grid) -> np.ndarray:
        return flattened(grid.outputs["score"][self.anchors :])

    def boxes(self, grid: Grid, rows: np.ndarray) -> np.ndarray:
        deltas, sizes = grid.picked("box", rows), self._anchor_sizes(grid, rows)
        middle = self._anchor_centres(grid, rows) + deltas[:, :2] * sizes
        half = (np.exp(deltas[:, 2:]) * sizes - 1) / 2
        return np.hstack([middle - half, middle + half])

    def landmarks(self, grid: Grid, rows: np.ndarray, boxes: np.ndarray) -> np.ndarray:
        offsets = grid.picked("landmarks", rows).reshape(-1, 5, 2) * self._landmark_scale
        sizes = self._anchor_sizes(grid, rows)
        points: np.ndarray = self._anchor_centres(grid, rows)[:, None] + offsets * sizes[:, None]
        return points

    def mask_probabilities(self, grid: Grid, rows: np.ndarray) -> Optional[np.ndarray]:
        if "mask" not in grid.outputs:
            return None
        return np.asarray(flattened(grid.outputs["mask"][2 * self.anchors :])[rows])

    @staticmethod
    def _anchor_centres(grid: Grid, rows: np.ndarray) -> np.ndarray:
        """N x 2."""
        return np.asarray(grid.cells(rows) * grid.stride + np.float32(7.5))

    @staticmethod
    def _anchor_sizes(grid: Grid, rows: np.ndarray) -> np.ndarray:
        """N x 1."""
        return np.asarray(MXNET_ANCHOR_SIZES[grid.stride], np.float32)[rows % grid.anchors, None]


def _offsets_in_strides(grid: Grid, rows: np.ndarray) -> np.ndarray:
    """Landmarks (N x 5 x 2) given as offsets from the cell's upper left corner, in strides."""
    offsets = grid.picked("landmarks", rows).reshape(-1, 5, 2)
    points: np.ndarray = (grid.cells(rows)[:, None] + offsets) * grid.stride
    return points
