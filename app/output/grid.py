"""Several channels in one picture."""

from __future__ import annotations

import math
from typing import List, Sequence, Tuple

import cv2
import numpy as np

from app.output.fitting import Size, inner_box

Cell = Tuple[int, int, int, int]
"""x, y, width, height."""


def grid(images: Sequence[np.ndarray], max_size: Size) -> np.ndarray:
    """All images in one, row by row, as large as `max_size` (width, height) lets them be; black where none is.

    A single image stays as it is unless it is too large.
    """
    if not images:
        return np.zeros((max_size[1], max_size[0], 3), np.uint8)
    if len(images) == 1 and images[0].shape[1] <= max_size[0] and images[0].shape[0] <= max_size[1]:
        return images[0]
    size, cells = grid_cells([(image.shape[1], image.shape[0]) for image in images], max_size)
    whole = np.zeros((size[1], size[0], 3), np.uint8)
    for image, (x, y, width, height) in zip(images, cells):
        dx, dy, fitted_width, fitted_height = inner_box((image.shape[1], image.shape[0]), (width, height))
        cv2.resize(
            image,
            (fitted_width, fitted_height),
            dst=whole[y + dy : y + dy + fitted_height, x + dx : x + dx + fitted_width],
            interpolation=cv2.INTER_AREA if fitted_width < image.shape[1] else cv2.INTER_LINEAR,
        )
    return whole


def grid_cells(sizes: Sequence[Size], max_size: Size) -> Tuple[Size, List[Cell]]:
    """Size of the grid and the cell of each image: the number of columns that shows the pictures largest."""
    count = len(sizes)
    aspect = float(np.median([width / height for width, height in sizes]))
    columns = max(range(1, count + 1), key=lambda n: (_cell_size(n, count, aspect, max_size), n))
    rows = math.ceil(count / columns)
    width, height = _cell_size(columns, count, aspect, max_size)
    cells = [(i % columns * width, i // columns * height, width, height) for i in range(count)]
    return (columns * width, rows * height), cells


def _cell_size(columns: int, count: int, aspect: float, max_size: Size) -> Size:
    rows = math.ceil(count / columns)
    width, height = max_size[0] / columns, max_size[1] / rows
    if width > height * aspect:
        width = height * aspect
    else:
        height = width / aspect
    return max(1, int(width)), max(1, int(height))
