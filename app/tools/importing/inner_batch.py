"""Batches and sizes that exporters wrote into the middle of a graph, where new ones at its input change nothing."""

from __future__ import annotations

from typing import Any, Dict, List, Mapping, Optional, Tuple

import numpy as np

_CELLS_FIRST, _PICTURES_FIRST = [2, 3, 0, 1], [0, 2, 3, 1]
"""Orders of N x C x H x W: SCRFD's stock exports take the cells of all pictures together, H x W x N x C."""


def free_inner_batch(model: Any, batch: int) -> None:
    """Takes the fixed `batch` out of constant shapes, as far as they are understood; the caller proves the result."""
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
            node.input[1] = _added(model, node, np.array([0, *lengths[1:]], np.int64))


def resize_by_factors(model: Any) -> None:
    """Enlarges maps by how much they grow instead of to constant sides, which hold for one size only.

    To a shape that is constant as a whole it would, besides, silently drop all pictures of a batch but the first.
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
            node.input[2] = _added(model, node, factors)


def _constant_sides(
    shape: str, constants: Mapping[str, np.ndarray], producers: Mapping[str, Any]
) -> Optional[np.ndarray]:
    """Height and width of a shape that is a constant, or that ends in one."""
    if shape not in constants and shape in producers and producers[shape].op_type == "Concat":
        shape = producers[shape].input[-1]
    lengths = constants.get(shape)
    return lengths[-2:] if lengths is not None and lengths.size >= 2 else None


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
