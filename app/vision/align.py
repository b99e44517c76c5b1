"""Turning a face upright: five landmarks -> the crop that every ArcFace-type network was trained on.

The transform is the least-squares similarity (rotation, one scale, shift), in closed form.
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
