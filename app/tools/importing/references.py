"""The outputs of a network as independent implementations compute them, and the comparison with these outputs.

PyTorch is the framework that checkpoints come from. NumPy computes in double precision: slow, but without any runtime.
"""

from __future__ import annotations

from typing import Any, Callable, Dict, Mapping, Optional, Sequence

import numpy as np

from app.errors import ModelError
from app.tools.importing.architectures import Architecture
from app.tools.importing.operations import Convolution, Linear, Norm, Operations
from app.tools.importing.weights import WeightSource

TOLERANCE = 1e-4
"""Relative to the largest value of an output, or to 1 if that is smaller: single precision in another order."""


def largest_difference(expected: Mapping[str, np.ndarray], actual: Mapping[str, np.ndarray]) -> float:
    """The maximum over all outputs, relative as TOLERANCE is."""
    worst = 0.0
    for name, values in expected.items():
        if name not in actual or actual[name].shape != values.shape:
            found = actual[name].shape if name in actual else "no such output"
            raise ModelError(f"the output {name!r} should have the shape {values.shape}, found {found}")
        if not values.size:
            continue
        differences = np.abs(actual[name].astype(np.float64) - values)
        scale = max(1.0, float(np.abs(values).max()))
        worst = max(worst, float(differences.max()) / scale if np.isfinite(differences).all() else float("inf"))
    return worst


def require_equal(what: str, difference: float) -> None:
    if not difference <= TOLERANCE:
        raise ModelError(
            f"{what}: the outputs of the new network differ from the original's by {difference:.2g} (limit "
            f"{TOLERANCE:g}). Nothing was installed"
        )


def numpy_outputs(architecture: Architecture, weights: WeightSource, images: np.ndarray) -> Dict[str, np.ndarray]:
    return architecture.run(NumpyOperations(weights, architecture.epsilon_of), images)


