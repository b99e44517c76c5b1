"""People who walk through the picture of a fixed camera: drawn bodies with the faces of photos."""

from __future__ import annotations

import zlib
from typing import List, NamedTuple, Optional, Sequence, Tuple

import cv2
import numpy as np

FACE_HEIGHT = 1.28
"""Of a box around a face, compared with its width."""
BODY_HEIGHT = 8
"""From the middle of the face to the feet, in widths of the face."""


class Head(NamedTuple):
    """A head cut out of a photo."""

    pixels: np.ndarray
    mask: np.ndarray
    face: float
    """Width of the face, as a share of that of the cutout."""


class Visitor(NamedTuple):
    """One of the people of a frame."""

    head: Head
    x: float
    y: float
    """Middle of the face."""
    width: float
    """Of the face."""
    stride: float
    """Where in a stride the legs are, in radians."""
    from_behind: bool = False
    door: Optional[float] = None
    """The visitor is hidden to the left of this column."""


def cut_out(image: np.ndarray, box: Sequence[float]) -> Head:
    """The head around a face."""
    x1, y1, x2, y2 = map(float, box)
    half = 0.85 * max(x2 - x1, y2 - y1)
    side = int(2 * half)
    matrix = np.array([[1, 0, half - (x1 + x2) / 2], [0, 1, half - (y1 + y2) / 2]], np.float32)
    pixels = cv2.warpAffine(image, matrix, (side, side), borderMode=cv2.BORDER_REPLICATE)
    mask = np.zeros((side, side), np.float32)
    cv2.ellipse(mask, (side // 2, side // 2), (int(side * 0.38), int(side * 0.47)), 0, 0, 360, (1,), -1)
    return Head(pixels, cv2.GaussianBlur(mask, (0, 0), side * 0.025), (x2 - x1) / side)


def draw(background: np.ndarray, visitors: Sequence[Visitor]) -> np.ndarray:
    """The picture without noise; the nearest visitor comes last."""
    image: np.ndarray = np.array(background)
    for visitor in visitors:
        behind = None if visitor.door is None else image[:, : max(0, int(visitor.door))].copy()
        _draw_body(image, visitor)
        if not visitor.from_behind:
            _draw_head(image, visitor)
        if behind is not None:
            image[:, : behind.shape[1]] = behind
    return image


class SensorNoise:
    """What a camera adds to every picture."""

    def __init__(self, shape: Tuple[int, ...], sigma: float, random: np.random.Generator) -> None:
        self._random = random
        self._noise = random.normal(0, sigma, shape).astype(np.int16)

    def add(self, image: np.ndarray) -> np.ndarray:
        """The noise of one frame is that of another one in another place, which is faster than new noise."""
        shift = self._random.integers(0, image.shape[:2])
        noise: np.ndarray = np.roll(self._noise, shift, (0, 1))
        return np.asarray(cv2.add(image, noise, dtype=cv2.CV_8U))


def _draw_body(image: np.ndarray, visitor: Visitor) -> None:
    x, y, w = visitor.x, visitor.y, visitor.width
    coat, trousers, hair = (
        np.random.default_rng(zlib.crc32(visitor.head.pixels.tobytes())).integers(20, 220, (3, 3)).tolist()
    )
    swing = 0.5 * np.sin(visitor.stride)

    def fill(colour: Sequence[int], points: Sequence[Tuple[float, float]]) -> None:
        """`points` are counted from the middle of the face, in widths of the face."""
        corners = np.round((np.array(points) * w + (x, y)) * 16).astype(np.int32)
        cv2.fillPoly(image, [corners], tuple(colour), cv2.LINE_AA, 4)

    fill(trousers, [(-0.7, 4), (0, 4), (-swing, BODY_HEIGHT), (-swing - 0.5, BODY_HEIGHT)])
    fill(trousers, [(0, 4), (0.7, 4), (swing + 0.5, BODY_HEIGHT), (swing, BODY_HEIGHT)])
    fill(coat, [(-0.3, 0.7), (0.3, 0.7), (1.2, 1.2), (1, 4.2), (-1, 4.2), (-1.2, 1.2)])
    stripes = [max(0, value - 50) for value in coat]
    for top in (1.8, 2.6, 3.4):
        fill(stripes, [(-1, top), (1, top), (1, top + 0.25), (-1, top + 0.25)])
    if visitor.from_behind:
        around: List[float] = np.linspace(0, 2 * np.pi, 24).tolist()
        fill(hair, [(0.62 * np.cos(angle), 0.82 * np.sin(angle)) for angle in around])


def _draw_head(image: np.ndarray, visitor: Visitor) -> None:
    head, height, width = visitor.head, image.shape[0], image.shape[1]
    side = visitor.width / head.face
    scale = side / head.pixels.shape[0]
    left, top = int(np.floor(visitor.x - side / 2)), int(np.floor(visitor.y - side / 2))
    span = int(np.ceil(side)) + 1
    matrix = np.array([[scale, 0, visitor.x - side / 2 - left], [0, scale, visitor.y - side / 2 - top]], np.float32)
    # Warping leaves out pixels where it shrinks.
    shrunk = max(1, int(np.ceil(1 / scale)))
    pixels, mask = (cv2.blur(layer, (shrunk, shrunk)) for layer in (head.pixels, head.mask))
    pixels = cv2.warpAffine(pixels, matrix, (span, span), borderMode=cv2.BORDER_REPLICATE)
    mask = cv2.warpAffine(mask, matrix, (span, span))
    x1, y1, x2, y2 = max(left, 0), max(top, 0), min(left + span, width), min(top + span, height)
    if x1 < x2 and y1 < y2:
        part = slice(y1 - top, y2 - top), slice(x1 - left, x2 - left)
        weight = mask[part][..., None]
        image[y1:y2, x1:x2] = (image[y1:y2, x1:x2] * (1 - weight) + pixels[part] * weight).astype(np.uint8)
