"""Which way a head is turned, from its five landmarks alone.

A face far enough from the camera is a solid body seen by parallel rays: what the camera sees of it is its rotation,
one scale and a shift. The five points give the two visible rows of the rotation by least squares, the third row is
their cross product. No network is needed.
"""

from __future__ import annotations

import numpy as np

FACE_MODEL = np.array(
    [[-0.5, 0, 0], [0.5, 0, 0], [0, 0.6, -0.45], [-0.42, 1.065, -0.05], [0.42, 1.065, -0.05]], dtype=np.float64
)
"""The five points of a mean face: x to the right as seen, y down, z away from the camera, 1 between the eyes.

x and y are those of faces that look into the camera as detectors mark them (three detectors on photos of LFW, which
differ by 0.03 in the nose); how far nose and mouth stand out is that of usual face models.
"""
_FIT = np.linalg.pinv(FACE_MODEL - FACE_MODEL.mean(axis=0))


def head_poses(landmarks: np.ndarray) -> np.ndarray:
    """Yaw, pitch and roll in degrees (N x 3) of faces with these landmarks (N x 5 x 2).

    Yaw is positive where the face looks to the viewer's right, pitch where it looks up, roll where the head leans
    clockwise as the viewer sees it. Roll is meant about the face's own axis, so that the first two say where it looks.
    """
    points = np.asarray(landmarks, dtype=np.float64).reshape(-1, 5, 2)
    centred = points - points.mean(axis=1, keepdims=True)
    seen = np.einsum("kp,npc->nck", _FIT, centred)
    left, _, right = np.linalg.svd(seen, full_matrices=False)
    rows = left @ right
    facing = rows[:, 0, 0] * rows[:, 1, 1] - rows[:, 0, 1] * rows[:, 1, 0]  # how far the third row points at the camera
    yaw = np.arctan2(-rows[:, 0, 2], facing)
    pitch = np.arcsin(np.clip(rows[:, 1, 2], -1, 1))
    roll = np.arctan2(rows[:, 1, 0], rows[:, 1, 1])
    return np.asarray(np.degrees(np.stack([yaw, pitch, roll], axis=1)), dtype=np.float32)
