"""`.wts` text files, as they come from PyTorch and from MXNet."""

import re
import tracemalloc

import numpy as np
import pytest
from made_networks import random_arrays, run_onnx, write_wts

from app.errors import ModelError
from app.tools.importing.architectures import iresnet_with, matching_architecture
from app.tools.importing.drafts import ImportOptions
from app.tools.importing.importer import import_file
from app.tools.importing.weights import Weights
from app.tools.importing.wts import is_mxnet, read_wts, with_pytorch_names


def test_values_come_back_bit_for_bit(tmp_path):
    arrays = {"a.weight": np.array([1.5, -2.25e-30, 3e38], np.float32), "a.bias": np.zeros(1, np.float32)}
    found = read_wts(write_wts(tmp_path / "net.wts", arrays))
    assert {name: values.tolist() for name, values in found.items()} == {
        name: values.tolist() for name, values in arrays.items()
    }


def test_two_blanks_between_values_and_at_the_end_do_no_harm(tmp_path):
    path = tmp_path / "net.wts"
    path.write_bytes(b"1\na 2  3f800000 40000000 \n\n")
    assert read_wts(path)["a"].tolist() == [1, 2]


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"2\na 1 3f800000\n", "2 weights, found 1"),
        (b"1\na 2 3f800000\n", "line 2: expected 2 values of a, found 1"),
        (b"1\na 1 zzzzzzzz\n", "line 2"),
        (b"1\na 3f800000\n", "line 2"),
        (b"hello\n", "number of its weights"),
    ],
)
def test_a_damaged_file_says_where(tmp_path, content, complaint):
    path = tmp_path / "net.wts"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=re.escape(complaint)):
        read_wts(path)


@pytest.mark.parametrize("beginning", [b"1\na 1 ", b"1\na ", b"1\n", b"1" * 90, b"1\na 99999999999999999999 ", b""])
def test_a_line_without_end_is_not_read_whole(tmp_path, beginning):
    path = tmp_path / "net.wts"
    with path.open("wb") as file:
        file.write(beginning)
        file.write(b"0" * 20_000_000)
    tracemalloc.start()
    try:
        with pytest.raises(ModelError):
            read_wts(path)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


def test_many_values_take_little_more_memory_than_their_text(tmp_path):
    path = tmp_path / "net.wts"
    path.write_bytes(b"1\na 1000000" + b" 3f800000" * 1_000_000 + b"\n")
    tracemalloc.start()
    try:
        assert read_wts(path)["a"].shape == (1_000_000,)
        assert tracemalloc.get_traced_memory()[1] < 4 * 9_000_000
    finally:
        tracemalloc.stop()


MXNET_NAMES = {
    "conv1.weight": "conv0_weight",
    "bn1.running_var": "bn0_moving_var",
    "prelu.weight": "relu0_gamma",
    "layer1.0.bn1.weight": "stage1_unit1_bn1_gamma",
    "layer1.0.conv1.weight": "stage1_unit1_conv1_weight",
    "layer1.0.bn2.bias": "stage1_unit1_bn2_beta",
    "layer1.0.prelu.weight": "stage1_unit1_relu1_gamma",
    "layer1.0.conv2.weight": "stage1_unit1_conv2_weight",
    "layer1.0.bn3.running_mean": "stage1_unit1_bn3_moving_mean",
    "layer1.0.downsample.0.weight": "stage1_unit1_conv1sc_weight",
    "layer1.0.downsample.1.weight": "stage1_unit1_sc_gamma",
    "layer3.13.bn1.weight": "stage3_unit14_bn1_gamma",
    "bn2.weight": "bn1_gamma",
    "fc.weight": "pre_fc1_weight",
    "fc.bias": "pre_fc1_bias",
    "features.running_mean": "fc1_moving_mean",
}
REQUIRED = ("stage4_unit1_bn1_gamma", "pre_fc1_weight")


def test_mxnets_names_become_pytorchs(tmp_path):
    arrays = {theirs: np.array([number], np.float32) for number, theirs in enumerate(MXNET_NAMES.values())}
    arrays.update({name: arrays.get(name, np.zeros(1, np.float32)) for name in REQUIRED})
    assert is_mxnet(arrays)
    renamed = with_pytorch_names(tmp_path, arrays)
    for number, ours in enumerate(MXNET_NAMES):
        assert renamed[ours].tolist() == [number], ours


