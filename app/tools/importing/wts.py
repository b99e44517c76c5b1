"""`.wts` text files: the number of weights, then a line for each, `name count hex hex …`, big-endian float32."""

from __future__ import annotations

import binascii
import re
from pathlib import Path
from typing import BinaryIO, Dict, Tuple

import numpy as np

from app.errors import ModelError
from app.text import printable, shortened

MAX_WEIGHTS = 100_000
_MAX_DIGITS = 8
"""Of the number of weights, and of the values of one: a hundred million are 400 MB."""
_BEGINNING = 1000
"""Bytes that hold the name and the number of values."""

_MXNET_PARTS = {
    "_gamma": ".weight",
    "_beta": ".bias",
    "_moving_mean": ".running_mean",
    "_moving_var": ".running_var",
    "_weight": ".weight",
    "_bias": ".bias",
}
_RESNET_LAYERS = (
    (r"^conv0$", "conv1"),
    (r"^bn0$", "bn1"),
    (r"^relu0$", "prelu"),
    (r"^bn1$", "bn2"),
    (r"^pre_fc1$", "fc"),
    (r"^fc1$", "features"),
    (r"_conv1sc$", ".downsample.0"),
    (r"_sc$", ".downsample.1"),
    (r"_relu1$", ".prelu"),
    (r"_(bn[123]|conv[12])$", r".\1"),
)
_MOBILEFACENET_LAYERS = {"conv_1": "conv1", "conv_2_dw": "dw_conv1", "conv_6sep": "conv2", "conv_6dw7_7": "linear7"}
_MOBILEFACENET_BLOCKS = [
    block
    for stage, count in (("23", 4), ("34", 6), ("45", 2))
    for block in (f"dconv_{stage}", *(f"res_{stage[1]}_block{number}" for number in range(count)))
]
_BLOCK_PARTS = ("sep", "dw", "proj")
_LAYER_PARTS = {"conv2d": "conv", "batchnorm": "bn", "relu": "prelu"}


def read_wts(path: Path) -> Dict[str, np.ndarray]:
    """All weights as flat arrays: the format has no shapes."""
    arrays: Dict[str, np.ndarray] = {}
    with path.open("rb") as file:
        first = file.readline(100).strip()
        if not first.isdigit() or len(first) > _MAX_DIGITS:
            raise ModelError(f"{path}: a .wts file starts with the number of its weights, this one with {first!r}")
        while len(arrays) < MAX_WEIGHTS:
            beginning = file.readline(_BEGINNING)
            if not beginning:
                break
            if beginning.strip():
                name, values = _read_weight(path, file, beginning, len(arrays) + 2)
                arrays[name] = values
    if len(arrays) != int(first):
        raise ModelError(f"{path}: expected {int(first)} weights, found {len(arrays)}; is the file complete?")
    return arrays


def _read_weight(path: Path, file: BinaryIO, beginning: bytes, number: int) -> Tuple[str, np.ndarray]:
    """`beginning` is that of its line. No more is read than its count announces."""
    parts = beginning.split(None, 2)
    if len(parts) < 2 or not parts[1].isdigit() or len(parts[1]) > _MAX_DIGITS:
        raise ModelError(f"{path}, line {number}: expected a name, a number and hexadecimal values")
    name, count = shortened(printable(parts[0].decode("utf-8", "replace"))), int(parts[1])
    digits = parts[2] if len(parts) == 3 else b""
    if not beginning.endswith(b"\n"):
        # Up to two blanks between values.
        digits += file.readline(10 * count + _BEGINNING)
    try:
        values = binascii.unhexlify(digits.translate(None, b" \t\r\n\v\f"))
    except (binascii.Error, ValueError) as error:
        raise ModelError(f"{path}, line {number}: the values of {name} are not hexadecimal") from error
    if len(values) != 4 * count:
        raise ModelError(
            f"{path}, line {number}: expected {count} values of {name}, found {len(values) // 4}; is the file complete?"
        )
    return name, np.frombuffer(values, ">f4").astype(np.float32)


def is_mxnet(arrays: Dict[str, np.ndarray]) -> bool:
    return any(name.endswith("_moving_var") for name in arrays)


def with_pytorch_names(path: Path, arrays: Dict[str, np.ndarray]) -> Dict[str, np.ndarray]:
    """Renames the weights of InsightFace's MXNet networks for ArcFace to the names of the same network in PyTorch."""
    if "stage4_unit1_bn1_gamma" in arrays and "pre_fc1_weight" in arrays:
        renamed = _resnet_layer_name
    elif "conv_6dw7_7_conv2d_weight" in arrays:
        renamed = _mobilefacenet_layer_name
    else:
        raise ModelError(
            f"{path}: weights of an unknown MXNet network. Known are ArcFace's ResNets (conv0, stage1_unit1_bn1 … "
            "pre_fc1, fc1) and MobileFaceNet (conv_1, conv_2_dw, dconv_23 … conv_6dw7_7, pre_fc1, fc1). Export the "
            "network as ONNX and import that"
        )
    named = {}
    for name, values in arrays.items():
        part = next((old for old in _MXNET_PARTS if name.endswith(old)), "")
        named[renamed(name[: len(name) - len(part)], part) + _MXNET_PARTS.get(part, "")] = values
    return named


def _resnet_layer_name(layer: str, part: str) -> str:
    for pattern, ours in _RESNET_LAYERS:
        if re.search(pattern, layer):
            layer = re.sub(pattern, ours, layer)
            break
    unit = re.match(r"stage(\d)_unit(\d+)", layer)
    return f"layer{unit.group(1)}.{int(unit.group(2)) - 1}{layer[unit.end() :]}" if unit else layer


def _mobilefacenet_layer_name(layer: str, part: str) -> str:
    if layer in ("pre_fc1", "fc1"):
        return "linear1.conv" if layer == "pre_fc1" or part == "_weight" else "linear1.bn"
    rest, _, kind = layer.rpartition("_")
    block, _, place = rest.rpartition("_conv_")
    if kind in _LAYER_PARTS and rest in _MOBILEFACENET_LAYERS:
        return f"{_MOBILEFACENET_LAYERS[rest]}.{_LAYER_PARTS[kind]}"
    if kind in _LAYER_PARTS and block in _MOBILEFACENET_BLOCKS and place in _BLOCK_PARTS:
        number = 3 * _BLOCK_PARTS.index(place) + list(_LAYER_PARTS).index(kind)
        return f"blocks.{_MOBILEFACENET_BLOCKS.index(block)}.conv.{number}"
    return layer
