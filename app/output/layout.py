"""Fitting pictures into sizes: one into that of a video, several into one window."""

from __future__ import annotations

import math
from typing import List, Sequence, Tuple

import cv2
import numpy as np

Size = Tuple[int, int]
"""Width, height."""

Cell = Tuple[int, int, int, int]
"""x, y, width, height."""


def fit_into(image: np.ndarray, size: Size) -> np.ndarray:
    """The picture in exactly this size: an odd row or column is cut off, otherwise it is resized with black bars."""
    width, height = size
    have_height, have_width = image.shape[:2]
    if 0 <= have_width - width <= 1 and 0 <= have_height - height <= 1:
        return np.ascontiguousarray(image[:height, :width])
    x, y, fitted_width, fitted_height = inner_box((have_width, have_height), size)
    framed = np.zeros((height, width, 3), np.uint8)
    shrinks = fitted_width < have_width
    cv2.resize(
        image,
        (fitted_width, fitted_height),
        dst=framed[y : y + fitted_height, x : x + fitted_width],
        interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR,
    )
    return framed


def inner_box(size: Size, outer: Size) -> Tuple[int, int, int, int]:
    """Position and size (x, y, width, height) of a picture of `size`, centred in `outer` as large as possible."""
    scale = min(outer[0] / size[0], outer[1] / size[1])
    width = min(outer[0], max(1, round(size[0] * scale)))
    height = min(outer[1], max(1, round(size[1] * scale)))
    return (outer[0] - width) // 2, (outer[1] - height) // 2, width, height


def grid(images: Sequence[np.ndarray], max_size: Size) -> np.ndarray:
    """All images in one, row by row, as large as `max_size` (width, height) permits, on black.

    A single image is returned unchanged unless it is too large.
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
    """Size of the grid and cell of each image, with the number of columns that makes the cells largest."""
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
