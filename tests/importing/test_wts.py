"""`.wts` text files, as they come from PyTorch and from MXNet."""

import re

import numpy as np
import pytest
from made_networks import random_arrays, write_wts

from app.errors import ModelError
from app.importing.architectures import iresnet_with
from app.importing.fitting import fitting_architecture
from app.importing.weights import Weights
from app.importing.wts import is_mxnet, named_as_in_pytorch, read_wts


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
        (b"2\na 1 3f800000\n", "2 weights, but 1 are there; is it complete"),
        (b"1\na 2 3f800000\n", "line 2: a should have 2 values, 1 are there"),
        (b"1\na 1 zzzzzzzz\n", "line 2: a holds something that is not hexadecimal"),
        (b"1\na 3f800000\n", "line 2: expected a name, a number"),
        (b"hello\n", "begins with the number of its weights"),
    ],
)
def test_a_damaged_file_says_where(tmp_path, content, complaint):
    path = tmp_path / "net.wts"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=re.escape(complaint)):
        read_wts(path)


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
    renamed = named_as_in_pytorch(tmp_path, arrays)
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
    renamed = named_as_in_pytorch(tmp_path, flat)
    found = fitting_architecture(tmp_path, renamed)
    assert found.options == architecture.options
    weights = Weights(renamed)
    for name, shape in architecture.weight_shapes().items():
        assert np.array_equal(weights.take(name, shape), arrays[name]), name


def test_mxnets_mobilefacenet_is_refused_by_name(tmp_path):
    arrays = {"conv_1_conv2d_weight": np.zeros(1), "conv_1_batchnorm_moving_var": np.ones(1)}
    with pytest.raises(ModelError, match=r"MobileFaceNet[\s\S]*ONNX"):
        named_as_in_pytorch(tmp_path / "mobile.wts", arrays)
