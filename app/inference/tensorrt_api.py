"""TensorRT's Python module: import, logging, and errors instead of silent failures.

TensorRT signals failure by returning None or False; callers pass every result through `checked`. Which names exist
depends on the version (8.2 to 11), so callers ask `hasattr`, never a version number.
"""

from __future__ import annotations

import logging
from collections import deque
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Callable, Deque, Dict, TypeVar

import numpy as np

from app.errors import BackendError, ModelError
from app.inference.cuda import NoGpuError, probe_gpu
from app.text import install_hint

logger = logging.getLogger(__name__)

T = TypeVar("T")

_NUMPY_NAMES = {
    "FLOAT": "float32",
    "HALF": "float16",
    "INT8": "int8",
    "INT32": "int32",
    "BOOL": "bool",
    "UINT8": "uint8",
    "INT64": "int64",
}


@dataclass(frozen=True)
class TensorRTTarget:
    """What an engine is built for and works with: one TensorRT version and one GPU model."""

    tensorrt: str
    """The complete version."""
    gpu: str
    compute_capability: str
    gpu_memory: int = field(default=0, compare=False)
    """In bytes."""
    shares_memory: bool = field(default=False, compare=False)
    """The GPU's memory is that of the processor."""

    def __str__(self) -> str:
        return f"TensorRT {self.tensorrt} on {self.gpu_text}"

    @property
    def gpu_text(self) -> str:
        return f"{self.gpu} ({self.compute_capability})"

    def as_json(self) -> Dict[str, str]:
        return {"tensorrt": self.tensorrt, "gpu": self.gpu, "compute_capability": self.compute_capability}


def current_target() -> TensorRTTarget:
    """This machine's. Raises ModelError if TensorRT is missing, NoGpuError if the GPU is."""
    try:
        gpu = probe_gpu()
    except NoGpuError as error:
        raise NoGpuError(f"TensorRT needs an NVIDIA GPU: {error}") from error
    trt = load_tensorrt()
    major, minor = gpu.compute_capability
    return TensorRTTarget(str(trt.__version__), gpu.name, f"{major}.{minor}", gpu.memory_bytes, gpu.shares_memory)


def load_tensorrt() -> Any:
    """The module `tensorrt`. Importing it does not touch the GPU."""
    try:
        import tensorrt
    except ModuleNotFoundError as error:
        if error.name != "tensorrt":
            raise ModelError(_broken(str(error))) from error
        raise ModelError(f"TensorRT's Python module is not installed. {_how_to_install()}") from error
    except (ImportError, OSError, RuntimeError) as error:
        raise ModelError(_broken(str(error))) from error
    for name in ("Builder", "Runtime", "ICudaEngine"):
        if not hasattr(tensorrt, name):
            origin = getattr(tensorrt, "__file__", None) or getattr(tensorrt, "__path__", tensorrt.__name__)
            raise ModelError(_broken(f"{origin} has no {name}, so it is not NVIDIA's module"))
    return tensorrt


def has_named_tensors(trt: Any) -> bool:
    """Whether inputs and outputs are addressed by name (8.5 and later) or by binding number (8.2)."""
    return hasattr(trt.ICudaEngine, "num_io_tensors")


@lru_cache(maxsize=1)
def make_logger(trt: Any) -> Any:
    """Sends TensorRT's messages to Python's logging, and keeps the last errors for `checked`.

    One for the whole process: TensorRT keeps using the first logger it gets, from any thread.
    """
    levels = {
        trt.ILogger.Severity.INTERNAL_ERROR: logging.ERROR,
        trt.ILogger.Severity.ERROR: logging.ERROR,
        trt.ILogger.Severity.WARNING: logging.WARNING,
        trt.ILogger.Severity.INFO: logging.DEBUG,
        trt.ILogger.Severity.VERBOSE: logging.DEBUG - 5,
    }

    class PythonLogger(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.last_errors: Deque[str] = deque(maxlen=3)

        def log(self, severity: Any, message: str) -> None:
            level = levels[severity]
            if level >= logging.ERROR:
                self.last_errors.append(message.strip())
            logger.log(level, "TensorRT: %s", message.strip())

    return PythonLogger()


def checked(value: T, what: str, trt_logger: Any = None) -> T:
    """Returns `value`, or raises an error with TensorRT's last messages if `value` means that `what` failed."""
    if value is None or value is False:
        raise BackendError(f"TensorRT: {what} failed{_reasons(trt_logger)}")
    return value


def called(function: Callable[..., T], *arguments: Any, what: str, trt_logger: Any = None) -> T:
    """Calls a function that may also raise, as constructors do if the library returns null; then like `checked`."""
    try:
        value = function(*arguments)
    except (TypeError, RuntimeError, ValueError) as error:
        raise BackendError(f"TensorRT: {what} failed: {error}{_reasons(trt_logger)}") from error
    return checked(value, what, trt_logger)


def numpy_dtype(trt: Any, dtype: Any) -> np.dtype[Any]:
    """Replaces `trt.nptype`, which fails with NumPy 1.24 and later in TensorRT 8.2 and 8.5."""
    for name, numpy_name in _NUMPY_NAMES.items():
        if hasattr(trt.DataType, name) and getattr(trt.DataType, name) == dtype:
            return np.dtype(numpy_name)
    raise ModelError(f"TensorRT's type {dtype} is not supported; build the engine again from its ONNX file")


def _reasons(trt_logger: Any) -> str:
    if trt_logger is None or not trt_logger.last_errors:
        return ""
    reasons = "; ".join(trt_logger.last_errors)
    trt_logger.last_errors.clear()
    return f": {reasons}"


def _broken(reason: str) -> str:
    return (
        f"TensorRT's Python module is installed but cannot be loaded: {reason}. Check that its libraries have the same "
        f"version and are found (ldconfig -p | grep nvinfer). {_how_to_install()}"
    )


def _how_to_install() -> str:
    return (
        "On JetPack 5 and newer: sudo apt-get install python3-libnvinfer, and create the environment with "
        "--system-site-packages (jetson_setup.sh does both). On JetPack 4: .venv/bin/python install/jetpack4/build.py. "
        f"On a PC with an NVIDIA GPU: {install_hint('tensorrt')}. To run without it: --backend onnx"
    )
