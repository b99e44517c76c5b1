"""Balancing changes how loud a network's channels are, and nothing that it computes."""

from pathlib import Path

import numpy as np
import pytest

from app.inference.balancing import balance_channels
from app.inference.int8 import int8_network
from app.inference.onnx import OnnxEngine

DETECTOR = Path(__file__).parent.parent.parent / "engines" / "retinaface_mnet025.onnx"
LOUDNESS = np.array([1000, 1, 1, 0.01], np.float32)

onnx = pytest.importorskip("onnx")


def conv(name, source, weight, group=1):
    node = onnx.helper.make_node("Conv", [source, f"{name}.w", f"{name}.b"], [name], name, group=group)
    bias = np.zeros(len(weight), np.float32)
    return node, [onnx.numpy_helper.from_array(weight, f"{name}.w"), onnx.numpy_helper.from_array(bias, f"{name}.b")]


def network(path, reader_group=1, is_shared=False):
    """Two convolutions and a last one, with a ReLU after each of the first two; the first one's channels differ."""
    rng = np.random.default_rng(0)
    first = rng.normal(size=(4, 3, 1, 1)).astype(np.float32) * LOUDNESS.reshape(-1, 1, 1, 1)
    second = rng.normal(size=(4, 4 // reader_group, 1, 1)).astype(np.float32)
    if reader_group == 1:
        second /= LOUDNESS.reshape(1, -1, 1, 1)
    third = rng.normal(size=(2, 4, 1, 1)).astype(np.float32)
    layers = [conv("a", "input", first), conv("b", "ra", second, reader_group), conv("c", "rb", third)]
    relu = [onnx.helper.make_node("Relu", [name], [f"r{name}"], f"relu_{name}") for name in "ab"]
    nodes = [layers[0][0], relu[0], layers[1][0], relu[1], layers[2][0]]
    outputs = ["c", "ra"] if is_shared else ["c"]
    value = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        nodes,
        "net",
        [value("input", onnx.TensorProto.FLOAT, [1, 3, 8, 8])],
        [value(name, onnx.TensorProto.FLOAT, [1, None, 8, 8]) for name in outputs],
        [tensor for _, tensors in layers for tensor in tensors],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 13)], ir_version=8)
    onnx.save(model, str(path))
    return model


def norms(model, name):
    (weight,) = [onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer if tensor.name == name]
    return np.linalg.norm(weight.reshape(len(weight), -1), axis=1)


def test_the_built_in_detector_computes_the_same(tmp_path):
    model = onnx.load(str(DETECTOR))
    assert balance_channels(model) > 25
    onnx.save(model, str(tmp_path / "balanced.onnx"))
    given = {"input": np.random.default_rng(0).normal(0, 50, (1, 3, 64, 96)).astype(np.float32)}
    before, after = (OnnxEngine(path, threads=1).run(given) for path in (DETECTOR, tmp_path / "balanced.onnx"))
    for name, expected in before.items():
        np.testing.assert_allclose(after[name], expected, atol=2e-3)


def test_channels_become_equally_loud(tmp_path):
    model = network(tmp_path / "net.onnx")
    assert np.ptp(np.log(norms(model, "a.w"))) > 10
    assert balance_channels(model) == 2
    assert np.ptp(np.log(norms(model, "a.w"))) < 2


@pytest.mark.parametrize("changes", [{"is_shared": True}, {"reader_group": 2}], ids=["output", "grouped"])
def test_a_map_that_others_read_too_keeps_its_loudness(tmp_path, changes):
    model = network(tmp_path / "net.onnx", **changes)
    before = norms(model, "a.w")
    assert balance_channels(model) == 1
    np.testing.assert_array_equal(norms(model, "a.w"), before)


def test_int8_hears_quiet_channels(tmp_path):
    network(tmp_path / "net.onnx")
    pictures = np.random.default_rng(1).uniform(0, 1, (8, 1, 3, 8, 8)).astype(np.float32)
    rest = iter(pictures)
    (tmp_path / "int8.onnx").write_bytes(int8_network("net", tmp_path / "net.onnx", lambda: next(rest, None)))
    exact, rounded = (OnnxEngine(tmp_path / name, threads=1) for name in ("net.onnx", "int8.onnx"))
    expected, answer = (engine.run({"input": pictures[0]})["c"] for engine in (exact, rounded))
    assert np.abs(answer - expected).max() < 0.05 * np.abs(expected).max()
