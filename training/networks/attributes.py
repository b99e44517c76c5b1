"""Networks that say more about a face than who it is: the embedder's early blocks, and an end of their own."""

from __future__ import annotations

from pathlib import Path
from typing import List, Sequence, Tuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from training.networks.mobilefacenet import STAGES, MobileFaceNet
from training.networks.sections import run_in_sections
from training.restart import load_onnx_weights

AGES = 101
"""One output for each age from 0 to 100 years; who is older counts as 100."""
BEFORE_MIDDLE = STAGES[0][2] + STAGES[1][2]


class GenderAgeNet(MobileFaceNet):
    """N×3×112×112 RGB to N×3: scores of female and male, and the age / 100, as the family `gender_age` reads them."""

    def __init__(self, act: str = "prelu", middle_blocks: int = 6) -> None:
        super().__init__(act, 2 + AGES, middle_blocks)
        years = torch.arange(AGES, dtype=torch.float32) / 100
        self.register_buffer("years", years.reshape(1, AGES, 1, 1), persistent=False)

    def forward(self, crops: Tensor) -> Tensor:
        values = self.end(self.stages(crops)[1][-1])
        ages = functional.conv2d(functional.softmax(values[:, 2:], dim=1), self.years)
        return torch.cat([values[:, :2], ages], dim=1).flatten(1)


class MaskNet(MobileFaceNet):
    """N×3×112×112 RGB to N×2: the probabilities of a mask and of none, as the family `mask` reads them."""

    def __init__(self, act: str = "prelu", middle_blocks: int = 0) -> None:
        super().__init__(act, 2, middle_blocks)

    def forward(self, crops: Tensor) -> Tensor:
        return functional.softmax(self.stages(crops)[0], dim=1)


def take_from_embedder(network: MobileFaceNet, embedder: Path, images: Tensor) -> None:
    """Starts with the embedder's weights wherever the shapes agree; `images` give the normalisation statistics."""
    whole = MobileFaceNet()
    load_onnx_weights(whole, embedder, images)
    left_out = len(whole.blocks) - len(network.blocks)
    kept = [block for number, block in enumerate(whole.blocks) if not 0 <= number - BEFORE_MIDDLE < left_out]
    whole.blocks = nn.Sequential(*kept)
    weights = {name: value for name, value in whole.state_dict().items() if not name.startswith("linear1.")}
    network.load_state_dict(weights, strict=False)


class LatePart(nn.Module):
    """A network from one of its sections on, which learn; those before keep the embedder's weights.

    It is fed with the map that the first part gives, so that this is computed once for each picture and not at every
    step (see training/early_maps.py). Its state is that of the whole network.
    """

    def __init__(self, network: MobileFaceNet, first: int) -> None:
        super().__init__()
        self.network, self._first = network, first
        for section in network.sections()[:first]:
            section.requires_grad_(False)

    def forward(self, maps: Tensor) -> Tensor:
        return self.stages(maps)[0]

    def stages(self, maps: Tensor, given: Sequence[Tensor] = (), joined: int = 0) -> Tuple[Tensor, List[Tensor]]:
        later = run_in_sections(self.network.sections()[self._first :], maps, given, joined)
        return self.network.answer(later[-1]), later
