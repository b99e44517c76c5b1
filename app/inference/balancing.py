"""Makes the channels of a network's layers equally loud, so that int8 can represent them.

int8 has one range for all channels of a feature map, in which a quiet channel next to a loud one is rounded away. ReLU
passes positive factors on, so a channel can be multiplied before a ReLU and divided in the layers that read it: the
network computes the same.
"""

from __future__ import annotations

from typing import Any, Dict, List, NamedTuple

import numpy as np

ROUNDS = 3
"""A layer's weights change with those of its neighbours; after this many rounds hardly anything does."""


class _Handover(NamedTuple):
    """A ReLU between convolutions, by the names of their weights."""

    weight: str
    bias: str
    readers: List[Any]


def balance_channels(model: Any) -> int:
    """Balances an `onnx.ModelProto`; returns the number of feature maps that were balanced.

    For every channel, the weights that lead to it and those that read it become equally large (in the L2 norm).
    """
    from onnx import numpy_helper

    stored = {tensor.name: tensor for tensor in model.graph.initializer}
    weights = {name: np.array(numpy_helper.to_array(tensor)) for name, tensor in stored.items()}
    handovers = _handovers(model.graph, weights)
    for _ in range(ROUNDS):
        for handover in handovers:
            _even_out(handover, weights)
    for name in {used for found in handovers for used in (found.weight, found.bias, *_weights_of(found.readers))}:
        stored[name].CopyFrom(numpy_helper.from_array(weights[name], name))
    return len(handovers)


def _handovers(graph: Any, weights: Dict[str, np.ndarray]) -> List[_Handover]:
    """The ReLUs that only convolutions lead to and read, each with weights of its own."""
    producers = {output: node for node in graph.node for output in node.output}
    readers: Dict[str, List[Any]] = {}
    uses: Dict[str, int] = {output.name: 1 for output in graph.output}
    for node in graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
            uses[name] = uses.get(name, 0) + 1
    found = []
    for relu in graph.node:
        if relu.op_type != "Relu":
            continue
        conv, after = producers.get(relu.input[0]), readers.get(relu.output[0], [])
        is_alone = uses[relu.input[0]] == 1 and len(after) == uses.get(relu.output[0], 0)
        if conv is None or not after or not is_alone or any(node.op_type != "Conv" for node in (conv, *after)):
            continue
        names = [*conv.input[1:3], *_weights_of(after)]
        has_own_weights = len(conv.input) == 3 and all(name in weights and uses[name] == 1 for name in names)
        if has_own_weights and all(_is_plain_or_depthwise(node, weights) for node in after):
            found.append(_Handover(conv.input[1], conv.input[2], after))
    return found


def _weights_of(convolutions: List[Any]) -> List[str]:
    return [node.input[1] for node in convolutions]


def _even_out(handover: _Handover, weights: Dict[str, np.ndarray]) -> None:
    leading = _norms(weights[handover.weight])
    by_channel = [_by_input(node, weights[node.input[1]]) for node in handover.readers]
    reading = np.sqrt(sum(_norms(weight) ** 2 for weight in by_channel))
    if not (leading > 0).all() or not (reading > 0).all():
        return  # A channel without weights is not heard, however loud.
    factors = np.sqrt(reading / leading)
    factors /= np.exp(np.log(factors).mean())
    columns = factors.astype(np.float32).reshape(-1, 1, 1, 1)
    weights[handover.weight] *= columns
    weights[handover.bias] *= columns.reshape(-1)
    for weight in by_channel:
        weight /= columns


def _norms(weight: np.ndarray) -> np.ndarray:
    return np.asarray(np.linalg.norm(weight.reshape(len(weight), -1).astype(np.float64), axis=1))


def _is_plain_or_depthwise(node: Any, weights: Dict[str, np.ndarray]) -> bool:
    return _groups(node) in (1, len(weights[node.input[1]]))


def _groups(node: Any) -> int:
    return next((int(attribute.i) for attribute in node.attribute if attribute.name == "group"), 1)


def _by_input(node: Any, weight: np.ndarray) -> np.ndarray:
    """A view of a convolution's weights with one row for each input channel."""
    return weight if _groups(node) > 1 else weight.swapaxes(0, 1)
