"""Networks on OpenVINO: the same answers as on ONNX Runtime, any shape, valid results, and refusals with a reason."""

import sys

import numpy as np
import pytest
from broken_networks import DAMAGED, UNKNOWN_OPERATOR
from shipped import CATALOG

from app.errors import ModelError
from app.inference.onnx import OnnxEngine
from app.inference.openvino import FREQUENT_AFTER, MAX_SHAPES, OpenVinoEngine, openvino_devices, supported_precision

EMBEDDER = CATALOG.parent / "mobilefacenet.onnx"
DETECTOR = CATALOG.parent / "retinaface_mnet025.onnx"


@pytest.fixture
def embedder():
    pytest.importorskip("openvino", reason="OpenVINO is not installed")
    engine = OpenVinoEngine(EMBEDDER, threads=1, precision="fp32")
    yield engine
    engine.close()


def test_a_missing_device_is_an_error_with_its_name():
    pytest.importorskip("openvino", reason="OpenVINO is not installed")
    with pytest.raises(ModelError, match=r"GPU\.7: .+"):
        OpenVinoEngine(EMBEDDER, device="GPU.7")


def noise(*shape):
    return np.random.default_rng(0).normal(0, 0.5, shape).astype(np.float32)


def test_inputs_and_outputs_are_those_that_onnx_runtime_sees(embedder):
    engine = OnnxEngine(EMBEDDER, threads=1)
    assert (embedder.inputs, embedder.outputs) == (engine.inputs, engine.outputs)


def test_an_output_keeps_its_name_from_the_file(tmp_path):
    pytest.importorskip("openvino", reason="OpenVINO is not installed")
    onnx = pytest.importorskip("onnx")
    shape = ["n", 2]
    halves = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape) for name in ("zz", "aa")]
    nodes = [
        onnx.helper.make_node("Relu", ["x"], ["inner"]),
        onnx.helper.make_node("Identity", ["inner"], ["zz"]),
        onnx.helper.make_node("Neg", ["inner"], ["made"]),
        onnx.helper.make_node("Identity", ["made"], ["aa"]),
    ]
    given = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, shape)
    graph = onnx.helper.make_graph(nodes, "names", [given], halves)
    path = tmp_path / "names.onnx"
    onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 13)], ir_version=7), str(path))
    engine = OpenVinoEngine(path, threads=1, precision="fp32")
    assert [output.name for output in engine.outputs] == ["zz", "aa"]
    np.testing.assert_array_equal(engine.run({"x": np.ones((1, 2), np.float32)})["aa"], [[-1, -1]])
    engine.close()


@pytest.mark.parametrize(
    ("network", "shapes"),
    [
        (EMBEDDER, [(1, 3, 112, 112), (5, 3, 112, 112), (2, 3, 112, 112)]),
        (DETECTOR, [(1, 3, 64, 96), (2, 3, 96, 64), (1, 3, 64, 96)]),
        (DETECTOR, [(1, 3, 32 * n, 64) for n in range(1, MAX_SHAPES + 3)] * (FREQUENT_AFTER + 2)),
    ],
    ids=["embedder", "detector", "more frequent shapes than networks"],
)
def test_results_equal_those_of_onnx_runtime_in_every_shape(network, shapes):
    pytest.importorskip("openvino", reason="OpenVINO is not installed")
    engine, reference = OpenVinoEngine(network, 1, "fp32"), OnnxEngine(network, 1)
    for shape in shapes:
        expected = reference.run({"input": noise(*shape)})
        found = engine.run({"input": noise(*shape)})
        assert list(found) == list(expected)
        for name, value in expected.items():
            np.testing.assert_allclose(found[name], value, atol=1e-4, rtol=1e-4)


def test_non_contiguous_inputs_are_read_correctly(embedder):
    mirrored = noise(4, 3, 112, 112)[::2, :, :, ::-1]
    expected = embedder.run({"input": np.ascontiguousarray(mirrored)})["embedding"]
    np.testing.assert_array_equal(embedder.run({"input": mirrored})["embedding"], expected)


def test_results_stay_valid_after_the_next_run(embedder):
    first = embedder.run({"input": np.zeros((1, 3, 112, 112), np.float32)})["embedding"]
    kept = first.copy()
    embedder.run({"input": np.ones((1, 3, 112, 112), np.float32)})
    np.testing.assert_array_equal(first, kept)


def test_a_wrong_shape_is_refused_with_the_expected_one(embedder):
    with pytest.raises(ModelError, match=r"input \(1, 3, 96, 96\) float32; it takes input \? x 3 x 112 x 112 float32"):
        embedder.run({"input": noise(1, 3, 96, 96)})


def test_a_missing_input_is_not_taken_from_the_previous_run(embedder):
    embedder.run({"input": noise(1, 3, 112, 112)})
    with pytest.raises(ModelError, match="inputs input"):
        embedder.run({})


def test_running_a_closed_network_is_an_error(embedder):
    embedder.close()
    with pytest.raises(ModelError, match="closed"):
        embedder.run({"input": np.zeros((1, 3, 112, 112), np.float32)})


@pytest.mark.parametrize(("content", "damage"), DAMAGED)
def test_a_damaged_file_is_an_error_with_a_remedy(tmp_path, content, damage):
    pytest.importorskip("openvino", reason="OpenVINO is not installed")
    path = tmp_path / "net.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelError) as refused:
        OpenVinoEngine(path)
    assert str(refused.value).startswith(f"{path}: {damage}; ")


def test_a_file_that_openvino_cannot_load_is_an_error_with_its_reason(tmp_path):
    pytest.importorskip("openvino", reason="OpenVINO is not installed")
    path = tmp_path / "net.onnx"
    path.write_bytes(UNKNOWN_OPERATOR)
    with pytest.raises(ModelError, match=r"net\.onnx: OpenVINO .*: \S"):
        OpenVinoEngine(path)


def test_the_processor_is_always_among_the_devices():
    pytest.importorskip("openvino", reason="OpenVINO is not installed")
    assert "CPU" in openvino_devices()


@pytest.mark.parametrize(
    ("wanted", "capabilities", "taken"),
    [
        ("auto", ["FP32", "BF16", "FP16"], "bf16"),
        ("auto", ["FP32", "FP16", "INT8"], "fp32"),
        ("auto", ["FP32"], "fp32"),
        ("fp32", ["FP32", "BF16"], "fp32"),
        ("fp16", ["FP32", "FP16"], "fp16"),
        ("bf16", ["FP32", "BF16"], "bf16"),
    ],
)
def test_the_precision_is_the_requested_one_or_the_fastest_with_measured_accuracy(wanted, capabilities, taken):
    assert supported_precision("CPU", wanted, capabilities) == taken


def test_an_unsupported_precision_is_refused_with_the_supported_ones():
    with pytest.raises(ModelError, match=r"fp16 .* CPU, .*fp32 or bf16"):
        supported_precision("CPU", "fp16", ["BF16", "WINOGRAD", "FP32", "INT8"])


def test_without_openvino_the_error_has_an_install_command(monkeypatch):
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(ModelError, match="pip install openvino"):
        OpenVinoEngine(EMBEDDER)


def test_all_networks_share_one_core():
    """Unloading OpenVINO's plugin with the last core made the next Ctrl-C a segmentation fault."""
    from app.inference import openvino

    assert openvino._core() is openvino._core()
