"""Exact rewrites of a network that make it faster where a backend is slow at one of its operations."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, Dict, List, Optional

import numpy as np

logger = logging.getLogger(__name__)


def faster_for_onnx_runtime(path: Path) -> Optional[bytes]:
    """The network without PReLU, which ONNX Runtime computes slowly; None where it stays as it is."""
    if b"PRelu" not in path.read_bytes():
        return None
    try:
        import onnx
        from google.protobuf.message import DecodeError
    except ImportError:
        logger.warning(
            "%s: slow on ONNX Runtime because of its PReLUs; about twice as fast after: pip install onnx", path.name
        )
        return None
    try:
        model = onnx.load(path)
    except (OSError, DecodeError):
        return None  # whoever opens the file will tell what is wrong with it
    return bytes(model.SerializeToString()) if rewrite_prelu(model) else None


def rewrite_prelu(model: Any) -> int:
    """Turns PReLU(x) into ReLU(x) - slope * ReLU(-x), in the given `onnx.ModelProto`; returns how many there were.

    Bit for bit the same numbers, since one of the two summands is always zero. The factors are written as depthwise
    convolutions, which ONNX Runtime keeps in its fast memory layout, unlike a multiplication. Only pictures (N x C x
    H x W, float32) are rewritten, one slope for each channel or one for all; other PReLUs stay.
    """
    channels = _picture_channels(model)
    constants = _constants(model)
    made: List[Any] = []
    count = 0
    for node in model.graph.node:
        slopes = None
        if node.op_type == "PRelu" and node.input[0] in channels and node.input[1] in constants:
            slopes = _one_for_each(channels[node.input[0]], constants[node.input[1]])
        if slopes is None:
            made.append(node)
            continue
        made.extend(_instead_of_prelu(model, node, slopes))
        count += 1
    if count:
        del model.graph.node[:]
        model.graph.node.extend(made)
        _drop_unused_initializers(model)
    return count


def _one_for_each(channels: int, slope: np.ndarray) -> Optional[np.ndarray]:
    """One slope a channel; None where they differ within one."""
    if slope.dtype != np.float32:
        return None
    try:
        return np.broadcast_to(slope, (1, channels, 1, 1)).reshape(-1)
    except ValueError:
        return None


def _instead_of_prelu(model: Any, node: Any, slopes: np.ndarray) -> List[Any]:
    import onnx

    (source, _), (result,) = node.input, node.output
    positive, turned, negative, scaled = (f"{result}_{part}" for part in ("positive", "turned", "negative", "scaled"))

    def plain(operation: str, inputs: List[str], output: str) -> Any:
        return onnx.helper.make_node(operation, inputs, [output], output)

    def depthwise(factors: np.ndarray, given: str, output: str) -> Any:
        values = np.ascontiguousarray(factors, np.float32).reshape(-1, 1, 1, 1)
        weight = onnx.numpy_helper.from_array(values, f"{output}_factors")
        model.graph.initializer.append(weight)
        return onnx.helper.make_node(
            "Conv", [given, weight.name], [output], output, group=len(factors), kernel_shape=[1, 1]
        )

    return [
        plain("Relu", [source], positive),
        depthwise(np.full(len(slopes), -1), source, turned),
        plain("Relu", [turned], negative),
        depthwise(-slopes, negative, scaled),
        onnx.helper.make_node("Add", [positive, scaled], [result], node.name),
    ]


def _picture_channels(model: Any) -> Dict[str, int]:
    """The number of channels of every tensor that is known to have four dimensions."""
    import onnx

    graph = onnx.shape_inference.infer_shapes(model).graph
    known: Dict[str, int] = {}
    for value in (*graph.input, *graph.value_info, *graph.output):
        sizes = value.type.tensor_type.shape.dim
        if len(sizes) == 4 and sizes[1].dim_value > 0:
            known[value.name] = sizes[1].dim_value
    return known


def _constants(model: Any) -> Dict[str, np.ndarray]:
    import onnx

    found = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "Constant":
            for attribute in node.attribute:
                if attribute.name == "value":
                    found[node.output[0]] = onnx.numpy_helper.to_array(attribute.t)
    return found


def _drop_unused_initializers(model: Any) -> None:
    used = {name for node in model.graph.node for name in node.input}
    used.update(output.name for output in model.graph.output)
    kept = [tensor for tensor in model.graph.initializer if tensor.name in used]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)
