"""Runs a RetinaFace ONNX on pictures: the teacher that labels faces, and our own model when it is measured."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Tuple

import numpy as np
import onnxruntime as ort

from training.anchors import (
    LARGE_MIN_SIZES,
    MIN_SIZES,
    anchor_grid,
    decode_boxes,
    decode_landmarks,
    suppress,
)

MEAN_BGR = np.array([104, 117, 123], np.float32)
ANCHOR_SETS = {"10": MIN_SIZES, "16": LARGE_MIN_SIZES}
"""Names for the command line: the smallest anchor's size says which set a model was trained with."""


@dataclass(frozen=True)
class LabelledFaces:
    """Faces of one picture, best score first; boxes and points in the picture's own pixels."""

    boxes: np.ndarray
    scores: np.ndarray
    landmarks: np.ndarray

    def __len__(self) -> int:
        return len(self.scores)


class RetinaFaceSession:
    """One ONNX Runtime session; pictures are padded to multiples of 32 with the mean colour, never resized."""

    def __init__(self, model: Path, min_sizes: Tuple[Tuple[int, ...], ...], threads: int = 1) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = ort.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
        self._min_sizes = min_sizes

    def detect(self, image: np.ndarray, min_score: float, margin: int = 0) -> LabelledFaces:
        """`margin` adds a border on every side, for pictures that are all face and would be cut otherwise."""
        height, width = image.shape[:2]
        padded_height = -(-(height + 2 * margin) // 32) * 32
        padded_width = -(-(width + 2 * margin) // 32) * 32
        top, left = (padded_height - height) // 2, (padded_width - width) // 2
        tensor = np.zeros((1, 3, padded_height, padded_width), np.float32)
        tensor[0, :, top : top + height, left : left + width] = (image - MEAN_BGR).transpose(2, 0, 1)
        boxes, confidence, points = self._session.run(["loc", "conf", "landms"], {"input": tensor})
        anchors = anchor_grid(padded_height, padded_width, self._min_sizes)
        chosen = np.flatnonzero(confidence[0, :, 1] >= min_score)
        scores = confidence[0, chosen, 1]
        decoded = decode_boxes(boxes[0, chosen], anchors[chosen])
        kept = suppress(decoded, scores)
        landmarks = decode_landmarks(points[0, chosen[kept]], anchors[chosen[kept]])
        shift = np.array([left, top], np.float32)
        return LabelledFaces(
            (decoded[kept] - np.tile(shift, 2)).astype(np.float32),
            scores[kept],
            (landmarks - shift).astype(np.float32),
        )
