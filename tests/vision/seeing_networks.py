"""Small ONNX networks whose output is their own input, or values chosen by the test."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def write_seeing_network(path, size, points, outputs=("vector",), channels_last=False, batch=None, rank=2):
    """Answers, plane after plane, with the values that it was fed at `points` (x, y); the same for each output."""
    width, height = size
    planes = range(3)
    where = [(y * width + x) * 3 + plane if channels_last else plane * width * height + y * width + x
             for plane in planes for x, y in points]  # fmt: skip
    length = len(where)
    shape = [0, length] + [1] * (rank - 2)
    initial = [
        numpy_helper.from_array(np.array([0, -1], np.int64), "flat"),
        numpy_helper.from_array(np.array(where, np.int64), "where"),
        numpy_helper.from_array(np.array(shape, np.int64), "shape"),
    ]
    nodes = [
        helper.make_node("Reshape", ["input", "flat"], ["row"]),
        helper.make_node("Gather", ["row", "where"], ["seen"], axis=1),
        *(helper.make_node("Reshape", ["seen", "shape"], [name]) for name in outputs),
    ]
    results = [(name, (batch, *shape[1:])) for name in outputs]
    _write(path, nodes, initial, _input_shape(size, channels_last, batch), results)


def write_planted_network(path, size, answers, outputs=("answer",), channels_last=False):
    """Answers a crop whose first pixel has green k with row k of `answers`."""
    answers = np.asarray(answers, np.float32)
    first = 1 if channels_last else size[0] * size[1]
    initial = [
        numpy_helper.from_array(np.array([0, -1], np.int64), "flat"),
        numpy_helper.from_array(np.array(first, np.int64), "where"),
        numpy_helper.from_array(answers, "answers"),
    ]
    nodes = [
        helper.make_node("Reshape", ["input", "flat"], ["row"]),
        helper.make_node("Gather", ["row", "where"], ["seen"], axis=1),
        helper.make_node("Cast", ["seen"], ["number"], to=TensorProto.INT64),
        *(helper.make_node("Gather", ["answers", "number"], [name], axis=0) for name in outputs),
    ]
    results = [(name, (None, answers.shape[1])) for name in outputs]
    _write(path, nodes, initial, _input_shape(size, channels_last, None), results)


def _input_shape(size, channels_last, batch):
    width, height = size
    return (batch, height, width, 3) if channels_last else (batch, 3, height, width)


def _write(path, nodes, initial, input_shape, results):
    graph = helper.make_graph(
        nodes,
        "seeing",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, input_shape)],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in results],
        initial,
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), str(path))
