"""Fitting a picture into a size that is not its own."""

from __future__ import annotations

from typing import Tuple

import cv2
import numpy as np

Size = Tuple[int, int]
"""Width, height."""


def fit_into(image: np.ndarray, size: Size) -> np.ndarray:
    """The picture in exactly this size: an odd row is cut off, anything else gets shrunk or grown, and black bars."""
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
    """Where (x, y, width, height) a picture of `size` stands in `outer` when it is as large as it can be."""
    scale = min(outer[0] / size[0], outer[1] / size[1])
    width = min(outer[0], max(1, round(size[0] * scale)))
    height = min(outer[1], max(1, round(size[1] * scale)))
    return (outer[0] - width) // 2, (outer[1] - height) // 2, width, height
