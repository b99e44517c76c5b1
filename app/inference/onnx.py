"""Networks on ONNX Runtime: on the processor, or on an accelerator that the installed package supports."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Tuple, Type, Union

import numpy as np

from app.errors import BackendError, ModelError
from app.inference.engine import TensorSpec, misfit
from app.inference.host import available_cores, importing
from app.inference.onnx_damage import damage_of
from app.inference.rewriting import faster_for_onnx_runtime

CPU = "CPUExecutionProvider"

MAX_BATCH_ON_CPU = 4
"""Larger batches are slower on the processor: the results of a layer no longer fit into its caches."""

ACCELERATORS = (
    "CUDAExecutionProvider",
    "CoreMLExecutionProvider",
    "DmlExecutionProvider",
    "OpenVINOExecutionProvider",
)
"""ONNX Runtime's providers to try if the installed package has them.

TensorRT's is not among them: our own backend stores engines with their versions, and reports its progress.
"""

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
    """A loaded ONNX file."""

    def __init__(
        self, path: Path, threads: int = 0, precision: str = "auto", provider: str = CPU, *, unchanged: bool = False
    ) -> None:
        """`threads`: 0 = one per core. Operators that the provider does not support run on the processor.

        `precision` says what the file contains: ONNX Runtime computes in the precision of the file, fp32 or int8.
        `unchanged`: without the rewriting that makes the network faster.
        """
        if precision not in ("auto", "fp32", "int8"):
            raise ModelError(f"ONNX Runtime supports fp32 and int8 for these networks, not {precision}")
        self.precision = "int8" if precision == "int8" else "fp32"
        self.max_batch: Optional[int] = MAX_BATCH_ON_CPU if provider == CPU else None
        self._session: Optional[Any] = _open_session(path, threads or available_cores(), provider, unchanged)
        self.inputs = tuple(_spec(node) for node in self._session.get_inputs())
        self.outputs = tuple(_spec(node) for node in self._session.get_outputs())
        self._output_names = [output.name for output in self.outputs]

    def run(self, feeds: Mapping[str, np.ndarray]) -> Dict[str, np.ndarray]:
        if self._session is None:
            raise ModelError("this network has been closed")
        try:
            return dict(zip(self._output_names, self._session.run(self._output_names, dict(feeds))))
        except _failures() as error:
            wrong_input = misfit(self.inputs, feeds)
            if wrong_input:
                raise ModelError(f"ONNX Runtime cannot run this network: {wrong_input}") from error
            raise BackendError(f"ONNX Runtime: {error or 'no memory left'}") from error

    def close(self) -> None:
        self._session = None


def onnx_providers() -> List[str]:
    """The providers of the installed ONNX Runtime, the processor last. Not all of them may work."""
    available = _runtime().get_available_providers()
    return [*(provider for provider in ACCELERATORS if provider in available), CPU]


def provider_label(provider: str) -> str:
    """`ONNX Runtime (CUDA)` for `CUDAExecutionProvider`."""
    return "ONNX Runtime" if provider == CPU else f"ONNX Runtime ({provider.replace('ExecutionProvider', '')})"


def _provider_options(provider: str, threads: int) -> Dict[str, str]:
    """Options for real fp32 and a quick start."""
    if provider == "CUDAExecutionProvider":
        # Otherwise fp32 silently has 19 bits, and the first frame of each new size waits for a search of algorithms.
        return {"use_tf32": "0", "cudnn_conv_algo_search": "HEURISTIC"}
    if provider == "CoreMLExecutionProvider":
        return {"ModelFormat": "MLProgram"}
    if provider == "OpenVINOExecutionProvider":
        return {"device_type": "CPU", "precision": "FP32", "num_of_threads": str(threads)}
    return {}


def _open_session(path: Path, threads: int, provider: str, unchanged: bool) -> Any:
    runtime = _runtime()
    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # DirectML does not support it; elsewhere it saves memory.
    options.enable_mem_pattern = provider != "DmlExecutionProvider"
    # Workers that spin while waiting slow down the decoder, the encoder and the other network: with spinning the whole
    # loop runs at half the speed.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.force_spinning_stop", "1")
    providers: List[Union[str, Tuple[str, Dict[str, str]]]] = [CPU]
    if provider != CPU:
        providers.insert(0, (provider, _provider_options(provider, threads)))
    content = faster_for_onnx_runtime(path) if provider == CPU and not unchanged else None
    try:
        session = runtime.InferenceSession(content or str(path), options, providers=providers, enable_fallback=0)
    except _failures() as error:
        cause = damage_of(path) or f"ONNX Runtime cannot load this network: {error}"
        raise ModelError(f"{path}: {cause}") from error
    if provider not in session.get_providers():
        raise ModelError(f"{provider_label(provider)} did not start; see its messages above")
    return session


def _runtime() -> Any:
    with importing("onnxruntime", "ONNX Runtime"):
        import onnxruntime
    return onnxruntime


def _failures() -> Tuple[Type[Exception], ...]:
    """ONNX Runtime's exceptions, which have no common base class."""
    errors = _runtime().capi.onnxruntime_pybind11_state
    names = ("EPFail", "Fail", "InvalidArgument", "InvalidGraph", "InvalidProtobuf", "NoSuchFile", "NotImplemented")
    own: List[Type[Exception]] = [getattr(errors, name) for name in (*names, "RuntimeException")]
    return (*own, RuntimeError, ValueError, MemoryError)


def _spec(node: Any) -> TensorSpec:
    if node.type not in _DTYPES:
        raise ModelError(f"{node.name}: the type {node.type} is not supported")
    shape: Tuple[Optional[int], ...] = tuple(size if isinstance(size, int) else None for size in node.shape)
    return TensorSpec(node.name, shape, np.dtype(_DTYPES[node.type]))
