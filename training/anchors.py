"""RetinaFace's anchors and the coding of boxes and landmarks against them, in NumPy.

The order is the one `app` decodes: strides 8, 16, 32; cells row by row; the two sizes of a cell one after the other.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Sequence, Tuple

import numpy as np

STRIDES = (8, 16, 32)
MIN_SIZES = ((10, 20), (32, 64), (128, 256))
"""The built-in detector's anchors, and its teacher's."""
LARGE_MIN_SIZES = ((16, 32), (64, 128), (256, 512))
"""The anchors of the widespread original, for another teacher."""
VARIANCES = (0.1, 0.2)


@lru_cache(maxsize=64)
def anchor_grid(height: int, width: int, min_sizes: Tuple[Tuple[int, ...], ...] = MIN_SIZES) -> np.ndarray:
    """Anchors in pixels, one row `centre_x, centre_y, width, height`; height and width are multiples of 32."""
    levels = []
    for stride, sizes in zip(STRIDES, min_sizes):
        rows, columns = height // stride, width // stride
        centre_y, centre_x = np.meshgrid(
            (np.arange(rows) + 0.5) * stride, (np.arange(columns) + 0.5) * stride, indexing="ij"
        )
        centres = np.stack([centre_x, centre_y], axis=-1).reshape(-1, 1, 2)
        centres = np.repeat(centres, len(sizes), axis=1)
        extents = np.broadcast_to(np.asarray(sizes, float)[None, :, None], centres.shape)
        levels.append(np.concatenate([centres, extents], axis=-1).reshape(-1, 4))
    grid = np.concatenate(levels).astype(np.float32)
    grid.setflags(write=False)
    return grid


def decode_boxes(offsets: np.ndarray, anchors: np.ndarray) -> np.ndarray:
    """Network outputs N×4 to `x1, y1, x2, y2` in pixels."""
    centres = anchors[:, :2] + offsets[:, :2] * VARIANCES[0] * anchors[:, 2:]
    extents = anchors[:, 2:] * np.exp(offsets[:, 2:] * VARIANCES[1])
    return np.concatenate([centres - extents / 2, centres + extents / 2], axis=1)


def decode_landmarks(offsets: np.ndarray, anchors: np.ndarray) -> np.ndarray:
    """Network outputs N×10 to five points N×5×2 in pixels."""
    points = offsets.reshape(-1, 5, 2) * VARIANCES[0]
    return anchors[:, None, :2] + points * anchors[:, None, 2:]


def encode_boxes(boxes: np.ndarray, anchors: np.ndarray) -> np.ndarray:
    """The inverse of `decode_boxes`, row by row: what the network is trained to say."""
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    extents = np.maximum(boxes[:, 2:] - boxes[:, :2], 1e-3)
    return np.concatenate(
        [
            (centres - anchors[:, :2]) / (VARIANCES[0] * anchors[:, 2:]),
            np.log(extents / anchors[:, 2:]) / VARIANCES[1],
        ],
        axis=1,
    ).astype(np.float32)


def encode_landmarks(points: np.ndarray, anchors: np.ndarray) -> np.ndarray:
    """The inverse of `decode_landmarks`."""
    offsets = (points - anchors[:, None, :2]) / (VARIANCES[0] * anchors[:, None, 2:])
    return offsets.reshape(-1, 10).astype(np.float32)


def pairwise_iou(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """IoU of every box of `first` (N×4) with every box of `second` (M×4)."""
    top_left = np.maximum(first[:, None, :2], second[None, :, :2])
    bottom_right = np.minimum(first[:, None, 2:], second[None, :, 2:])
    overlap = np.prod(np.clip(bottom_right - top_left, 0, None), axis=2)
    area_first = np.prod(first[:, 2:] - first[:, :2], axis=1)
    area_second = np.prod(second[:, 2:] - second[:, :2], axis=1)
    return overlap / np.maximum(area_first[:, None] + area_second[None] - overlap, 1e-9)


def suppress(boxes: np.ndarray, scores: np.ndarray, iou: float = 0.4) -> np.ndarray:
    """Greedy non-maximum suppression; indices of the boxes that stay, best first."""
    order = np.argsort(-scores, kind="stable")
    kept: Sequence[int] = []
    while len(order):
        best, rest = order[0], order[1:]
        kept = [*kept, int(best)]
        order = rest[pairwise_iou(boxes[best : best + 1], boxes[rest])[0] <= iou]
    return np.asarray(kept, dtype=np.int64)
