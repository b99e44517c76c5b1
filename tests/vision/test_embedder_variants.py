"""Every embedder of the ArcFace type gets the input that its catalogue entry describes, to the pixel."""

import hashlib

import cv2
import numpy as np
import pytest
import yaml

from app.errors import ModelError
from app.inference.onnx import OnnxEngine
from app.models.loading import ModelLoader
from app.settings import ModelSettings, Settings
from app.vision.align import align_faces, template
from app.vision.embedder import FaceEmbedder
from app.vision.preprocessing import Preprocessing

pytest.importorskip("onnx")
from seeing_networks import write_seeing_network

POINTS = [(3, 5), (90, 5), (3, 100), (90, 100), (40, 60)]
VARIANTS = {
    "ArcFace r50 and r100, scale inside": ("rgb", [0, 0, 0], 1, (112, 112)),
    "glintr100, w600k": ("rgb", [127.5, 127.5, 127.5], 127.5, (112, 112)),
    "built-in, tensorrtx": ("rgb", [127.5, 127.5, 127.5], 128, (112, 112)),
    "AdaFace": ("bgr", [127.5, 127.5, 127.5], 127.5, (112, 112)),
    "MobileFaceNet 112 x 96": ("bgr", [127.5, 127.5, 127.5], 128, (96, 112)),
    "a mean for each channel": ("rgb", [123, 117, 104], 58, (112, 112)),
}


def crops_of(size, count=3):
    width, height = size
    return np.random.default_rng(1).integers(0, 256, (count, height, width, 3), dtype=np.uint8)


def seen_at(crops, points, channels, mean, divisor):
    """The input that the network should get there, as unit vectors."""
    order = [0, 1, 2] if channels == "bgr" else [2, 1, 0]
    rows = [
        [(crop[y, x, colour] - average) / divisor for colour, average in zip(order, mean) for x, y in points]
        for crop in crops.astype(np.float64)
    ]
    return np.array([row / np.linalg.norm(row) for row in rows])


def opened(path, channels="rgb", mean=(0, 0, 0), divisor=1.0, size=(112, 112), dimensions=15):
    return FaceEmbedder(OnnxEngine(path), Preprocessing(channels, tuple(mean), divisor), size, dimensions)


@pytest.mark.parametrize("variant", VARIANTS)
def test_an_entry_in_the_catalogue_is_all_that_a_variant_needs(tmp_path, variant):
    channels, mean, divisor, size = VARIANTS[variant]
    write_seeing_network(tmp_path / "net.onnx", size, POINTS)
    entry = {
        "task": "embedding",
        "family": "arcface",
        "file": "net.onnx",
        "sha256": hashlib.sha256((tmp_path / "net.onnx").read_bytes()).hexdigest(),
        "channels": channels,
        "mean": mean,
        "divisor": divisor,
        "crop": list(size),
        "dimensions": 15,
        "threshold": 0.4,
        "licence": "made here",
        "source": "made here",
    }
    (tmp_path / "catalog.yaml").write_text(yaml.safe_dump({"mine": entry}), encoding="utf-8")
    embedder = ModelLoader(
        Settings(models=ModelSettings(catalog=tmp_path / "catalog.yaml", embedder="mine", backend="onnx"))
    ).open_embedder()
    crops = crops_of(size)
    np.testing.assert_allclose(embedder.embed(crops), seen_at(crops, POINTS, channels, mean, divisor), atol=1e-5)
    embedder.close()


def test_the_narrow_crop_is_the_middle_of_the_square_one():
    image = cv2.GaussianBlur(np.random.default_rng(2).integers(0, 256, (400, 400, 3), dtype=np.uint8), (9, 9), 0)
    turned = np.array([[0.9, -0.3], [0.3, 0.9]])
    landmarks = (template() @ turned.T * 1.7 + (90, 60))[None].astype(np.float32)
    square, narrow = align_faces(image, landmarks, (112, 112)), align_faces(image, landmarks, (96, 112))
    np.testing.assert_array_less(np.abs(square[:, :, 8:-8].astype(int) - narrow), 2)


@pytest.mark.parametrize("batch", [None, 1, 2])
def test_a_batch_gives_what_the_faces_give_one_by_one(tmp_path, batch):
    write_seeing_network(tmp_path / "net.onnx", (112, 112), POINTS, batch=batch)
    embedder = opened(tmp_path / "net.onnx")
    crops = crops_of((112, 112), 5)
    one_by_one = np.concatenate([embedder.embed(crops[row : row + 1]) for row in range(5)])
    np.testing.assert_allclose(embedder.embed(crops), one_by_one, atol=1e-6)


@pytest.mark.parametrize("rank", [3, 4])
def test_trailing_dimensions_of_one_are_dropped(tmp_path, rank):
    write_seeing_network(tmp_path / "net.onnx", (112, 112), POINTS, rank=rank)
    assert opened(tmp_path / "net.onnx").embed(crops_of((112, 112))).shape == (3, 15)


def test_a_network_with_channels_last_gets_them_last(tmp_path):
    write_seeing_network(tmp_path / "net.onnx", (112, 112), POINTS, channels_last=True)
    crops = crops_of((112, 112))
    found = opened(tmp_path / "net.onnx", "rgb", (10, 20, 30), 2.0).embed(crops)
    np.testing.assert_allclose(found, seen_at(crops, POINTS, "rgb", (10, 20, 30), 2.0), atol=1e-5)


def test_another_output_next_to_the_embedding_is_ignored(tmp_path):
    import onnx
    from onnx import TensorProto, helper

    path = tmp_path / "net.onnx"
    write_seeing_network(path, (112, 112), POINTS)
    model = onnx.load(str(path))
    model.graph.node.append(helper.make_node("ReduceL2", ["vector"], ["norm"], axes=[1], keepdims=1))
    model.graph.output.insert(0, helper.make_tensor_value_info("norm", TensorProto.FLOAT, (None, 1)))
    onnx.save(model, str(path))
    crops = crops_of((112, 112))
    np.testing.assert_allclose(opened(path).embed(crops), seen_at(crops, POINTS, "rgb", (0, 0, 0), 1), atol=1e-5)


def test_two_outputs_that_could_be_the_embedding_are_an_error(tmp_path):
    write_seeing_network(tmp_path / "net.onnx", (112, 112), POINTS, outputs=("before", "after"))
    with pytest.raises(ModelError, match=r"one output \? x 15: found .*before \? x 15.*after \? x 15"):
        opened(tmp_path / "net.onnx")


def test_another_length_than_in_the_catalogue_is_an_error(tmp_path):
    write_seeing_network(tmp_path / "net.onnx", (112, 112), POINTS)
    with pytest.raises(ModelError, match=r"\? x 512: found .*vector \? x 15"):
        opened(tmp_path / "net.onnx", dimensions=512)


def test_a_length_missing_in_the_file_is_checked_with_the_first_output(tmp_path):
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    path = tmp_path / "net.onnx"
    write_seeing_network(path, (112, 112), POINTS)
    model = onnx.load(str(path))
    model.graph.initializer.append(numpy_helper.from_array(np.ones(15, bool), "all"))
    model.graph.node.append(helper.make_node("Compress", ["vector", "all"], ["chosen"], axis=1))
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info("chosen", TensorProto.FLOAT, (None, None)))
    onnx.save(model, str(path))
    assert opened(path).embed(crops_of((112, 112))).shape == (3, 15)
    with pytest.raises(ModelError, match=r"15 .*512"):
        opened(path, dimensions=512).embed(crops_of((112, 112)))
