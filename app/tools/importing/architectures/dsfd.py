"""DSFD, the dual shot face detector, on a ResNet, with the parameter names of DSFD-Pytorch-Inference.

Of its answers only those of the second shot are read, and of each head only the planes that the detector uses.
"""

from __future__ import annotations

from typing import Any, Dict, List, Tuple

from app.tools.importing.architectures.retinaface import bottleneck
from app.tools.importing.operations import Operations

STRIDES = (4, 8, 16, 32, 64, 128)
ENHANCED = ("cpm3_3", "cpm4_3", "cpm5_3", "cpm7", "cpm6_2", "cpm7_2")
"""By stride: the names of the modules that look at a map with several fields of view."""
RESNET152_BLOCKS = (3, 8, 36, 3)


def dsfd(net: Operations, images: Any, blocks: Tuple[int, ...] = RESNET152_BLOCKS, width: int = 64) -> Dict[str, Any]:
    """For each stride `loc_…` (4 values an anchor) and `conf_…` (2, background first, after softmax).

    `width`: planes of the first convolution, of which all others are multiples.
    """
    levels, planes = _levels(net, images, blocks, width)
    for finer in (2, 1, 0):
        lateral = net.conv(levels[finer + 1], f"latlayer{finer + 1}", (planes[finer + 1], planes[finer]), bias=True)
        smooth = net.conv(levels[finer], f"smooth{finer + 1}", (planes[finer], planes[finer]), bias=True)
        levels[finer] = net.multiply(smooth, net.doubled_linearly(lateral))
    answers = {}
    for number, (maps, stride) in enumerate(zip(levels, STRIDES)):
        seen = _enhanced(net, maps, ENHANCED[number], planes[number], width)
        # The second shot has one anchor a cell. The other planes are the first shot's, for anchors of half the size.
        shots = min(number + 1, 3)
        loc = _head(net, seen, f"loc.{number}", 4 * shots, width)
        conf = _head(net, seen, f"conf.{number}", 2 + 2 * shots, width)
        several, single = net.largest_plane(net.planes(conf, 0, 3)), net.planes(conf, 3, 4)
        # Max-in-out: at the finest stride three planes say "background", elsewhere three say "face".
        parts = [several, single] if number == 0 else [single, several]
        answers[f"loc_{stride}"] = net.rows(net.planes(loc, 0, 4), 4)
        answers[f"conf_{stride}"] = net.softmax(net.rows(net.concat(parts), 2))
    return answers


def _levels(net: Operations, images: Any, blocks: Tuple[int, ...], width: int) -> Tuple[List[Any], List[int]]:
    """Maps at the six strides, with the numbers of their planes."""
    maps = net.relu(net.conv(images, "layer1.0", (3, width), (7, 7), 2, 3, norm="layer1.1"))
    maps = net.max_pool(maps, 3, 2, 1)
    inputs, levels = width, []
    for stage, count in enumerate(blocks):
        inner = width << stage
        for number in range(count):
            # The first stage comes behind convolution, normalisation, activation and pooling in one list.
            name = f"layer{stage + 1}.{4 if stage == 0 else 0}.{number}"
            maps = bottleneck(net, maps, name, inputs, inner, 2 if stage > 0 and number == 0 else 1)
            inputs = 4 * inner
        levels.append(maps)
    for layer, inner, outputs in ((5, 8 * width, 8 * width), (6, 2 * width, 4 * width)):
        maps = net.relu(net.conv(maps, f"layer{layer}.0", (inputs, inner), bias=True, norm=f"layer{layer}.1"))
        maps = net.conv(maps, f"layer{layer}.3", (inner, outputs), (3, 3), 2, 1, bias=True, norm=f"layer{layer}.4")
        maps, inputs = net.relu(maps), outputs
        levels.append(maps)
    return levels, [width * times for times in (4, 8, 16, 32, 8, 4)]


def _enhanced(net: Operations, maps: Any, name: str, planes: int, width: int) -> Any:
    """Three fields of view side by side, the wider ones through convolutions with gaps."""
    many, few = 4 * width, 2 * width

    def seen(part: Any, number: int, channels: Tuple[int, int], gap: int) -> Any:
        return net.relu(net.conv(part, f"{name}.cpm{number}", channels, (3, 3), 1, gap, bias=True, dilation=gap))

    wide = seen(maps, 2, (planes, many), 2)
    wider = seen(wide, 4, (many, few), 2)
    return net.concat([seen(maps, 1, (planes, many), 1), seen(wide, 3, (many, few), 1), seen(wider, 5, (few, few), 1)])


def _head(net: Operations, maps: Any, name: str, outputs: int, width: int) -> Any:
    inputs, inner = 8 * width, 4 * width
    for number in (1, 2, 3):
        maps = net.relu(net.conv(maps, f"{name}.conv{number}", (inputs, inner), (3, 3), 1, 1, bias=True))
        inputs = inner
    return net.conv(maps, f"{name}.conv4", (inner, outputs), bias=True)
