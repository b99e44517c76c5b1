"""RetinaFace (Deng et al., 2019) on a MobileNet-0.25: feature pyramid, SSH context, three heads a stride."""

from __future__ import annotations

from typing import Dict, List, Sequence, Tuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from training.networks.sections import run_in_sections

Outputs = Tuple[Tensor, Tensor, Tensor]

PYRAMID_CHANNELS = 64
ANCHORS_PER_CELL = 2
STRIDE_ENDS = (5, 11, 13)
"""Which blocks of the backbone feed the pyramid."""


def convolution(inputs: int, outputs: int, kernel: int, stride: int = 1, act: bool = True) -> nn.Sequential:
    layers: List[nn.Module] = [
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False),
        nn.BatchNorm2d(outputs),
    ]
    return nn.Sequential(*layers, nn.ReLU(inplace=True)) if act else nn.Sequential(*layers)


def separable(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    """Depthwise 3×3, then pointwise: MobileNet's building block."""
    return nn.Sequential(
        nn.Conv2d(inputs, inputs, 3, stride, 1, groups=inputs, bias=False),
        nn.BatchNorm2d(inputs),
        nn.ReLU(inplace=True),
        nn.Conv2d(inputs, outputs, 1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


class Backbone(nn.Module):
    """MobileNet v1 at a quarter of its width; feature maps at strides 8, 16 and 32."""

    def __init__(self) -> None:
        super().__init__()
        self.stage1 = nn.Sequential(
            convolution(3, 8, 3, 2),
            separable(8, 16, 1),
            separable(16, 32, 2),
            separable(32, 32, 1),
            separable(32, 64, 2),
            separable(64, 64, 1),
        )
        self.stage2 = nn.Sequential(separable(64, 128, 2), *[separable(128, 128, 1) for _ in range(5)])
        self.stage3 = nn.Sequential(separable(128, 256, 2), separable(256, 256, 1))

    def sections(self) -> List[nn.Module]:
        """The backbone block by block; those at `STRIDE_ENDS` end at strides 8, 16 and 32."""
        return [*self.stage1, *self.stage2, *self.stage3]


class Pyramid(nn.Module):
    """Carries what the coarse maps have understood down to the fine ones."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.output1 = convolution(64, channels, 1)
        self.output2 = convolution(128, channels, 1)
        self.output3 = convolution(256, channels, 1)
        self.merge1 = convolution(channels, channels, 3)
        self.merge2 = convolution(channels, channels, 3)

    def forward(self, maps: Tuple[Tensor, Tensor, Tensor]) -> Tuple[Tensor, Tensor, Tensor]:
        fine, middle, coarse = self.output1(maps[0]), self.output2(maps[1]), self.output3(maps[2])
        # Inputs are multiples of 32, so twice a map is exactly the next finer one: a constant scale suffices.
        middle = self.merge2(middle + functional.interpolate(coarse, scale_factor=2.0, mode="nearest"))
        fine = self.merge1(fine + functional.interpolate(middle, scale_factor=2.0, mode="nearest"))
        return fine, middle, coarse


class Context(nn.Module):
    """SSH: three receptive fields side by side, so that a small face is judged with its surroundings."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        half, quarter = channels // 2, channels // 4
        self.near = convolution(channels, half, 3, act=False)
        self.shared = convolution(channels, quarter, 3)
        self.wide = convolution(quarter, quarter, 3, act=False)
        self.wider = nn.Sequential(convolution(quarter, quarter, 3), convolution(quarter, quarter, 3, act=False))

    def forward(self, maps: Tensor) -> Tensor:
        shared = self.shared(maps)
        return functional.relu(torch.cat([self.near(maps), self.wide(shared), self.wider(shared)], dim=1))


class RetinaFace(nn.Module):
    """N×3×H×W, BGR − (104, 117, 123), H and W multiples of 32, to boxes N×P×4, scores N×P×2, landmarks N×P×10.

    Scores are logits while training and probabilities (softmax, face second) in evaluation mode and in the export.
    """

    def __init__(self) -> None:
        super().__init__()
        self.body = Backbone()
        self.fpn = Pyramid(PYRAMID_CHANNELS)
        self.context = nn.ModuleList(Context(PYRAMID_CHANNELS) for _ in range(3))
        self.box_heads = self._heads(4)
        self.score_heads = self._heads(2)
        self.landmark_heads = self._heads(10)

    @staticmethod
    def _heads(values: int) -> nn.ModuleList:
        return nn.ModuleList(nn.Conv2d(PYRAMID_CHANNELS, ANCHORS_PER_CELL * values, 1) for _ in range(3))

    def forward(self, images: Tensor) -> Outputs:
        return self.stages(images)[0]

    def stages(self, images: Tensor, given: Sequence[Tensor] = (), joined: int = 0) -> Tuple[Outputs, List[Tensor]]:
        """The outputs, and the feature maps after each backbone block, after the pyramid and after the context.

        A teacher leads the backbone as in `run_in_sections`; pyramid, context and heads then begin with its maps, too.
        """
        maps = run_in_sections(self.body.sections(), images, given, joined)
        fine, middle, coarse = ((given or maps)[number] for number in STRIDE_ENDS)
        maps.extend(self.fpn((fine, middle, coarse)))
        maps.extend(context(level) for context, level in zip(self.context, (given or maps)[len(maps) - 3 :]))
        levels = (given or maps)[-3:]
        boxes = self._flatten(self.box_heads, levels, 4)
        scores = self._flatten(self.score_heads, levels, 2)
        landmarks = self._flatten(self.landmark_heads, levels, 10)
        return (boxes, scores if self.training else functional.softmax(scores, dim=-1), landmarks), maps

    @staticmethod
    def _flatten(heads: nn.ModuleList, maps: Sequence[Tensor], values: int) -> Tensor:
        """Rows in the order of the anchors: stride by stride, cell by cell, the two sizes of a cell in turn."""
        levels = []
        for head, level in zip(heads, maps):
            levels.append(head(level).permute(0, 2, 3, 1).reshape(level.shape[0], -1, values))
        return torch.cat(levels, dim=1)


def initialise(network: RetinaFace, seed: int, face_share: float = 0.01) -> None:
    """He initialisation from a seed; the score heads start by saying that faces are rare."""
    generator = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu", generator=generator)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    for heads in (network.box_heads, network.score_heads, network.landmark_heads):
        for head in heads:
            nn.init.normal_(head.weight, std=0.01, generator=generator)
    logit = float(torch.log(torch.tensor((1 - face_share) / face_share)))
    for head in network.score_heads:
        with torch.no_grad():
            head.bias.copy_(torch.tensor([logit / 2, -logit / 2] * ANCHORS_PER_CELL))


PUBLIC_NAMES = (
    ("conv3X3.", "near."),
    ("conv5X5_1.", "shared."),
    ("conv5X5_2.", "wide."),
    ("conv7X7_2.", "wider.0."),
    ("conv7x7_3.", "wider.1."),
    ("ssh1.", "context.0."),
    ("ssh2.", "context.1."),
    ("ssh3.", "context.2."),
    ("ClassHead.", "score_heads."),
    ("BboxHead.", "box_heads."),
    ("LandmarkHead.", "landmark_heads."),
    ("conv1x1.", ""),
)
"""What the widespread public checkpoints call the parts of the same network."""


def load_public_teacher(stored: Dict[str, Tensor]) -> RetinaFace:
    """A teacher from a public PyTorch checkpoint with ReLU."""
    renamed = {}
    for name, value in stored.items():
        name = name[len("module.") :] if name.startswith("module.") else name
        for theirs, ours in PUBLIC_NAMES:
            name = name.replace(theirs, ours)
        renamed[name] = value
    teacher = RetinaFace()
    teacher.load_state_dict(renamed)
    return teacher.eval().requires_grad_(False)
