"""RetinaFace with the parameter names of the widespread PyTorch implementations."""

from __future__ import annotations

from typing import Any, Dict, Tuple

from app.tools.importing.operations import Operations

MOBILENET_STAGES = (
    ("stage1", ((8, 16, 1), (16, 32, 2), (32, 32, 1), (32, 64, 2), (64, 64, 1)), 1),
    ("stage2", ((64, 128, 2), *((128, 128, 1),) * 5), 0),
    ("stage3", ((128, 256, 2), (256, 256, 1)), 0),
)
"""By stage: planes in, planes out and stride of every separable block, and the number of the first."""

RESNET50_BLOCKS = (3, 4, 6, 3)

Levels = Tuple[Any, Any, Any]


def retinaface_mnet025(net: Operations, images: Any, slope: float = 0.0) -> Dict[str, Any]:
    """On a MobileNet of a quarter of the width. `slope`: what negative values are multiplied by, 0 or 0.1."""
    maps = _conv_norm(net, images, "body.stage1.0", (3, 8), 3, 2, slope)
    levels = []
    for stage, blocks, first in MOBILENET_STAGES:
        for number, (inputs, outputs, stride) in enumerate(blocks, first):
            name = f"body.{stage}.{number}"
            maps = net.relu(
                net.conv(maps, f"{name}.0", (inputs, inputs), (3, 3), stride, 1, inputs, norm=f"{name}.1"), slope
            )
            maps = net.relu(net.conv(maps, f"{name}.3", (inputs, outputs), norm=f"{name}.4"), slope)
        levels.append(maps)
    fine, middle, coarse = levels
    return _pyramid_and_heads(net, (fine, middle, coarse), (64, 128, 256), 64, slope)


def retinaface_r50(net: Operations, images: Any) -> Dict[str, Any]:
    """On a ResNet-50 as torchvision has it; its pyramid has plain ReLUs."""
    maps = net.relu(net.conv(images, "body.conv1", (3, 64), (7, 7), 2, 3, norm="body.bn1"))
    maps = net.max_pool(maps, 3, 2, 1)
    inputs = 64
    levels = []
    for stage, count in enumerate(RESNET50_BLOCKS):
        width = 64 << stage
        for number in range(count):
            stride = 2 if stage > 0 and number == 0 else 1
            maps = bottleneck(net, maps, f"body.layer{stage + 1}.{number}", inputs, width, stride)
            inputs = 4 * width
        levels.append(maps)
    return _pyramid_and_heads(net, (levels[1], levels[2], levels[3]), (512, 1024, 2048), 256, 0.0)


def bottleneck(net: Operations, maps: Any, name: str, inputs: int, width: int, stride: int) -> Any:
    """A block of torchvision's deeper ResNets."""
    inner = net.relu(net.conv(maps, f"{name}.conv1", (inputs, width), norm=f"{name}.bn1"))
    inner = net.relu(net.conv(inner, f"{name}.conv2", (width, width), (3, 3), stride, 1, norm=f"{name}.bn2"))
    inner = net.conv(inner, f"{name}.conv3", (width, 4 * width), norm=f"{name}.bn3")
    shortcut = maps
    if stride != 1 or inputs != 4 * width:
        down = f"{name}.downsample"
        shortcut = net.conv(maps, f"{down}.0", (inputs, 4 * width), (1, 1), stride, norm=f"{down}.1")
    return net.relu(net.add(inner, shortcut))


def _conv_norm(
    net: Operations, maps: Any, name: str, channels: Tuple[int, int], kernel: int, stride: int, slope: float
) -> Any:
    return net.relu(
        net.conv(maps, f"{name}.0", channels, (kernel, kernel), stride, kernel // 2, norm=f"{name}.1"), slope
    )


def _pyramid_and_heads(
    net: Operations, levels: Levels, inputs: Tuple[int, int, int], width: int, slope: float
) -> Dict[str, Any]:
    fine, middle, coarse = (
        _conv_norm(net, maps, f"fpn.output{number}", (count, width), 1, 1, slope)
        for number, (maps, count) in enumerate(zip(levels, inputs), 1)
    )
    middle = _conv_norm(net, net.add(middle, net.doubled(coarse)), "fpn.merge2", (width, width), 3, 1, slope)
    fine = _conv_norm(net, net.add(fine, net.doubled(middle)), "fpn.merge1", (width, width), 3, 1, slope)
    seen = [_context(net, maps, f"ssh{number}", width, slope) for number, maps in enumerate((fine, middle, coarse), 1)]

    def joined(head: str, values: int) -> Any:
        parts = [
            net.rows(net.conv(maps, f"{head}.{number}.conv1x1", (width, 2 * values), bias=True), values)
            for number, maps in enumerate(seen)
        ]
        return net.concat(parts)

    return {
        "loc": joined("BboxHead", 4),
        "conf": net.softmax(joined("ClassHead", 2)),
        "landms": joined("LandmarkHead", 10),
    }


def _context(net: Operations, maps: Any, name: str, width: int, slope: float) -> Any:
    """SSH: three fields of view side by side."""

    def plain(part: Any, suffix: str, channels: Tuple[int, int]) -> Any:
        return net.conv(part, f"{name}.{suffix}.0", channels, (3, 3), 1, 1, norm=f"{name}.{suffix}.1")

    half, quarter = width // 2, width // 4
    near = plain(maps, "conv3X3", (width, half))
    shared = net.relu(plain(maps, "conv5X5_1", (width, quarter)), slope)
    wide = plain(shared, "conv5X5_2", (quarter, quarter))
    wider = net.relu(plain(shared, "conv7X7_2", (quarter, quarter)), slope)
    wider = plain(wider, "conv7x7_3", (quarter, quarter))
    return net.relu(net.concat([near, wide, wider]))
