"""The architectures: their size, how their weights are recognised, and that every way to run them agrees."""

import numpy as np
import pytest
from made_networks import random_arrays, run_onnx

from app.tools.importing.architectures import (
    ARCHITECTURES,
    dsfd_on_resnet,
    iresnet_with,
    mobilefacenet_of_insightface,
    public_mobilefacenet,
    recognise,
    retinaface_on_mobilenet,
)
from app.tools.importing.references import largest_difference, numpy_outputs
from app.tools.importing.weights import Weights

SMALL = {
    "RetinaFace, ReLU": retinaface_on_mobilenet(0.0),
    "RetinaFace, LeakyReLU": retinaface_on_mobilenet(0.1),
    "DSFD": dsfd_on_resnet((1, 2, 1, 1), 4),
    "MobileFaceNet 112 x 96": public_mobilefacenet(64, 6),
    "InsightFace's MobileFaceNet": mobilefacenet_of_insightface(96, (1, 1, 1, 1), 64),
    "InsightFace's MobileFaceNet, large": mobilefacenet_of_insightface(96, (2, 1, 1, 1), 128),
    "IResNet of one block a stage": iresnet_with((1, 1, 1, 1), 32),
}


def images_for(architecture, count=1):
    width, height = architecture.crop or (96, 64)
    return np.random.default_rng(1).uniform(-1, 1, (count, 3, height, width)).astype(np.float32)


def sizes(architecture):
    return {name: int(np.prod(shape)) for name, shape in architecture.weight_shapes().items()}


@pytest.mark.parametrize(
    ("name", "millions"),
    [
        ("retinaface_mnet025", 0.43),
        ("retinaface_r50", 27.29),
        ("dsfd_r152", 120.06),
        ("arcface_r50", 43.59),
        ("arcface_r100", 65.16),
        ("mobilefacenet", 1.00),
        ("insightface_mobilefacenet", 2.06),
    ],
)
def test_they_have_as_many_parameters_as_their_authors_say(name, millions):
    learned = [size for key, size in sizes(ARCHITECTURES[name]()).items() if "running" not in key]
    assert round(sum(learned) / 1e6, 2) == millions


@pytest.mark.parametrize("architecture", [*(make() for make in ARCHITECTURES.values()), *SMALL.values()])
def test_they_are_recognised_by_the_names_and_sizes_of_their_weights(architecture):
    found = recognise(sizes(architecture))
    assert found.weight_shapes() == architecture.weight_shapes()
    assert (found.name, found.crop) == (architecture.name, architecture.crop)


def test_other_weights_are_not_recognised():
    assert recognise({"conv1.weight": 9408, "fc.weight": 512000}) is None


@pytest.mark.parametrize("name", SMALL)
def test_the_graph_computes_what_numpy_computes(name):
    onnx_writer = pytest.importorskip("app.tools.importing.onnx_writer")
    pytest.importorskip("onnx")
    architecture = SMALL[name]
    arrays = random_arrays(architecture)
    images = images_for(architecture, count=2)
    expected = numpy_outputs(architecture, Weights(arrays), images)
    model = onnx_writer.write_onnx(architecture, Weights(arrays)).SerializeToString()
    assert largest_difference(expected, run_onnx(model, images)) < 1e-5


def test_the_slope_of_negative_values_matters():
    architecture = retinaface_on_mobilenet(0.0)
    arrays, images = random_arrays(architecture), images_for(architecture)
    plain = numpy_outputs(architecture, Weights(arrays), images)
    leaky = numpy_outputs(retinaface_on_mobilenet(0.1), Weights(arrays), images)
    assert largest_difference(plain, leaky) > 1e-2


def test_a_pixel_is_carried_to_the_anchors_of_its_cell():
    """Rows go stride by stride, cell by cell, and the two anchors of a cell in turn."""
    architecture = retinaface_on_mobilenet()
    arrays = {name: np.zeros_like(array) for name, array in random_arrays(architecture).items()}
    for name in arrays:
        if name.endswith("running_var"):
            arrays[name] += 1
    for level in range(3):
        arrays[f"BboxHead.{level}.conv1x1.bias"] = np.arange(8, dtype=np.float32) + 10 * level
    loc = numpy_outputs(architecture, Weights(arrays), np.zeros((1, 3, 32, 64)))["loc"][0]
    assert loc.shape == (2 * (32 + 8 + 2), 4)
    assert loc[0].tolist() == [0, 1, 2, 3] and loc[1].tolist() == [4, 5, 6, 7]
    assert loc[64].tolist() == [10, 11, 12, 13] and loc[-1].tolist() == [24, 25, 26, 27]
