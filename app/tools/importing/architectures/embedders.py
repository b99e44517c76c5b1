"""Face embedders with the parameter names under which their PyTorch checkpoints are handed around."""

from __future__ import annotations

from typing import Any, Dict, Tuple

from app.tools.importing.operations import Operations

NAMED = ("conv", "bn", "prelu")
LAYERED = ("layers.0", "layers.1", "layers.2")
"""What the parts of a convolution with normalisation and activation are called in the two layouts of MobileFaceNet."""

MOBILEFACENET_STAGES = ((2, 64, 5, 2), (4, 128, 1, 2), (2, 128, 6, 1), (4, 128, 1, 2), (2, 128, 2, 1))
"""Expansion, planes, blocks and stride of the first, stage by stage."""


def mobilefacenet(
    net: Operations, crops: Any, dimensions: int = 128, columns: int = 7, *, bias: bool = False
) -> Dict[str, Any]:
    """The layout `conv1, dw_conv1, blocks, conv2, linear7, linear1`; `columns`: 7 for 112 x 112, 6 for 112 x 96.

    `bias`: of the last layer, which only MXNet's has.
    """
    maps = _conv_prelu(net, crops, "conv1", NAMED, (3, 64), (3, 3), 2, 1)
    maps = _conv_prelu(net, maps, "dw_conv1", NAMED, (64, 64), (3, 3), 1, 1, groups=64)
    number, inputs = 0, 64
    for expansion, outputs, repeats, first_stride in MOBILEFACENET_STAGES:
        for repeat in range(repeats):
            stride = first_stride if repeat == 0 else 1
            maps = _inverted_block(net, maps, f"blocks.{number}.conv", (inputs, outputs), stride, inputs * expansion)
            number, inputs = number + 1, outputs
    maps = _conv_prelu(net, maps, "conv2", NAMED, (inputs, 512))
    maps = net.conv(maps, "linear7.conv", (512, 512), (7, columns), 1, 0, 512, norm="linear7.bn")
    maps = net.conv(maps, "linear1.conv", (512, dimensions), bias=bias, norm="linear1.bn")
    return {"embedding": net.flatten(maps)}


def _conv_prelu(
    net: Operations,
    maps: Any,
    name: str,
    parts: Tuple[str, str, str],
    channels: Tuple[int, int],
    kernel: Tuple[int, int] = (1, 1),
    stride: int = 1,
    padding: int = 0,
    groups: int = 1,
) -> Any:
    """`parts`: what convolution, normalisation and activation are called behind the name of all three."""
    conv, norm, activation = (f"{name}.{part}" for part in parts)
    return net.prelu(
        net.conv(maps, conv, channels, kernel, stride, padding, groups, norm=norm), activation, channels[1]
    )


def _inverted_block(net: Operations, maps: Any, name: str, channels: Tuple[int, int], stride: int, inner: int) -> Any:
    """Widened, looked at plane by plane, narrowed again; with a shortcut where the shape allows it."""
    inputs, outputs = channels
    answer = net.prelu(net.conv(maps, f"{name}.0", (inputs, inner), norm=f"{name}.1"), f"{name}.2", inner)
    answer = net.conv(answer, f"{name}.3", (inner, inner), (3, 3), stride, 1, inner, norm=f"{name}.4")
    answer = net.conv(net.prelu(answer, f"{name}.5", inner), f"{name}.6", (inner, outputs), norm=f"{name}.7")
    return net.add(maps, answer) if stride == 1 and inputs == outputs else answer


def insightface_mobilefacenet(
    net: Operations,
    crops: Any,
    dimensions: int = 512,
    blocks: Tuple[int, int, int, int] = (1, 4, 6, 2),
    width: int = 128,
) -> Dict[str, Any]:
    """The layout `layers, conv_sep, features` of InsightFace; `width` is 128 for mbf and 256 for mbf_large."""
    maps = _conv_prelu(net, crops, "layers.0", LAYERED, (3, width), (3, 3), 2, 1)
    if blocks[0] == 1:
        maps = _conv_prelu(net, maps, "layers.1", LAYERED, (width, width), (3, 3), 1, 1, groups=64)
    else:
        maps = _residuals(net, maps, "layers.1", width, 128, blocks[0])
    planes = width
    for stage, (inner_first, inner) in enumerate(((128, 128), (256, 256), (512, 256))):
        outputs = width if stage == 0 else 2 * width
        maps = _depthwise(net, maps, f"layers.{2 + 2 * stage}", (planes, outputs), inner_first, 2)
        maps = _residuals(net, maps, f"layers.{3 + 2 * stage}", outputs, inner, blocks[1 + stage])
        planes = outputs
    maps = _conv_prelu(net, maps, "conv_sep", LAYERED, (planes, 512))
    name = "features.layers"
    maps = net.conv(maps, f"{name}.0.layers.0", (512, 512), (7, 7), 1, 0, 512, norm=f"{name}.0.layers.1")
    return {"embedding": net.linear(net.flatten(maps), f"{name}.2", (512, dimensions), norm=f"{name}.3")}


def _depthwise(net: Operations, maps: Any, name: str, channels: Tuple[int, int], inner: int, stride: int) -> Any:
    maps = _conv_prelu(net, maps, f"{name}.layers.0", LAYERED, (channels[0], inner))
    maps = _conv_prelu(net, maps, f"{name}.layers.1", LAYERED, (inner, inner), (3, 3), stride, 1, inner)
    last = f"{name}.layers.2.layers"
    return net.conv(maps, f"{last}.0", (inner, channels[1]), norm=f"{last}.1")


def _residuals(net: Operations, maps: Any, name: str, planes: int, inner: int, count: int) -> Any:
    for number in range(count):
        maps = net.add(maps, _depthwise(net, maps, f"{name}.layers.{number}", (planes, planes), inner, 1))
    return maps


def iresnet(
    net: Operations, crops: Any, blocks: Tuple[int, int, int, int] = (3, 4, 14, 3), dimensions: int = 512
) -> Dict[str, Any]:
    """InsightFace's ResNet for ArcFace: 3, 4, 14, 3 blocks make IResNet-50, 3, 13, 30, 3 IResNet-100."""
    maps = net.prelu(net.conv(crops, "conv1", (3, 64), (3, 3), 1, 1, norm="bn1"), "prelu", 64)
    inputs = 64
    for stage, count in enumerate(blocks):
        outputs = 64 << stage
        for number in range(count):
            name = f"layer{stage + 1}.{number}"
            maps = _residual_block(net, maps, name, (inputs, outputs), 2 if number == 0 else 1)
            inputs = outputs
    rows = net.flatten(net.norm(maps, "bn2", 512))
    return {"embedding": net.linear(rows, "fc", (512 * 7 * 7, dimensions), bias=True, norm="features")}


def _residual_block(net: Operations, maps: Any, name: str, channels: Tuple[int, int], stride: int) -> Any:
    inputs, outputs = channels
    inner = net.norm(maps, f"{name}.bn1", inputs)
    inner = net.conv(inner, f"{name}.conv1", (inputs, outputs), (3, 3), 1, 1, norm=f"{name}.bn2")
    inner = net.prelu(inner, f"{name}.prelu", outputs)
    inner = net.conv(inner, f"{name}.conv2", (outputs, outputs), (3, 3), stride, 1, norm=f"{name}.bn3")
    if stride == 1:
        return net.add(inner, maps)
    down = f"{name}.downsample"
    return net.add(inner, net.conv(maps, f"{down}.0", channels, (1, 1), stride, norm=f"{down}.1"))
