"""What a network answers by plain NumPy in double precision: slow, and independent of every runtime."""

from __future__ import annotations

from typing import Dict, Optional, Sequence

import numpy as np

from app.tools.importing.architectures import Architecture
from app.tools.importing.operations import Norm, Operations
from app.tools.importing.weights import WeightSource


def numpy_outputs(architecture: Architecture, weights: WeightSource, images: np.ndarray) -> Dict[str, np.ndarray]:
    return architecture.run(NumpyOperations(weights, architecture.epsilon_of), images)


class NumpyOperations(Operations):
    def _conv(
        self,
        maps: np.ndarray,
        weight: np.ndarray,
        bias: Optional[np.ndarray],
        stride: int,
        padding: int,
        groups: int,
        norm: Optional[Norm],
    ) -> np.ndarray:
        outputs, inputs, height, width = weight.shape
        windows = _windows(maps, (height, width), stride, padding, 0.0)
        count, _, rows, columns = windows.shape[:4]
        grouped = windows.reshape(count, groups, inputs, rows, columns, height, width)
        kernels = weight.astype(np.float64).reshape(groups, outputs // groups, inputs, height, width)
        answer = np.empty((count, groups, outputs // groups, rows, columns))
        for group in range(groups):
            part = np.tensordot(grouped[:, group], kernels[group], axes=((1, 4, 5), (1, 2, 3)))
            answer[:, group] = np.moveaxis(part, -1, 1)
        maps = answer.reshape(count, outputs, rows, columns)
        if bias is not None:
            maps = maps + bias.reshape(-1, 1, 1)
        return maps if norm is None else self._norm(maps, norm)

    def _norm(self, maps: np.ndarray, norm: Norm) -> np.ndarray:
        shape = (-1,) + (1,) * (maps.ndim - 2)
        centred = maps - norm.mean.reshape(shape)
        scaled = centred / np.sqrt(norm.variance.astype(np.float64).reshape(shape) + norm.epsilon)
        return np.asarray(scaled * norm.scale.reshape(shape) + norm.shift.reshape(shape))

    def _prelu(self, maps: np.ndarray, slopes: np.ndarray) -> np.ndarray:
        return np.where(maps < 0, maps * slopes.reshape(-1, 1, 1), maps)

    def _linear(
        self, rows: np.ndarray, weight: np.ndarray, bias: Optional[np.ndarray], norm: Optional[Norm]
    ) -> np.ndarray:
        answer: np.ndarray = rows @ weight.astype(np.float64).T
        if bias is not None:
            answer = answer + bias
        return answer if norm is None else self._norm(answer, norm)

    def relu(self, maps: np.ndarray, slope: float = 0.0) -> np.ndarray:
        return np.where(maps < 0, maps * slope, maps)

    def add(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        return np.asarray(first + second)

    def concat(self, parts: Sequence[np.ndarray]) -> np.ndarray:
        return np.concatenate(parts, axis=1)

    def doubled(self, maps: np.ndarray) -> np.ndarray:
        return np.asarray(maps.repeat(2, axis=2).repeat(2, axis=3))

    def max_pool(self, maps: np.ndarray, kernel: int, stride: int, padding: int) -> np.ndarray:
        return np.asarray(_windows(maps, (kernel, kernel), stride, padding, -np.inf).max(axis=(4, 5)))

    def average_pool(self, maps: np.ndarray) -> np.ndarray:
        return np.asarray(_windows(maps, (2, 2), 2, 0, 0.0).mean(axis=(4, 5)))

    def flatten(self, maps: np.ndarray) -> np.ndarray:
        return np.asarray(maps.reshape(len(maps), -1))

    def rows(self, maps: np.ndarray, values: int) -> np.ndarray:
        return np.asarray(maps.transpose(0, 2, 3, 1).reshape(len(maps), -1, values))

    def softmax(self, rows: np.ndarray) -> np.ndarray:
        powers = np.exp(rows - rows.max(axis=-1, keepdims=True))
        return np.asarray(powers / powers.sum(axis=-1, keepdims=True))

    def sigmoid(self, rows: np.ndarray) -> np.ndarray:
        return np.asarray(1 / (1 + np.exp(-rows)))


def _windows(maps: np.ndarray, kernel: Sequence[int], stride: int, padding: int, border: float) -> np.ndarray:
    """N x C x rows x columns x kernel height x kernel width, without a copy of the maps for every window."""
    edge = (padding, padding)
    padded = np.pad(maps.astype(np.float64), ((0, 0), (0, 0), edge, edge), constant_values=border)
    height, width = kernel
    rows = (padded.shape[2] - height) // stride + 1
    columns = (padded.shape[3] - width) // stride + 1
    steps = padded.strides
    return np.lib.stride_tricks.as_strided(
        padded,
        (*padded.shape[:2], rows, columns, height, width),
        (*steps[:2], steps[2] * stride, steps[3] * stride, *steps[2:]),
        writeable=False,
    )
