"""The demo's film: a hand-held camera walks along a wall on which the portraits hang, under changing light.

For every frame it is known where each face is, so that the demo can check names against the truth.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import List, Optional, Sequence, Tuple

import cv2
import numpy as np

from app.errors import AppError
from app.tools.demo.portraits import Portrait

WIDTH, HEIGHT, FPS = 1280, 720, 25
WALL_WIDTH, WALL_HEIGHT = 4000, 1000

# Where each portrait hangs (which one, left, top, width) on the wall.
HANGING = (
    (0, 240, 160, 620),
    (1, 1010, 120, 540),
    (2, 1760, 130, 640),
    (1, 2560, 250, 380),
    (0, 3060, 200, 520),
)

# The camera's way: at this second it looks at this point of the wall with this zoom, tilt (degrees) and light.
CAMERA_WAY = np.array(
    [
        # s, x, y, zoom, tilt, light
        (0.0, 560, 430, 1.30, -2.0, 0.90),
        (2.5, 860, 480, 1.00, 2.5, 1.00),
        (4.5, 1500, 470, 0.95, -1.5, 1.15),
        (6.5, 2060, 460, 1.25, 3.0, 0.80),
        (8.5, 2560, 500, 0.85, -2.0, 0.65),
        (10.5, 3020, 500, 0.90, 2.0, 1.05),
        (12.0, 3280, 440, 1.35, 0.0, 1.10),
    ]
)

TINTS = ((0.75, 0.85, 1.0), (0.95, 0.9, 0.8), (0.8, 1.0, 0.85))


@dataclass(frozen=True)
class FaceTruth:
    """Whose face is where in one frame."""

    name: Optional[str]
    """None for the stranger, who must stay unknown."""
    x: float
    y: float


@dataclass(frozen=True)
class Film:
    """The finished recording and, for each of its frames, the faces in it."""

    path: Path
    truth: Tuple[Tuple[FaceTruth, ...], ...]


def make_film(path: Path, portraits: Sequence[Portrait], backdrops: Sequence[np.ndarray]) -> Film:
    """Writes the film; the same one on every machine, up to the encoder."""
    wall = _wall(portraits, backdrops)
    grains = _sensor_noise()
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), FPS, (WIDTH, HEIGHT))
    if not writer.isOpened():
        raise AppError(f"the demo's film cannot be written to {path}: is the folder writable, the disk full?")
    truth: List[Tuple[FaceTruth, ...]] = []
    try:
        for index in range(int(CAMERA_WAY[-1, 0] * FPS)):
            view, light = _camera(index / FPS)
            picture = cv2.warpAffine(wall, view, (WIDTH, HEIGHT), flags=cv2.INTER_LINEAR)
            lit = cv2.convertScaleAbs(picture, alpha=light)
            writer.write(cv2.add(lit, grains[index % len(grains)]))
            truth.append(_faces_in_view(view, portraits))
    finally:
        writer.release()
    return Film(path, tuple(truth))


def _sensor_noise() -> List[np.ndarray]:
    random = np.random.default_rng(7)
    coarse = random.integers(0, 10, (4, HEIGHT // 2, WIDTH // 2), dtype=np.uint8)
    return [cv2.cvtColor(cv2.resize(grain, (WIDTH, HEIGHT)), cv2.COLOR_GRAY2BGR) for grain in coarse]


def _wall(portraits: Sequence[Portrait], backdrops: Sequence[np.ndarray]) -> np.ndarray:
    panels = []
    panel_width = -(-WALL_WIDTH // len(backdrops))
    for texture, tint in zip(backdrops, TINTS):
        tiled = np.tile(texture, (WALL_HEIGHT // texture.shape[0] + 1, panel_width // texture.shape[1] + 1))
        grey = tiled[:WALL_HEIGHT, :panel_width, None].astype(np.float32)
        panels.append(grey * np.array(tint, np.float32) * 0.45 + 90)
    wall = np.concatenate(panels, axis=1)[:, :WALL_WIDTH].astype(np.uint8)
    for which, left, top, width in HANGING:
        image = portraits[which].image
        height = round(image.shape[0] * width / image.shape[1])
        rim = 18
        cv2.rectangle(wall, (left - rim, top - rim), (left + width + rim, top + height + rim), (46, 58, 70), -1)
        wall[top : top + height, left : left + width] = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    return wall


def _camera(second: float) -> Tuple[np.ndarray, float]:
    """The wall-to-picture transform at this moment, and the light."""
    x, y, zoom, tilt, light = (np.interp(second, CAMERA_WAY[:, 0], column) for column in CAMERA_WAY.T[1:])
    # The unsteady hand.
    x += 6 * np.sin(second * 5.1)
    y += 5 * np.sin(second * 3.7 + 1)
    view = cv2.getRotationMatrix2D((float(x), float(y)), float(tilt), float(zoom))
    view[:, 2] += (WIDTH / 2 - x, HEIGHT / 2 - y)
    return view, float(light)


def _faces_in_view(view: np.ndarray, portraits: Sequence[Portrait]) -> Tuple[FaceTruth, ...]:
    faces = []
    for which, left, top, width in HANGING:
        portrait = portraits[which]
        height = portrait.image.shape[0] * width / portrait.image.shape[1]
        x, y = view @ (left + portrait.face[0] * width, top + portrait.face[1] * height, 1)
        if 0 <= x < WIDTH and 0 <= y < HEIGHT:
            faces.append(FaceTruth(portrait.name if portrait.enrolled else None, float(x), float(y)))
    return tuple(faces)
