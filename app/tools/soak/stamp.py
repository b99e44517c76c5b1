"""A number in a picture, as black and white blocks along its lower edge, which survives compression and scaling.

The cameras of the soak draw the time at which they made a picture, so whoever reads it knows how old the picture is.
"""

from __future__ import annotations

import time
import zlib
from typing import List, Optional, Tuple

import numpy as np

ROWS, COLUMNS = 2, 24
NUMBER_BITS, CHECK_BITS = 32, 16
WRAPS_AT = 1 << NUMBER_BITS
ROW_SHARE = 1 / 24
"""Height of a row, as a share of the picture's."""
CLEAR = 48
"""How far a block's mean may be from black or white, of 255."""


def now_ms() -> int:
    """The time to draw: that of the system's monotonic clock, which all processes of a machine share."""
    return int(time.monotonic() * 1000) % WRAPS_AT


def age_s(stamp: int, now: int) -> float:
    """How old a picture with this stamp is."""
    return (now - stamp) % WRAPS_AT / 1000


def draw_stamp(image: np.ndarray, number: int) -> None:
    """Draws into the picture itself."""
    bits = np.array([int(bit) for bit in f"{number:0{NUMBER_BITS}b}{_check(number):0{CHECK_BITS}b}"])
    height, width = image.shape[:2]
    rows, columns = _edges(height, width)
    for cell, bit in enumerate(bits):
        row, column = divmod(cell, COLUMNS)
        image[rows[row] : rows[row + 1], columns[column] : columns[column + 1]] = 255 * bit


def read_stamp(image: np.ndarray) -> Optional[int]:
    """The number in the picture; None if there is none, or if it is damaged."""
    height, width = image.shape[:2]
    rows, columns = _edges(height, width)
    text = ""
    for cell in range(ROWS * COLUMNS):
        row, column = divmod(cell, COLUMNS)
        inside = (_middle(rows[row], rows[row + 1]), _middle(columns[column], columns[column + 1]))
        level = float(image[inside].mean())
        if CLEAR < level < 255 - CLEAR:
            return None
        text += "1" if level > 127 else "0"
    number = int(text[:NUMBER_BITS], 2)
    return number if int(text[NUMBER_BITS:], 2) == _check(number) else None


def _check(number: int) -> int:
    # Mixed with a constant, so that a white or a black area is not a number.
    return (zlib.crc32(number.to_bytes(4, "big")) ^ 0x5A5A) & ((1 << CHECK_BITS) - 1)


def _edges(height: int, width: int) -> Tuple[List[int], List[int]]:
    top = height * (1 - ROWS * ROW_SHARE)
    rows = [round(top + height * ROW_SHARE * row) for row in range(ROWS)] + [height]
    return rows, [round(width * column / COLUMNS) for column in range(COLUMNS + 1)]


def _middle(begin: int, end: int) -> slice:
    margin = (end - begin) // 4
    return slice(begin + margin, end - margin)
