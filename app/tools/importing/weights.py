"""The weights of a network by name: from a file, or random if only the speed matters."""

from __future__ import annotations

from typing import Dict, Mapping, Protocol, Tuple

import numpy as np

from app.errors import ModelError

COUNTER = "num_batches_tracked"
"""A counter of PyTorch's normalisations that does not influence the outputs."""


class WeightSource(Protocol):
    """Where an architecture gets its weights from."""

    def take(self, name: str, shape: Tuple[int, ...]) -> np.ndarray: ...


class Weights:
    """Weights from a file. In formats without shapes, such as `.wts`, the shapes come from the architecture."""

    def __init__(self, arrays: Mapping[str, np.ndarray]) -> None:
        self._arrays = arrays

    def take(self, name: str, shape: Tuple[int, ...]) -> np.ndarray:
        array = self._arrays.get(name)
        if array is None:
            raise ModelError(f"the weights {name!r} are missing")
        is_flat = array.ndim == 1 and array.size == int(np.prod(shape))
        if array.shape != shape and not is_flat:
            raise ModelError(f"the weights {name!r} should have the shape {shape}, but have {array.shape}")
        return np.asarray(array, np.float32).reshape(shape)


class RandomWeights:
    """Random weights that keep the magnitude of the signal from layer to layer, and are as fast as trained ones."""

    def __init__(self, seed: int) -> None:
        self._generator = np.random.default_rng(seed)

    def take(self, name: str, shape: Tuple[int, ...]) -> np.ndarray:
        if name.endswith("running_var"):
            return np.asarray(self._generator.uniform(0.8, 1.2, shape), np.float32)
        if len(shape) == 1:
            is_scale = name.endswith("weight")
            return np.asarray(self._generator.uniform(0.1, 0.4, shape) + (0.5 if is_scale else -0.25), np.float32)
        spread = np.sqrt(1.0 / np.prod(shape[1:]))
        return np.asarray(self._generator.standard_normal(shape, np.float32) * np.float32(spread))


class DeclaredWeights:
    """Records the names and shapes of the weights that an architecture takes."""

    def __init__(self) -> None:
        self.shapes: Dict[str, Tuple[int, ...]] = {}

    def take(self, name: str, shape: Tuple[int, ...]) -> np.ndarray:
        self.shapes[name] = shape
        return np.broadcast_to(np.float32(1), shape)
