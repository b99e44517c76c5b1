"""The built-in networks in less than fp32: inputs and outputs stay, and the results are similar."""

import sys
from pathlib import Path

import numpy as np
import pytest

from app.errors import ModelError
from app.inference.int8 import fp16_network, int8_network, last_layers
from app.inference.onnx import OnnxEngine

ROOT = Path(__file__).parent.parent.parent
EMBEDDER = ROOT / "engines" / "mobilefacenet.onnx"
DETECTOR = ROOT / "engines" / "retinaface_mnet025.onnx"


@pytest.fixture
def onnx():
    return pytest.importorskip("onnx")


def crops(count):
    return np.random.default_rng(0).normal(128, 64, (count, 3, 112, 112)).clip(0, 255).astype(np.float32)


def embeddings(path, given):
    engine = OnnxEngine(path, threads=1)
    (answer,) = engine.run({"input": given}).values()
    return answer / np.linalg.norm(answer, axis=1, keepdims=True)


@pytest.mark.parametrize("path", [EMBEDDER, DETECTOR], ids=["embedder", "detector"])
def test_fp16_keeps_inputs_and_outputs(onnx, tmp_path, path):
    half = tmp_path / "half.onnx"
    half.write_bytes(fp16_network(path))
    assert half.stat().st_size < 0.7 * path.stat().st_size
    before, after = OnnxEngine(path, threads=1), OnnxEngine(half, threads=1)
    assert after.inputs == before.inputs and after.outputs == before.outputs


def test_fp16_results_are_close_to_fp32(onnx, tmp_path):
    half = tmp_path / "half.onnx"
    half.write_bytes(fp16_network(EMBEDDER))
    given = crops(4)
    assert (embeddings(half, given) * embeddings(EMBEDDER, given)).sum(axis=1).min() > 0.999


def test_int8_results_are_similar_on_the_calibration_pictures(onnx, tmp_path):
    given = crops(8)
    rest = iter(given[:, None])
    rounded = tmp_path / "rounded.onnx"
    rounded.write_bytes(int8_network("mobilefacenet", EMBEDDER, lambda: next(rest, None)))
    assert (embeddings(rounded, given) * embeddings(EMBEDDER, given)).sum(axis=1).min() > 0.97
    operators = {node.op_type for node in onnx.load(str(rounded)).graph.node}
    assert {"QuantizeLinear", "DequantizeLinear"} <= operators


def test_the_last_layers_are_those_that_compute_the_outputs(onnx):
    names = last_layers(onnx.load(str(DETECTOR)))
    assert len(names) == 9 and all("heads" in name for name in names)
    assert len(last_layers(onnx.load(str(EMBEDDER)))) == 1


def test_int8_needs_pictures(onnx):
    with pytest.raises(ModelError, match="--calibration DIR"):
        int8_network("mobilefacenet", EMBEDDER, lambda: None)


def test_a_file_that_is_not_a_network_is_an_error(onnx, tmp_path):
    for content in (b"", b"this is no network"):
        path = tmp_path / "broken.onnx"
        path.write_bytes(content)
        with pytest.raises(ModelError, match=r"broken\.onnx"):
            fp16_network(path)
    with pytest.raises(ModelError, match="cannot be read"):
        fp16_network(tmp_path / "missing.onnx")


def test_without_the_package_onnx_the_error_has_an_install_command(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ModelError, match="install onnx onnxruntime"):
        fp16_network(EMBEDDER)
