"""Equivalent rewrites of a network for backends that are slow at one of its operators."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple

import numpy as np

from app.text import install_hint

logger = logging.getLogger(__name__)

_OLDEST_OPSET = 7
"""Older ones have another form of batch normalisation."""
_WITHOUT_INPUTS = 4
"""The first version of the format that does not list constants as inputs."""

_PRELU_NODE = b"\x22\x05PRelu"
"""The operator field (4) of a node: the name alone may also be part of names that exporters generate."""


def faster_for_onnx_runtime(path: Path) -> Optional[bytes]:
    """The network without PReLU, which is slow in ONNX Runtime; None if nothing changes."""
    if _PRELU_NODE not in path.read_bytes():
        return None
    try:
        import onnx
        from google.protobuf.message import DecodeError
    except ImportError:
        logger.warning(
            "%s: slow on ONNX Runtime because of its PReLU layers; to make it about twice as fast: %s",
            path.name,
            install_hint("onnx"),
        )
        return None
    try:
        model = onnx.load(path)
    except (OSError, DecodeError):
        return None  # opening the file will report the error
    return bytes(model.SerializeToString()) if rewrite_prelu(model) else None


def rewrite_prelu(model: Any) -> int:
    """Replaces PReLU(x) by ReLU(x) - slope * ReLU(-x) in an `onnx.ModelProto`; returns the number of replacements.

    The results are equal except for rounding, as one of the two terms is always zero. The factors are written as batch
    normalisations: ONNX Runtime keeps these in its fast memory layout, unlike multiplications, and other runtimes
    recognise them as one factor per channel, unlike convolutions. Only pictures (N x C x H x W, float32) with one slope
    per channel or one for all are rewritten.
    """
    if any(domain.domain == "" and domain.version < _OLDEST_OPSET for domain in model.opset_import):
        return 0
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
    """One slope per channel; None if they differ within a channel."""
    if slope.dtype != np.float32:
        return None
    try:
        return np.broadcast_to(slope, (1, channels, 1, 1)).reshape(-1)
    except ValueError:
        return None


def _instead_of_prelu(model: Any, node: Any, slopes: np.ndarray) -> List[Any]:
    from onnx import helper

    (source, _), (result,) = node.input, node.output
    positive, turned, negative, scaled = (f"{result}_{part}" for part in ("positive", "turned", "negative", "scaled"))

    def relu(given: str, output: str) -> Any:
        return helper.make_node("Relu", [given], [output], output)

    def times(factors: np.ndarray, given: str, output: str) -> Any:
        zeros, ones = np.zeros(len(factors)), np.ones(len(factors))
        parts = {"factors": factors, "shift": zeros, "mean": zeros, "variance": ones}
        stored = [_stored(model, values, f"{output}_{part}") for part, values in parts.items()]
        return helper.make_node("BatchNormalization", [given, *stored], [output], output, epsilon=0.0)

    return [
        relu(source, positive),
        times(np.full(len(slopes), -1), source, turned),
        relu(turned, negative),
        times(-slopes, negative, scaled),
        helper.make_node("Add", [positive, scaled], [result], node.name),
    ]


def _stored(model: Any, values: np.ndarray, name: str) -> str:
    """Adds a constant to the network and returns its name."""
    import onnx

    tensor = onnx.numpy_helper.from_array(np.ascontiguousarray(values, np.float32), name)
    model.graph.initializer.append(tensor)
    if model.ir_version < _WITHOUT_INPUTS:
        model.graph.input.append(onnx.helper.make_tensor_value_info(name, tensor.data_type, tensor.dims))
    return name


def _picture_channels(model: Any) -> Dict[str, int]:
    """The number of channels of each tensor with four dimensions, by name."""
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
    unused = {tensor.name for tensor in model.graph.initializer} - used
    for values in (model.graph.initializer, model.graph.input):
        kept = [value for value in values if value.name not in unused]
        del values[:]
        values.extend(kept)


def restore_prelu(model: Any) -> int:
    """Reverts `rewrite_prelu` in an `openvino.Model`; returns the number of replacements.

    OpenVINO has a fast PReLU, and is up to 10 % slower without it.
    """
    try:
        from openvino import opset13
    except ImportError:  # before OpenVINO 2025, the last of which for Python 3.8 is 2024.4
        from openvino.runtime import opset13

    count = 0
    for node in model.get_ordered_ops():
        found = _rewritten_prelu(node)
        if found is not None:
            source, slopes = found
            prelu = opset13.prelu(source, slopes.astype(np.float32))
            prelu.set_friendly_name(node.get_friendly_name())
            for target in node.output(0).get_target_inputs():
                target.replace_source_output(prelu.output(0))
            count += 1
    return count


def _rewritten_prelu(node: Any) -> Optional[Tuple[Any, np.ndarray]]:
    """The input and the slopes of a PReLU, if this is the last node of its replacement."""
    if node.get_type_name() != "Add":
        return None
    positive, scaled = (value.get_node() for value in node.input_values())
    if (positive.get_type_name(), scaled.get_type_name()) != ("Relu", "BatchNormInference"):
        return None
    negative = scaled.input_value(0).get_node()
    turned = negative.input_value(0).get_node() if negative.get_type_name() == "Relu" else negative
    factors = _plain_factors(turned), _plain_factors(scaled)
    source = positive.input_value(0)
    if factors[0] is None or factors[1] is None or (factors[0] != -1).any() or turned.input_value(0) != source:
        return None
    return source, -factors[1]


def _plain_factors(node: Any) -> Optional[np.ndarray]:
    """The factors of a batch normalisation that only scales its channels; otherwise None."""
    if node.get_type_name() != "BatchNormInference" or node.get_attributes()["epsilon"] != 0:
        return None
    constants = [value.get_node() for value in node.input_values()[1:]]
    if any(constant.get_type_name() != "Constant" for constant in constants):
        return None
    factors, shift, mean, variance = (constant.data for constant in constants)
    is_plain = not shift.any() and not mean.any() and (variance == 1).all()
    return np.asarray(factors) if is_plain else None
