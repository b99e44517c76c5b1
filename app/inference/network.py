"""What is to be run: an ONNX file, and what its user asks of whoever runs it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Tuple

BACKENDS = ("auto", "tensorrt", "openvino", "onnx")
PRECISIONS = ("auto", "fp32", "fp16", "bf16", "int8")


@dataclass(frozen=True)
class Network:
    """One network before it is opened. The file has been checked against its hash."""

    name: str
    path: Path
    """The ONNX file. Engines built from it lie beside it."""
    sha256: str
    largest_input: Tuple[int, int, int, int]
    """The most that will be asked in one run: batch, channels, height, width."""
    precision: str = "auto"
    """One of PRECISIONS; `auto` is what the backend does best without losing accuracy."""
    threads: int = 0
    """CPU threads; 0 = as many as there are cores."""
