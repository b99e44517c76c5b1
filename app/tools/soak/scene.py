"""What a camera of the soak shows: people from the demo who come, stay and go, in front of a wall."""

from __future__ import annotations

from pathlib import Path
from typing import Sequence, Tuple

import cv2
import numpy as np

from app.tools.demo.portraits import Portrait, heads_of, load_backdrops
from app.tools.soak.stamp import draw_stamp

WIDTH, HEIGHT = 640, 360
VISIT_EVERY_S = 32.0
"""Longer than a visit and the time in which a person may be away without ending it."""
WALKS_S = 3.0
STAYS_S = 10.0
HEAD_WIDTH, HEAD_HEIGHT = 200, 225


def write_scenery(folder: Path, portraits: Sequence[Portrait]) -> Tuple[Path, Tuple[Path, ...]]:
    """Files of the wall, and of the head of each portrait, for the processes that are the cameras."""
    wall = folder / "wall.png"
    brick = cv2.resize(load_backdrops()[0], (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)
    cv2.imwrite(str(wall), cv2.cvtColor(cv2.convertScaleAbs(brick, alpha=0.5, beta=60), cv2.COLOR_GRAY2BGR))
    heads = []
    for number, head in enumerate(heads_of(portraits)):
        heads.append(folder / f"head-{number}.png")
        cv2.imwrite(str(heads[-1]), cv2.resize(head, (HEAD_WIDTH, HEAD_HEIGHT), interpolation=cv2.INTER_AREA))
    return wall, tuple(heads)


class Scene:
    """Draws the picture of any moment."""

    def __init__(self, wall: np.ndarray, heads: Sequence[np.ndarray]) -> None:
        """The people come one after the other."""
        self._wall = wall
        self._heads = heads

    def picture(self, milliseconds: int, size: Tuple[int, int] = (WIDTH, HEIGHT)) -> np.ndarray:
        """The scene at this time of the monotonic clock, with the time in it."""
        image = np.array(self._wall)
        visit, moment_s = divmod(milliseconds / 1000, VISIT_EVERY_S)
        head = self._heads[int(visit) % len(self._heads)]
        left = round(_way(moment_s) * (WIDTH + HEAD_WIDTH)) - HEAD_WIDTH
        top = 40 + round(6 * np.sin(moment_s * 2))
        begin, end = max(0, left), min(WIDTH, left + HEAD_WIDTH)
        if begin < end:
            image[top : top + HEAD_HEIGHT, begin:end] = head[:, begin - left : end - left]
        if size != (WIDTH, HEIGHT):
            image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA))
        draw_stamp(image, milliseconds)
        return image


def _way(moment_s: float) -> float:
    """How far a person is from the left edge (0) to the right one (1)."""
    inside_s = moment_s - WALKS_S
    if inside_s < 0:
        return 0.5 * moment_s / WALKS_S
    if inside_s < STAYS_S:
        return 0.5 + 0.01 * float(np.sin(inside_s * 1.3))
    return min(1.0, 0.5 + 0.5 * (inside_s - STAYS_S) / WALKS_S)
