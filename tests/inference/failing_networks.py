"""Networks that fail while they run, or never end, as with a broken device or a bug of a runtime: when their input is
bright."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

BRIGHT = 100.0
"""The mean of an input from which the network fails."""


def write_trapped(source, path, also_openvino=False, endless=False):
    """The network `source` with a trap that gives no other results. OpenVINO only notices it if `also_openvino`; with
    `endless` ONNX Runtime never comes back."""
    model = onnx.load(str(source))
    graph = model.graph
    (given,) = graph.input
    output = graph.output[0].name
    for node in graph.node:
        node.output[:] = ["trap_untouched" if name == output else name for name in node.output]
        node.input[:] = ["trap_untouched" if name == output else name for name in node.input]

    def constant(name, value, dtype):
        graph.initializer.append(numpy_helper.from_array(np.array(value, dtype), name))
        return name

    def node(kind, inputs, output, **attributes):
        graph.node.append(helper.make_node(kind, inputs, [output], name=output, **attributes))
        return output

    mean = node("ReduceMean", [given.name], "trap_mean", keepdims=0)
    is_bright = node("Greater", [mean, constant("trap_limit", BRIGHT, np.float32)], "trap_is_bright")
    number = node("Cast", [is_bright], "trap_number", to=TensorProto.INT64)
    if endless:
        turns = node("Mul", [number, constant("trap_many", 2**62, np.int64)], "trap_turns")
        go_on, nothing = constant("trap_go_on", True, np.bool_), constant("trap_nothing", 0, np.float32)
        zero = node("Loop", [turns, go_on, nothing], "trap_zero", body=_idle_turn())
    elif also_openvino:
        # Three numbers are not four.
        row = node("Reshape", [given.name, constant("trap_row", [-1], np.int64)], "trap_numbers")
        four, start = constant("trap_four", [4], np.int64), constant("trap_start", [0], np.int64)
        some = node("Slice", [row, start, node("Sub", [four, number], "trap_size")], "trap_some")
        as_row = node("Reshape", [some, constant("trap_flat", [1, -1], np.int64)], "trap_some_row")
        both = node("Concat", [constant("trap_ones", [[1] * 4], np.float32), as_row], "trap_both", axis=0)
        least = node("ReduceMin", [node("Abs", [both], "trap_positive")], "trap_least", keepdims=0)
        zero = node("Min", [least, constant("trap_nothing", 0, np.float32)], "trap_zero")
    else:
        # There is no second zero. OpenVINO takes it all the same.
        zero = node("Gather", [constant("trap_table", [0], np.float32), number], "trap_zero")
    node("Add", ["trap_untouched", zero], output)
    onnx.save(model, str(path))
    return path


def _idle_turn():
    """The body of a loop that changes nothing."""
    given = [
        helper.make_tensor_value_info("turn", TensorProto.INT64, []),
        helper.make_tensor_value_info("go_on_before", TensorProto.BOOL, []),
        helper.make_tensor_value_info("carried", TensorProto.FLOAT, []),
    ]
    made = [
        helper.make_tensor_value_info("go_on_after", TensorProto.BOOL, []),
        helper.make_tensor_value_info("carried_on", TensorProto.FLOAT, []),
    ]
    nodes = [
        helper.make_node("Identity", ["go_on_before"], ["go_on_after"]),
        helper.make_node("Identity", ["carried"], ["carried_on"]),
    ]
    return helper.make_graph(nodes, "idle_turn", given, made)
