"""Networks that tell more of a face than who it is: one small class a family, each for all faces of a frame at once."""

from __future__ import annotations

from typing import List, Tuple

import numpy as np

from app.inference.engine import Engine
from app.types import Faces, Gender
from app.vision.align import align_faces, cut_squares, cut_surroundings, square_transforms
from app.vision.face_network import FaceNetwork
from app.vision.preprocessing import FaceInput

MASK_FROM = 0.89
"""A mask counts as worn from this probability on: a doubtful one is looked at again soon anyway."""

LIVE = 1
"""Which of the three kinds that MiniFASNet tells apart is a real face."""


class GenderAge(FaceNetwork):
    """Gender and age, from two scores and age / 100, or from two scores and a hundred answers to "older than …?"."""

    def __init__(self, engine: Engine, pixels: FaceInput) -> None:
        super().__init__(engine, pixels.preprocessing, pixels.crop, "a network for gender and age", (3, 202))
        self._enlarge = pixels.enlarge

    def read(self, image: np.ndarray, faces: Faces) -> List[Tuple[Gender, float]]:
        if self._enlarge:
            crops = cut_squares(image, faces.boxes, self._enlarge, self.crop_size)
        else:
            crops = align_faces(image, faces.landmarks, self.crop_size)
        values = self.answers(crops)
        if values.shape[1] == 3:
            ages = values[:, 2] * 100
        else:
            ages = values[:, 2:].reshape(-1, 100, 2).argmax(axis=2).sum(axis=1)
        male = values[:, 1] > values[:, 0]
        return [(Gender.MALE if is_male else Gender.FEMALE, float(age)) for is_male, age in zip(male, ages)]


class MaskReader(FaceNetwork):
    """Whether a mask is worn: two probabilities, with and without."""

    def __init__(self, engine: Engine, pixels: FaceInput) -> None:
        super().__init__(engine, pixels.preprocessing, pixels.crop, "a network that tells masks", (2,))

    def read(self, image: np.ndarray, faces: Faces) -> List[Tuple[float, float]]:
        """Of each face: the probability of a mask, and of none."""
        values = self.answers(align_faces(image, faces.landmarks, self.crop_size))
        return [(float(worn), float(bare)) for worn, bare in values]


class LivenessReader(FaceNetwork):
    """Whether there is a person before the camera or a picture of one: MiniFASNet, from the face's surroundings."""

    def __init__(self, engine: Engine, pixels: FaceInput) -> None:
        super().__init__(engine, pixels.preprocessing, pixels.crop, "a network against spoofing", (3,))
        self._enlarge = pixels.enlarge

    def read(self, image: np.ndarray, faces: Faces) -> List[float]:
        """Of each face: the probability that it is live."""
        values = self.answers(cut_surroundings(image, faces.boxes, self._enlarge, self.crop_size))
        powers = np.exp(values - values.max(axis=1, keepdims=True))
        return [float(share) for share in powers[:, LIVE] / powers.sum(axis=1)]


class Landmarks106(FaceNetwork):
    """106 points along face, brows, eyes, nose and mouth, given from -1 to 1 across the crop."""

    def __init__(self, engine: Engine, pixels: FaceInput) -> None:
        super().__init__(engine, pixels.preprocessing, pixels.crop, "a network for 106 landmarks", (212,))
        self._enlarge = pixels.enlarge

    def read(self, image: np.ndarray, faces: Faces) -> np.ndarray:
        """N x 106 x 2, in the image's own pixels."""
        values = self.answers(cut_squares(image, faces.boxes, self._enlarge, self.crop_size))
        in_crop = (values.reshape(-1, 106, 2) + 1) * (np.asarray(self.crop_size) / 2)
        transforms = square_transforms(faces.boxes, self._enlarge, self.crop_size)
        shifts, scales = transforms[:, None, :, 2], transforms[:, None, [0, 1], [0, 1]]
        return np.asarray((in_crop - shifts) / scales, dtype=np.float32)


def wears_mask(mask: float, no_mask: float) -> bool:
    return mask > no_mask and mask >= MASK_FROM
