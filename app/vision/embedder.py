"""Face embeddings: vectors whose cosine similarity says how similar two faces are."""

from __future__ import annotations

import copy
from typing import Tuple

import numpy as np

from app.inference.engine import Engine
from app.inference.remote.network import RemoteNetwork
from app.vision.face_network import FaceNetwork
from app.vision.preprocessing import Preprocessing


class FaceEmbedder(FaceNetwork):
    """A network of the ArcFace type. Owns its engine."""

    def __init__(self, engine: Engine, preprocessing: Preprocessing, crop_size: Tuple[int, int], dimensions: int):
        """`crop_size` is width and height of the crops; it and `dimensions` come from the catalogue entry."""
        super().__init__(engine, preprocessing, crop_size, "an embedder", (dimensions,))
        self.dimensions = dimensions

    @property
    def can_defer(self) -> bool:
        """Whether a server embeds, and faces may wait for it."""
        return isinstance(self._engine, RemoteNetwork) and self._engine.defers

    def deferring(self) -> FaceEmbedder:
        """The same for faces that can wait: raises NotNowError while the server does not answer. It is closed with this
        one."""
        assert isinstance(self._engine, RemoteNetwork)
        other = copy.copy(self)
        other._engine = self._engine.deferring
        return other

    def embed(self, crops: np.ndarray) -> np.ndarray:
        """Unit vectors (N x dimensions) of aligned faces (N x height x width x 3, uint8, BGR), in one batch."""
        return self.embed_with_norms(crops)[0]

    def embed_with_norms(self, crops: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
        """The same, and the length of each vector before it was normalised (N)."""
        if not len(crops):
            return np.empty((0, self.dimensions), np.float32), np.empty(0, np.float32)
        width, height = self.crop_size
        if crops.shape[1:] != (height, width, 3):
            raise ValueError(f"crops of shape {crops.shape}: expected N x {height} x {width} x 3")
        vectors = self.answers(crops)
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        return np.asarray(vectors / np.maximum(lengths, 1e-12), dtype=np.float32), lengths[:, 0]
