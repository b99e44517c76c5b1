"""What every backend offers: a network with named inputs and outputs that can be run and closed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Dict, Mapping, Optional, Protocol, Tuple

import numpy as np


@dataclass(frozen=True)
class TensorSpec:
    """Name, shape and type of one input or output."""

    name: str
    shape: Tuple[Optional[int], ...]
    """None stands for a size that is chosen anew with every run."""
    dtype: np.dtype

    def __str__(self) -> str:
        return f"{self.name} {' x '.join('?' if size is None else str(size) for size in self.shape)} {self.dtype}"


class Engine(Protocol):
    """A loaded network. Used from one thread at a time, and closed by whoever opened it."""

    @property
    def inputs(self) -> Tuple[TensorSpec, ...]: ...

    @property
    def outputs(self) -> Tuple[TensorSpec, ...]: ...

    @property
    def max_batch(self) -> Optional[int]:
        """The largest batch of one run where the batch size is free; None: any."""
        ...

    def run(self, feeds: Mapping[str, np.ndarray]) -> Dict[str, np.ndarray]:
        """The outputs by name, as arrays that stay valid after the next run."""
        ...

    def close(self) -> None: ...
