"""A network's numbers by name, as they came from a file, or drawn by lot where only the speed matters."""

from __future__ import annotations

from typing import Dict, Mapping, Protocol, Set, Tuple

import numpy as np

from app.errors import ModelError

COUNTER = "num_batches_tracked"
"""PyTorch keeps it beside every normalisation; it has no part in the result."""


class WeightSource(Protocol):
    """Where an architecture gets its numbers from."""

    def take(self, name: str, shape: Tuple[int, ...]) -> np.ndarray: ...


class Weights:
    """Numbers from a file. Formats that store no shapes, such as `.wts`, are given theirs by the architecture."""

    def __init__(self, arrays: Mapping[str, np.ndarray]) -> None:
        self._arrays = arrays
        self._taken: Set[str] = set()

    def take(self, name: str, shape: Tuple[int, ...]) -> np.ndarray:
        array = self._arrays.get(name)
        if array is None:
            raise ModelError(f"the weights {name!r} are missing")
        is_flat = array.ndim == 1 and array.size == int(np.prod(shape))
        if array.shape != shape and not is_flat:
            raise ModelError(f"the weights {name!r} should have the shape {shape}, but have {array.shape}")
        self._taken.add(name)
        return np.asarray(array, np.float32).reshape(shape)

    def left_over(self) -> Tuple[str, ...]:
        """What the file has and the architecture did not ask for."""
        return tuple(name for name in self._arrays if name not in self._taken and not name.endswith(COUNTER))


class RandomWeights:
    """Numbers of the right shapes that keep the signal's size from layer to layer: as fast as trained ones."""

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
    """Only notes what is asked for: the names and shapes that an architecture expects."""

    def __init__(self) -> None:
        self.shapes: Dict[str, Tuple[int, ...]] = {}

    def take(self, name: str, shape: Tuple[int, ...]) -> np.ndarray:
        self.shapes[name] = shape
        return np.broadcast_to(np.float32(1), shape)
