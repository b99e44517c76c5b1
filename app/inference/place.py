"""Where an engine is built, and where alone it works."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Tuple

from app.inference.cuda import GpuFacts, NoGpuError, probe_gpu
from app.inference.tensorrt_api import load_tensorrt


@dataclass(frozen=True)
class Place:
    """One TensorRT on one kind of GPU."""

    tensorrt: str
    """The whole version."""
    gpu: str
    compute_capability: str

    def __str__(self) -> str:
        return f"TensorRT {self.tensorrt} on {self.gpu} ({self.compute_capability})"


def place_here() -> Tuple[Place, GpuFacts]:
    """What engines depend on, as it is here. Raises ModelError where TensorRT or a GPU is missing."""
    try:
        gpu = probe_gpu()
    except NoGpuError as error:
        raise NoGpuError(f"TensorRT needs an NVIDIA GPU: {error}") from error
    trt = load_tensorrt()
    major, minor = gpu.compute_capability
    return Place(str(trt.__version__), gpu.name, f"{major}.{minor}"), gpu
