"""The architectures that weights can be imported into, and which of them the weights of a file belong to."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Callable, Dict, List, Mapping, Optional, Tuple

import numpy as np

from app.errors import ModelError
from app.tools.importing.architectures.dsfd import RESNET152_BLOCKS, dsfd
from app.tools.importing.architectures.dsfd import STRIDES as DSFD_STRIDES
from app.tools.importing.architectures.embedders import insightface_mobilefacenet, iresnet, mobilefacenet
from app.tools.importing.architectures.retinaface import retinaface_mnet025, retinaface_r50
from app.tools.importing.architectures.scrfd import STRIDES, VALUES, scrfd
from app.tools.importing.operations import PYTORCH_EPSILON, Declaration, Operations
from app.tools.importing.weights import COUNTER, DeclaredWeights


@dataclass(frozen=True)
class Architecture:
    """One network with all its sizes, and its preprocessing."""

    name: str
    title: str
    task: str
    family: str
    function: Callable[..., Dict[str, Any]]
    options: Mapping[str, Any] = field(default_factory=dict)
    crop: Optional[Tuple[int, int]] = None
    """Width and height of its input; None: any multiple of 32."""
    outputs: Mapping[str, Tuple[Any, ...]] = field(default_factory=dict)
    """Outputs of a detector, with their shapes without the batch."""
    channels: str = "rgb"
    mean: Tuple[float, float, float] = (127.5, 127.5, 127.5)
    divisor: float = 127.5
    epsilon: float = PYTORCH_EPSILON
    other_epsilons: Mapping[str, float] = field(default_factory=dict)
    """Normalisations with a different epsilon, by name."""

    def run(self, net: Operations, images: Any) -> Dict[str, Any]:
        return self.function(net, images, **self.options)

    def epsilon_of(self, norm: str) -> float:
        return self.other_epsilons.get(norm, self.epsilon)

    def weight_shapes(self) -> Dict[str, Tuple[int, ...]]:
        """The shapes of its weights by name."""
        weights = DeclaredWeights()
        self.run(Declaration(weights), None)
        return weights.shapes

    def output_shapes(self) -> Dict[str, Tuple[Any, ...]]:
        if self.task == "detection":
            return {name: ("batch", *shape) for name, shape in self.outputs.items()}
        return {"embedding": ("batch", self.dimensions)}

    @property
    def dimensions(self) -> int:
        """Length of an embedder's vector."""
        return int(self.options["dimensions"])


_DETECTOR = functools.partial(
    Architecture,
    task="detection",
    family="retinaface",
    channels="bgr",
    mean=(104.0, 117.0, 123.0),
    divisor=1.0,
    outputs={"loc": ("anchors", 4), "conf": ("anchors", 2), "landms": ("anchors", 10)},
)
_DSFD = functools.partial(
    Architecture,
    task="detection",
    family="dsfd",
    function=dsfd,
    channels="bgr",
    mean=(104.0, 117.0, 123.0),
    divisor=1.0,
    outputs={
        f"{name}_{stride}": (f"anchors_{stride}", values)
        for stride in DSFD_STRIDES
        for name, values in (("loc", 4), ("conf", 2))
    },
)
_SCRFD = functools.partial(
    Architecture,
    task="detection",
    family="scrfd",
    function=scrfd,
    divisor=128.0,
    outputs={
        f"{name}_{stride}": (f"anchors_{stride}", values) for name, values in VALUES.items() for stride in STRIDES
    },
)
_EMBEDDER = functools.partial(Architecture, task="embedding", family="arcface")

IRESNET_BLOCKS = {"r18": (2, 2, 2, 2), "r34": (3, 4, 6, 3), "r50": (3, 4, 14, 3), "r100": (3, 13, 30, 3)}


HARMLESS = ("body.fc.", "body.avg.")
"""Classifiers of the pretraining that some checkpoints still contain."""

_NAMES_SHOWN = 4


def retinaface_on_mobilenet(slope: float = 0.0) -> Architecture:
    kind = "ReLU" if slope == 0 else f"LeakyReLU {slope:g}"
    title = f"RetinaFace on MobileNet-0.25, {kind}"
    return _DETECTOR("retinaface_mnet025", title, function=retinaface_mnet025, options={"slope": slope})


def retinaface_on_resnet() -> Architecture:
    return _DETECTOR("retinaface_r50", "RetinaFace on ResNet-50", function=retinaface_r50)


