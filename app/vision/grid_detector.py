"""Detectors whose networks answer for every cell of one or more grids over the image.

Here is what their families share: which row of an output belongs to which cell, whether outputs are flat or maps, and
that only rows above the minimum score are decoded. What the values mean is up to each family, in
`app/vision/grid_families.py`.
"""

from __future__ import annotations

import logging
from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar, List, Mapping, Optional, Tuple

import numpy as np

from app.inference.engine import Engine
from app.settings import DetectionSettings
from app.types import Faces
from app.vision.detector import FaceDetector, Size, wrong_output_length
from app.vision.model_outputs import DETECTOR_FAMILIES, match_outputs
from app.vision.preprocessing import Preprocessing

logger = logging.getLogger(__name__)

AVERAGE_LANDMARKS = np.array([[0.28, 0.39], [0.72, 0.39], [0.5, 0.57], [0.32, 0.74], [0.68, 0.74]], np.float32)
"""Left eye, right eye, nose, corners of the mouth, as fractions of the box: the mean of 631 faces found by SCRFD."""


@dataclass(frozen=True)
class Grid:
    """One image's outputs at one stride, by role."""

    stride: int
    columns: int
    anchors: int
    """Rows of values per cell."""
    input_size: Size
    """Width and height of the network's input."""
    outputs: Mapping[str, np.ndarray]
    """Flat, (cells * anchors) x values with rows in the order row, column, anchor; or maps, (anchors * values) x rows
    x columns."""

    def values(self, role: str) -> np.ndarray:
        """The single value of every row, in the order row, column, anchor."""
        return flattened(self.outputs[role])

    def picked(self, role: str, rows: np.ndarray) -> np.ndarray:
        """All values of the chosen rows: len(rows) x values."""
        output = self.outputs[role]
        if output.ndim == 2:
            return np.asarray(output[rows])
        by_anchor = output.reshape(self.anchors, -1, output.shape[1] * output.shape[2])
        return np.asarray(by_anchor[rows % self.anchors, :, rows // self.anchors])

    def cells(self, rows: np.ndarray) -> np.ndarray:
        """Column and row of the cells of the chosen rows: len(rows) x 2, float32."""
        cells = rows // self.anchors
        return np.stack([cells % self.columns, cells // self.columns], axis=1).astype(np.float32)


class GridDetector(FaceDetector):
    """Decodes the rows above the minimum score; a family says how."""

    family: ClassVar[str]
    strides: ClassVar[Tuple[int, ...]] = (8, 16, 32)
    anchors: ClassVar[int] = 1

    def __init__(self, engine: Engine, preprocessing: Preprocessing, settings: DetectionSettings) -> None:
        super().__init__(engine, preprocessing, settings)
        self._names = match_outputs(self.family, engine)
        self._has_landmarks = "landmarks" in self._names
        self.predicts_masks = "mask" in self._names
        if self.fixed_size is not None:
            # If the file knows the shapes, a wrong family or size is refused before anything runs.
            shapes = [output.shape for output in engine.outputs if output.name in self._names["score"]]
            lengths = sorted((_row_count(shape, self.anchors) or 0 for shape in shapes), reverse=True)
            if all(lengths):
                for stride, length in zip(self.strides, lengths):
                    self._require_length(length, stride, self.fixed_size)
        if not self._has_landmarks:
            logger.warning(
                "this %s network has no landmarks: they are estimated from the box, which is enough to find faces but "
                "makes recognition much worse; choose a detector with landmarks to recognize people",
                DETECTOR_FAMILIES[self.family].title,
            )

    @abstractmethod
    def scores(self, grid: Grid) -> np.ndarray:
        """The score of every row: cells * anchors."""

    @abstractmethod
    def boxes(self, grid: Grid, rows: np.ndarray) -> np.ndarray:
        """Corners of the chosen rows' boxes in network pixels: N x 4."""

    @abstractmethod
    def landmarks(self, grid: Grid, rows: np.ndarray, boxes: np.ndarray) -> np.ndarray:
        """The chosen rows' five points in network pixels: N x 5 x 2. Called only for networks that have them."""

    def mask_probabilities(self, grid: Grid, rows: np.ndarray) -> Optional[np.ndarray]:
        """The probability that each chosen face wears a mask: N; None for networks that do not predict it."""
        return None

    def candidates(self, outputs: Mapping[str, np.ndarray], input_size: Size, min_score: float) -> Faces:
        # Names may be anything, but a finer grid has more cells.
        finest_first = {
            role: sorted((outputs[name] for name in names), key=lambda output: -output.size)
            for role, names in self._names.items()
        }
        found: List[Faces] = []
        for level, stride in enumerate(self.strides):
            columns = -(-input_size[0] // stride)
            by_role = {role: arrays[level] for role, arrays in finest_first.items()}
            grid = Grid(stride, columns, self.anchors, input_size, by_role)
            scores = self.scores(grid)
            self._require_length(len(scores), stride, input_size)
            rows = np.flatnonzero(scores >= min_score)
            if not len(rows):
                continue
            boxes = self.boxes(grid, rows)
            landmarks = self.landmarks(grid, rows, boxes) if self._has_landmarks else estimated_landmarks(boxes)
            found.append(Faces(boxes, scores[rows], landmarks, mask_probabilities=self.mask_probabilities(grid, rows)))
        if not found:
            return Faces.empty()
        masks = [part.mask_probabilities for part in found if part.mask_probabilities is not None]
        return Faces(
            boxes=np.concatenate([part.boxes for part in found]).astype(np.float32),
            scores=np.concatenate([part.scores for part in found]).astype(np.float32),
            landmarks=np.concatenate([part.landmarks for part in found]).astype(np.float32),
            mask_probabilities=np.concatenate(masks).astype(np.float32) if masks else None,
        )

    def _require_length(self, length: int, stride: int, input_size: Size) -> None:
        columns, rows = (-(-side // stride) for side in input_size)
        if length != columns * rows * self.anchors:
            raise wrong_output_length(
                f"the network has {length} rows at stride {stride}, expected {columns} x {rows} cells with "
                f"{self.anchors} each for an input of {input_size[0]} x {input_size[1]}",
                input_size,
                "check the family in the model's catalogue entry",
            )


def _row_count(shape: Tuple[Optional[int], ...], anchors: int) -> Optional[int]:
    """The number of rows in an output of this shape; None if the file does not say."""
    if len(shape) != 4:
        return shape[-2] if len(shape) > 1 else None
    return shape[2] * shape[3] * anchors if shape[2] and shape[3] else None


def flattened(output: np.ndarray) -> np.ndarray:
    """In the order row, column, anchor: a flat output with one value per row, or maps with one channel per anchor."""
    return output.reshape(-1) if output.ndim == 2 else output.transpose(1, 2, 0).reshape(-1)


def estimated_landmarks(boxes: np.ndarray) -> np.ndarray:
    """The five points (N x 5 x 2) of upright frontal faces that fill these boxes (N x 4)."""
    return np.asarray(boxes[:, None, :2] + AVERAGE_LANDMARKS * (boxes[:, 2:] - boxes[:, :2])[:, None])
