"""Pictures of strangers: the face, and the frame that it was seen in, where other people are blurred."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple, Optional

import cv2
import numpy as np

from app.files import write_whole
from app.output.cover import blur_face
from app.output.visit_pictures import QUALITY, face_picture
from app.types import Faces
from app.vision.preprocessing import resize_exactly
from app.vision.quality import parts_outside

FRAME_PX = 640
"""A larger frame is shrunk to this side."""
_FRAME_QUALITY = 80
_BOX_BGR = (36, 178, 255)
_SHARP, _SHARPNESS_SIZE = 100.0, (112, 112)
"""A variance of the Laplacian, at this size, from which a picture is not better for being sharper."""


class StrangerPicture(NamedTuple):
    face: np.ndarray
    frame: Optional[np.ndarray]


def picture_of(image: np.ndarray, faces: Faces, row: int, with_frame: bool) -> StrangerPicture:
    """Of one of the faces in a frame, H x W x 3, BGR."""
    return StrangerPicture(face_picture(image, faces.boxes[row]), _frame(image, faces, row) if with_frame else None)


def _frame(image: np.ndarray, faces: Faces, row: int) -> np.ndarray:
    """The frame with a box around the face, small, without the faces of others."""
    scale = min(1.0, FRAME_PX / max(image.shape[:2]))
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    frame = cv2.resize(image, size, interpolation=cv2.INTER_AREA) if scale < 1 else image.copy()
    for other in range(len(faces.boxes)):
        if other != row:
            blur_face(frame, faces.boxes[other] * scale, faces.landmarks[other] * scale)
    x1, y1, x2, y2 = np.rint(faces.boxes[row] * scale).astype(int).tolist()
    cv2.rectangle(frame, (x1, y1), (x2, y2), _BOX_BGR, 2)
    return np.asarray(frame)


def write_picture(picture: StrangerPicture, crop: Path, frame: Path) -> None:
    """Raises OSError."""
    _write(crop, picture.face, QUALITY)
    if picture.frame is not None:
        frame.parent.mkdir(exist_ok=True, mode=0o700)
        _write(frame, picture.frame, _FRAME_QUALITY)


def _write(path: Path, image: np.ndarray, quality: int) -> None:
    write_whole(path, cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes(), mode=0o600)


def picture_quality(image: np.ndarray, face: Faces) -> float:
    """How good a picture the face makes, 0 to 1, besides its clarity: whether it is sharp, and wholly in the frame."""
    height, width = image.shape[:2]
    outside = float(parts_outside(face.landmarks, (width, height))[0])
    x1, y1, x2, y2 = np.clip(np.rint(face.boxes[0]), 0, (width, height, width, height)).astype(int).tolist()
    if x2 - x1 < 1 or y2 - y1 < 1:
        return 0.0
    grey = cv2.cvtColor(resize_exactly(image[y1:y2, x1:x2], _SHARPNESS_SIZE), cv2.COLOR_BGR2GRAY)
    sharpness = float(cv2.Laplacian(grey, cv2.CV_32F).var())
    return (1 - outside) ** 2 * min(1.0, 0.2 + sharpness / _SHARP)
