"""Cutting faces out of a frame. Above all upright: five landmarks -> the crop that every ArcFace-type network was
trained on; and by their boxes, as networks want it that look at more than who it is.

The aligning transform is the least-squares similarity (rotation, one scale, shift), in closed form.
`cv2.estimateAffinePartial2D` looks like the same thing and is not: its default RANSAC drops landmarks and lands pixels
beside.
"""

from __future__ import annotations

from typing import Tuple

import cv2
import numpy as np

# Left eye, right eye (as the viewer sees them), nose tip, left and right corner of the mouth, for a 112 x 112 crop.
ARCFACE_TEMPLATE = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]],
    dtype=np.float32,
)
TEMPLATE_SIZE = 112


def template(size: Tuple[int, int] = (112, 112)) -> np.ndarray:
    """The landmarks' places in a crop of `size` (width, height).

    A narrower crop such as 96 x 112 is the middle of the square one: the face keeps its scale, the sides are cut.
    """
    width, height = size
    scale = height / TEMPLATE_SIZE
    side_margin = (TEMPLATE_SIZE * scale - width) / 2
    return np.asarray(ARCFACE_TEMPLATE * scale - (side_margin, 0), dtype=np.float32)


def similarity_transforms(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The similarities (N x 2 x 3) that carry each of N point sets (N x P x 2) closest to `target` (P x 2)."""
    source = np.asarray(source, dtype=np.float64)
    target = np.asarray(target, dtype=np.float64)
    source_mean = source.mean(axis=1, keepdims=True)
    target_mean = target.mean(axis=0)
    moved = source - source_mean
    goal = target - target_mean
    # Points as complex numbers: rotation and scale together are one complex factor.
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
    """One upright crop (height x width x 3, BGR) a face, cut from the full-resolution image."""
    width, height = size
    crops = np.empty((len(landmarks), height, width, 3), dtype=np.uint8)
    transforms = similarity_transforms(np.reshape(landmarks, (-1, 5, 2)), template(size))
    for crop, transform in zip(crops, transforms):
        cv2.warpAffine(image, transform, (width, height), dst=crop, flags=cv2.INTER_LINEAR)
    return crops


def square_transforms(boxes: np.ndarray, enlarge: float, size: Tuple[int, int]) -> np.ndarray:
    """What carries each box's longer side, as a square about its middle and enlarged, onto a crop (N x 2 x 3)."""
    boxes = np.asarray(boxes, dtype=np.float64)
    sides = np.maximum((boxes[:, 2:] - boxes[:, :2]).max(axis=1), 1) * enlarge
    middles = (boxes[:, :2] + boxes[:, 2:]) / 2
    scales = np.asarray(size) / sides[:, None]
    transforms = np.zeros((len(boxes), 2, 3))
    transforms[:, [0, 1], [0, 1]] = scales
    transforms[:, :, 2] = np.asarray(size) / 2 - middles * scales
    return transforms


def cut_squares(image: np.ndarray, boxes: np.ndarray, enlarge: float, size: Tuple[int, int]) -> np.ndarray:
    """Faces with what is around them, not turned (N x height x width x 3, BGR); black outside of the image."""
    crops = np.empty((len(boxes), size[1], size[0], 3), dtype=np.uint8)
    for crop, transform in zip(crops, square_transforms(boxes, enlarge, size)):
        cv2.warpAffine(image, transform, size, dst=crop, flags=cv2.INTER_LINEAR)
    return crops


def surroundings(box: np.ndarray, enlarge: float, image_size: Tuple[int, int]) -> Tuple[int, int, int, int]:
    """The box enlarged about its middle in its own proportions, as x1 y1 x2 y2 in whole pixels within the image.

    Where the image ends it is moved inward rather than cut, and enlarged less when it would not fit at all: networks
    that judge the surroundings are to see as much of them as there is, and no black.
    """
    most = np.asarray(image_size, dtype=np.float64)
    sides = np.maximum(np.asarray(box[2:], dtype=np.float64) - box[:2], 1)
    sides = sides * min(enlarge, float((most / sides).min()))
    corner = (np.asarray(box[:2], dtype=np.float64) + box[2:] - sides) / 2
    corner = np.clip(corner, 0, most - sides)
    x1, y1 = np.floor(corner).astype(int).tolist()
    x2, y2 = np.ceil(np.minimum(corner + sides, most)).astype(int).tolist()
    return x1, y1, x2, y2


def cut_surroundings(image: np.ndarray, boxes: np.ndarray, enlarge: float, size: Tuple[int, int]) -> np.ndarray:
    """Faces with their surroundings, stretched to the crop (N x height x width x 3, BGR)."""
    crops = np.empty((len(boxes), size[1], size[0], 3), dtype=np.uint8)
    for crop, box in zip(crops, boxes):
        x1, y1, x2, y2 = surroundings(box, enlarge, (image.shape[1], image.shape[0]))
        cv2.resize(image[y1:y2, x1:x2], size, dst=crop)
    return crops
