"""What a network answers by PyTorch, the framework that its checkpoint comes from."""

from __future__ import annotations

from typing import Any, Dict, Optional, Sequence

import numpy as np

from app.tools.importing.architectures import Architecture
from app.tools.importing.operations import Norm, Operations
from app.tools.importing.weights import WeightSource


def torch_outputs(architecture: Architecture, weights: WeightSource, images: np.ndarray) -> Dict[str, np.ndarray]:
    import torch

    with torch.no_grad():
        answer = architecture.run(_TorchOperations(weights, architecture.epsilon_of), torch.from_numpy(images))
    return {name: np.asarray(values.numpy()) for name, values in answer.items()}


class _TorchOperations(Operations):
    """Convolutions and normalisations one after the other, as in training: nothing is folded here."""

    def _conv(
        self,
        maps: Any,
        weight: np.ndarray,
        bias: Optional[np.ndarray],
        stride: int,
        padding: int,
        groups: int,
        norm: Optional[Norm],
    ) -> Any:
        from torch.nn import functional

        maps = functional.conv2d(maps, _tensor(weight), _optional(bias), stride, padding, 1, groups)
        return maps if norm is None else self._norm(maps, norm)

    def _norm(self, maps: Any, norm: Norm) -> Any:
        from torch.nn import functional

        scale, shift, mean, variance = (_tensor(part) for part in norm[:4])
        return functional.batch_norm(maps, mean, variance, scale, shift, eps=norm.epsilon)

    def _prelu(self, maps: Any, slopes: np.ndarray) -> Any:
        from torch.nn import functional

        return functional.prelu(maps, _tensor(slopes))

    def _linear(self, rows: Any, weight: np.ndarray, bias: Optional[np.ndarray], norm: Optional[Norm]) -> Any:
        from torch.nn import functional

        rows = functional.linear(rows, _tensor(weight), _optional(bias))
        return rows if norm is None else self._norm(rows, norm)

    def relu(self, maps: Any, slope: float = 0.0) -> Any:
        from torch.nn import functional

        return functional.leaky_relu(maps, slope)

    def add(self, first: Any, second: Any) -> Any:
        return first + second

    def concat(self, parts: Sequence[Any]) -> Any:
        import torch

        return torch.cat(list(parts), dim=1)

    def doubled(self, maps: Any) -> Any:
        from torch.nn import functional

        return functional.interpolate(maps, scale_factor=2.0, mode="nearest")

    def max_pool(self, maps: Any, kernel: int, stride: int, padding: int) -> Any:
        from torch.nn import functional

        return functional.max_pool2d(maps, kernel, stride, padding)

    def average_pool(self, maps: Any) -> Any:
        from torch.nn import functional

        return functional.avg_pool2d(maps, 2)

    def flatten(self, maps: Any) -> Any:
        return maps.flatten(1)

    def rows(self, maps: Any, values: int) -> Any:
        return maps.permute(0, 2, 3, 1).reshape(maps.shape[0], -1, values)

    def softmax(self, rows: Any) -> Any:
        return rows.softmax(dim=-1)

    def sigmoid(self, rows: Any) -> Any:
        return rows.sigmoid()


def _tensor(values: np.ndarray) -> Any:
    import torch

    return torch.from_numpy(np.array(values))


def _optional(values: Optional[np.ndarray]) -> Any:
    return None if values is None else _tensor(values)
