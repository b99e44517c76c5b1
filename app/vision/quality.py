"""Which faces are worth comparing: sharpness of a crop, and which of several faces a photo is about."""

from __future__ import annotations

from typing import Tuple

import cv2
import numpy as np

from app.types import Faces


def sharpness(crop: np.ndarray) -> float:
    """Variance of the Laplacian of an aligned crop.

    Measured on the aligned crop, so that it means the same for a near face and a far one: a face that was enlarged to
    fill the crop counts as blurred, which for the embedder it is.
    """
    grey = cv2.cvtColor(crop, cv2.COLOR_BGR2GRAY)
    return float(cv2.Laplacian(grey, cv2.CV_32F).var())


def face_sizes_px(faces: Faces) -> np.ndarray:
    """The shorter side of each box."""
    return np.asarray((faces.boxes[:, 2:] - faces.boxes[:, :2]).min(axis=1, initial=np.inf))


def main_face(faces: Faces, picture_size: Tuple[int, int]) -> int:
    """Which face a photo of one person is of: the one that is surest, large and near the middle, all taken together.

    Never the largest box alone: in portraits that is now and then no face at all.
    """
    width, height = picture_size
    centres = (faces.boxes[:, :2] + faces.boxes[:, 2:]) / 2
    distance = np.linalg.norm(centres / (width, height) - 0.5, axis=1) / np.sqrt(0.5)
    relative_size = np.sqrt(face_sizes_px(faces) / max(1.0, float(face_sizes_px(faces).max())))
    return int(np.argmax(faces.scores**2 * relative_size * (1 - 0.5 * distance)))
