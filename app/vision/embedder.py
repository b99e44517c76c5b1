"""Faces to vectors: networks of the ArcFace kind, whose cosine says how alike two faces are."""

from __future__ import annotations

from typing import Tuple

import cv2
import numpy as np

from app.errors import ModelError
from app.inference.batching import run_in_batches
from app.inference.engine import Engine
from app.vision.preprocessing import Preprocessing


class FaceEmbedder:
    """A network that turns aligned crops into unit vectors. Owns its engine."""

    def __init__(self, engine: Engine, preprocessing: Preprocessing, crop_size: Tuple[int, int], dimensions: int):
        """`crop_size` is width and height of the crops it takes; they and `dimensions` come from the catalogue."""
        self._engine = engine
        self._preprocessing = preprocessing
        self.crop_size = crop_size
        self.dimensions = dimensions
        width, height = crop_size
        _check(engine, (None, 3, height, width), (None, dimensions))
        (self._output,) = engine.outputs

    def embed(self, crops: np.ndarray) -> np.ndarray:
        """Unit vectors (N x dimensions) of aligned faces (N x height x width x 3, BGR), all in one batch."""
        if not len(crops):
            return np.empty((0, self.dimensions), np.float32)
        blob = cv2.dnn.blobFromImages(
            list(crops),
            scalefactor=1 / self._preprocessing.divisor,
            mean=self._preprocessing.mean,
            swapRB=self._preprocessing.channels == "rgb",
        )
        vectors = run_in_batches(self._engine, blob)[self._output.name]
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        return np.asarray(vectors / np.maximum(lengths, 1e-12), dtype=np.float32)

    def close(self) -> None:
        self._engine.close()


def _check(engine: Engine, expected_input: Tuple[object, ...], expected_output: Tuple[object, ...]) -> None:
    found = [*engine.inputs, *engine.outputs]
    fits = len(engine.inputs) == len(engine.outputs) == 1 and all(tensor.dtype == np.float32 for tensor in found)
    fits = fits and all(
        len(tensor.shape) == len(expected)
        and all(a is None or b is None or a == b for a, b in zip(tensor.shape, expected))
        for tensor, expected in zip(found, (expected_input, expected_output))
    )
    if not fits:
        raise ModelError(
            f"this is not an embedder with input ? x {' x '.join(map(str, expected_input[1:]))} and output "
            f"? x {expected_output[1]}: found {', '.join(map(str, found))}; check the model's entry in the catalogue"
        )
