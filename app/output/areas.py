"""Draws what is watched and ignored in a channel, and a grid to read positions from."""

from __future__ import annotations

from typing import Dict, Iterable, List, Tuple

import cv2
import numpy as np

from app.output.text_renderer import REGULAR, TextRenderer
from app.settings import Polygon, Settings, ViewSettings, polygons

Colour = Tuple[int, int, int]

_WATCHED: Colour = (190, 190, 60)
_IGNORED: Colour = (70, 70, 70)
_STRENGTH = 0.5
_GRID = (255, 255, 255)
_GRID_STRENGTH = 0.35
_STEPS = 10


class Outlines:
    """The polygons of a channel's settings. A video and a recording of the channel may draw them at the same time."""

    def __init__(self, view: ViewSettings) -> None:
        self._polygons = [
            *((polygon, _WATCHED) for polygon in polygons(view.watch or "")),
            *((polygon, _IGNORED) for polygon in polygons(view.ignore or "")),
        ]
        self._pixels: Tuple[Tuple[int, ...], List[Tuple[np.ndarray, Colour]]] = ((), [])
        """The size of a picture, and what is drawn into those of that size."""

    def draw(self, image: np.ndarray) -> None:
        """Faintly, into the image."""
        size, pixels = self._pixels
        if image.shape != size:
            # Finding the pixels takes longer than mixing their colours.
            pixels = [(_outline(image.shape, polygon), colour) for polygon, colour in self._polygons]
            self._pixels = image.shape, pixels
        flat = image.reshape(-1, 3)
        for places, colour in pixels:
            flat[places] = np.rint((1 - _STRENGTH) * flat[places] + _STRENGTH * np.array(colour))


def outlines(settings: Settings, channels: Iterable[str]) -> Dict[str, Outlines]:
    """Those of the channels that do not watch the whole picture."""
    views = {channel: settings.for_channel(channel).view for channel in channels}
    return {channel: Outlines(view) for channel, view in views.items() if view != ViewSettings()}


def _outline(shape: Tuple[int, ...], polygon: Polygon) -> np.ndarray:
    height, width = shape[:2]
    mask = np.zeros((height, width), np.uint8)
    corners = np.rint(np.array(polygon) * (width - 1, height - 1)).astype(np.int32)
    cv2.polylines(mask, [corners], isClosed=True, color=255, thickness=max(2, round(width / 500)))
    return np.flatnonzero(mask)


def draw_grid(image: np.ndarray, renderer: TextRenderer) -> None:
    """Lines at each tenth of width and height, with their numbers: the positions for `view.watch` and `view.ignore`."""
    height, width = image.shape[:2]
    lines = image.copy()
    for step in range(1, _STEPS):
        x, y = round(width * step / _STEPS), round(height * step / _STEPS)
        cv2.line(lines, (x, 0), (x, height), _GRID, 1)
        cv2.line(lines, (0, y), (width, y), _GRID, 1)
    cv2.addWeighted(lines, _GRID_STRENGTH, image, 1 - _GRID_STRENGTH, 0, dst=image)
    text_px = max(12, round(height / 40))
    for step in range(1, _STEPS):
        mask = renderer.mask(f"{step / _STEPS:.1f}", text_px, REGULAR)
        for x, y in (
            (round(width * step / _STEPS) + 2, 0),
            (round(width * step / _STEPS) + 2, height - mask.shape[0]),
            (0, round(height * step / _STEPS) + 2),
            (width - mask.shape[1], round(height * step / _STEPS) + 2),
        ):
            part = image[y : y + mask.shape[0], x : x + mask.shape[1]]
            letters = mask[: part.shape[0], : part.shape[1], None]
            part[:] = np.where(letters > 96, 255, part // 3)
