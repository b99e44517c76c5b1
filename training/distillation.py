"""What the student embedder is graded by: the teacher's embedding, its view of who resembles whom, its feature maps."""

from __future__ import annotations

from typing import Sequence

import torch
from torch import Tensor
from torch.nn import functional


def angle_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """1 − cosine between the two embeddings of the same crop."""
    return (1 - functional.cosine_similarity(student, teacher, dim=1)).mean()


def resemblance_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Difference of the two similarity tables of a batch: what verification will use is graded directly."""
    student, teacher = functional.normalize(student, dim=1), functional.normalize(teacher, dim=1)
    difference = student @ student.T - teacher @ teacher.T
    count = len(student)
    return difference.square().sum() / max(count * (count - 1), 1)


def hint_loss(student: Sequence[Tensor], teacher: Sequence[Tensor]) -> Tensor:
    """Mean unexplained share of the teacher's feature maps, stage by stage (1 = nothing learned, 0 = the same).

    Early stages learn at once from it instead of waiting for a signal through the whole network.
    """
    shares = []
    for ours, theirs in zip(student, teacher):
        ours, theirs = ours.float(), theirs.float()
        spread = (theirs - theirs.mean(dim=(0, 2, 3), keepdim=True)).square().mean()
        shares.append((ours - theirs).square().mean() / spread.clamp_min(1e-9))
    return torch.stack(shares).mean()
