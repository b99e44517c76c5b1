"""The operations that the known networks consist of.

An architecture is one function of these operations. Their implementation decides about the result: an ONNX graph
(`onnx_writer.py`), or the outputs of the network as PyTorch or NumPy compute them (`references.py`). So each network is
defined once, and the ONNX graph is compared with an independent implementation.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Callable, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from app.tools.importing.weights import WeightSource

PYTORCH_EPSILON = 1e-5
"""The default of PyTorch's normalisations."""


class Norm(NamedTuple):
    """A batch normalisation after training."""

    scale: np.ndarray
    shift: np.ndarray
    mean: np.ndarray
    variance: np.ndarray
    epsilon: float

    def folded(self) -> Tuple[np.ndarray, np.ndarray]:
        """Factor and summand for each channel, in double precision."""
        factor = self.scale.astype(np.float64) / np.sqrt(self.variance.astype(np.float64) + self.epsilon)
        return factor, self.shift - self.mean * factor


class Convolution(NamedTuple):
    """A convolution and the normalisation after it."""

    weight: np.ndarray
    bias: Optional[np.ndarray]
    stride: int
    padding: int
    groups: int
    norm: Optional[Norm]
    dilation: int = 1


class Linear(NamedTuple):
    """A fully connected layer and the normalisation after it."""

    weight: np.ndarray
    bias: Optional[np.ndarray]
    norm: Optional[Norm]


class Operations(ABC):
    """Operations on feature maps, N x C x H x W, of any type. Weights are taken by name."""

    def __init__(
        self, weights: WeightSource, epsilon_of: Callable[[str], float] = lambda name: PYTORCH_EPSILON
    ) -> None:
        """`epsilon_of`: the epsilon of the normalisation with this name."""
        self._weights = weights
        self._epsilon_of = epsilon_of

    def conv(
        self,
        maps: Any,
        name: str,
        channels: Tuple[int, int],
        kernel: Tuple[int, int] = (1, 1),
        stride: int = 1,
        padding: int = 0,
        groups: int = 1,
        *,
        bias: bool = False,
        norm: str = "",
        dilation: int = 1,
    ) -> Any:
        """A convolution from `channels[0]` to `channels[1]` planes, and the normalisation of this name after it."""
        inputs, outputs = channels
        weight = self._weights.take(f"{name}.weight", (outputs, inputs // groups, *kernel))
        bias_values = self._weights.take(f"{name}.bias", (outputs,)) if bias else None
        parts = self._norm_named(norm, outputs) if norm else None
        return self._conv(maps, Convolution(weight, bias_values, stride, padding, groups, parts, dilation))

    def norm(self, maps: Any, name: str, channels: int) -> Any:
        """A normalisation that follows no convolution."""
        return self._norm(maps, self._norm_named(name, channels))

    def prelu(self, maps: Any, name: str, channels: int) -> Any:
        return self._prelu(maps, self._weights.take(f"{name}.weight", (channels,)))

    def linear(self, rows: Any, name: str, sizes: Tuple[int, int], *, bias: bool = False, norm: str = "") -> Any:
        """A fully connected layer on N x `sizes[0]`, and the normalisation of this name after it."""
        inputs, outputs = sizes
        weight = self._weights.take(f"{name}.weight", (outputs, inputs))
        bias_values = self._weights.take(f"{name}.bias", (outputs,)) if bias else None
        return self._linear(rows, Linear(weight, bias_values, self._norm_named(norm, outputs) if norm else None))

    def _norm_named(self, name: str, channels: int) -> Norm:
        parts = ("weight", "bias", "running_mean", "running_var")
        scale, shift, mean, variance = (self._weights.take(f"{name}.{part}", (channels,)) for part in parts)
        return Norm(scale, shift, mean, variance, self._epsilon_of(name))

    @abstractmethod
    def _conv(self, maps: Any, conv: Convolution) -> Any: ...

    @abstractmethod
    def _norm(self, maps: Any, norm: Norm) -> Any: ...

    @abstractmethod
    def _prelu(self, maps: Any, slopes: np.ndarray) -> Any: ...

    @abstractmethod
    def _linear(self, rows: Any, linear: Linear) -> Any: ...

    @abstractmethod
    def relu(self, maps: Any, slope: float = 0.0) -> Any:
        """Negative values are multiplied by `slope`."""

    @abstractmethod
    def add(self, first: Any, second: Any) -> Any: ...

    @abstractmethod
    def multiply(self, first: Any, second: Any) -> Any: ...

    @abstractmethod
    def planes(self, maps: Any, first: int, behind: int) -> Any:
        """Some of the planes."""

    @abstractmethod
    def largest_plane(self, maps: Any) -> Any:
        """One plane with the largest value of all planes, pixel by pixel."""

    @abstractmethod
    def concat(self, parts: Sequence[Any]) -> Any:
        """Joined along the second axis."""

    @abstractmethod
    def doubled(self, maps: Any) -> Any:
        """Twice as wide and high, each pixel four times."""

    @abstractmethod
    def doubled_linearly(self, maps: Any) -> Any:
        """Twice as wide and high, bilinear between corners that stay where they are."""

    @abstractmethod
    def max_pool(self, maps: Any, kernel: int, stride: int, padding: int) -> Any: ...

    @abstractmethod
    def average_pool(self, maps: Any) -> Any:
        """Half as wide and high, each pixel the mean of four."""

    @abstractmethod
    def flatten(self, maps: Any) -> Any:
        """N x (C · H · W)."""

    @abstractmethod
    def rows(self, maps: Any, values: int) -> Any:
        """N x (H · W · C / values) x values: cell by cell, and within a cell one anchor after the other."""

    @abstractmethod
    def softmax(self, rows: Any) -> Any:
        """Over the last axis."""

    @abstractmethod
    def sigmoid(self, rows: Any) -> Any: ...


class Declaration(Operations):
    """Computes nothing: running an architecture with it shows which weights it has."""

    def _nothing(self, *_: Any, **__: Any) -> None:
        return None

    _conv = _norm = _prelu = _linear = relu = add = multiply = planes = largest_plane = concat = _nothing
    doubled = doubled_linearly = max_pool = average_pool = flatten = rows = softmax = sigmoid = _nothing