def dsfd_on_resnet(blocks: Tuple[int, ...] = RESNET152_BLOCKS, width: int = 64) -> Architecture:
    depth = 2 + 3 * sum(blocks)
    options = {"blocks": tuple(blocks), "width": width}
    return _DSFD(f"dsfd_r{depth}", f"DSFD on ResNet-{depth}", options=options)


def public_mobilefacenet(dimensions: int = 128, columns: int = 7, *, bias: bool = False) -> Architecture:
    width = 16 * columns
    return _EMBEDDER(
        "mobilefacenet",
        f"MobileFaceNet for crops of 112 x {width}",
        function=mobilefacenet,
        options={"dimensions": dimensions, "columns": columns, "bias": bias},
        crop=(width, 112),
        divisor=128.0,
    )


def mobilefacenet_of_insightface(
    dimensions: int = 512, blocks: Tuple[int, ...] = (1, 4, 6, 2), width: int = 128
) -> Architecture:
    return _EMBEDDER(
        "insightface_mobilefacenet",
        "MobileFaceNet in InsightFace's layout",
        function=insightface_mobilefacenet,
        options={"dimensions": dimensions, "blocks": blocks, "width": width},
        crop=(112, 112),
    )


def iresnet_with(blocks: Tuple[int, ...], dimensions: int = 512) -> Architecture:
    names = [name for name, depths in IRESNET_BLOCKS.items() if depths == tuple(blocks)]
    name = names[0] if names else "r" + "_".join(map(str, blocks))
    return _EMBEDDER(
        f"arcface_{name}",
        f"InsightFace's I{name.replace('r', 'ResNet-', 1)} (ArcFace)",
        function=iresnet,
        options={"dimensions": dimensions, "blocks": tuple(blocks)},
        crop=(112, 112),
    )


def as_trained_in_mxnet(embedder: Architecture) -> Architecture:
    """The same network as InsightFace trained it in MXNet, with (pixel - 127.5) / 128 and its own epsilons.

    Files with weights do not contain the epsilons. The definitions of its ResNets use 2e-5 for all normalisations, that
    of its MobileFaceNet uses it for the last one only, and MXNet's default of 1e-3 for the others. (tensorrtx uses 2e-5
    for all of them, so that its outputs differ slightly from those of the trained network.)
    """
    if embedder.name == "mobilefacenet":
        return replace(embedder, epsilon=1e-3, other_epsilons={"linear1.bn": 2e-5}, divisor=128.0)
    return replace(embedder, epsilon=2e-5, divisor=128.0)


ARCHITECTURES: Dict[str, Callable[[], Architecture]] = {
    "retinaface_mnet025": retinaface_on_mobilenet,
    "retinaface_r50": retinaface_on_resnet,
    "dsfd_r152": dsfd_on_resnet,
    "arcface_r50": lambda: iresnet_with(IRESNET_BLOCKS["r50"]),
    "arcface_r100": lambda: iresnet_with(IRESNET_BLOCKS["r100"]),
    "mobilefacenet": public_mobilefacenet,
    "insightface_mobilefacenet": mobilefacenet_of_insightface,
}
"""By name, in their usual sizes."""

ONLY_MEASURED: Dict[str, Callable[[], Architecture]] = {
    "scrfd_500m": lambda: _SCRFD(
        "scrfd_500m",
        "SCRFD 500M",
        options={
            "blocks": (2, 3, 2, 6),
            "planes": (40, 72, 152, 288),
            "width": 16,
            "head": (2, 64),
            "separable": True,
        },
    ),
    "scrfd_2.5g": lambda: _SCRFD(
        "scrfd_2.5g",
        "SCRFD 2.5G",
        options={"blocks": (3, 5, 3, 2), "planes": (24, 48, 48, 80), "width": 24, "head": (2, 64)},
    ),
    "scrfd_10g": lambda: _SCRFD(
        "scrfd_10g",
        "SCRFD 10G",
        options={"blocks": (3, 4, 2, 3), "planes": (56, 88, 88, 224), "width": 56, "head": (3, 80)},
    ),
}
"""Networks whose speed can be measured with random weights. They are published as ONNX, not as checkpoints."""


