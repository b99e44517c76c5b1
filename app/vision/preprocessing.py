"""What a network wants its pixels to look like: data from the catalogue, and a fast way to apply it to a frame."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Tuple

import cv2
import numpy as np


@dataclass(frozen=True)
class Preprocessing:
    """(pixel - mean) / divisor for each channel, in the order of `channels`."""

    channels: str
    """`bgr` or `rgb`: the order in which the network takes its planes."""
    mean: Tuple[float, float, float]
    """In the order of `channels`."""
    divisor: float

    def fill(self, plane_stack: np.ndarray, image: np.ndarray) -> None:
        """Writes a BGR uint8 image into the top left corner of the network's planes (3 x H x W, float32).

        Plane by plane into memory that is used again with every frame: five times as fast as the plain expression,
        which passes through float64 and a transposed copy.
        """
        height, width = image.shape[:2]
        planes = cv2.split(image)
        if self.channels == "rgb":
            planes = planes[::-1]
        for target, plane, mean in zip(plane_stack, planes, self.mean):
            corner = target[:height, :width]
            np.subtract(plane, np.float32(mean), out=corner, dtype=np.float32)
            if self.divisor != 1:
                np.multiply(corner, np.float32(1 / self.divisor), out=corner)


@dataclass(frozen=True)
class FaceInput:
    """What a network that looks at one face at a time takes in."""

    preprocessing: Preprocessing
    crop: Tuple[int, int]
    """Width and height of the picture of one face."""
    enlarge: float = 0.0
    """How many times larger than the face's box the picture is; 0: the aligned face."""
