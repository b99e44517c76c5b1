"""`engines export-triton`: a model repository for Triton, read back, and run as Triton would run it."""

import contextlib
import re

import numpy as np
import pytest
import yaml
from shipped import CATALOG

from app.errors import ModelError
from app.inference.onnx import OnnxEngine
from app.models.catalog import read_catalog
from app.models.remote import known_pictures
from app.tools.triton_export import export_model
from app.vision.attribute_models import MaskModel
from app.vision.embedder import FaceEmbedder

onnx = pytest.importorskip("onnx")


def read_config(path):
    """The text format of Protocol Buffers, as far as config.pbtxt uses it."""
    text = re.sub(r"#.*", "", path.read_text())
    text = re.sub(r"(\w+)\s*\{", r"\1: {", text)
    text = re.sub(r"(\w+)\s*\[", r"\1: [", text)
    text = re.sub(r"([\]}\"\w])[ \t]*\n(?=\s*\w+:)", r"\1,\n", text)
    text = re.sub(r'("|\}) (?=\w+:)', r"\1, ", text)
    text = re.sub(r"\}\n(\s*)\{", r"},\n\1{", text)
    return yaml.safe_load("{" + text + "}")


@pytest.fixture
def config_of(answered, tmp_path):
    def run(*words):
        code, out, err = answered("engines", "export-triton", tmp_path / "models", *words)
        assert code == 0, err
        return read_config(tmp_path / "models" / "mobilefacenet" / "config.pbtxt"), out

    return run


def test_the_embedder_in_use_is_exported_with_what_triton_needs_to_batch(config_of, tmp_path):
    config, out = config_of()
    assert config["name"] == "mobilefacenet" and config["backend"] == "onnxruntime"
    assert config["max_batch_size"] == 16 and config["dynamic_batching"]["preferred_batch_size"] == [4, 8, 16]
    assert config["input"] == [{"name": "crops", "data_type": "TYPE_UINT8", "dims": [112, 112, 3]}]
    assert config["output"] == [{"name": "embedding", "data_type": "TYPE_FP32", "dims": [128]}]
    assert config["instance_group"] == [{"count": 1, "kind": "KIND_AUTO"}]
    assert "non-commercial" in out.lower(), "whoever serves it reads the licence"


def test_a_graphics_card_can_run_it_through_tensorrt(config_of):
    config, _ = config_of("--tensorrt")
    assert config["instance_group"][0]["kind"] == "KIND_GPU"
    (accelerator,) = config["optimization"]["execution_accelerators"]["gpu_execution_accelerator"]
    assert accelerator["name"] == "tensorrt"


def test_the_exported_network_gives_the_same_embeddings(config_of, tmp_path, recognizer):
    config_of()
    entry = read_catalog(CATALOG).require("mobilefacenet")
    engine = OnnxEngine(tmp_path / "models" / "mobilefacenet" / "1" / "model.onnx")
    (pixels,) = engine.inputs
    assert str(pixels) == "crops ? x 112 x 112 x 3 uint8"
    noise = np.random.default_rng(5).integers(0, 256, (3, 112, 112, 3), np.uint8)
    crops = np.concatenate([known_pictures((112, 112)), noise])
    with contextlib.closing(FaceEmbedder(engine, entry.preprocessing, entry.crop, entry.dimensions)) as embedder:
        found, lengths = embedder.embed_with_norms(crops)
    expected, expected_lengths = recognizer.embed_crops_with_norms(crops)
    assert np.abs(found - expected).max() < 1e-4 and np.allclose(lengths, expected_lengths, rtol=1e-4)


def small_network(path, shape=("batch", 3, 8, 8), dtype=onnx.TensorProto.FLOAT, is_random=False):
    helper = onnx.helper
    nodes = [
        helper.make_node("ReduceMean", ["pixels"], ["mean"], axes=[2, 3], keepdims=0),
        helper.make_node("Gemm", ["mean", "weights"], ["sums"]),
        helper.make_node("RandomNormalLike" if is_random else "Identity", ["sums"], ["values"]),
    ]
    weights = onnx.numpy_helper.from_array(np.arange(6, dtype=np.float32).reshape(3, 2) - 2, "weights")
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("pixels", dtype, list(shape))],
        [helper.make_tensor_value_info("values", onnx.TensorProto.FLOAT, [shape[0], 2])],
        [weights],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=7), str(path))


def mask_entry(folder, channels, **network):
    import hashlib

    path = folder / "small.onnx"
    small_network(path, **network)
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    (folder / "catalog.yaml").write_text(
        f"small:\n  task: attributes\n  family: mask\n  file: small.onnx\n  sha256: {sha256}\n  channels: {channels}\n"
        "  mean: [10, 20, 30]\n  divisor: 64\n  crop: [8, 8]\n  licence: none\n  source: a test\n"
    )
    return read_catalog(folder / "catalog.yaml").require("small")


@pytest.mark.parametrize("channels", ["rgb", "bgr"])
def test_mean_divisor_and_order_of_colours_are_part_of_it(tmp_path, channels):
    entry = mask_entry(tmp_path, channels)
    exported = export_model(entry, tmp_path / "models") / "1" / "model.onnx"
    crops = np.random.default_rng(5).integers(0, 256, (3, 8, 8, 3), np.uint8)
    plain = MaskModel(OnnxEngine(entry.file), entry.face_input).answers(crops)
    assert np.allclose(MaskModel(OnnxEngine(exported), entry.face_input).answers(crops), plain, atol=1e-4)
    swapped = MaskModel(OnnxEngine(exported), entry.face_input).answers(np.ascontiguousarray(crops[..., ::-1]))
    assert not np.allclose(swapped, plain, atol=1e-2)


def test_an_export_with_other_answers_than_the_original_is_deleted(tmp_path):
    """Triton would serve what is there."""
    entry = mask_entry(tmp_path, "rgb", is_random=True)
    with pytest.raises(ModelError, match="cosine"):
        export_model(entry, tmp_path / "models")
    assert not (tmp_path / "models" / "small").exists()


def test_what_cannot_be_exported_says_why(answered, tmp_path):
    folder = tmp_path / "models"
    code, _, err = answered("engines", "export-triton", folder, "retinaface_mnet025")
    assert code == 2 and "detector" in err
    (folder / "mobilefacenet").mkdir(parents=True)
    code, _, err = answered("engines", "export-triton", folder)
    assert code == 2 and "exists" in err
    fixed = mask_entry(tmp_path, "rgb", shape=(1, 3, 8, 8))
    with pytest.raises(Exception, match="--batch dynamic"):
        export_model(fixed, folder)
    assert not (folder / "small").exists()
