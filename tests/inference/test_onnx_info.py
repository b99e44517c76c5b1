"""The facts read from an ONNX file agree with how the file was made."""

import sys

import numpy as np
import pytest
from shipped import ROOT

from app.errors import ModelError
from app.inference.onnx_info import read_onnx_info

onnx = pytest.importorskip("onnx")


@pytest.fixture
def small_network(tmp_path):
    """x (1 x 4) -> MatMul with 4 x 8 -> Relu -> y (1 x 8), in float32, or with half-precision weights."""

    def make(name="small", half=False):
        helper, numpy_helper = onnx.helper, onnx.numpy_helper
        weights = np.ones((4, 8), np.float16 if half else np.float32)
        nodes = [
            helper.make_node("MatMul", ["x", "wide" if half else "w"], ["z"], name="multiply"),
            helper.make_node("Relu", ["z"], ["y"], name="bend"),
        ]
        if half:
            nodes.insert(0, helper.make_node("Cast", ["w"], ["wide"], to=onnx.TensorProto.FLOAT, name="widen"))
        graph = helper.make_graph(
            nodes,
            name,
            [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["batch", 4])],
            [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["batch", 8])],
            [numpy_helper.from_array(weights, "w")],
        )
        opsets = [helper.make_opsetid("", 13)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=7, producer_name="a test")
        path = tmp_path / f"{name}.onnx"
        onnx.save(model, str(path))
        return path

    return make


def test_operators_weights_and_layers(small_network):
    facts = read_onnx_info(small_network())
    assert facts.inputs == ("x ? x 4 float32",) and facts.outputs == ("y ? x 8 float32",)
    assert (facts.opset, facts.producer) == (13, "a test")
    assert facts.operators == {"MatMul": 1, "Relu": 1}
    assert facts.weight_types == {"fp32": 4 * 8 * 4} and facts.weights == 32
    assert facts.largest[0].name == "w" and facts.largest[0].shape == (4, 8)
    assert [(layer.name, layer.operator, layer.outputs) for layer in facts.layers] == [
        ("multiply", "MatMul", ("z 1 x 8",)),
        ("bend", "Relu", ("y 1 x 8",)),
    ]
    assert facts.precision == "fp32"


def test_activation_memory_is_the_peak(small_network):
    facts = read_onnx_info(small_network())
    # x and z are alive in the first layer (4 + 8 numbers), z and y in the second (8 + 8).
    assert facts.activations_bytes == 16 * 4
    assert facts.activations_for == "x 1 x 4"
    assert facts.sizes_unknown == 0


def test_half_precision_is_recognised(small_network):
    facts = read_onnx_info(small_network("halved", half=True))
    assert facts.precision == "fp16"
    assert facts.weight_types == {"fp16": 64}


def test_shipped_networks(small_network):
    facts = read_onnx_info(ROOT / "engines" / "retinaface_mnet025.onnx")
    assert facts.operators["Conv"] > 40
    assert sum(facts.operators.values()) == len(facts.layers)
    assert facts.activations_for == "input 1 x 3 x 640 x 640"
    assert facts.activations_bytes > 640 * 640 * 3 * 4


def test_without_the_package_only_inputs_and_outputs_are_known(small_network, monkeypatch):
    path = small_network()
    monkeypatch.setitem(sys.modules, "onnx", None)
    facts = read_onnx_info(path)
    assert facts.inputs == ("x ? x 4 float32",)
    assert facts.operators is None and "pip install onnx" in facts.missing
    assert facts.precision == "-"


def test_a_file_that_is_not_a_network(tmp_path):
    path = tmp_path / "junk.onnx"
    path.write_bytes(b"no network at all")
    with pytest.raises(ModelError, match="ONNX file"):
        read_onnx_info(path)
