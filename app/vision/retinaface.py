"""RetinaFace as exported from the PyTorch implementations: loc, conf and landmarks for every anchor.

The anchors are in the order stride, row, column, size. Offsets are relative to the anchor's size and multiplied by the
variances: centre and landmarks by the first, logarithm of the size by the second.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Mapping, Tuple

import numpy as np

from app.errors import ModelError
from app.inference.engine import Engine
from app.settings import DetectionSettings
from app.types import Faces
from app.vision.detector import FaceDetector, Size, wrong_output_length
from app.vision.model_outputs import match_outputs
from app.vision.preprocessing import Preprocessing


@dataclass(frozen=True)
class RetinaFaceAnchors:
    """The boxes that the network's offsets are relative to."""

    min_sizes: Tuple[Tuple[int, ...], ...]
    """Side lengths in pixels of the square anchors, for each stride."""
    strides: Tuple[int, ...] = (8, 16, 32)
    variances: Tuple[float, float] = (0.1, 0.2)


class RetinaFace(FaceDetector):
    """Reads loc (P x 4), conf (P x 2, softmaxed, face second) and landms (P x 10)."""

    def __init__(
        self, engine: Engine, preprocessing: Preprocessing, settings: DetectionSettings, anchors: RetinaFaceAnchors
    ) -> None:
        super().__init__(engine, preprocessing, settings)
        if len(anchors.min_sizes) != len(anchors.strides):
            raise ModelError(f"min_sizes must have one list for each of the strides {anchors.strides}")
        self._anchors = anchors
        names = match_outputs("retinaface", engine)
        (self._loc,), (self._conf,), (self._landms,) = names["loc"], names["conf"], names["landms"]

    def candidates(self, outputs: Mapping[str, np.ndarray], input_size: Size, min_score: float) -> Faces:
        scores = outputs[self._conf][:, 1]
        # Nine anchors in ten thousand pass: decoding only those takes a hundredth of the time.
        rows = np.flatnonzero(scores >= min_score)
        anchors = anchor_boxes(input_size, self._anchors)
        if len(anchors) != len(scores):
            raise wrong_output_length(
                f"the network has {len(scores)} anchors, min_sizes {self._anchors.min_sizes} give {len(anchors)}",
                input_size,
                "check min_sizes in the model's catalogue entry",
            )
        priors = anchors[rows]
        boxes, landmarks = decode(
            outputs[self._loc][rows], outputs[self._landms][rows], priors, self._anchors.variances
        )
        return Faces(boxes, scores[rows], landmarks)


def decode(
    loc: np.ndarray, landms: np.ndarray, priors: np.ndarray, variances: Tuple[float, float]
) -> Tuple[np.ndarray, np.ndarray]:
    """Boxes (N x 4, corners) and landmarks (N x 5 x 2) from offsets and their anchors (N x 4: centre, size)."""
    centres, sizes = priors[:, :2], priors[:, 2:]
    middle = centres + loc[:, :2] * variances[0] * sizes
    half = sizes * np.exp(loc[:, 2:] * variances[1]) / 2
    boxes = np.concatenate([middle - half, middle + half], axis=1)
    landmarks = centres[:, None] + landms.reshape(-1, 5, 2) * variances[0] * sizes[:, None]
    return boxes.astype(np.float32), landmarks.astype(np.float32)


@lru_cache(maxsize=16)
def anchor_boxes(input_size: Size, anchors: RetinaFaceAnchors) -> np.ndarray:
    """All anchors of an input of this width and height: P x 4 (centre x, centre y, width, height) in its pixels."""
    width, height = input_size
    levels = []
    for stride, sizes in zip(anchors.strides, anchors.min_sizes):
        columns, rows = -(-width // stride), -(-height // stride)
        centre_x = (np.arange(columns, dtype=np.float32) + 0.5) * stride
        centre_y = (np.arange(rows, dtype=np.float32) + 0.5) * stride
        level = np.empty((rows, columns, len(sizes), 4), np.float32)
        level[..., 0] = centre_x[None, :, None]
        level[..., 1] = centre_y[:, None, None]
        level[..., 2:] = np.array(sizes, np.float32)[:, None]
        levels.append(level.reshape(-1, 4))
    result = np.concatenate(levels)
    result.flags.writeable = False
    return result