def in_mxnet(name):
    """One of our names, the other way round and written independently."""
    layer, part = name.rsplit(".", 1)
    block = re.match(r"layer(\d)\.(\d+)\.(.*)", layer)
    outside = {"conv1": "conv0", "bn1": "bn0", "prelu": "relu0", "bn2": "bn1", "fc": "pre_fc1", "features": "fc1"}
    if block:
        inner = {"prelu": "relu1", "downsample.0": "conv1sc", "downsample.1": "sc"}.get(block[3], block[3])
        layer = f"stage{block[1]}_unit{int(block[2]) + 1}_{inner}"
    else:
        layer = outside[layer]
    is_plain = re.search(r"(conv\w*|pre_fc1)$", layer)
    ends = {"weight": "weight" if is_plain else "gamma", "bias": "bias" if is_plain else "beta"}
    return f"{layer}_{ {**ends, 'running_mean': 'moving_mean', 'running_var': 'moving_var'}[part] }".replace(" ", "")


def test_a_whole_mxnet_resnet_fits_the_architecture(tmp_path):
    architecture = iresnet_with((1, 2, 1, 1), 32)
    arrays = random_arrays(architecture)
    flat = {in_mxnet(name): array.ravel() for name, array in arrays.items()}
    renamed = with_pytorch_names(tmp_path, flat)
    found = matching_architecture(tmp_path, renamed)
    assert found.options == architecture.options
    weights = Weights(renamed)
    for name, shape in architecture.weight_shapes().items():
        assert np.array_equal(weights.take(name, shape), arrays[name]), name


def mxnets_mobilefacenet(generator):
    """Weights and running statistics under MXNet's names, layer by layer as InsightFace's definition has them."""
    arrays = {}

    def layer(name, weight, activation=True):
        count = weight[0]
        arrays[f"{name}_conv2d_weight"] = generator.standard_normal(weight) / np.sqrt(np.prod(weight[1:]))
        for part, low, high in (("gamma", 0.5, 1.5), ("beta", -1, 1), ("moving_mean", -1, 1), ("moving_var", 1e-3, 1)):
            arrays[f"{name}_batchnorm_{part}"] = generator.uniform(low, high, count)
        if activation:
            arrays[f"{name}_relu_gamma"] = generator.uniform(0, 0.5, count)

    def block(name, inputs, inner, outputs):
        layer(f"{name}_conv_sep", (inner, inputs, 1, 1))
        layer(f"{name}_conv_dw", (inner, 1, 3, 3))
        layer(f"{name}_conv_proj", (outputs, inner, 1, 1), activation=False)

    layer("conv_1", (64, 3, 3, 3))
    layer("conv_2_dw", (64, 1, 3, 3))
    for stage, (inputs, first, outputs, inner, count) in MXNETS_STAGES.items():
        block(f"dconv_{stage - 1}{stage}", inputs, first, outputs)
        for number in range(count):
            block(f"res_{stage}_block{number}", outputs, inner, outputs)
    layer("conv_6sep", (512, 128, 1, 1))
    layer("conv_6dw7_7", (512, 1, 7, 7), activation=False)
    arrays["pre_fc1_weight"] = generator.standard_normal((128, 512)) / 20
    arrays["pre_fc1_bias"] = generator.uniform(-1, 1, 128)
    for part, low, high in (("gamma", 1, 1), ("beta", -1, 1), ("moving_mean", -1, 1), ("moving_var", 1e-4, 1)):
        arrays[f"fc1_{part}"] = generator.uniform(low, high, 128)
    return {name: values.astype(np.float32) for name, values in arrays.items()}


MXNETS_STAGES = {3: (64, 128, 64, 128, 4), 4: (64, 256, 128, 256, 6), 5: (128, 512, 128, 256, 2)}
"""Planes before, inner planes of the first block, planes behind, inner planes of the others, number of the others."""


