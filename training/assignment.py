"""Which anchors answer for which face: adaptive training sample selection (ATSS; Zhang et al., 2020).

For each face the nearest anchors of every stride are candidates; those that overlap it by more than the mean plus one
standard deviation of all candidates, and whose centre is inside, are responsible. A fixed overlap leaves small and odd
faces with one anchor or none.
"""

from __future__ import annotations

from typing import Sequence, Tuple

import numpy as np

from training.anchors import MIN_SIZES, STRIDES, anchor_grid, encode_landmarks, pairwise_iou
from training.composition import SceneFaces
from training.matching import BACKGROUND, FACE, IGNORED, NEGATIVE_IOU, Targets

CANDIDATES_PER_STRIDE = 18
"""Nine cells, two anchors each."""


def level_bounds(side: int) -> np.ndarray:
    """Where each stride's anchors begin in `anchor_grid`, and the end of the last."""
    counts = [(side // stride) ** 2 * len(sizes) for stride, sizes in zip(STRIDES, MIN_SIZES)]
    return np.cumsum([0, *counts])


def corners_of(anchors: np.ndarray) -> np.ndarray:
    half = anchors[:, 2:] / 2
    return np.concatenate([anchors[:, :2] - half, anchors[:, :2] + half], axis=1)


def nearest(squared: np.ndarray) -> np.ndarray:
    """The candidates among one stride's anchors."""
    count = min(CANDIDATES_PER_STRIDE, len(squared))
    return np.argpartition(squared, count - 1)[:count]


def responsible_anchors(boxes: np.ndarray, anchors: np.ndarray, bounds: np.ndarray) -> np.ndarray:
    """For every anchor the row of its face in `boxes`, or -1."""
    rows = np.full(len(anchors), -1)
    if not len(boxes):
        return rows
    overlap = pairwise_iou(corners_of(anchors), boxes)
    best = np.zeros(len(anchors))
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    for row, (box, centre) in enumerate(zip(boxes, centres)):
        squared = ((anchors[:, :2] - centre) ** 2).sum(axis=1)
        candidates = np.concatenate([low + nearest(squared[low:high]) for low, high in zip(bounds, bounds[1:])])
        shares = overlap[candidates, row]
        points = anchors[candidates, :2]
        inside = ((points > box[:2]) & (points < box[2:])).all(axis=1)
        chosen = candidates[inside & (shares >= shares.mean() + shares.std())]
        if not len(chosen):
            chosen = candidates[[shares.argmax()]]
        chosen = chosen[overlap[chosen, row] > best[chosen]]
        rows[chosen] = row
        best[chosen] = overlap[chosen, row]
    return rows


def assign(faces: SceneFaces, anchors: np.ndarray, bounds: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
    """Kind of every anchor, and the row of its face in `faces`."""
    kinds = np.full(len(anchors), BACKGROUND, np.int64)
    uncertain = faces.boxes[~faces.certain].astype(np.float32)
    if len(uncertain):
        kinds[pairwise_iou(corners_of(anchors), uncertain).max(axis=1) >= NEGATIVE_IOU] = IGNORED
        for box in uncertain:
            inside = ((anchors[:, :2] > box[:2]) & (anchors[:, :2] < box[2:])).all(axis=1)
            kinds[inside & (anchors[:, 2] <= 2 * max(box[2:] - box[:2]))] = IGNORED
    certain = np.flatnonzero(faces.certain)
    owners = responsible_anchors(faces.boxes[certain].astype(np.float32), anchors, bounds)
    kinds[owners >= 0] = FACE
    responsible = np.zeros(len(anchors), np.int64)
    responsible[owners >= 0] = certain[owners[owners >= 0]]
    return kinds, responsible


def assign_batch(batch: Sequence[SceneFaces], side: int) -> Targets:
    """Targets whose boxes are corners in pixels, and whose landmarks are coded against the anchors (NaN: unknown)."""
    anchors, bounds = anchor_grid(side, side), level_bounds(side)
    shape = (len(batch), len(anchors))
    targets = Targets(np.zeros(shape, np.int64), np.zeros((*shape, 4), np.float32), np.zeros((*shape, 10), np.float32))
    for number, faces in enumerate(batch):
        kinds, responsible = assign(faces, anchors, bounds)
        targets.kinds[number] = kinds
        chosen = np.flatnonzero(kinds == FACE)
        targets.boxes[number, chosen] = faces.boxes[responsible[chosen]]
        targets.landmarks[number, chosen] = encode_landmarks(faces.landmarks[responsible[chosen]], anchors[chosen])
    return targets
