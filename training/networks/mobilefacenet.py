"""MobileFaceNet (Chen et al., 2018), in the shape in which InsightFace published it ("y1").

It takes pixels as they are: mean and scale belong to the network, so that nobody can feed it wrongly.
"""

from __future__ import annotations

from typing import List, NamedTuple, Sequence, Tuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from training.networks.prelu import PReLU
from training.networks.sections import run_in_sections

EMBEDDING_SIZE = 128
PIXEL_SCALE, PIXEL_SHIFT = 1 / 128, -127.5 / 128
ACTIVATIONS = {"relu": nn.ReLU, "hardswish": nn.Hardswish, "prelu": PReLU}

# expansion, output channels, repeats, stride of the first
STAGES: Tuple[Tuple[int, int, int, int], ...] = (
    (2, 64, 5, 2),
    (4, 128, 1, 2),
    (2, 128, 6, 1),
    (4, 128, 1, 2),
    (2, 128, 2, 1),
)
MIDDLE_STAGE = 2


class Handover(NamedTuple):
    """Where an activation passes channels on, one by one, from a convolution to the next."""

    conv: nn.Conv2d
    norm: nn.BatchNorm2d
    activation: nn.Module
    reader: nn.Conv2d


def activation(name: str, channels: int) -> nn.Module:
    return PReLU(channels) if name == "prelu" else ACTIVATIONS[name]()


def convolve(conv: nn.Conv2d, norm: nn.BatchNorm2d, maps: Tensor) -> Tensor:
    """Convolution and normalisation.

    In training, a frozen normalisation is multiplied into the convolution's weights: the gradients are the same, and
    a step does without two passes over every feature map. A depthwise convolution that skips pixels computes all and
    keeps every second: PyTorch is so slow at its gradients that this takes a third of the time.
    """
    if norm.training or not conv.training:
        normalised: Tensor = norm(conv(maps))
        return normalised
    scale = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
    weight, shift = conv.weight * scale.reshape(-1, 1, 1, 1), norm.bias - norm.running_mean * scale
    if conv.groups == 1 or conv.stride == (1, 1):
        return functional.conv2d(maps, weight, shift, conv.stride, conv.padding, groups=conv.groups)
    every = functional.conv2d(maps, weight, shift, 1, conv.padding, groups=conv.groups)
    return every[:, :, :: conv.stride[0], :: conv.stride[1]].contiguous(memory_format=torch.channels_last)


class Bottleneck(nn.Module):
    """Expand, convolve depthwise, project without activation; a shortcut where the shape allows it."""

    def __init__(self, inputs: int, outputs: int, stride: int, expansion: int, act: str) -> None:
        super().__init__()
        inner = inputs * expansion
        self.has_shortcut = stride == 1 and inputs == outputs
        self.conv = nn.Sequential(
            nn.Conv2d(inputs, inner, 1, bias=False),
            nn.BatchNorm2d(inner),
            activation(act, inner),
            nn.Conv2d(inner, inner, 3, stride, 1, groups=inner, bias=False),
            nn.BatchNorm2d(inner),
            activation(act, inner),
            nn.Conv2d(inner, outputs, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )

    def forward(self, maps: Tensor) -> Tensor:
        inner = maps
        for position in range(0, len(self.conv), 3):
            conv, norm, *act = self.conv[position : position + 3]
            inner = convolve(conv, norm, inner)
            inner = act[0](inner) if act else inner
        return maps + inner if self.has_shortcut else inner


class ConvolutionBlock(nn.Module):
    """Convolution and normalisation, with or without an activation."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: Tuple[int, int],
        stride: int = 1,
        padding: int = 0,
        groups: int = 1,
        act: str = "",
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, padding, groups=groups, bias=False)
        self.bn = nn.BatchNorm2d(outputs)
        if act:
            self.prelu = activation(act, outputs)
        self.has_activation = bool(act)

    def forward(self, maps: Tensor) -> Tensor:
        maps = convolve(self.conv, self.bn, maps)
        return self.prelu(maps) if self.has_activation else maps


class MobileFaceNet(nn.Module):
    """N×3×112×112 RGB, pixels from 0 to 255, to N×128 (not normalised)."""

    def __init__(self, act: str = "prelu", outputs: int = EMBEDDING_SIZE, middle_blocks: int = 6) -> None:
        """`outputs` values a face instead of the embedding; fewer blocks at 14×14 make it a smaller network."""
        super().__init__()
        self.conv1 = ConvolutionBlock(3, 64, (3, 3), 2, 1, act=act)
        self.dw_conv1 = ConvolutionBlock(64, 64, (3, 3), 1, 1, groups=64, act=act)
        blocks: List[nn.Module] = []
        channels = 64
        for number, (expansion, width, repeats, stride) in enumerate(STAGES):
            for repeat in range(middle_blocks if number == MIDDLE_STAGE else repeats):
                blocks.append(Bottleneck(channels, width, stride if repeat == 0 else 1, expansion, act))
                channels = width
        self.blocks = nn.Sequential(*blocks)
        self.conv2 = ConvolutionBlock(channels, 512, (1, 1), act=act)
        self.linear7 = ConvolutionBlock(512, 512, (7, 7), groups=512)
        self.linear1 = ConvolutionBlock(512, outputs, (1, 1))

    def forward(self, crops: Tensor) -> Tensor:
        return self.stages(crops)[0]

    def handovers(self) -> List[Handover]:
        """All but those that other blocks share through shortcuts."""
        ends = [(self.conv1, self.dw_conv1), (self.conv2, self.linear7)]
        found = [Handover(first.conv, first.bn, first.prelu, second.conv) for first, second in ends]
        for block in self.blocks:
            layers = list(block.conv)
            found += [Handover(*layers[:4]), Handover(*layers[3:7])]
        return found

    def sections(self) -> List[nn.Module]:
        """The network block by block, up to the last feature map."""
        return [nn.Sequential(self.conv1, self.dw_conv1), *self.blocks, self.conv2]

    def stages(self, crops: Tensor, given: Sequence[Tensor] = (), joined: int = 0) -> Tuple[Tensor, List[Tensor]]:
        """The embedding, and the feature map after each block; a teacher leads as in `run_in_sections`."""
        scaled = crops * PIXEL_SCALE + PIXEL_SHIFT
        maps = run_in_sections(self.sections(), scaled, given, joined)
        return self.answer((given or maps)[-1]), maps

    def answer(self, maps: Tensor) -> Tensor:
        """What the last feature map says: N×values."""
        return self.end(maps).flatten(1)

    def end(self, maps: Tensor) -> Tensor:
        """The same as maps of 1×1, for layers that follow."""
        values: Tensor = self.linear1(self.linear7(maps))
        return values


def initialise(network: nn.Module, seed: int) -> None:
    """He initialisation from a seed, with residual branches that start small so that deep stages learn at once."""
    generator = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu", generator=generator)
        if isinstance(module, Bottleneck) and module.has_shortcut:
            nn.init.constant_(module.conv[-1].weight, 0.3)
