"""Which family a network belongs to, from the names and shapes of its inputs and outputs.

Exporters rename outputs and drop or keep the batch dimension, but the number of outputs and the values of each per
anchor stay. `match_outputs` maps outputs to their roles for a family's class; `detect_family` guesses the family of an
unknown file.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

import numpy as np

from app.errors import ModelError
from app.inference.engine import Engine, TensorSpec

FLAT = (2, 3)
"""Ranks of outputs with one row per anchor: with or without a batch dimension."""
MAPS = (4,)
"""Rank of outputs with one channel per value: batch x channels x rows x columns."""

OutputNames = Dict[str, Tuple[str, ...]]
"""By role, such as `score`: the names of its outputs, one per stride in any order."""


@dataclass(frozen=True)
class OutputLayout:
    """One variant of a family's outputs."""

    ranks: Tuple[int, ...]
    channels: Mapping[str, int]
    """By role, in the order of the network's outputs: the number of values per anchor (maps: per cell)."""


@dataclass(frozen=True)
class DetectorFamily:
    """What the networks of one family of detectors have in common."""

    title: str
    expected: str
    """Its outputs, for error messages."""
    strides: int
    layouts: Tuple[OutputLayout, ...]
    patterns: Mapping[str, str]
    """By role: what the names of its outputs match, if the exporter kept them."""
    facts: Mapping[str, Any]
    """Its networks' usual preprocessing and so on, by the catalogue's keys."""
    unsure: Tuple[str, ...] = ()
    """Keys of `facts` in which networks of this family differ although their outputs look the same."""


@dataclass(frozen=True)
class FamilyMatch:
    """A family that a network may belong to."""

    task: str
    family: str
    facts: Mapping[str, Any] = field(default_factory=dict)
    """Values for the catalogue entry, by its keys."""
    unsure: Tuple[str, ...] = ()
    """Keys of `facts` that the shapes do not prove, for the user to check."""
    input_size: Optional[Tuple[int, int]] = None
    """Width and height that the network is fixed to; None: any size."""


_RGB = {"channels": "rgb", "mean": [127.5, 127.5, 127.5], "divisor": 128}
_RAW_RGB = {"channels": "rgb", "mean": [0, 0, 0], "divisor": 1}
_RAW_BGR = {"channels": "bgr", "mean": [0, 0, 0], "divisor": 1}

DETECTOR_FAMILIES: Mapping[str, DetectorFamily] = {
    "retinaface": DetectorFamily(
        title="RetinaFace (PyTorch)",
        expected="loc, conf and landms with 4, 2 and 10 values per anchor",
        strides=1,
        layouts=(OutputLayout(FLAT, {"loc": 4, "conf": 2, "landms": 10}),),
        patterns={"loc": r"^loc|bbox", "conf": r"^conf|^cls", "landms": r"^land|^ldm"},
        facts={
            "channels": "bgr",
            "mean": [104, 117, 123],
            "divisor": 1,
            "min_sizes": [[16, 32], [64, 128], [256, 512]],
        },
        unsure=("min_sizes",),
    ),
    "retinaface_mxnet": DetectorFamily(
        title="RetinaFace (MXNet)",
        expected="cls_prob, bbox_pred and landmark_pred (and type_prob for masks) with 4, 8 and 20 (and 6) channels "
        "for each of three strides",
        strides=3,
        layouts=(
            OutputLayout(MAPS, {"score": 4, "box": 8, "landmarks": 20}),
            OutputLayout(MAPS, {"score": 4, "box": 8, "landmarks": 20, "mask": 6}),
        ),
        patterns={"score": "cls_prob", "box": "bbox_pred", "landmarks": "landmark_pred", "mask": "type_prob"},
        facts={**_RAW_RGB, "landmark_scale": 1.0},
        unsure=("landmark_scale",),
    ),
    "scrfd": DetectorFamily(
        title="SCRFD",
        expected="score, bbox and, with landmarks, kps with 1, 4 and 10 values per anchor for each of three strides "
        "(or as maps with 2, 8 and 20 channels)",
        strides=3,
        layouts=(
            OutputLayout(FLAT, {"score": 1, "box": 4, "landmarks": 10}),
            OutputLayout(FLAT, {"score": 1, "box": 4}),
            OutputLayout(MAPS, {"score": 2, "box": 8, "landmarks": 20}),
            OutputLayout(MAPS, {"score": 2, "box": 8}),
        ),
        patterns={"score": "^score", "box": "^bbox", "landmarks": "^kps"},
        facts=_RGB,
    ),
    "centerface": DetectorFamily(
        title="CenterFace",
        expected="heat map, scale, offset and, with landmarks, landmarks as maps with 1, 2, 2 and 10 channels",
        strides=1,
        layouts=(
            OutputLayout(MAPS, {"score": 1, "scale": 2, "offset": 2, "landmarks": 10}),
            OutputLayout(MAPS, {"score": 1, "scale": 2, "offset": 2}),
        ),
        patterns={"score": "heat", "scale": "scale", "offset": "offset", "landmarks": "landmark"},
        facts=_RAW_RGB,
    ),
    "dsfd": DetectorFamily(
        title="DSFD",
        expected="loc and conf with 4 and 2 values per anchor for each of six strides",
        strides=6,
        layouts=(OutputLayout(FLAT, {"box": 4, "score": 2}),),
        patterns={"box": "^loc", "score": "^conf"},
        facts={"channels": "bgr", "mean": [104, 117, 123], "divisor": 1},
    ),
    "yunet": DetectorFamily(
        title="YuNet",
        expected="cls, obj, bbox and kps with 1, 1, 4 and 10 values per cell for each of three strides",
        strides=3,
        layouts=(OutputLayout(FLAT, {"score": 1, "objectness": 1, "box": 4, "landmarks": 10}),),
        patterns={"score": "^cls", "objectness": "^obj", "box": "^bbox", "landmarks": "^kps"},
        facts=_RAW_BGR,
    ),
}

