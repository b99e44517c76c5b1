"""Batches and sizes that exporters wrote as constants into a graph, where a new input shape does not change them."""

from __future__ import annotations

from typing import Any, Dict, List, Mapping, Optional, Tuple

import numpy as np

_CELLS_FIRST, _PICTURES_FIRST = [2, 3, 0, 1], [0, 2, 3, 1]
"""Orders of N x C x H x W: the usual exports of SCRFD mix the cells of all pictures, H x W x N x C."""


def free_inner_batch(model: Any, batch: int) -> None:
    """Replaces the fixed `batch` in constant shapes of known patterns; the caller has to check the result."""
    resize_by_factors(model)
    constants = _constants(model)
    producers = {name: node for node in model.graph.node for name in node.output}
    for node in list(model.graph.node):
        if node.op_type != "Reshape" or node.input[1] not in constants:
            continue
        lengths = constants[node.input[1]]
        if lengths.size == 2 and lengths[0] == -1:
            _keep_pictures_apart(model, node, producers.get(node.input[0]), lengths)
        elif lengths.size and lengths[0] == batch:
            node.input[1] = _add_constant(model, node, np.array([0, *lengths[1:]], np.int64))


def resize_by_factors(model: Any) -> None:
    """Replaces the constant output sizes of Resize, which are right for one input size only, by scale factors.

    With a completely constant output shape, Resize would also drop all pictures of a batch but the first.
    """
    constants = _constants(model)
    producers = {name: node for node in model.graph.node for name in node.output}
    for node in list(model.graph.node):
        if node.op_type != "Resize" or len(node.input) < 4:
            continue
        sides = _constant_sides(node.input[3], constants, producers)
        before = _known_shapes(model).get(node.input[0])
        if sides is not None and before is not None:
            factors = np.array([1, 1, *(sides / before[2:])], np.float32)
            del node.input[3]
            node.input[2] = _add_constant(model, node, factors)


def _constant_sides(
    shape: str, constants: Mapping[str, np.ndarray], producers: Mapping[str, Any]
) -> Optional[np.ndarray]:
    """Height and width of a shape that is constant, or whose last part is."""
    if shape not in constants and shape in producers and producers[shape].op_type == "Concat":
        shape = producers[shape].input[-1]
    lengths = constants.get(shape)
    return lengths[-2:] if lengths is not None and lengths.size >= 2 else None


def _keep_pictures_apart(model: Any, reshape: Any, transpose: Optional[Any], lengths: np.ndarray) -> None:
    """Adds a batch dimension to the rows of the usual exports of SCRFD."""
    order = [] if transpose is None else next((list(part.ints) for part in transpose.attribute), [])
    if transpose is None or transpose.op_type != "Transpose" or order != _CELLS_FIRST:
        return
    transpose.attribute[0].ints[:] = _PICTURES_FIRST
    reshape.input[1] = _add_constant(model, reshape, np.array([0, *lengths], np.int64))


def _add_constant(model: Any, node: Any, values: np.ndarray) -> str:
    """Adds a constant for this node and returns its name."""
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
    """The shapes of all tensors without dynamic dimensions."""
    from onnx import shape_inference

    graph = shape_inference.infer_shapes(model).graph
    known: Dict[str, Tuple[int, ...]] = {}
    for value in (*graph.value_info, *graph.input):
        lengths: List[Optional[int]] = [dim.dim_value or None for dim in value.type.tensor_type.shape.dim]
        if lengths and None not in lengths:
            known[value.name] = tuple(length for length in lengths if length is not None)
    return known
