"""Networks on ONNX Runtime."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Dict, Mapping, Optional, Tuple

import numpy as np

from app.errors import ModelError
from app.inference.engine import TensorSpec

_DTYPES = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
    "tensor(uint8)": np.uint8,
    "tensor(int8)": np.int8,
    "tensor(int32)": np.int32,
    "tensor(int64)": np.int64,
    "tensor(bool)": np.bool_,
}


class OnnxEngine:
    """One ONNX file, loaded."""

    max_batch: Optional[int] = None

    def __init__(self, path: Path, threads: int = 0) -> None:
        """`threads` 0 takes as many as there are cores."""
        self._session: Optional[Any] = _open_session(path, threads or available_cores())
        self.inputs = tuple(_spec(node) for node in self._session.get_inputs())
        self.outputs = tuple(_spec(node) for node in self._session.get_outputs())
        self._output_names = [output.name for output in self.outputs]

    def run(self, feeds: Mapping[str, np.ndarray]) -> Dict[str, np.ndarray]:
        if self._session is None:
            raise ModelError("this network has been closed")
        return dict(zip(self._output_names, self._session.run(self._output_names, dict(feeds))))

    def close(self) -> None:
        self._session = None


def available_cores() -> int:
    """The cores that this process may use, which in a container are fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _open_session(path: Path, threads: int) -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise ModelError("ONNX Runtime is missing; install it with: pip install onnxruntime") from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # Workers that spin while they wait starve the decoder, the encoder and the other network's workers: with
    # spinning the whole loop runs at half the speed.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.force_spinning_stop", "1")
    errors = onnxruntime.capi.onnxruntime_pybind11_state
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except (
        errors.Fail,
        errors.InvalidArgument,
        errors.InvalidGraph,
        errors.InvalidProtobuf,
        errors.NoSuchFile,
        errors.NotImplemented,
        errors.RuntimeException,
    ) as error:
        raise ModelError(f"{path}: ONNX Runtime cannot load this network: {error}") from error


def _spec(node: Any) -> TensorSpec:
    if node.type not in _DTYPES:
        raise ModelError(f"{node.name}: {node.type} is not a type that this program can feed")
    shape: Tuple[Optional[int], ...] = tuple(size if isinstance(size, int) else None for size in node.shape)
    return TensorSpec(node.name, shape, np.dtype(_DTYPES[node.type]))
