"""Faces drawn into a picture for programs that ask for one."""

from __future__ import annotations

from typing import Optional, Sequence, Tuple

import cv2
import numpy as np

from app.types import Faces

GREEN, RED = (0, 200, 0), (0, 0, 230)
POINTS = ((0, 0, 255), (0, 255, 255), (255, 0, 255), (0, 255, 0), (255, 0, 0))
JPEG_QUALITY = 90


def draw_faces(
    image: np.ndarray,
    faces: Faces,
    masks: Sequence[Optional[bool]],
    landmarks: bool,
    scores: bool,
    sizes: bool,
    detector: str,
) -> bytes:
    """A JPEG with a box around each face, red where a mask was looked for and not found."""
    canvas = image.copy()
    size = max(0.4, max(canvas.shape[:2]) / 1600)
    line = max(1, round(2 * size))
    for row, (x1, y1, x2, y2) in enumerate(faces.boxes.astype(int).tolist()):
        colour = RED if masks and masks[row] is False else GREEN
        cv2.rectangle(canvas, (x1, y1), (x2, y2), colour, line)
        if landmarks:
            for (x, y), point in zip(faces.landmarks[row].astype(int).tolist(), POINTS):
                cv2.circle(canvas, (x, y), line + 1, point, cv2.FILLED)
        if scores:
            _write(canvas, f"{faces.scores[row]:.3f}", (x1, y1 - 3), size, colour)
        if sizes:
            _write(canvas, f"w:{x2 - x1}", (x1, y2 + round(14 * size) + 3), size, colour)
    _write(canvas, f"faces: {len(faces)} ({detector})", (4, canvas.shape[0] - 6), size, GREEN)
    return bytes(cv2.imencode(".jpg", canvas, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1].tobytes())


def _write(canvas: np.ndarray, text: str, corner: Tuple[int, int], size: float, colour: Tuple[int, int, int]) -> None:
    cv2.putText(canvas, text, corner, cv2.FONT_HERSHEY_SIMPLEX, size, (0, 0, 0), 3, cv2.LINE_AA)
    cv2.putText(canvas, text, corner, cv2.FONT_HERSHEY_SIMPLEX, size, colour, 1, cv2.LINE_AA)
