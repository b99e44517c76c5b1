"""Tells every anchor what it should say: a face (which one), background, or nothing that is graded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Sequence, Tuple

import numpy as np

from training.anchors import anchor_grid, encode_boxes, encode_landmarks, pairwise_iou
from training.composition import SceneFaces

FACE, BACKGROUND, IGNORED = 1, 0, -1
POSITIVE_IOU = 0.35
NEGATIVE_IOU = 0.3
FORCED_IOU = 0.2
"""A face's best anchor is responsible for it from here on, so that odd sizes are not lost."""


@dataclass(frozen=True)
class Targets:
    """For a batch: kind (N×P), box and landmark goals (N×P×4, N×P×10; zero where there is no face)."""

    kinds: np.ndarray
    boxes: np.ndarray
    landmarks: np.ndarray


def anchor_kinds(faces: SceneFaces, anchors: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
    """Kind of every anchor, and the row of its face in `faces`."""
    kinds = np.full(len(anchors), BACKGROUND, np.int64)
    responsible = np.zeros(len(anchors), np.int64)
    if not len(faces):
        return kinds, responsible
    half = anchors[:, 2:] / 2
    corners = np.concatenate([anchors[:, :2] - half, anchors[:, :2] + half], axis=1)
    overlap = pairwise_iou(corners, faces.boxes.astype(np.float32))
    uncertain = ~faces.certain
    if uncertain.any():
        kinds[overlap[:, uncertain].max(axis=1) >= NEGATIVE_IOU] = IGNORED
        for box in faces.boxes[uncertain]:
            inside = ((anchors[:, :2] > box[:2]) & (anchors[:, :2] < box[2:])).all(axis=1)
            kinds[inside & (anchors[:, 2] <= 2 * max(box[2:] - box[:2]))] = IGNORED
    if faces.certain.any():
        rows = np.flatnonzero(faces.certain)
        overlap = overlap[:, rows]
        best = overlap.max(axis=1)
        responsible = rows[overlap.argmax(axis=1)]
        kinds[best >= NEGATIVE_IOU] = IGNORED
        kinds[best >= POSITIVE_IOU] = FACE
        champions = overlap.argmax(axis=0)
        strong = overlap[champions, np.arange(len(rows))] >= FORCED_IOU
        kinds[champions[strong]] = FACE
        responsible[champions[strong]] = rows[strong]
    return kinds, responsible


def match_batch(batch: Sequence[SceneFaces], side: int) -> Targets:
    anchors = anchor_grid(side, side)
    shape = (len(batch), len(anchors))
    targets = Targets(np.zeros(shape, np.int64), np.zeros((*shape, 4), np.float32), np.zeros((*shape, 10), np.float32))
    for number, faces in enumerate(batch):
        kinds, responsible = anchor_kinds(faces, anchors)
        targets.kinds[number] = kinds
        chosen = np.flatnonzero(kinds == FACE)
        rows = responsible[chosen]
        targets.boxes[number, chosen] = encode_boxes(faces.boxes[rows], anchors[chosen])
        targets.landmarks[number, chosen] = encode_landmarks(faces.landmarks[rows], anchors[chosen])
    return targets