class NumpyOperations(Operations):
    def _conv(self, maps: np.ndarray, conv: Convolution) -> np.ndarray:
        groups = conv.groups
        outputs, inputs, height, width = conv.weight.shape
        windows = _windows(maps, (height, width), conv.stride, conv.padding, 0.0, conv.dilation)
        count, _, rows, columns = windows.shape[:4]
        grouped = windows.reshape(count, groups, inputs, rows, columns, height, width)
        kernels = conv.weight.astype(np.float64).reshape(groups, outputs // groups, inputs, height, width)
        answer = np.empty((count, groups, outputs // groups, rows, columns))
        for group in range(groups):
            part = np.tensordot(grouped[:, group], kernels[group], axes=((1, 4, 5), (1, 2, 3)))
            answer[:, group] = np.moveaxis(part, -1, 1)
        maps = answer.reshape(count, outputs, rows, columns)
        if conv.bias is not None:
            maps = maps + conv.bias.reshape(-1, 1, 1)
        return maps if conv.norm is None else self._norm(maps, conv.norm)

    def _norm(self, maps: np.ndarray, norm: Norm) -> np.ndarray:
        shape = (-1,) + (1,) * (maps.ndim - 2)
        centred = maps - norm.mean.reshape(shape)
        scaled = centred / np.sqrt(norm.variance.astype(np.float64).reshape(shape) + norm.epsilon)
        return np.asarray(scaled * norm.scale.reshape(shape) + norm.shift.reshape(shape))

    def _prelu(self, maps: np.ndarray, slopes: np.ndarray) -> np.ndarray:
        return np.where(maps < 0, maps * slopes.reshape(-1, 1, 1), maps)

    def _linear(self, rows: np.ndarray, linear: Linear) -> np.ndarray:
        answer: np.ndarray = rows @ linear.weight.astype(np.float64).T
        if linear.bias is not None:
            answer = answer + linear.bias
        return answer if linear.norm is None else self._norm(answer, linear.norm)

    def relu(self, maps: np.ndarray, slope: float = 0.0) -> np.ndarray:
        return np.where(maps < 0, maps * slope, maps)

    def add(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        return np.asarray(first + second)

    def multiply(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        return np.asarray(first * second)

    def planes(self, maps: np.ndarray, first: int, behind: int) -> np.ndarray:
        return maps[:, first:behind]

    def largest_plane(self, maps: np.ndarray) -> np.ndarray:
        return np.asarray(maps.max(axis=1, keepdims=True))

    def concat(self, parts: Sequence[np.ndarray]) -> np.ndarray:
        return np.concatenate(parts, axis=1)

    def doubled(self, maps: np.ndarray) -> np.ndarray:
        return np.asarray(maps.repeat(2, axis=2).repeat(2, axis=3))

    def doubled_linearly(self, maps: np.ndarray) -> np.ndarray:
        for axis in (2, 3):
            length = maps.shape[axis]
            places = np.linspace(0, length - 1, 2 * length)
            before = np.floor(places).astype(int)
            share = (places - before).reshape((-1, 1) if axis == 2 else (-1,))
            after = np.minimum(before + 1, length - 1)
            maps = maps.take(before, axis) * (1 - share) + maps.take(after, axis) * share
        return np.asarray(maps)

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


def _windows(
    maps: np.ndarray, kernel: Sequence[int], stride: int, padding: int, border: float, dilation: int = 1
) -> np.ndarray:
    """N x C x rows x columns x kernel height x kernel width, without a copy of the maps for every window."""
    edge = (padding, padding)
    padded = np.pad(maps.astype(np.float64), ((0, 0), (0, 0), edge, edge), constant_values=border)
    height, width = kernel
    rows = (padded.shape[2] - dilation * (height - 1) - 1) // stride + 1
    columns = (padded.shape[3] - dilation * (width - 1) - 1) // stride + 1
    steps = padded.strides
    return np.lib.stride_tricks.as_strided(
        padded,
        (*padded.shape[:2], rows, columns, height, width),
        (*steps[:2], steps[2] * stride, steps[3] * stride, steps[2] * dilation, steps[3] * dilation),
        writeable=False,
    )


def torch_outputs(architecture: Architecture, weights: WeightSource, images: np.ndarray) -> Dict[str, np.ndarray]:
    import torch

    with torch.no_grad():
        answer = architecture.run(_TorchOperations(weights, architecture.epsilon_of), torch.from_numpy(images))
    return {name: np.asarray(values.numpy()) for name, values in answer.items()}


class _TorchOperations(Operations):
    """Convolutions and normalisations one after the other, as in training: nothing is folded."""

    def __init__(self, weights: WeightSource, epsilon_of: Callable[[str], float]) -> None:
        super().__init__(weights, epsilon_of)
        import torch

        self._torch, self._functional = torch, torch.nn.functional

    def _tensor(self, values: Optional[np.ndarray]) -> Any:
        return None if values is None else self._torch.from_numpy(np.array(values))

    def _conv(self, maps: Any, conv: Convolution) -> Any:
        weight, bias = self._tensor(conv.weight), self._tensor(conv.bias)
        maps = self._functional.conv2d(maps, weight, bias, conv.stride, conv.padding, conv.dilation, conv.groups)
        return maps if conv.norm is None else self._norm(maps, conv.norm)

    def _norm(self, maps: Any, norm: Norm) -> Any:
        scale, shift, mean, variance = (self._tensor(part) for part in norm[:4])
        return self._functional.batch_norm(maps, mean, variance, scale, shift, eps=norm.epsilon)

    def _prelu(self, maps: Any, slopes: np.ndarray) -> Any:
        return self._functional.prelu(maps, self._tensor(slopes))

    def _linear(self, rows: Any, linear: Linear) -> Any:
        rows = self._functional.linear(rows, self._tensor(linear.weight), self._tensor(linear.bias))
        return rows if linear.norm is None else self._norm(rows, linear.norm)

    def relu(self, maps: Any, slope: float = 0.0) -> Any:
        return self._functional.leaky_relu(maps, slope)

    def add(self, first: Any, second: Any) -> Any:
        return first + second

    def multiply(self, first: Any, second: Any) -> Any:
        return first * second

    def planes(self, maps: Any, first: int, behind: int) -> Any:
        return maps[:, first:behind]

    def largest_plane(self, maps: Any) -> Any:
        return maps.amax(dim=1, keepdim=True)

    def concat(self, parts: Sequence[Any]) -> Any:
        return self._torch.cat(list(parts), dim=1)

    def doubled(self, maps: Any) -> Any:
        return self._functional.interpolate(maps, scale_factor=2.0, mode="nearest")

    def doubled_linearly(self, maps: Any) -> Any:
        return self._functional.interpolate(maps, scale_factor=2.0, mode="bilinear", align_corners=True)

    def max_pool(self, maps: Any, kernel: int, stride: int, padding: int) -> Any:
        return self._functional.max_pool2d(maps, kernel, stride, padding)

    def average_pool(self, maps: Any) -> Any:
        return self._functional.avg_pool2d(maps, 2)

    def flatten(self, maps: Any) -> Any:
        return maps.flatten(1)

    def rows(self, maps: Any, values: int) -> Any:
        return maps.permute(0, 2, 3, 1).reshape(maps.shape[0], -1, values)

    def softmax(self, rows: Any) -> Any:
        return rows.softmax(dim=-1)

    def sigmoid(self, rows: Any) -> Any:
        return rows.sigmoid()
