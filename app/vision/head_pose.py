"""Head pose from the five landmarks; no network is needed.

A face far enough from the camera is a rigid body in parallel projection: what the camera sees is its rotation, one
scale and a shift. The five points give the first two rows of the rotation by least squares, and the third is their
cross product.
"""

from __future__ import annotations

from typing import Tuple

import numpy as np

FACE_MODEL = np.array(
    [[-0.5, 0, 0], [0.5, 0, 0], [0, 0.6, -0.45], [-0.42, 1.065, -0.05], [0.42, 1.065, -0.05]], dtype=np.float64
)
"""The five points of an average face: x to the right as the viewer sees it, y down, z away from the camera; the eyes
are 1 apart.

x and y are averages of frontal faces as detectors mark them (three detectors on photos of LFW, which differ by 0.03 at
the nose); the depth of nose and mouth is that of common face models.
"""
_CENTRED = FACE_MODEL - FACE_MODEL.mean(axis=0)
_FIT = np.linalg.pinv(_CENTRED)


def head_poses(landmarks: np.ndarray) -> np.ndarray:
    """Yaw, pitch and roll in degrees (N x 3, float32) of faces with these landmarks (N x 5 x 2)."""
    return fit_head(landmarks)[0]


def fit_head(landmarks: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
    """Yaw, pitch and roll in degrees (N x 3, float32), and how badly the turned model fits (N): the root mean square
    distance of the landmarks from it, divided by that of the landmarks from their centre.

    Positive yaw looks to the viewer's right, positive pitch up, positive roll leans clockwise as the viewer sees it.
    Roll is around the face's own axis, so that yaw and pitch alone give the direction of the gaze.
    """
    points = np.asarray(landmarks, dtype=np.float64).reshape(-1, 5, 2)
    centred = points - points.mean(axis=1, keepdims=True)
    seen = np.einsum("kp,npc->nck", _FIT, centred)
    left, stretch, right = np.linalg.svd(seen, full_matrices=False)
    rows = left @ right
    model = _CENTRED @ (rows * stretch.mean(axis=1)[:, None, None]).transpose(0, 2, 1)
    size = np.maximum((centred**2).sum(axis=(1, 2)), 1e-12)
    errors = np.sqrt(((model - centred) ** 2).sum(axis=(1, 2)) / size)
    facing = rows[:, 0, 0] * rows[:, 1, 1] - rows[:, 0, 1] * rows[:, 1, 0]  # how far the third row points at the camera
    yaw = np.arctan2(-rows[:, 0, 2], facing)
    pitch = np.arcsin(np.clip(rows[:, 1, 2], -1, 1))
    roll = np.arctan2(rows[:, 1, 0], rows[:, 1, 1])
    return np.asarray(np.degrees(np.stack([yaw, pitch, roll], axis=1)), dtype=np.float32), errors
