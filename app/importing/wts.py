"""`.wts` text files: as many lines as the first one says, each `name count hex hex …`, big-endian float32."""

from __future__ import annotations

import binascii
import re
from pathlib import Path
from typing import Dict, Tuple

import numpy as np

from app.errors import ModelError

_MXNET_PARTS = (
    ("_gamma", ".weight"),
    ("_beta", ".bias"),
    ("_moving_mean", ".running_mean"),
    ("_moving_var", ".running_var"),
    ("_weight", ".weight"),
    ("_bias", ".bias"),
)
_MXNET_LAYERS = (
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
MXNET_EPSILON = 2e-5
MXNET_DIVISOR = 128.0
"""InsightFace's MXNet networks normalise with this epsilon, and take (pixel - 127.5) / 128."""


def read_wts(path: Path) -> Dict[str, np.ndarray]:
    """All weights, flat: the format keeps no shapes."""
    arrays: Dict[str, np.ndarray] = {}
    with path.open("rb") as file:
        first = file.readline(100).strip()
        if not first.isdigit():
            raise ModelError(f"{path}: a .wts file begins with the number of its weights, this one with {first!r}")
        for line in file:
            if line.strip():
                name, values = _weights(path, line, len(arrays) + 2)
                arrays[name] = values
    if len(arrays) != int(first):
        raise ModelError(
            f"{path}: the file says that it has {int(first)} weights, but {len(arrays)} are there; is it complete?"
        )
    return arrays


def _weights(path: Path, line: bytes, number: int) -> Tuple[str, np.ndarray]:
    parts = line.split(None, 2)
    if len(parts) < 2 or not parts[1].isdigit():
        raise ModelError(f"{path}, line {number}: expected a name, a number and hexadecimal values")
    name, count = parts[0].decode("utf-8", "replace"), int(parts[1])
    digits = parts[2] if len(parts) == 3 else b""
    try:
        values = binascii.unhexlify(b"".join(digits.split()))
    except binascii.Error as error:
        raise ModelError(f"{path}, line {number}: {name} holds something that is not hexadecimal") from error
    if len(values) != 4 * count:
        raise ModelError(
            f"{path}, line {number}: {name} should have {count} values, {len(values) // 4} are there; is it complete?"
        )
    return name, np.frombuffer(values, ">f4").astype(np.float32)


def is_mxnet(arrays: Dict[str, np.ndarray]) -> bool:
    return any(name.endswith("_moving_var") for name in arrays)


def named_as_in_pytorch(path: Path, arrays: Dict[str, np.ndarray]) -> Dict[str, np.ndarray]:
    """InsightFace's MXNet ResNets for ArcFace under the names of the same network in PyTorch."""
    if "stage4_unit1_bn1_gamma" not in arrays or "pre_fc1_weight" not in arrays:
        raise ModelError(
            f"{path}: these are weights of an MXNet network other than ArcFace's ResNets (conv0, stage1_unit1_bn1 … "
            "pre_fc1, fc1).\n  its layers cannot be told for certain from their names (for MobileFaceNet even the "
            "normalisation's epsilon is not in the file): export the network as ONNX and import that"
        )
    return {_renamed(name): values for name, values in arrays.items()}


def _renamed(name: str) -> str:
    part = next(((old, new) for old, new in _MXNET_PARTS if name.endswith(old)), None)
    if part is None:
        return name
    layer = name[: -len(part[0])]
    for pattern, ours in _MXNET_LAYERS:
        if re.search(pattern, layer):
            layer = re.sub(pattern, ours, layer)
            break
    unit = re.match(r"stage(\d)_unit(\d+)", layer)
    if unit:
        layer = f"layer{unit.group(1)}.{int(unit.group(2)) - 1}{layer[unit.end() :]}"
    return layer + part[1]
