"""SCRFD-500M with landmarks (Guo et al., 2021): depthwise backbone, pyramid of 16 channels with a way back, heads."""

from __future__ import annotations

from typing import List, Sequence, Tuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from training.networks.mobilefacenet import convolve

STRIDES = (8, 16, 32)
ANCHORS_PER_CELL = 2
PYRAMID_CHANNELS = 16
HEAD_CHANNELS = 64
PARTS = (("score", 1), ("bbox", 4), ("kps", 10))
"""What an anchor says, and in how many numbers."""
STAGES: Tuple[Tuple[int, int, int], ...] = (
    (16, 1, 1),
    (40, 2, 2),
    (72, 3, 2),
    (152, 2, 2),
    (288, 6, 2),
)
"""Output channels, repeats, stride of the first."""
STRIDE_ENDS = (6, 8, 14)
"""Which blocks of the backbone feed the pyramid."""

Outputs = Tuple[Tensor, ...]
"""Score, box and landmarks of every anchor, each for strides 8, 16, 32: nine tensors of N × anchors × values."""


class Normalised(nn.Module):
    """Convolution and normalisation, without activation."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
        self.norm = nn.BatchNorm2d(outputs)

    def forward(self, maps: Tensor) -> Tensor:
        return convolve(self.conv, self.norm, maps)


class Separable(nn.Module):
    """Depthwise 3×3, ReLU, pointwise. The ReLU that follows is the reader's."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.depthwise = Normalised(inputs, inputs, 3, stride, groups=inputs)
        self.pointwise = Normalised(inputs, outputs, 1)

    def forward(self, maps: Tensor) -> Tensor:
        pointwise: Tensor = self.pointwise(functional.relu(self.depthwise(maps)))
        return pointwise


class Pyramid(nn.Module):
    """Coarse understanding to the fine maps and fine places back to the coarse ones; all of it linear."""

    def __init__(self, inputs: Sequence[int], channels: int) -> None:
        super().__init__()
        self.lateral = nn.ModuleList(nn.Conv2d(count, channels, 1) for count in inputs)
        self.smooth = nn.ModuleList(nn.Conv2d(channels, channels, 3, 1, 1) for _ in inputs)
        self.down = nn.ModuleList(nn.Conv2d(channels, channels, 3, 2, 1) for _ in inputs[1:])
        self.settle = nn.ModuleList(nn.Conv2d(channels, channels, 3, 1, 1) for _ in inputs[1:])

    def forward(self, maps: Sequence[Tensor]) -> List[Tensor]:
        fine, middle, coarse = (conv(level) for conv, level in zip(self.lateral, maps))
        # Inputs are multiples of 32, so twice a map is exactly the next finer one: a constant scale suffices.
        middle = middle + functional.interpolate(coarse, scale_factor=2.0, mode="nearest")
        fine = fine + functional.interpolate(middle, scale_factor=2.0, mode="nearest")
        fine, middle, coarse = (conv(level) for conv, level in zip(self.smooth, (fine, middle, coarse)))
        middle = middle + self.down[0](fine)
        coarse = coarse + self.down[1](middle)
        return [fine, self.settle[0](middle), self.settle[1](coarse)]


class Head(nn.Module):
    """One stride's answer."""

    def __init__(self) -> None:
        super().__init__()
        self.first = Separable(PYRAMID_CHANNELS, HEAD_CHANNELS)
        self.second = Separable(HEAD_CHANNELS, HEAD_CHANNELS)
        self.parts = nn.ModuleList(nn.Conv2d(HEAD_CHANNELS, ANCHORS_PER_CELL * values, 3, 1, 1) for _, values in PARTS)


class SCRFD(nn.Module):
    """N×3×H×W, (RGB − 127.5) / 128, H and W multiples of 32, to the nine `Outputs`.

    Scores are logits while training and probabilities in evaluation mode and in the export.
    """

    def __init__(self) -> None:
        super().__init__()
        blocks: List[nn.Module] = [Normalised(3, STAGES[0][0], 3, 2)]
        channels = STAGES[0][0]
        for outputs, repeats, stride in STAGES:
            for repeat in range(repeats):
                blocks.append(Separable(channels, outputs, stride if repeat == 0 else 1))
                channels = outputs
        self.blocks = nn.ModuleList(blocks)
        self.pyramid = Pyramid([outputs for outputs, _, _ in STAGES[2:]], PYRAMID_CHANNELS)
        self.heads = nn.ModuleList(Head() for _ in STRIDES)

    def forward(self, images: Tensor) -> Outputs:
        return self.stages(images)[0]

    def stages(self, images: Tensor, given: Sequence[Tensor] = (), joined: int = 0) -> Tuple[Outputs, List[Tensor]]:
        """The outputs, and the feature maps, before their ReLU, after each block, the pyramid and the heads' blocks.

        Where `given` holds a teacher's maps, each section of `joined` backbone blocks begins with the teacher's map,
        and so do pyramid and heads: all sections then learn at once, none waits for those before it.
        """
        maps: List[Tensor] = []
        levels: List[Tensor] = []
        present = images
        for number, block in enumerate(self.blocks):
            maps.append(block(present))
            led = given and (number + 1) % joined == 0
            present = functional.relu(given[number] if led else maps[-1])
            if number in STRIDE_ENDS:
                levels.append(functional.relu(given[number]) if given else present)
        maps.extend(self.pyramid(levels))
        answers: List[List[Tensor]] = []
        ends = len(self.blocks)
        for number, head in enumerate(self.heads):
            maps.append(head.first((given or maps)[ends + number]))
            led = given and joined == 1
            maps.append(head.second(functional.relu(given[len(maps) - 1] if led else maps[-1])))
            last = functional.relu((given or maps)[len(maps) - 1])
            answers.append([self._flatten(part(last), values) for part, (_, values) in zip(head.parts, PARTS)])
        scores, boxes, landmarks = zip(*answers)
        if not self.training:
            scores = tuple(torch.sigmoid(level) for level in scores)
        return (*scores, *boxes, *landmarks), maps

    @staticmethod
    def _flatten(maps: Tensor, values: int) -> Tensor:
        """Rows in the order cell by cell, the two anchors of a cell in turn."""
        return maps.permute(0, 2, 3, 1).reshape(maps.shape[0], -1, values)


def initialise(network: SCRFD, seed: int, face_share: float = 0.01) -> None:
    """He initialisation from a seed; the score heads start by saying that faces are rare."""
    generator = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu", generator=generator)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    for head in network.heads:
        nn.init.constant_(head.parts[0].bias, float(torch.logit(torch.tensor(face_share))))
