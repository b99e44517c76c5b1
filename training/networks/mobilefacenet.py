"""MobileFaceNet (Chen et al., 2018).

The network reads the middle 96 columns of the 112×112 crop: what is left and right of them is hair and background,
and leaving it out saves a seventh of the work.
"""

from __future__ import annotations

from typing import Dict, List, Sequence, Tuple

import torch
from torch import Tensor, nn

from training.networks.sections import run_in_sections

EMBEDDING_SIZE = 128
CROP_COLUMNS = (8, 104)
ACTIVATIONS = {"relu": nn.ReLU, "hardswish": nn.Hardswish, "prelu": nn.PReLU}

# expansion, output channels, repeats, stride of the first
STAGES: Tuple[Tuple[int, int, int, int], ...] = (
    (2, 64, 5, 2),
    (4, 128, 1, 2),
    (2, 128, 6, 1),
    (4, 128, 1, 2),
    (2, 128, 2, 1),
)


def activation(name: str, channels: int) -> nn.Module:
    return nn.PReLU(channels) if name == "prelu" else ACTIVATIONS[name]()


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
        return maps + self.conv(maps) if self.has_shortcut else self.conv(maps)


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
        maps = self.bn(self.conv(maps))
        return self.prelu(maps) if self.has_activation else maps


class MobileFaceNet(nn.Module):
    """N×3×112×112 RGB, (x − 127.5) / 128, to N×128 (not normalised).

    The parameters' names are those of the widespread public PyTorch checkpoints, so that one of them can be loaded as
    a teacher.
    """

    def __init__(self, act: str = "prelu") -> None:
        super().__init__()
        self.conv1 = ConvolutionBlock(3, 64, (3, 3), 2, 1, act=act)
        self.dw_conv1 = ConvolutionBlock(64, 64, (3, 3), 1, 1, groups=64, act=act)
        blocks: List[nn.Module] = []
        channels = 64
        for expansion, outputs, repeats, stride in STAGES:
            for repeat in range(repeats):
                blocks.append(Bottleneck(channels, outputs, stride if repeat == 0 else 1, expansion, act))
                channels = outputs
        self.blocks = nn.Sequential(*blocks)
        self.conv2 = ConvolutionBlock(channels, 512, (1, 1), act=act)
        self.linear7 = ConvolutionBlock(512, 512, (7, 6), groups=512)
        self.linear1 = ConvolutionBlock(512, EMBEDDING_SIZE, (1, 1))

    def forward(self, crops: Tensor) -> Tensor:
        return self.stages(crops)[0]

    def sections(self) -> List[nn.Module]:
        """The network block by block, up to the last feature map."""
        return [nn.Sequential(self.conv1, self.dw_conv1), *self.blocks, self.conv2]

    def stages(self, crops: Tensor, given: Sequence[Tensor] = (), joined: int = 0) -> Tuple[Tensor, List[Tensor]]:
        """The embedding, and the feature map after each block; a teacher leads as in `run_in_sections`."""
        middle = crops[:, :, :, CROP_COLUMNS[0] : CROP_COLUMNS[1]]
        maps = run_in_sections(self.sections(), middle, given, joined)
        return self.linear1(self.linear7((given or maps)[-1])).flatten(1), maps


def load_public_teacher(stored: Dict[str, Dict[str, Tensor]]) -> MobileFaceNet:
    """A teacher from a public PReLU checkpoint (`net_state_dict` or the bare state)."""
    teacher = MobileFaceNet()
    teacher.load_state_dict(stored.get("net_state_dict", stored))  # type: ignore[arg-type]
    return teacher.eval().requires_grad_(False)


def initialise(network: nn.Module, seed: int) -> None:
    """He initialisation from a seed, with residual branches that start small so that deep stages learn at once."""
    generator = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu", generator=generator)
        if isinstance(module, Bottleneck) and module.has_shortcut:
            nn.init.constant_(module.conv[-1].weight, 0.3)
