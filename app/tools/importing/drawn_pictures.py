"""Pictures drawn for networks to look at: what they answer to them tells how they were made.

Nothing has to be shipped or downloaded for it, and every machine draws the same.
"""

from __future__ import annotations

from typing import Tuple

import cv2
import numpy as np

FACE_SIDES = (20, 30, 50, 80, 120, 180, 260, 360)
"""Widths of faces, in pixels, that between them wake every anchor of a detector."""

_SKIN, _HAIR, _DARK, _LIPS = (140, 170, 215), (30, 40, 50), (40, 50, 60), (90, 90, 180)


def leaves(size: Tuple[int, int], seed: int = 0) -> np.ndarray:
    """Discs of every size over each other: brightness and edges are distributed as in photographs (H x W x 3, BGR)."""
    width, height = size
    generator = np.random.default_rng(seed)
    image = np.zeros((height, width, 3), np.uint8)
    for _ in range(max(200, width * height // 200)):
        radius = int(np.clip(4 * (1 - generator.random()) ** (-1 / 1.5), 4, 200))
        colour = np.clip(generator.normal(115, 60) + generator.normal(0, 20, 3), 0, 255)
        centre = (int(generator.integers(0, width)), int(generator.integers(0, height)))
        cv2.circle(image, centre, radius, colour.tolist(), -1, cv2.LINE_AA)
    noisy = cv2.GaussianBlur(image, (0, 0), 1.0) + generator.normal(0, 4, image.shape)
    return np.clip(noisy, 0, 255).astype(np.uint8)


def face(size: Tuple[int, int], side: int) -> np.ndarray:
    """A drawn face about `side` pixels wide in the middle of a dim picture (H x W x 3, BGR)."""
    width, height = size
    image = cv2.GaussianBlur((leaves(size) * 0.3 + 80).astype(np.uint8), (0, 0), 3)
    x, y = width // 2, height // 2

    def ellipse(across: float, down: float, half_width: float, half_height: float, colour: Tuple[int, ...]) -> None:
        centre = (x + round(across * side), y + round(down * side))
        axes = (round(half_width * side), round(half_height * side))
        cv2.ellipse(image, centre, axes, 0, 0, 360, colour, -1, cv2.LINE_AA)

    ellipse(0, -0.1, 0.55, 0.72, _HAIR)
    ellipse(0, 0.65, 0.2, 0.3, (120, 150, 195))
    ellipse(0, 0, 0.46, 0.62, _SKIN)
    for across in (-0.19, 0.19):
        ellipse(across, -0.1, 0.09, 0.045, (235, 235, 235))
        ellipse(across, -0.1, 0.045, 0.045, _DARK)
        ellipse(across, -0.19, 0.11, 0.025, _DARK)
    ellipse(0.02, 0.03, 0.02, 0.1, (120, 145, 190))
    ellipse(0, 0.13, 0.07, 0.04, (100, 120, 170))
    ellipse(0, 0.33, 0.15, 0.05, _LIPS)
    return np.asarray(cv2.GaussianBlur(image, (0, 0), max(0.5, side * 0.012)))
