"""Networks rewritten for less than fp32, for a TensorRT that takes its precision from the ONNX file (11 and later).

Inputs and outputs stay float32.
"""

from __future__ import annotations

import importlib
import tempfile
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional

import numpy as np

from app.errors import ModelError
from app.inference.calibration import NOTHING_SEEN, how_to_learn
from app.text import install_hint

QUANTISED = ("Conv", "Gemm", "MatMul")
"""The operators that int8 is worth it for."""


def fp16_network(path: Path) -> bytes:
    """The network with weights and arithmetic in fp16."""
    onnx, float16 = _modules("fp16", "onnxruntime.transformers.float16")
    model = _load(onnx, path)
    try:
        return bytes(float16.convert_float_to_float16(model, keep_io_types=True).SerializeToString())
    except (TypeError, ValueError, RuntimeError) as error:
        raise ModelError(f"{path} cannot be rewritten in fp16: {error}") from error


def int8_network(name: str, path: Path, next_picture: Callable[[], Optional[np.ndarray]]) -> bytes:
    """The network with ranges for int8 written into it, found with pictures (1 x 3 x height x width each)."""
    onnx, quantization = _modules("int8", "onnxruntime.quantization")
    model = _load(onnx, path)
    first = next_picture()
    if first is None:
        raise ModelError(NOTHING_SEEN + how_to_learn(name))
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "int8.onnx"
        pictures = _reader(quantization, model, first, next_picture)
        try:
            _quantise(quantization, path, last_layers(model), target, pictures)
        except (TypeError, ValueError, RuntimeError) as error:
            raise ModelError(f"{path} cannot be rewritten in int8: {error}") from error
        return target.read_bytes()


def _quantise(quantization: Any, path: Path, kept: List[str], target: Path, pictures: Any) -> None:
    """Only what goes into a layer is rounded, and nothing in the last layers (`kept`), whose numbers are the answer.

    Ranges are averaged over the pictures: those of the most extreme one leave too few steps for the others.
    """
    quantization.quantize_static(
        str(path),
        str(target),
        pictures,
        quant_format=quantization.QuantFormat.QDQ,
        per_channel=True,
        activation_type=quantization.QuantType.QInt8,
        weight_type=quantization.QuantType.QInt8,
        op_types_to_quantize=list(QUANTISED),
        nodes_to_exclude=kept,
        calibrate_method=quantization.CalibrationMethod.MinMax,
        extra_options={
            # TensorRT's ranges lie about zero.
            "ActivationSymmetric": True,
            "WeightSymmetric": True,
            "QuantizeBias": False,
            "CalibMovingAverage": True,
            "OpTypesToExcludeOutputQuantization": list(QUANTISED),
        },
    )


def last_layers(model: Any) -> List[str]:
    """The names of the layers with weights after which no other follows."""
    maker = {output: node for node in model.graph.node for output in node.output}
    waiting = [output.name for output in model.graph.output]
    seen, last = set(waiting), []
    while waiting:
        node = maker.get(waiting.pop())
        if node is None:
            continue
        if node.op_type in QUANTISED:
            last.append(node.name)
            continue
        new = set(node.input) - seen
        seen |= new
        waiting += new
    return sorted(set(last))


def _reader(quantization: Any, model: Any, first: np.ndarray, next_picture: Callable[[], Optional[np.ndarray]]) -> Any:
    constants = {tensor.name for tensor in model.graph.initializer}
    (name,) = [given.name for given in model.graph.input if given.name not in constants]
    waiting = [first]

    class Reader(quantization.CalibrationDataReader):  # type: ignore[misc]
        def get_next(self) -> Optional[Dict[str, np.ndarray]]:
            picture = waiting.pop() if waiting else next_picture()
            return None if picture is None else {name: picture}

    return Reader()


def _modules(precision: str, tool: str) -> Any:
    try:
        return importlib.import_module("onnx"), importlib.import_module(tool)
    except ImportError as error:
        raise ModelError(
            f"this TensorRT takes {precision} from the ONNX file, and writing such a file needs the packages onnx and "
            f"onnxruntime ({error}): {install_hint('onnx', 'onnxruntime')}"
        ) from error


def _load(onnx: Any, path: Path) -> Any:
    from google.protobuf.message import DecodeError

    try:
        model = onnx.load(str(path))
    except (OSError, ValueError, DecodeError) as error:
        raise ModelError(f"{path} cannot be read: {error}") from error
    if not model.graph.node:
        raise ModelError(f"{path} holds no network")
    return model