def recognise(sizes: Mapping[str, int]) -> Optional[Architecture]:
    """The architecture with weights of these names. `sizes`: the number of values of each."""
    if "body.stage1.0.0.weight" in sizes and "fpn.output1.0.weight" in sizes:
        return retinaface_on_mobilenet()
    if "body.layer4.2.conv3.weight" in sizes and "fpn.output1.0.weight" in sizes:
        return retinaface_on_resnet()
    if "layer1.4.0.conv1.weight" in sizes and "cpm3_3.cpm1.weight" in sizes:
        blocks = [_count(sizes, rf"layer{stage}\.{4 if stage == 1 else 0}\.(\d+)\.conv1") for stage in (1, 2, 3, 4)]
        return dsfd_on_resnet(tuple(blocks), sizes["layer1.0.weight"] // (3 * 7 * 7))
    if "linear7.conv.weight" in sizes and "linear1.conv.weight" in sizes:
        dimensions, columns = sizes["linear1.conv.weight"] // 512, sizes["linear7.conv.weight"] // (512 * 7)
        return public_mobilefacenet(dimensions, columns, bias="linear1.conv.bias" in sizes)
    if "conv_sep.layers.0.weight" in sizes and "features.layers.2.weight" in sizes:
        blocks = [_count(sizes, rf"layers\.{layer}\.layers\.(\d+)\.layers\.2\.") for layer in (1, 3, 5, 7)]
        width = sizes["layers.0.layers.0.weight"] // (3 * 3 * 3)
        dimensions = sizes["features.layers.2.weight"] // 512
        return mobilefacenet_of_insightface(dimensions, (blocks[0] or 1, *blocks[1:]), width)
    if "layer1.0.prelu.weight" in sizes and "fc.weight" in sizes:
        blocks = [_count(sizes, rf"layer{stage}\.(\d+)\.") for stage in (1, 2, 3, 4)]
        return iresnet_with(tuple(blocks), sizes["fc.weight"] // (512 * 7 * 7))
    return None


def _count(names: Mapping[str, int], pattern: str) -> int:
    """The number of different values of the pattern's group."""
    return len({match.group(1) for match in map(re.compile(pattern).match, names) if match})


def matching_architecture(path: Path, arrays: Mapping[str, np.ndarray]) -> Architecture:
    """The architecture that has exactly these weights."""
    sizes = {name: array.size for name, array in arrays.items() if not name.endswith(COUNTER)}
    architecture = recognise(sizes)
    if architecture is None:
        raise ModelError(_unknown_weights(path, sizes))
    expected = {name: int(np.prod(shape)) for name, shape in architecture.weight_shapes().items()}
    surplus = [name for name in sizes if name not in expected and not name.startswith(HARMLESS)]
    lacking = [name for name in expected if name not in sizes]
    other = [
        f"{name} with {sizes[name]} values instead of {size}"
        for name, size in expected.items()
        if sizes.get(name, size) != size
    ]
    if surplus or lacking or other:
        raise ModelError(
            f"{path}: this looks like {architecture.title}, but its weights do not match\n"
            f"  missing: {_first(lacking)}; different size: {_first(other)}; not expected: {_first(surplus)}"
        )
    broken = [name for name in expected if not np.isfinite(arrays[name]).all()]
    if broken:
        raise ModelError(f"{path}: these weights contain NaN or infinity, the file is damaged: {_first(broken)}")
    return architecture


def _unknown_weights(path: Path, sizes: Mapping[str, int]) -> str:
    expected = {name: list(make().weight_shapes()) for name, make in ARCHITECTURES.items()}
    shared = {name: sum(key in sizes for key in keys) for name, keys in expected.items()}
    nearest = max(shared, key=lambda name: shared[name] / len(expected[name]))
    lines = [
        f"{path}: the {len(sizes)} weights in this file do not belong to a known architecture",
        f"  found: {_first(list(sizes))}",
        f"  known: {'; '.join(make().title for make in ARCHITECTURES.values())}",
    ]
    if shared[nearest]:
        missing = [key for key in expected[nearest] if key not in sizes]
        common = f"{shared[nearest]} of its {len(expected[nearest])} names in common"
        lines.append(f"  nearest: {nearest}, {common}; missing: {_first(missing)}")
    lines.append("  export the network as ONNX where it was trained; any ONNX network can be imported")
    return "\n".join(lines)


def _first(names: List[str]) -> str:
    if not names:
        return "none"
    more = f" and {len(names) - _NAMES_SHOWN} more" if len(names) > _NAMES_SHOWN else ""
    return ", ".join(names[:_NAMES_SHOWN]) + more
