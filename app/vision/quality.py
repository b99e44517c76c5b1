"""How good faces are for recognition, and which of several faces a photo is about."""

from __future__ import annotations

import dataclasses
from typing import Optional, Tuple

import cv2
import numpy as np

from app.types import FaceQuality, Faces
from app.vision.align import similarity_transforms, template
from app.vision.head_pose import fit_head

_FACE_GRID = np.stack(np.meshgrid(np.linspace(20, 92, 10), np.linspace(28, 106, 10)), axis=-1).reshape(-1, 2)
"""Points all over a face, from the eyebrows to the chin, in an aligned crop of 112 pixels."""


def measure(
    faces: Faces, image_size: Tuple[int, int], crops: Optional[np.ndarray] = None, scale: float = 1.0
) -> FaceQuality:
    """The quality of faces in an image of this width and height, which was shrunk by `scale` before.

    Sharpness and exposure are measured only where the aligned faces are given (`crops`, N x H x W x 3, BGR). The rest
    takes 0.3 ms for any number of faces.
    """
    unknown = np.full(len(faces), np.nan)
    poses, errors = fit_head(faces.landmarks)
    yaw, pitch, roll = poses.T
    quality = FaceQuality(
        score=faces.scores,
        size_px=face_sizes_px(faces) * scale,
        sharpness=unknown,
        exposure=unknown,
        yaw=yaw,
        pitch=pitch,
        roll=roll,
        landmark_error=errors,
        cut_off=parts_outside(faces.landmarks, image_size),
        non_face=unknown,
    )
    return quality if crops is None else with_pixels(quality, crops)


def with_pixels(quality: FaceQuality, crops: np.ndarray) -> FaceQuality:
    """Adds sharpness and exposure, measured on the aligned faces."""
    sharpness, exposure = np.empty((2, len(quality)))
    for row, crop in enumerate(crops):
        grey = cv2.cvtColor(crop, cv2.COLOR_BGR2GRAY)
        # On the aligned face, so that it means the same for near and distant faces. A small face that was enlarged
        # counts as blurred, as it does for the embedder.
        _, deviation = cv2.meanStdDev(cv2.Laplacian(grey, cv2.CV_16S))
        sharpness[row] = deviation[0, 0] ** 2
        exposure[row] = cv2.mean(grey)[0] / 255
    return dataclasses.replace(quality, sharpness=sharpness, exposure=exposure)


def parts_outside(landmarks: np.ndarray, image_size: Tuple[int, int]) -> np.ndarray:
    """The part of each face that is outside an image of this width and height, by its landmarks (N x 5 x 2)."""
    transforms = similarity_transforms(landmarks, template())
    turns, shifts = transforms[:, :, :2], transforms[:, None, :, 2]
    # The inverse of a rotation with a scale is its transpose, divided by the square of the scale.
    scales = np.linalg.det(turns)[:, None, None]
    points = (_FACE_GRID - shifts) @ turns / np.maximum(scales, 1e-12)
    return np.asarray(((points < 0) | (points > image_size)).any(axis=2).mean(axis=1))


def face_sizes_px(faces: Faces) -> np.ndarray:
    """The shorter side of each box."""
    return np.asarray((faces.boxes[:, 2:] - faces.boxes[:, :2]).min(axis=1, initial=np.inf))


def main_face(faces: Faces, picture_size: Tuple[int, int]) -> int:
    """The face that a photo of one person is about, as far as one can tell."""
    return int(np.argmax(prominence(faces, picture_size)))


def prominence(faces: Faces, picture_size: Tuple[int, int]) -> np.ndarray:
    """How likely a photo is about each face: the combination of score, size and nearness to the middle.

    The largest box alone is a bad choice: in portraits it is sometimes not a face at all. The score must not count for
    more: SCRFD gives the large face of a portrait lower scores than small ones in the background.
    """
    width, height = picture_size
    centres = (faces.boxes[:, :2] + faces.boxes[:, 2:]) / 2
    distance = np.linalg.norm(centres / (width, height) - 0.5, axis=1) / np.sqrt(0.5)
    relative_size = np.sqrt(face_sizes_px(faces) / max(1.0, float(face_sizes_px(faces).max())))
    return np.asarray(faces.scores * relative_size * (1 - 0.5 * distance))