def answer_of_mxnets_mobilefacenet(arrays, image):
    """By another way than the program's: matrix products of what lies under the kernel, in double precision."""

    def normalised(maps, name, epsilon):
        gamma, beta, mean, variance = (
            arrays[f"{name}_{part}"].astype(np.float64).reshape(-1, *(1,) * (maps.ndim - 1))
            for part in ("gamma", "beta", "moving_mean", "moving_var")
        )
        return gamma * (maps - mean) / np.sqrt(variance + epsilon) + beta

    def layer(maps, name, stride=1, padding=0):
        weight = arrays[f"{name}_conv2d_weight"].astype(np.float64)
        outputs, inputs, kernel, _ = weight.shape
        padded = np.pad(maps, ((0, 0), (padding, padding), (padding, padding)))
        side = (padded.shape[1] - kernel) // stride + 1
        seen = np.stack(
            [
                padded[:, row : row + stride * side : stride, column : column + stride * side : stride]
                for row in range(kernel)
                for column in range(kernel)
            ],
            axis=1,
        )[..., :side, :side]
        flat = weight.reshape(outputs, inputs, -1)
        equation = "ok,okxy->oxy" if inputs == 1 else "oik,ikxy->oxy"
        maps = np.einsum(equation, flat[:, 0] if inputs == 1 else flat, seen, optimize=True)
        maps = normalised(maps, f"{name}_batchnorm", 1e-3)
        slopes = arrays.get(f"{name}_relu_gamma")
        return maps if slopes is None else np.maximum(maps, 0) + slopes.reshape(-1, 1, 1) * np.minimum(maps, 0)

    def block(maps, name, stride):
        inner = layer(layer(maps, f"{name}_conv_sep"), f"{name}_conv_dw", stride, 1)
        return layer(inner, f"{name}_conv_proj")

    maps = layer(layer(image.astype(np.float64), "conv_1", 2, 1), "conv_2_dw", 1, 1)
    for stage, (*_, count) in MXNETS_STAGES.items():
        maps = block(maps, f"dconv_{stage - 1}{stage}", 2)
        for number in range(count):
            maps = maps + block(maps, f"res_{stage}_block{number}", 1)
    vector = layer(layer(maps, "conv_6sep"), "conv_6dw7_7").ravel()
    return normalised(arrays["pre_fc1_weight"] @ vector + arrays["pre_fc1_bias"], "fc1", 2e-5)


@pytest.mark.parametrize("last", ["pre_fc1_weight", "fc1_weight"], ids=["InsightFace's name", "tensorrtx's name"])
def test_mobilefacenet_from_mxnet_has_the_outputs_of_the_trained_network(tmp_path, catalog_path, messages, last):
    pytest.importorskip("onnx")
    generator = np.random.default_rng(0)
    arrays = mxnets_mobilefacenet(generator)
    stored = {last if name == "pre_fc1_weight" else name: values for name, values in arrays.items()}
    path = write_wts(tmp_path / "arcface-mobilefacenet.wts", stored)
    entry = import_file(path, catalog_path, ImportOptions(), messages.append).entry
    pixels = entry.preprocessing
    assert (entry.family, entry.crop, entry.dimensions) == ("arcface", (112, 112), 128)
    assert (pixels.channels, pixels.mean, pixels.divisor) == ("rgb", (127.5, 127.5, 127.5), 128)
    image = generator.uniform(-1, 1, (3, 112, 112)).astype(np.float32)
    found = run_onnx(entry.verified_file().read_bytes(), image[None])["embedding"][0]
    expected = answer_of_mxnets_mobilefacenet(arrays, image)
    assert np.abs(found - expected).max() < 1e-4 * np.abs(expected).max()


def test_mxnets_mobilefacenet_with_other_blocks_is_refused(tmp_path):
    arrays = mxnets_mobilefacenet(np.random.default_rng(0))
    longer = {name.replace("res_5_block1", "res_5_block2"): values for name, values in arrays.items()}
    with pytest.raises(ModelError, match="not expected: res_5_block2_conv_sep_conv2d"):
        matching_architecture(tmp_path, with_pytorch_names(tmp_path, {**arrays, **longer}))


def test_other_networks_of_mxnet_are_refused_by_name(tmp_path):
    with pytest.raises(ModelError, match=r"MobileFaceNet[\s\S]*ONNX"):
        with_pytorch_names(tmp_path / "densenet.wts", {"conv0_weight": np.zeros(1), "bn0_moving_var": np.ones(1)})
