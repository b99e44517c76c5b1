"""Batch sizes that exporters have written into the middle of a graph, where a new one at its input changes nothing."""

from __future__ import annotations

from typing import Any, Dict, List, Optional, Tuple

import numpy as np

_CELLS_FIRST, _PICTURES_FIRST = [2, 3, 0, 1], [0, 2, 3, 1]
"""Orders of N x C x H x W: SCRFD's stock exports take the cells of all pictures together, H x W x N x C."""


def free_inner_batch(model: Any, batch: int) -> None:
    """Takes the fixed `batch` out of constant shapes, as far as they are understood; the caller proves the result."""
    constants = _constants(model)
    shapes = _known_shapes(model)
    producers = {name: node for node in model.graph.node for name in node.output}
    for node in list(model.graph.node):
        place = {"Reshape": 1, "Resize": 3}.get(node.op_type)
        if place is None or len(node.input) <= place or node.input[place] not in constants:
            continue
        lengths = constants[node.input[place]]
        source = node.input[0]
        if node.op_type == "Reshape" and lengths.size == 2 and lengths[0] == -1:
            _keep_pictures_apart(model, node, producers.get(source), lengths)
        elif not lengths.size or lengths[0] != batch:
            continue
        elif node.op_type == "Reshape":
            node.input[place] = _added(model, node, np.array([0, *lengths[1:]], np.int64))
        elif source in shapes:
            # To a constant shape it would silently drop all pictures but the first.
            factors = np.array([1, *(lengths[1:] / np.array(shapes[source][1:]))], np.float32)
            del node.input[place]
            node.input[place - 1] = _added(model, node, factors)


def _keep_pictures_apart(model: Any, reshape: Any, transpose: Optional[Any], lengths: np.ndarray) -> None:
    """Gives rows without a batch dimension one, where they are made in SCRFD's stock way."""
    order = [] if transpose is None else next((list(part.ints) for part in transpose.attribute), [])
    if transpose is None or transpose.op_type != "Transpose" or order != _CELLS_FIRST:
        return
    transpose.attribute[0].ints[:] = _PICTURES_FIRST
    reshape.input[1] = _added(model, reshape, np.array([0, *lengths], np.int64))


def _added(model: Any, node: Any, values: np.ndarray) -> str:
    """The name of a new constant for this node."""
    from onnx import numpy_helper

    name = f"{node.output[0]}_{node.op_type.lower()}_to"
    model.graph.initializer.append(numpy_helper.from_array(values, name))
    return name


def _constants(model: Any) -> Dict[str, np.ndarray]:
    from onnx import numpy_helper

    found = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "Constant":
            for attribute in node.attribute:
                if attribute.name == "value":
                    found[node.output[0]] = attribute.t
    return {name: numpy_helper.to_array(tensor) for name, tensor in found.items()}


def _known_shapes(model: Any) -> Dict[str, Tuple[int, ...]]:
    """Of all tensors whose every length is known."""
    from onnx import shape_inference

    graph = shape_inference.infer_shapes(model).graph
    known: Dict[str, Tuple[int, ...]] = {}
    for value in (*graph.value_info, *graph.input):
        lengths: List[Optional[int]] = [dim.dim_value or None for dim in value.type.tensor_type.shape.dim]
        if lengths and None not in lengths:
            known[value.name] = tuple(length for length in lengths if length is not None)
    return known
