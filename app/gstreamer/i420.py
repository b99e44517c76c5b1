"""How GStreamer arranges a frame in I420: brightness in full resolution, then two planes of colour in half of it."""

from __future__ import annotations

from typing import List, NamedTuple, Tuple

import numpy as np


class I420(NamedTuple):
    """Frames of one size. GStreamer fills rows up to a multiple of 4 bytes, which OpenCV does not."""

    width: int
    height: int

    @property
    def strides(self) -> Tuple[int, int]:
        """Bytes per row, of brightness and of each colour."""
        return _filled_up(self.width, 4), _filled_up(_filled_up(self.width, 2) // 2, 4)

    @property
    def rows(self) -> int:
        return _filled_up(self.height, 2)

    @property
    def even_width(self) -> int:
        return _filled_up(self.width, 2)

    @property
    def size(self) -> int:
        """Of a frame in bytes."""
        bright, colour = self.strides
        return self.rows * (bright + colour)

    @property
    def is_dense(self) -> bool:
        """Whether rows are not filled up."""
        return self.size == self.rows * self.even_width * 3 // 2

    def planes(self, pixels: np.ndarray) -> List[np.ndarray]:
        """The three planes of a frame of GStreamer's, without what rows are filled up with; views."""
        (bright, colour), rows, width = self.strides, self.rows, self.even_width
        first, second = rows * bright, rows * bright + rows // 2 * colour
        return [
            pixels[:first].reshape(rows, bright)[:, :width],
            pixels[first:second].reshape(rows // 2, colour)[:, : width // 2],
            pixels[second:].reshape(rows // 2, colour)[:, : width // 2],
        ]

    def filled_up(self, dense: np.ndarray) -> np.ndarray:
        """A frame for GStreamer out of one of OpenCV's."""
        if self.is_dense:
            return dense.ravel()
        made = np.zeros(self.size, np.uint8)
        rows, width, rest = self.rows, self.even_width, dense.ravel()
        for plane in self.planes(made):
            count = plane.size
            plane[:] = rest[:count].reshape(plane.shape)
            rest = rest[count:]
        assert rest.size == 0, f"a frame of {width} x {rows} was expected"
        return made


def _filled_up(value: int, step: int) -> int:
    return -(-value // step) * step
