"""SCRFD with batch normalisation and landmarks, as InsightFace's configurations describe it."""

from __future__ import annotations

from typing import Any, Dict, List, Tuple

from app.tools.importing.operations import Operations

STRIDES = (8, 16, 32)
VALUES = {"score": 1, "bbox": 4, "kps": 10}
"""By output: how many numbers each of a cell's anchors has."""
ANCHORS = 2

Stages = Tuple[int, int, int, int]
"""A number for each of a backbone's four stages."""


def scrfd(
    net: Operations,
    images: Any,
    blocks: Stages,
    planes: Stages,
    width: int,
    head: Tuple[int, int],
    separable: bool = False,
) -> Dict[str, Any]:
    """`width`: planes of the stem and the pyramid; `head`: its layers, and their planes.

    On a ResNet of basic blocks, or, `separable`, on MobileNet v1, and then with such convolutions in the head too.
    The learned factor of a stride's boxes is part of its last convolution.
    """
    levels = (_mobilenet if separable else _resnet)(net, images, blocks, planes, width)
    layer_of_head = _separable if separable else _conv_relu
    found: Dict[str, List[Any]] = {name: [] for name in VALUES}
    for stride, seen in zip(STRIDES, _pyramid(net, levels[1:], planes[1:], width)):
        channels = width
        for layer in range(head[0]):
            seen = layer_of_head(net, seen, f"bbox_head.stride{stride}.{layer}", (channels, head[1]))
            channels = head[1]
        for name, values in VALUES.items():
            values_map = _plain_conv(net, seen, f"bbox_head.{name}{stride}", (channels, ANCHORS * values), 3)
            rows = net.rows(values_map, values)
            found[name].append(net.sigmoid(rows) if name == "score" else rows)
    return {f"{name}_{stride}": rows for name in VALUES for stride, rows in zip(STRIDES, found[name])}


def _resnet(net: Operations, images: Any, blocks: Stages, planes: Stages, width: int) -> List[Any]:
    """The maps after each of its stages."""
    maps = _conv_relu(net, images, "backbone.stem.0", (3, width // 2), 2)
    maps = _conv_relu(net, maps, "backbone.stem.3", (width // 2, width // 2))
    maps = _conv_relu(net, maps, "backbone.stem.6", (width // 2, width))
    maps = net.max_pool(maps, 2, 2, 0)
    inputs, levels = width, []
    for stage, (count, outputs) in enumerate(zip(blocks, planes)):
        for number in range(count):
            stride = 2 if stage > 0 and number == 0 else 1
            maps = _basic_block(net, maps, f"backbone.layer{stage + 1}.{number}", (inputs, outputs), stride)
            inputs = outputs
        levels.append(maps)
    return levels


def _mobilenet(net: Operations, images: Any, blocks: Stages, planes: Stages, width: int) -> List[Any]:
    """The maps after each of its stages."""
    maps = _conv_relu(net, images, "backbone.stem.0", (3, width), 2)
    maps = _separable(net, maps, "backbone.stem.1", (width, width))
    inputs, levels = width, []
    for stage, (count, outputs) in enumerate(zip(blocks, planes)):
        for number in range(count):
            stride = 2 if number == 0 else 1
            maps = _separable(net, maps, f"backbone.stage{stage}.{number}", (inputs, outputs), stride)
            inputs = outputs
        levels.append(maps)
    return levels


def _basic_block(net: Operations, maps: Any, name: str, channels: Tuple[int, int], stride: int) -> Any:
    inputs, outputs = channels
    inner = net.relu(net.conv(maps, f"{name}.conv1", channels, (3, 3), stride, 1, norm=f"{name}.bn1"))
    inner = net.conv(inner, f"{name}.conv2", (outputs, outputs), (3, 3), 1, 1, norm=f"{name}.bn2")
    shortcut = net.average_pool(maps) if stride == 2 else maps
    if stride == 2 or inputs != outputs:
        shortcut = net.conv(shortcut, f"{name}.downsample.0", channels, norm=f"{name}.downsample.1")
    return net.relu(net.add(inner, shortcut))


def _pyramid(net: Operations, levels: List[Any], planes: Tuple[int, ...], width: int) -> List[Any]:
    """From coarse to fine, and back again."""
    laterals = [
        _plain_conv(net, maps, f"neck.lateral{number}", (count, width), 1)
        for number, (maps, count) in enumerate(zip(levels, planes))
    ]
    for finer in (1, 0):
        laterals[finer] = net.add(laterals[finer], net.doubled(laterals[finer + 1]))
    square = (width, width)
    seen = [_plain_conv(net, maps, f"neck.fpn{number}", square, 3) for number, maps in enumerate(laterals)]
    for coarser in (1, 2):
        down = _plain_conv(net, seen[coarser - 1], f"neck.down{coarser}", square, 3, 2)
        seen[coarser] = net.add(seen[coarser], down)
    return [seen[0], *(_plain_conv(net, seen[number], f"neck.pafpn{number}", square, 3) for number in (1, 2))]


def _plain_conv(net: Operations, maps: Any, name: str, channels: Tuple[int, int], kernel: int, stride: int = 1) -> Any:
    return net.conv(maps, name, channels, (kernel, kernel), stride, kernel // 2, bias=True)


def _conv_relu(net: Operations, maps: Any, name: str, channels: Tuple[int, int], stride: int = 1) -> Any:
    return net.relu(net.conv(maps, name, channels, (3, 3), stride, 1, norm=f"{name}.norm"))


def _separable(net: Operations, maps: Any, name: str, channels: Tuple[int, int], stride: int = 1) -> Any:
    """Within each plane, then across planes."""
    inputs = channels[0]
    depthwise = f"{name}.depthwise"
    seen = net.conv(maps, depthwise, (inputs, inputs), (3, 3), stride, 1, inputs, norm=f"{depthwise}.norm")
    return net.relu(net.conv(net.relu(seen), f"{name}.pointwise", channels, norm=f"{name}.pointwise.norm"))
