"""Architectures as ONNX graphs of plain operators, which every runtime since TensorRT 8.2 supports."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Callable, List, Optional, Sequence, Tuple

import numpy as np

from app.errors import ModelError
from app.tools.importing.architectures import ARCHITECTURES, ONLY_MEASURED, Architecture
from app.tools.importing.my_models import write_model_file
from app.tools.importing.operations import Convolution, Linear, Norm, Operations
from app.tools.importing.weights import RandomWeights, WeightSource

OPSET = 13
"""The latest that TensorRT 8.2 supports."""
IR_VERSION = 7
INPUT = "input"


def write_onnx(architecture: Architecture, weights: WeightSource) -> Any:
    """The architecture with these weights as an `onnx.ModelProto`, with dynamic batch and dynamic size of detectors."""
    from onnx import TensorProto, checker, helper

    net = _OnnxOperations(weights, architecture.epsilon_of)
    outputs = architecture.run(net, INPUT)
    height, width = (None, None) if architecture.crop is None else architecture.crop[::-1]
    shapes = {INPUT: ("batch", 3, height or "height", width or "width"), **architecture.output_shapes()}
    values = {name: helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()}
    for name, tensor in outputs.items():
        net.name_output(tensor, name)
    graph = helper.make_graph(
        net.nodes, architecture.name, [values[INPUT]], [values[name] for name in outputs], net.initializers
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="app.importing")
    model.ir_version = IR_VERSION
    checker.check_model(model)
    return model


def write_architecture(name: str, path: Path, seed: int = 0) -> None:
    """Writes an architecture with random weights, whose speed can be measured."""
    known = {**ARCHITECTURES, **ONLY_MEASURED}
    if name not in known:
        raise ModelError(f"unknown architecture {name!r}; choose one of {', '.join(known)}")
    write_model_file(path, write_onnx(known[name](), RandomWeights(seed)).SerializeToString())


class _OnnxOperations(Operations):
    """Adds a node for each operation. A normalisation is folded into the weights before it, if there are any."""

    def __init__(self, weights: WeightSource, epsilon_of: Callable[[str], float]) -> None:
        super().__init__(weights, epsilon_of)
        self.nodes: List[Any] = []
        self.initializers: List[Any] = []

    def name_output(self, tensor: str, name: str) -> None:
        producer = next(node for node in self.nodes if tensor in node.output)
        producer.output[0] = name

    def _conv(self, maps: str, conv: Convolution) -> str:
        weight, bias = _fold(conv.weight, conv.bias, conv.norm)
        inputs = [maps, self._constant("weight", weight)]
        if bias is not None:
            inputs.append(self._constant("bias", bias))
        return self._node(
            "Conv",
            inputs,
            kernel_shape=list(weight.shape[2:]),
            strides=[conv.stride, conv.stride],
            pads=[conv.padding] * 4,
            group=conv.groups,
            **({"dilations": [conv.dilation, conv.dilation]} if conv.dilation > 1 else {}),
        )

    def _norm(self, maps: str, norm: Norm) -> str:
        parts = [self._constant(part, getattr(norm, part)) for part in ("scale", "shift", "mean", "variance")]
        return self._node("BatchNormalization", [maps, *parts], epsilon=norm.epsilon)

    def _prelu(self, maps: str, slopes: np.ndarray) -> str:
        return self._node("PRelu", [maps, self._constant("slope", slopes.reshape(-1, 1, 1))])

    def _linear(self, rows: str, linear: Linear) -> str:
        weight, bias = _fold(linear.weight, linear.bias, linear.norm)
        inputs = [rows, self._constant("weight", weight)]
        if bias is not None:
            inputs.append(self._constant("bias", bias))
        return self._node("Gemm", inputs, transB=1)

    def relu(self, maps: str, slope: float = 0.0) -> str:
        return self._node("LeakyRelu", [maps], alpha=slope) if slope else self._node("Relu", [maps])

    def add(self, first: str, second: str) -> str:
        return self._node("Add", [first, second])

    def multiply(self, first: str, second: str) -> str:
        return self._node("Mul", [first, second])

    def planes(self, maps: str, first: int, behind: int) -> str:
        places = [self._constant("place", np.array([number], np.int64)) for number in (first, behind, 1)]
        return self._node("Slice", [maps, *places])

    def largest_plane(self, maps: str) -> str:
        return self._node("ReduceMax", [maps], axes=[1], keepdims=1)

    def concat(self, parts: Sequence[str]) -> str:
        return self._node("Concat", list(parts), axis=1)

    def doubled(self, maps: str) -> str:
        scales = self._constant("scales", np.array([1, 1, 2, 2], np.float32))
        how = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
        return self._node("Resize", [maps, "", scales], **how)

    def doubled_linearly(self, maps: str) -> str:
        scales = self._constant("scales", np.array([1, 1, 2, 2], np.float32))
        return self._node("Resize", [maps, "", scales], mode="linear", coordinate_transformation_mode="align_corners")

    def max_pool(self, maps: str, kernel: int, stride: int, padding: int) -> str:
        return self._node(
            "MaxPool", [maps], kernel_shape=[kernel, kernel], strides=[stride, stride], pads=[padding] * 4
        )

    def average_pool(self, maps: str) -> str:
        return self._node("AveragePool", [maps], kernel_shape=[2, 2], strides=[2, 2])

    def flatten(self, maps: str) -> str:
        return self._node("Flatten", [maps], axis=1)

    def rows(self, maps: str, values: int) -> str:
        shape = self._constant("shape", np.array([0, -1, values], np.int64))
        return self._node("Reshape", [self._node("Transpose", [maps], perm=[0, 2, 3, 1]), shape])

    def softmax(self, rows: str) -> str:
        return self._node("Softmax", [rows], axis=-1)

    def sigmoid(self, rows: str) -> str:
        return self._node("Sigmoid", [rows])

    def _node(self, operator: str, inputs: List[str], **attributes: Any) -> str:
        from onnx import helper

        name = f"{operator.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, inputs, [name], name=name, **attributes))
        return name

    def _constant(self, kind: str, values: np.ndarray) -> str:
        from onnx import numpy_helper

        name = f"{kind}_{len(self.initializers)}"
        self.initializers.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name


def _fold(
    weight: np.ndarray, bias: Optional[np.ndarray], norm: Optional[Norm]
) -> Tuple[np.ndarray, Optional[np.ndarray]]:
    """Weight and bias that include the normalisation."""
    if norm is None:
        return weight, bias
    factor, summand = norm.folded()
    folded = weight * factor.reshape(-1, *(1,) * (weight.ndim - 1))
    total = summand if bias is None else summand + bias * factor
    return folded.astype(np.float32), total.astype(np.float32)
