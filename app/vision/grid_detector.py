"""Detectors whose networks answer for every cell of one or more grids that lie over the picture.

What differs between their families, the meaning of the numbers, is a class of its own each; what they share is here:
which row belongs to which cell, whether outputs come flattened or as maps, and that only what passes the score is read.
"""

from __future__ import annotations

import logging
from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Iterator, List, Mapping, Optional, Tuple

import numpy as np

from app.inference.engine import Engine
from app.settings import DetectionSettings
from app.types import Faces
from app.vision.detector import FaceDetector, unexpected_answers
from app.vision.model_outputs import DETECTOR_FAMILIES, match_outputs
from app.vision.preprocessing import Preprocessing

logger = logging.getLogger(__name__)

AVERAGE_LANDMARKS = np.array([[0.28, 0.39], [0.72, 0.39], [0.5, 0.57], [0.32, 0.74], [0.68, 0.74]], np.float32)
"""Left eye, right eye, nose, corners of the mouth, as fractions of the box: the mean of 631 faces found by SCRFD."""


@dataclass(frozen=True)
class Grid:
    """One frame's outputs at one stride, by role."""

    stride: int
    columns: int
    rows: int
    anchors: int
    """Rows of numbers that each cell has."""
    outputs: Mapping[str, np.ndarray]
    """Each cells * anchors x values (rows in the order row, column, anchor), or anchors * values x rows x columns."""

    def values(self, role: str) -> np.ndarray:
        """The only number of each row, of all rows."""
        return flattened(self.outputs[role])

    def picked(self, role: str, rows: np.ndarray) -> np.ndarray:
        """All numbers of the chosen rows: len(rows) x values."""
        output = self.outputs[role]
        if output.ndim == 2:
            return np.asarray(output[rows])
        by_anchor = output.reshape(self.anchors, -1, output.shape[1] * output.shape[2])
        return np.asarray(by_anchor[rows % self.anchors, :, rows // self.anchors])

    def cells(self, rows: np.ndarray) -> np.ndarray:
        """Column and row of the chosen rows' cells: len(rows) x 2."""
        cells = rows // self.anchors
        return np.stack([cells % self.columns, cells // self.columns], axis=1).astype(np.float32)


class GridDetector(FaceDetector):
    """Reads only the rows that pass the score; a family says how."""

    family: ClassVar[str]
    strides: ClassVar[Tuple[int, ...]] = (8, 16, 32)
    anchors: ClassVar[int] = 1

    def __init__(self, engine: Engine, preprocessing: Preprocessing, settings: DetectionSettings) -> None:
        super().__init__(engine, preprocessing, settings)
        self._names = match_outputs(self.family, engine)
        self._has_landmarks = "landmarks" in self._names
        self.predicts_masks = "mask" in self._names
        if self.fixed_size is not None:
            self._require_answers_for(self.fixed_size)
        if not self._has_landmarks:
            logger.warning(
                "this %s network gives boxes without landmarks: they are guessed from the box, which is enough to "
                "find faces, but makes recognition much worse; to tell people apart choose a detector with landmarks",
                DETECTOR_FAMILIES[self.family].title,
            )

    @abstractmethod
    def scores(self, grid: Grid) -> np.ndarray:
        """How sure the network is of each row."""

    @abstractmethod
    def boxes(self, grid: Grid, rows: np.ndarray) -> np.ndarray:
        """Corners of the chosen rows: N x 4."""

    @abstractmethod
    def landmarks(self, grid: Grid, rows: np.ndarray, boxes: np.ndarray) -> np.ndarray:
        """The chosen rows' five points, N x 5 x 2; asked only of networks that give them."""

    def mask_probabilities(self, grid: Grid, rows: np.ndarray) -> Optional[np.ndarray]:
        """How likely the chosen rows' faces wear masks: N; None for networks that do not tell."""
        return None

    def candidates(self, outputs: Mapping[str, np.ndarray], input_size: Tuple[int, int]) -> Faces:
        found: List[Faces] = []
        for grid in self._grids(outputs, input_size):
            certainty = self.scores(grid)
            self._require_count(len(certainty), grid.stride, input_size)
            chosen = np.flatnonzero(certainty >= self._min_score)
            if len(chosen):
                found.append(self._faces(grid, chosen, certainty[chosen]))
        return _joined(found) if found else Faces.empty()

    def _require_answers_for(self, size: Tuple[int, int]) -> None:
        """As far as the file tells the shapes: what does not fit is refused before anything runs."""
        scores = (output for output in self._engine.outputs if output.name in self._names["score"])
        counts = [_rows_of(output.shape, self.anchors) for output in scores]
        known = sorted((count for count in counts if count is not None), reverse=True)
        for stride, count in zip(self.strides, known if len(known) == len(counts) else ()):
            self._require_count(count, stride, size)

    def _require_count(self, found: int, stride: int, input_size: Tuple[int, int]) -> None:
        columns, rows = _cells(input_size, stride)
        if found != columns * rows * self.anchors:
            raise unexpected_answers(
                f"the network gives {found} answers at stride {stride}, expected {columns} x {rows} cells with "
                f"{self.anchors} each for an input of {input_size[0]} x {input_size[1]}",
                input_size,
                "check the family in the model's catalogue entry",
            )

    def _faces(self, grid: Grid, rows: np.ndarray, scores: np.ndarray) -> Faces:
        boxes = self.boxes(grid, rows)
        landmarks = self.landmarks(grid, rows, boxes) if self._has_landmarks else guessed_landmarks(boxes)
        return Faces(boxes, scores, landmarks, mask_probabilities=self.mask_probabilities(grid, rows))

    def _grids(self, outputs: Mapping[str, np.ndarray], input_size: Tuple[int, int]) -> Iterator[Grid]:
        """A finer grid has more cells: that tells the strides apart whatever the outputs are called."""
        finest_first = {
            role: sorted((outputs[name] for name in names), key=lambda output: -output.size)
            for role, names in self._names.items()
        }
        for level, stride in enumerate(self.strides):
            columns, rows = _cells(input_size, stride)
            by_role = {role: arrays[level] for role, arrays in finest_first.items()}
            yield Grid(stride, columns, rows, self.anchors, by_role)


def _cells(input_size: Tuple[int, int], stride: int) -> Tuple[int, int]:
    """Columns and rows of the grid that lies over a picture; the last ones may stick out of it."""
    columns, rows = (-(-side // stride) for side in input_size)
    return columns, rows


def _rows_of(shape: Tuple[Optional[int], ...], anchors: int) -> Optional[int]:
    """How many rows of numbers an output of this shape has; None where the file leaves that open."""
    if len(shape) != 4:
        return shape[-2] if len(shape) > 1 else None
    return shape[2] * shape[3] * anchors if shape[2] and shape[3] else None


def _joined(parts: List[Faces]) -> Faces:
    """All of them in one; either every part tells masks or none does."""
    masks = [part.mask_probabilities for part in parts if part.mask_probabilities is not None]
    return Faces(
        boxes=np.concatenate([part.boxes for part in parts]).astype(np.float32),
        scores=np.concatenate([part.scores for part in parts]).astype(np.float32),
        landmarks=np.concatenate([part.landmarks for part in parts]).astype(np.float32),
        mask_probabilities=np.concatenate(masks).astype(np.float32) if masks else None,
    )


def flattened(output: np.ndarray) -> np.ndarray:
    """The values in the order row, column, anchor of an output that has one value a row, or of maps one an anchor."""
    return output.reshape(-1) if output.ndim == 2 else output.transpose(1, 2, 0).reshape(-1)


def guessed_landmarks(boxes: np.ndarray) -> np.ndarray:
    """Where an upright face that looks at the camera has its five points, by its box."""
    return np.asarray(boxes[:, None, :2] + AVERAGE_LANDMARKS * (boxes[:, 2:] - boxes[:, :2])[:, None])
