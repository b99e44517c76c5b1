"""A recording with a chosen number of faces, for measuring speed where no recording is at hand."""

from __future__ import annotations

from pathlib import Path
from typing import Sequence

import cv2
import numpy as np

from app.output.video_encoders import open_video_writer
from app.tools.demo.film import FPS, HEIGHT, WIDTH
from app.tools.demo.portraits import Portrait

COLUMNS, ROWS = 4, 2


def make_crowd(path: Path, portraits: Sequence[Portrait], faces: int, frames: int) -> None:
    """1280 x 720: portraits in a grid, each swaying a little in its cell."""
    cell_width, cell_height = WIDTH // COLUMNS, HEIGHT // ROWS
    heads = [_head(portrait, cell_width, cell_height) for portrait in portraits]
    film = open_video_writer(path, (WIDTH, HEIGHT), 23, FPS)
    try:
        for index in range(frames):
            film.write(_picture(heads, faces, index), index / FPS)
    finally:
        film.close(1 / FPS)


def crowd_picture(portraits: Sequence[Portrait], faces: int) -> np.ndarray:
    """The recording's first picture by itself."""
    return _picture([_head(portrait, WIDTH // COLUMNS, HEIGHT // ROWS) for portrait in portraits], faces, 0)


def _picture(heads: Sequence[np.ndarray], faces: int, index: int) -> np.ndarray:
    cell_height, cell_width = heads[0].shape[:2]
    picture = np.full((HEIGHT, WIDTH, 3), 96, np.uint8)
    for cell in range(faces):
        left, top = cell % COLUMNS * cell_width, cell // COLUMNS * cell_height
        sway = np.array([[1, 0, 8 * np.sin(index / 9 + cell)], [0, 1, 6 * np.cos(index / 7 + 2 * cell)]])
        head = heads[cell % len(heads)]
        head = cv2.warpAffine(head, sway, (cell_width, cell_height), borderMode=cv2.BORDER_REFLECT)
        picture[top : top + cell_height, left : left + cell_width] = head
    return picture


def _head(portrait: Portrait, width: int, height: int) -> np.ndarray:
    """The part of the portrait around the face, in the cell's size."""
    full_height, full_width = portrait.image.shape[:2]
    middle_x, middle_y = portrait.face[0] * full_width, portrait.face[1] * full_height
    half = min(middle_x, middle_y, full_width - middle_x, 0.27 * full_width)
    left, right = round(middle_x - half), round(middle_x + half)
    top, bottom = max(0, round(middle_y - half * height / width)), round(middle_y + half * height / width)
    return np.asarray(cv2.resize(portrait.image[top:bottom, left:right], (width, height), interpolation=cv2.INTER_AREA))
