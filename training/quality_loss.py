"""A loss in which a score says how good the box is: quality focal loss (Li et al., 2020) and generalised IoU."""

from __future__ import annotations

from typing import Dict, Tuple

import torch
from torch import Tensor
from torch.nn import functional

from training.anchors import VARIANCES
from training.detection_loss import BEND
from training.matching import BACKGROUND, FACE, IGNORED

FOCUS = 2.0
BOX_WEIGHT = 2.0
LANDMARK_WEIGHT = 0.1
EMPTY_WEIGHT = 3.0
"""What an error costs in a scene without faces, where nothing at all is to be found."""
MIN_FACES = 8


def decoded(offsets: Tensor, anchors: Tensor) -> Tensor:
    """Network outputs to corners in pixels, as `anchors.decode_boxes` does."""
    centres = anchors[:, :2] + offsets[:, :2] * VARIANCES[0] * anchors[:, 2:]
    extents = anchors[:, 2:] * torch.exp((offsets[:, 2:] * VARIANCES[1]).clamp(-4, 4))
    return torch.cat([centres - extents / 2, centres + extents / 2], dim=1)


def overlaps(first: Tensor, second: Tensor) -> Tuple[Tensor, Tensor]:
    """IoU and generalised IoU of boxes, row by row."""
    size_first, size_second = first[:, 2:] - first[:, :2], second[:, 2:] - second[:, :2]
    common = (torch.minimum(first[:, 2:], second[:, 2:]) - torch.maximum(first[:, :2], second[:, :2])).clamp_min(0)
    around = torch.maximum(first[:, 2:], second[:, 2:]) - torch.minimum(first[:, :2], second[:, :2])
    intersection, hull = common.prod(dim=1), around.prod(dim=1).clamp_min(1e-6)
    union = (size_first.prod(dim=1) + size_second.prod(dim=1) - intersection).clamp_min(1e-6)
    iou = intersection / union
    return iou, iou - (hull - union) / hull


def quality_loss(
    outputs: Tuple[Tensor, Tensor, Tensor], kinds: Tensor, boxes: Tensor, landmarks: Tensor, anchors: Tensor
) -> Tuple[Tensor, Dict[str, float]]:
    """The weighted sum and its parts. `boxes` in pixels; NaN in `landmarks` where they are not known."""
    box_outputs, scores, landmark_outputs = (output.float() for output in outputs)
    is_face = kinds == FACE
    found = decoded(box_outputs[is_face], anchors.expand(len(kinds), -1, -1)[is_face])
    iou, generalised = overlaps(found, boxes[is_face])
    margin = scores[..., 1] - scores[..., 0]
    goal = torch.zeros_like(margin)
    goal[is_face] = iou.detach().clamp(0, 1)
    grade = functional.binary_cross_entropy_with_logits(margin, goal, reduction="none")
    grade = grade * (margin.detach().sigmoid() - goal).abs() ** FOCUS
    nobody_there = (kinds == BACKGROUND).all(dim=1, keepdim=True)
    weights = (kinds != IGNORED) * torch.where(nobody_there, EMPTY_WEIGHT, 1.0)
    count = max(float(goal.sum()), MIN_FACES)
    score_part = (grade * weights).sum() / count
    quality = goal[is_face]
    box_part = ((1 - generalised) * quality).sum() / count
    known = is_face & ~landmarks.isnan().any(dim=-1)
    landmark_part = functional.smooth_l1_loss(
        landmark_outputs[known], landmarks[known], reduction="sum", beta=BEND
    ) / max(int(known.sum()), MIN_FACES)
    total = score_part + BOX_WEIGHT * box_part + LANDMARK_WEIGHT * landmark_part
    parts = {"score": score_part.item(), "box": box_part.item(), "landmarks": landmark_part.item()}
    return total, {"loss": total.item(), **parts}