_SMALLEST_EMBEDDING = 64
_PUBLIC_MOBILEFACENET = ((96, 112), 128)
"""Crop and dimensions of the one common embedder whose divisor is 128."""


def detect_family(inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]) -> Tuple[FamilyMatch, ...]:
    """The families that a network with these inputs and outputs may belong to; empty if it is of none."""
    if not takes_images(inputs):
        return ()
    height, width = inputs[0].shape[2:]
    size = (width, height) if width and height else None
    found = []
    for name, family in DETECTOR_FAMILIES.items():
        names = _match(family, outputs)
        if names is not None:
            facts = dict(family.facts)
            if "mask" in names:
                facts["landmark_scale"] = 0.2
            found.append(FamilyMatch("detection", name, facts, family.unsure, size))
    return tuple(found) or _match_embedder(size, outputs)


def match_outputs(name: str, engine: Engine) -> OutputNames:
    """The outputs of this family by role. Raises ModelError for a network of another family."""
    family = DETECTOR_FAMILIES[name]
    names = _match(family, engine.outputs)
    if names is not None:
        return names
    likely = " or ".join(match.family for match in detect_family(engine.inputs, engine.outputs))
    advice = f"it looks like family {likely}" if likely else "it is of no family that this program knows"
    raise ModelError(
        f"this is not a {family.title} network: expected {family.expected},\n"
        f"  found {', '.join(map(str, engine.outputs))};\n"
        f"  {advice}: check the family in the model's catalogue entry"
    )


def takes_images(inputs: Sequence[TensorSpec]) -> bool:
    """Whether a network has a single input N x 3 x height x width of float32."""
    shapes = [tensor.shape for tensor in inputs]
    return len(shapes) == 1 and len(shapes[0]) == 4 and shapes[0][1] in (3, None) and inputs[0].dtype == np.float32


def _match(family: DetectorFamily, outputs: Sequence[TensorSpec]) -> Optional[OutputNames]:
    for layout in family.layouts:
        names = _match_by_name(family, layout, outputs) or _match_by_channels(family, layout, outputs)
        if names is not None:
            return names
    return None


def _match_by_name(
    family: DetectorFamily, layout: OutputLayout, outputs: Sequence[TensorSpec]
) -> Optional[OutputNames]:
    """Names decide unless a known shape contradicts them, so shapes may be unknown."""
    found: OutputNames = {}
    for role, pattern in family.patterns.items():
        matching = [output for output in outputs if re.search(pattern, output.name, re.IGNORECASE)]
        if len(matching) != (family.strides if role in layout.channels else 0):
            return None
        for output in matching:
            has_rank = not output.shape or len(output.shape) in layout.ranks
            if not has_rank or _channels(output) not in (None, layout.channels[role]):
                return None
        if matching:
            found[role] = tuple(output.name for output in matching)
    return found


def _match_by_channels(
    family: DetectorFamily, layout: OutputLayout, outputs: Sequence[TensorSpec]
) -> Optional[OutputNames]:
    """If two roles have the same number of channels, the order of the outputs decides."""
    remaining: Dict[int, List[str]] = {}
    for output in outputs:
        channels = _channels(output)
        if channels is None or len(output.shape) not in layout.ranks:
            return None
        remaining.setdefault(channels, []).append(output.name)
    found: OutputNames = {}
    for role, channels in layout.channels.items():
        names = remaining.get(channels, [])
        found[role], remaining[channels] = tuple(names[: family.strides]), names[family.strides :]
        if len(found[role]) != family.strides:
            return None
    return None if any(remaining.values()) else found


def _channels(output: TensorSpec) -> Optional[int]:
    """The number of values per anchor or cell; None if the file does not say."""
    if not output.shape:
        return None
    return output.shape[1 if len(output.shape) in MAPS else -1] or None


def _match_embedder(size: Optional[Tuple[int, int]], outputs: Sequence[TensorSpec]) -> Tuple[FamilyMatch, ...]:
    if size is None or len(outputs) != 1:
        return ()
    dimensions = [side for side in outputs[0].shape[1:] if side != 1]
    if len(dimensions) != 1 or dimensions[0] is None or dimensions[0] < _SMALLEST_EMBEDDING or min(size) > 128:
        return ()
    facts = {
        "channels": "rgb",
        "mean": [127.5, 127.5, 127.5],
        "divisor": 128 if (size, dimensions[0]) == _PUBLIC_MOBILEFACENET else 127.5,
        "crop": list(size),
        "dimensions": dimensions[0],
    }
    return (FamilyMatch("embedding", "arcface", facts, ("channels", "mean", "divisor"), size),)
