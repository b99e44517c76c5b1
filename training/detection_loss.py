"""What the detector is graded by: the labels of a scene, and the teacher's answer to the same scene."""

from __future__ import annotations

from typing import Dict, Tuple

import torch
from torch import Tensor
from torch.nn import functional

from training.matching import BACKGROUND, FACE

NEGATIVES_PER_FACE = 7
MIN_NEGATIVES = 32
"""Hard negatives per picture at least, so that batches with few faces still teach what is none."""
BOX_WEIGHT = 2.0
BEND = 0.2
"""Where smooth-L1 turns from square to straight, in tenths of an anchor. At 1, the paper's value, errors of a few
hundredths of a face hardly pull any more, and landmarks stay blurred."""


def classification_loss(scores: Tensor, kinds: Tensor) -> Tensor:
    """Cross-entropy over the faces and the background anchors that look most like one (OHEM), per face."""
    grade = functional.cross_entropy(scores.flatten(0, 1), kinds.clamp_min(0).flatten(), reduction="none").view_as(
        kinds
    )
    is_face, is_background = kinds == FACE, kinds == BACKGROUND
    faces = int(is_face.sum())
    wanted = max(NEGATIVES_PER_FACE * faces, MIN_NEGATIVES * len(kinds))
    hardness = torch.where(is_background, grade, grade.new_full((), -1.0)).flatten()
    hardest = hardness.topk(min(wanted, int(is_background.sum()))).values
    return (grade[is_face].sum() + hardest.sum()) / max(faces, MIN_NEGATIVES)


def detection_loss(
    outputs: Tuple[Tensor, Tensor, Tensor], kinds: Tensor, boxes: Tensor, landmarks: Tensor
) -> Tuple[Tensor, Dict[str, float]]:
    """The weighted sum and its parts; `outputs` as the network gives them while training (logits)."""
    box_outputs, scores, landmark_outputs = (output.float() for output in outputs)
    is_face = kinds == FACE
    count = max(int(is_face.sum()), 1)
    score_part = classification_loss(scores, kinds)
    box_part = functional.smooth_l1_loss(box_outputs[is_face], boxes[is_face], reduction="sum", beta=BEND) / count
    known = is_face & ~landmarks.isnan().any(dim=-1)  # boxes that people drew have landmarks only where a face matches
    landmark_part = (
        functional.smooth_l1_loss(landmark_outputs[known], landmarks[known], reduction="sum", beta=BEND) / count
    )
    total = score_part + BOX_WEIGHT * box_part + landmark_part
    parts = {"score": score_part.item(), "box": box_part.item(), "landmarks": landmark_part.item()}
    return total, parts


EMPTY_WEIGHT = 8.0
"""What an error in a scene without people costs more: the teacher is often wrong there, and its features mislead."""
CONFLICT_SCORE = 0.3
"""Where the label says background and the teacher sees a face with at least this score, the label is right."""


def empty_loss(scores: Tensor, kinds: Tensor) -> Tensor:
    """What scenes without faces cost in which something scores nevertheless, per face of the batch."""
    nobody_there = (kinds == BACKGROUND).all(dim=1)
    margin = (scores[nobody_there, :, 1] - scores[nobody_there, :, 0]).float()
    return functional.softplus(margin).sum() / max(int((kinds == FACE).sum()), MIN_NEGATIVES)


def imitation_loss(
    outputs: Tuple[Tensor, Tensor, Tensor],
    teacher: Tuple[Tensor, Tensor, Tensor],
    kinds: Tensor,
    with_places: bool = True,
) -> Tuple[Tensor, Dict[str, float]]:
    """How far the answer is from the teacher's at every anchor; places only where the teacher sees a face.

    `teacher` as a network in evaluation mode gives it (probabilities). In scenes without people its doubts are not
    imitated: fruit and dogs, which it half takes for faces, are to score nothing.
    """
    box_outputs, scores, landmark_outputs = (output.float() for output in outputs)
    box_goals, probabilities, landmark_goals = (output.float() for output in teacher)
    nobody_there = (kinds == BACKGROUND).all(dim=1, keepdim=True)
    chance = probabilities[..., 1].masked_fill(nobody_there, 0)
    sees_face = chance >= CONFLICT_SCORE
    trusted = ~(sees_face & (kinds == BACKGROUND))
    sees_face = sees_face & trusted
    count = max(int(sees_face.sum()), MIN_NEGATIVES)
    margin = scores[..., 1] - scores[..., 0]
    weights = trusted * torch.where(nobody_there, EMPTY_WEIGHT, 1.0)
    score_part = functional.binary_cross_entropy_with_logits(margin, chance, weights, reduction="sum") / count
    box_part = (
        functional.smooth_l1_loss(box_outputs[sees_face], box_goals[sees_face], reduction="sum", beta=BEND) / count
    )
    landmark_part = (
        functional.smooth_l1_loss(landmark_outputs[sees_face], landmark_goals[sees_face], reduction="sum", beta=BEND)
        / count
    )
    total = score_part + (BOX_WEIGHT * box_part + landmark_part if with_places else 0.0)
    return total, {"as_teacher": total.item(), "landmarks_as_teacher": landmark_part.item()}
