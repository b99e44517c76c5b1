"""PReLU is replaced: the results are equal except for rounding, and unknown patterns are left alone."""

import logging
import sys

import numpy as np
import pytest
from shipped import CATALOG

from app.inference.onnx import OnnxEngine
from app.inference.rewriting import faster_for_onnx_runtime, restore_prelu, rewrite_prelu

onnx = pytest.importorskip("onnx", reason="the package onnx is not installed")
helper = onnx.helper

CHANNELS = 4
PICTURE = ["N", CHANNELS, "H", "W"]
ROUNDING = 2e-6
"""ONNX Runtime 1.19 is off by 4e-7 on some processors, by none on others."""


def prelu_network(slope, shape=PICTURE, constant_node=False):
    """x -> PReLU -> y, with the slopes as an initializer or as a node's constant."""
    tensor = onnx.numpy_helper.from_array(np.asarray(slope), "slope")
    nodes = [helper.make_node("PRelu", ["x", "slope"], ["y"], "prelu")]
    if constant_node:
        nodes.insert(0, helper.make_node("Constant", [], ["slope"], value=tensor))
    kind = helper.np_dtype_to_tensor_dtype(np.asarray(slope).dtype)
    graph = helper.make_graph(
        nodes,
        "prelu",
        [helper.make_tensor_value_info("x", kind, shape)],
        [helper.make_tensor_value_info("y", kind, shape)],
        [] if constant_node else [tensor],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(model)
    return model


def operators(model):
    return [node.op_type for node in model.graph.node]


def slopes(*shape):
    return np.random.default_rng(1).uniform(-0.5, 1.5, shape).astype(np.float32)


def answer(model, x, folder):
    path = folder / "net.onnx"
    onnx.save(model, str(path))
    engine = OnnxEngine(path, threads=1)
    try:
        return engine.run({"x": x})["y"]
    finally:
        engine.close()


@pytest.mark.parametrize("constant_node", [False, True], ids=["initializer", "constant"])
@pytest.mark.parametrize(
    "slope",
    [slopes(CHANNELS, 1, 1), slopes(1, CHANNELS, 1, 1), slopes(1), slopes(1, 1, 1)],
    ids=["by channel", "by channel, with batch", "one", "one, as a picture"],
)
def test_the_rewritten_network_computes_the_same(slope, constant_node, tmp_path):
    model = prelu_network(slope, constant_node=constant_node)
    x = np.random.default_rng(0).normal(0, 3, (2, CHANNELS, 5, 7)).astype(np.float32)
    expected = np.where(x < 0, x * slope.reshape(-1, 1, 1), x)
    assert rewrite_prelu(model) == 1
    onnx.checker.check_model(model, full_check=True)
    assert "PRelu" not in operators(model)
    np.testing.assert_allclose(answer(model, x, tmp_path), expected, rtol=ROUNDING)


def test_several_in_a_row_are_all_rewritten(tmp_path):
    first, second = slopes(CHANNELS, 1, 1), slopes(1, CHANNELS, 1, 1)
    model = prelu_network(first)
    model.graph.node[0].output[0] = "between"
    model.graph.node.append(helper.make_node("PRelu", ["between", "second"], ["y"]))
    model.graph.initializer.append(onnx.numpy_helper.from_array(second, "second"))
    x = np.random.default_rng(0).normal(0, 3, (1, CHANNELS, 3, 3)).astype(np.float32)
    middle = np.where(x < 0, x * first, x)
    assert rewrite_prelu(model) == 2
    onnx.checker.check_model(model, full_check=True)
    np.testing.assert_allclose(answer(model, x, tmp_path), np.where(middle < 0, middle * second, middle), rtol=ROUNDING)


@pytest.mark.parametrize(
    ("slope", "shape"),
    [
        (slopes(CHANNELS), ["N", CHANNELS]),
        (slopes(CHANNELS, 6, 6), ["N", CHANNELS, 6, 6]),
        (slopes(6), ["N", CHANNELS, 6, 6]),
        (slopes(1), ["N", None, 6, 6]),
        (slopes(CHANNELS, 1, 1).astype(np.float16), PICTURE),
    ],
    ids=["vectors", "a slope a pixel", "a slope a column", "channels unknown", "half precision"],
)
def test_other_kinds_of_prelu_are_not_rewritten(slope, shape):
    model = prelu_network(slope, shape)
    before = model.SerializeToString(deterministic=True)
    assert rewrite_prelu(model) == 0
    assert model.SerializeToString(deterministic=True) == before


def test_an_old_file_that_lists_constants_as_inputs_gets_no_additional_inputs(tmp_path):
    slope = slopes(CHANNELS, 1, 1)
    model = prelu_network(slope)
    model.ir_version = 3
    model.opset_import[0].version = 7
    model.graph.input.append(helper.make_tensor_value_info("slope", onnx.TensorProto.FLOAT, slope.shape))
    onnx.checker.check_model(model)
    assert rewrite_prelu(model) == 1
    onnx.checker.check_model(model, full_check=True)
    x = np.random.default_rng(0).normal(0, 3, (1, CHANNELS, 3, 3)).astype(np.float32)
    np.testing.assert_allclose(answer(model, x, tmp_path), np.where(x < 0, x * slope, x), rtol=ROUNDING)


def test_old_opsets_are_not_rewritten():
    model = prelu_network(slopes(CHANNELS, 1, 1))
    model.opset_import[0].version = 6
    assert rewrite_prelu(model) == 0


def openvino_model(model):
    openvino = pytest.importorskip("openvino", reason="OpenVINO is not installed")
    return openvino, openvino.Core().read_model(model.SerializeToString())


def test_openvino_gets_prelu_back(tmp_path):
    slope = slopes(CHANNELS, 1, 1)
    model = prelu_network(slope)
    rewrite_prelu(model)
    openvino, network = openvino_model(model)
    assert restore_prelu(network) == 1
    kinds = [node.get_type_name() for node in network.get_ordered_ops()]
    assert "PRelu" in kinds and not {"Relu", "BatchNormInference", "Add"} & set(kinds)
    x = np.random.default_rng(0).normal(0, 3, (2, CHANNELS, 5, 7)).astype(np.float32)
    found = openvino.compile_model(network, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})(x)[0]
    np.testing.assert_allclose(found, np.where(x < 0, x * slope, x), rtol=ROUNDING)


