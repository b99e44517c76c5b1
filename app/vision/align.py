"""Crops of faces: aligned by their five landmarks, as ArcFace-type embedders are trained, or cut by their boxes, for
attribute models.

The aligning transform is the least-squares similarity (rotation, one scale, shift) in closed form. Do not use
`cv2.estimateAffinePartial2D` instead: its default RANSAC drops landmarks, and the result is off by pixels.
"""

from __future__ import annotations

from typing import Tuple

import cv2
import numpy as np

from app.vision.preprocessing import resize_exactly

ARCFACE_TEMPLATE = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]],
    dtype=np.float32,
)
"""Left and right eye (as the viewer sees them), nose tip, left and right corner of the mouth in a 112 x 112 crop."""
TEMPLATE_SIZE = 112


def template(size: Tuple[int, int] = (112, 112)) -> np.ndarray:
    """The landmarks (5 x 2) in a crop of `size` (width, height).

    A narrower crop such as 96 x 112 is the middle of the square one: the face keeps its scale, the sides are cut off.
    """
    width, height = size
    scale = height / TEMPLATE_SIZE
    side_margin = (TEMPLATE_SIZE * scale - width) / 2
    return np.asarray(ARCFACE_TEMPLATE * scale - (side_margin, 0), dtype=np.float32)


def similarity_transforms(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The similarity transforms (N x 2 x 3) that map each of N point sets (N x P x 2) closest to `target` (P x 2)."""
    source = np.asarray(source, dtype=np.float64)
    target = np.asarray(target, dtype=np.float64)
    source_mean = source.mean(axis=1, keepdims=True)
    target_mean = target.mean(axis=0)
    moved = source - source_mean
    goal = target - target_mean
    # With points as complex numbers, rotation and scale are one complex factor.
    norm = np.maximum((moved**2).sum(axis=(1, 2)), 1e-12)
    cosine = (moved * goal).sum(axis=(1, 2)) / norm
    sine = (moved[..., 0] * goal[..., 1] - moved[..., 1] * goal[..., 0]).sum(axis=1) / norm
    transforms = np.empty((len(source), 2, 3))
    transforms[:, 0, 0] = transforms[:, 1, 1] = cosine
    transforms[:, 0, 1] = -sine
    transforms[:, 1, 0] = sine
    transforms[:, :, 2] = target_mean - np.einsum("nij,nj->ni", transforms[:, :, :2], source_mean[:, 0])
    return transforms


def align_faces(image: np.ndarray, landmarks: np.ndarray, size: Tuple[int, int] = (112, 112)) -> np.ndarray:
    """Upright crops (N x height x width x 3, uint8, BGR) of the faces with these landmarks (N x 5 x 2, image pixels).

    `size` is width and height of the crops.
    """
    width, height = size
    crops = np.empty((len(landmarks), height, width, 3), dtype=np.uint8)
    transforms = similarity_transforms(np.reshape(landmarks, (-1, 5, 2)), template(size))
    for crop, transform in zip(crops, transforms):
        cv2.warpAffine(image, transform, (width, height), dst=crop, flags=cv2.INTER_LINEAR)
    return crops


def square_transforms(boxes: np.ndarray, enlarge: float, size: Tuple[int, int]) -> np.ndarray:
    """The transforms (N x 2 x 3) that map a square around each box onto a crop of `size` (width, height).

    The square has the box's centre and its longer side times `enlarge`.
    """
    boxes = np.asarray(boxes, dtype=np.float64)
    sides = np.maximum((boxes[:, 2:] - boxes[:, :2]).max(axis=1), 1) * enlarge
    middles = (boxes[:, :2] + boxes[:, 2:]) / 2
    scales = np.asarray(size) / sides[:, None]
    transforms = np.zeros((len(boxes), 2, 3))
    transforms[:, [0, 1], [0, 1]] = scales
    transforms[:, :, 2] = np.asarray(size) / 2 - middles * scales
    return transforms


def cut_squares(image: np.ndarray, boxes: np.ndarray, enlarge: float, size: Tuple[int, int]) -> np.ndarray:
    """Crops (N x height x width x 3, BGR) of the squares of `square_transforms`; black outside the image."""
    crops = np.empty((len(boxes), size[1], size[0], 3), dtype=np.uint8)
    for crop, transform in zip(crops, square_transforms(boxes, enlarge, size)):
        cv2.warpAffine(image, transform, size, dst=crop, flags=cv2.INTER_LINEAR)
    return crops


def surroundings(box: np.ndarray, enlarge: float, image_size: Tuple[int, int]) -> Tuple[int, int, int, int]:
    """The box enlarged around its centre, same aspect ratio, as x1 y1 x2 y2 in whole pixels within the image.

    At the edge of the image it is moved inward instead of cut, and enlarged less if it does not fit at all: networks
    that judge the surroundings should see as much of them as possible, and no black.
    """
    limit = np.asarray(image_size, dtype=np.float64)
    sides = np.maximum(np.asarray(box[2:], dtype=np.float64) - box[:2], 1)
    sides = sides * min(enlarge, float((limit / sides).min()))
    corner = (np.asarray(box[:2], dtype=np.float64) + box[2:] - sides) / 2
    corner = np.clip(corner, 0, limit - sides)
    x1, y1 = np.floor(corner).astype(int).tolist()
    x2, y2 = np.ceil(np.minimum(corner + sides, limit)).astype(int).tolist()
    return x1, y1, x2, y2


def cut_surroundings(image: np.ndarray, boxes: np.ndarray, enlarge: float, size: Tuple[int, int]) -> np.ndarray:
    """Crops (N x height x width x 3, BGR) of the boxes of `surroundings`, stretched to `size` (width, height)."""
    crops = np.empty((len(boxes), size[1], size[0], 3), dtype=np.uint8)
    for crop, box in zip(crops, boxes):
        x1, y1, x2, y2 = surroundings(box, enlarge, (image.shape[1], image.shape[0]))
        crop[:] = resize_exactly(image[y1:y2, x1:x2], size)
    return crops
