"""TensorRT's Python module: found, made to report into our log, and its silent failures turned into errors.

TensorRT signals failure by returning None or False; whoever calls it passes what came back through `checked`. Which
names exist depends on the version (8.2 to 11), so that callers ask `hasattr`, never a version number.
"""

from __future__ import annotations

import logging
from collections import deque
from functools import lru_cache
from types import ModuleType
from typing import Any, Callable, Deque, TypeVar

import numpy as np

from app.errors import ModelError
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
            raise ModelError(_broken(f"{_place(tensorrt)} has no {name}, so that it is not NVIDIA's"))
    return tensorrt


def has_named_tensors(trt: Any) -> bool:
    """Whether inputs and outputs are addressed by name (8.5 and later) or by binding number (8.2)."""
    return hasattr(trt.ICudaEngine, "num_io_tensors")


@lru_cache(maxsize=1)
def make_logger(trt: Any) -> Any:
    """TensorRT's messages go into Python's log, and its last errors are kept for `checked`.

    There is one for the whole process: TensorRT keeps using the first it was given, from any thread, as long as
    anything of it lives.
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
    """`value`, unless it is how TensorRT says that `what` failed; then an error with what TensorRT logged about it."""
    if value is None or value is False:
        raise ModelError(f"TensorRT: {what} failed{_reasons(trt_logger)}")
    return value


def called(function: Callable[..., T], *arguments: Any, what: str, trt_logger: Any = None) -> T:
    """`checked`, for a function that may also raise: constructors do so when the library behind them returns null."""
    try:
        value = function(*arguments)
    except (TypeError, RuntimeError, ValueError) as error:
        raise ModelError(f"TensorRT: {what} failed: {error}{_reasons(trt_logger)}") from error
    return checked(value, what, trt_logger)


def numpy_dtype(trt: Any, dtype: Any) -> np.dtype[Any]:
    """The own table stands in for `trt.nptype`, which fails with NumPy 1.24 and later in TensorRT 8.2 and 8.5."""
    for name, numpy_name in _NUMPY_NAMES.items():
        if hasattr(trt.DataType, name) and getattr(trt.DataType, name) == dtype:
            return np.dtype(numpy_name)
    raise ModelError(f"TensorRT's type {dtype} is not one that this program can feed; build the engine again from ONNX")


def _reasons(trt_logger: Any) -> str:
    if trt_logger is None or not trt_logger.last_errors:
        return ""
    reasons = "; ".join(trt_logger.last_errors)
    trt_logger.last_errors.clear()
    return f": {reasons}"


def _broken(reason: str) -> str:
    return (
        f"TensorRT's Python module is there but cannot be loaded: {reason}. Its libraries must be of the same version "
        f"and be found (ldconfig -p | grep nvinfer). {_how_to_install()}"
    )


def _how_to_install() -> str:
    return (
        "JetPack 5 and newer bring it: sudo apt-get install python3-libnvinfer, and make the environment with "
        "--system-site-packages so that it is seen (jetson_setup.sh does both); JetPack 4 has it for Python 3.6 alone, "
        f"which is too old for this program; on a PC with an NVIDIA GPU: {install_hint('tensorrt')}. Without it, run "
        "with --backend onnx"
    )


def _place(module: ModuleType) -> str:
    return str(getattr(module, "__file__", None) or getattr(module, "__path__", module.__name__))