@pytest.mark.parametrize(
    ("part", "value"), [("turned_factors", -2), ("scaled_shift", 1), ("turned_mean", 1), ("scaled_variance", 2)]
)
def test_similar_patterns_are_not_turned_into_prelu_on_openvino(part, value):
    model = prelu_network(slopes(CHANNELS, 1, 1))
    rewrite_prelu(model)
    for tensor in model.graph.initializer:
        if tensor.name == f"y_{part}":
            changed = np.full(CHANNELS, value, np.float32)
            tensor.CopyFrom(onnx.numpy_helper.from_array(changed, tensor.name))
    assert restore_prelu(openvino_model(model)[1]) == 0


def test_a_network_with_prelu_is_opened_without_it(tmp_path):
    path = tmp_path / "net.onnx"
    onnx.save(prelu_network(slopes(CHANNELS, 1, 1)), str(path))
    rewritten = onnx.load_from_string(faster_for_onnx_runtime(path))
    assert operators(rewritten) == ["Relu", "BatchNormalization", "Relu", "BatchNormalization", "Add"]


def test_a_network_without_prelu_is_opened_unchanged():
    assert faster_for_onnx_runtime(CATALOG.parent / "retinaface_mnet025.onnx") is None


def test_a_network_with_prelu_in_its_names_only_is_opened_unchanged(tmp_path, monkeypatch, caplog):
    model = prelu_network(slopes(CHANNELS, 1, 1))
    rewrite_prelu(model)
    model.graph.node[0].name = model.graph.node[0].output[0] = model.graph.node[-1].input[0] = "PRelu"
    path = tmp_path / "net.onnx"
    onnx.save(model, str(path))
    monkeypatch.setitem(sys.modules, "onnx", None)
    assert faster_for_onnx_runtime(path) is None and not caplog.text


def test_without_the_package_onnx_a_network_is_opened_unchanged_and_the_log_has_an_install_command(
    tmp_path, monkeypatch, caplog
):
    caplog.set_level(logging.INFO, logger="app")
    model = prelu_network(slopes(CHANNELS, 1, 1))
    path = tmp_path / "net.onnx"
    onnx.save(model, str(path))
    monkeypatch.setitem(sys.modules, "onnx", None)
    assert faster_for_onnx_runtime(path) is None
    assert "pip install onnx" in caplog.text
    assert OnnxEngine(path, threads=1).run({"x": -np.ones((1, CHANNELS, 1, 1), np.float32)})["y"].max() <= 0.5
