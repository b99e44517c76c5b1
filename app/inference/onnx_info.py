"""The content of an ONNX file: operators, weights, layers, and the memory that a run needs."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Dict, Mapping, Optional, Tuple

from app.errors import ModelError
from app.inference.onnx import OnnxEngine
from app.text import install_hint

LARGEST_TENSORS = 5
TYPICAL_SIDE = 640
"""Used for a free height or width when memory is estimated."""

_SHORT_TYPES = {"FLOAT": "fp32", "FLOAT16": "fp16", "BFLOAT16": "bf16", "DOUBLE": "fp64"}
_QUANTISING = ("QuantizeLinear", "DequantizeLinear", "QLinearConv", "ConvInteger", "MatMulInteger", "QLinearMatMul")


@dataclass(frozen=True)
class Layer:
    """One node of the graph."""

    name: str
    operator: str
    outputs: Tuple[str, ...]
    """Name and, if known, shape."""


@dataclass(frozen=True)
class WeightTensor:
    """One of the largest arrays of weights."""

    name: str
    shape: Tuple[int, ...]
    type: str
    size_bytes: int


@dataclass(frozen=True)
class OnnxInfo:
    """Everything known about an ONNX file. Without the package `onnx`: inputs and outputs only."""

    inputs: Tuple[str, ...]
    outputs: Tuple[str, ...]
    file_bytes: int
    opset: Optional[int] = None
    producer: str = ""
    operators: Optional[Mapping[str, int]] = None
    weight_types: Optional[Mapping[str, int]] = None
    """Bytes of weights, by type."""
    weights: int = 0
    """The number of parameters."""
    largest: Tuple[WeightTensor, ...] = ()
    activations_bytes: int = 0
    """The peak size of intermediate results, with nothing computed in place. Results of unknown size are left out."""
    sizes_unknown: int = 0
    """The number of these results."""
    activations_for: str = ""
    """The input that this is estimated for."""
    layers: Tuple[Layer, ...] = ()
    missing: str = ""
    """Why the rest is unknown."""

    @property
    def precision(self) -> str:
        """The precision of the file's weights, or int8 if it contains quantised operators."""
        if not self.weight_types or self.operators is None:
            return "-"
        if any(operator in self.operators for operator in _QUANTISING):
            return "int8"
        floats = {name: size for name, size in self.weight_types.items() if name in _SHORT_TYPES.values()}
        return max(floats, key=lambda name: floats[name]) if floats else "-"

    def as_json(self) -> Dict[str, Any]:
        return {**asdict(self), "precision": self.precision}


def read_onnx_info(path: Path) -> OnnxInfo:
    """Reads the file; without the package `onnx`, only its inputs and outputs."""
    engine = OnnxEngine(path, threads=1)
    try:
        inputs, outputs = tuple(map(str, engine.inputs)), tuple(map(str, engine.outputs))
    finally:
        engine.close()
    file_bytes = path.stat().st_size
    try:
        import onnx
        from google.protobuf.message import DecodeError
    except ImportError:
        missing = f"operators, weights and layers need the package onnx: {install_hint('onnx')}"
        return OnnxInfo(inputs, outputs, file_bytes, missing=missing)
    try:
        model = onnx.load(str(path))
    except (OSError, ValueError, DecodeError, onnx.checker.ValidationError) as error:
        raise ModelError(f"{path} cannot be read: {error}") from error
    tensors = sorted((_weight(onnx, tensor) for tensor in model.graph.initializer), key=lambda t: -t.size_bytes)
    types: Dict[str, int] = {}
    for tensor in tensors:
        types[tensor.type] = types.get(tensor.type, 0) + tensor.size_bytes
    sizes, shapes, shown_for = _activations(onnx, model)
    results = [name for node in model.graph.node for name in node.output if name]
    return OnnxInfo(
        inputs,
        outputs,
        file_bytes,
        opset=max((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), default=None),
        producer=f"{model.producer_name} {model.producer_version}".strip(),
        operators=dict(Counter(node.op_type for node in model.graph.node).most_common()),
        weight_types=types,
        weights=sum(math.prod(tensor.shape) for tensor in tensors),
        largest=tuple(tensors[:LARGEST_TENSORS]),
        activations_bytes=_peak_bytes(model.graph, sizes),
        sizes_unknown=sum(name not in sizes for name in results),
        activations_for=shown_for,
        layers=tuple(_layer(node, shapes) for node in model.graph.node),
    )


def _weight(onnx: Any, tensor: Any) -> WeightTensor:
    name = onnx.TensorProto.DataType.Name(tensor.data_type)
    item_bytes = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
    shape = tuple(tensor.dims)
    return WeightTensor(tensor.name, shape, _SHORT_TYPES.get(name, name.lower()), math.prod(shape) * item_bytes)


def _layer(node: Any, shapes: Mapping[str, Tuple[Optional[int], ...]]) -> Layer:
    outputs = tuple(
        f"{name} {' x '.join('?' if size is None else str(size) for size in shapes[name])}" if name in shapes else name
        for name in node.output
        if name
    )
    return Layer(node.name or "-", node.op_type, outputs)


def _activations(onnx: Any, model: Any) -> Tuple[Dict[str, int], Dict[str, Tuple[Optional[int], ...]], str]:
    """Bytes by intermediate result, shapes by name (both if known), and the input that they are for."""
    shown = onnx.ModelProto()
    shown.CopyFrom(model)
    stored = {tensor.name for tensor in shown.graph.initializer}
    free = [value for value in shown.graph.input if value.name not in stored]
    for value in free:
        for axis, dimension in enumerate(value.type.tensor_type.shape.dim):
            if not dimension.HasField("dim_value"):
                dimension.dim_value = TYPICAL_SIDE if axis > 1 else 1
    # The declared shape of an output is often a name or a guess, and would prevent inference.
    for value in shown.graph.output:
        value.type.tensor_type.ClearField("shape")
    inferred = onnx.shape_inference.infer_shapes(shown, data_prop=True)
    sizes: Dict[str, int] = {}
    shapes: Dict[str, Tuple[Optional[int], ...]] = {}
    for value in [*free, *inferred.graph.value_info, *inferred.graph.output]:
        kind = value.type.tensor_type
        if not kind.HasField("shape"):
            continue
        shape = tuple(d.dim_value if d.HasField("dim_value") else None for d in kind.shape.dim)
        shapes[value.name] = shape
        # The batch, which is 1, is the size that inference loses most often.
        if None not in shape[1:]:
            item_bytes = onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type).itemsize
            sizes[value.name] = math.prod(tuple(size or 1 for size in shape)) * item_bytes
    text = ", ".join(f"{value.name} {' x '.join(map(str, shapes.get(value.name, ())))}" for value in free)
    return sizes, shapes, text


def _peak_bytes(graph: Any, sizes: Mapping[str, int]) -> int:
    """Each result is kept from the node that computes it to the last one that reads it; outputs until the end."""
    last_use = {name: at for at, node in enumerate(graph.node) for name in node.input}
    kept = {output.name for output in graph.output}
    alive = {value.name: sizes[value.name] for value in graph.input if value.name in sizes}
    peak = sum(alive.values())
    for at, node in enumerate(graph.node):
        alive.update({name: sizes[name] for name in node.output if name in sizes})
        peak = max(peak, sum(alive.values()))
        for name in [name for name in alive if name not in kept and last_use.get(name, at) <= at]:
            del alive[name]
    return peak
