"""Draws what was found in a picture, and what differs from the annotations."""

from __future__ import annotations

from pathlib import Path
from typing import List, Optional, Sequence

import cv2
import numpy as np

from app.tools.scan.noses import Expected, Verdict
from app.types import Faces

GREEN, RED = (0, 200, 0), (0, 0, 230)


def draw_scan(image: np.ndarray, faces: Faces, expected: Optional[Expected], verdict: Optional[Verdict]) -> bytes:
    """A PNG with a box and the score of each face; those that are not expected are red, as are crosses at missed
    noses."""
    canvas = image.copy()
    size = max(0.4, max(canvas.shape[:2]) / 1600)
    line = max(2, round(2 * size))
    false = () if verdict is None else verdict.false
    for row, (x1, y1, x2, y2) in enumerate(faces.boxes.round().astype(int).tolist()):
        colour = RED if row in false else GREEN
        cv2.rectangle(canvas, (x1, y1), (x2, y2), colour, line)
        text = f"{faces.scores[row]:.3f}{' Error' if row in false else ''}"
        at = (max(0, x1), max(round(14 * size), y1 - 3))
        cv2.putText(canvas, text, at, cv2.FONT_HERSHEY_SIMPLEX, size, (0, 0, 0), line + 2, cv2.LINE_AA)
        cv2.putText(canvas, text, at, cv2.FONT_HERSHEY_SIMPLEX, size, colour, line - 1, cv2.LINE_AA)
    if expected is not None and verdict is not None:
        for nose, (x, y) in enumerate(expected.noses.round().astype(int).tolist()):
            if nose in verdict.missed:
                cv2.drawMarker(canvas, (x, y), RED, cv2.MARKER_TILTED_CROSS, round(40 * size), 2 * line)
            else:
                cv2.circle(canvas, (x, y), line + 1, GREEN, cv2.FILLED)
    return bytes(cv2.imencode(".png", canvas)[1].tobytes())


def png_names(pictures: Sequence[Path]) -> List[str]:
    """A file name for each picture's PNG: `a.jpg.png`, and `a.jpg-2.png` for another picture of the same name."""
    used: List[str] = []
    for path in pictures:
        name, number = f"{path.name}.png", 1
        while name in used:
            number += 1
            name = f"{path.name}-{number}.png"
        used.append(name)
    return used
