"""What is to be run: an ONNX file, and what its user asks of whoever runs it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Iterator, Optional, Tuple

import numpy as np

from app.text import program

BACKENDS = ("auto", "tensorrt", "openvino", "onnx")
PRECISIONS = ("auto", "fp32", "fp16", "bf16", "int8")


@dataclass(frozen=True)
class Network:
    """One network before it is opened. Whoever opens it has checked the file against its hash."""

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
    pictures: Optional[Callable[[], Iterator[np.ndarray]]] = None
    """Inputs like those of later use (1 x 3 x height x width each), for int8 to learn its ranges from.

    Raises ModelError, when called, where there are too few."""

    exact_precision: bool = False
    """No other precision will do, where this one cannot be had."""

    @property
    def build_command(self) -> str:
        """What builds an engine for it as it is asked for."""
        precision = "" if self.precision == "auto" else f" --precision {self.precision}"
        return f"{program()} engines build {self.name}{precision}"
